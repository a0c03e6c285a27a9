"""``oom`` in ``rl events``, told by a kernel that kills for memory."""

from __future__ import annotations

import json

import pytest

from tests.support.rl import Rl

HOG = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived"


@pytest.mark.vm_user("rl-user", "rl-part")
def test_a_hog_is_told_of_before_its_end(store: Rl):
    following = store.spawn("events", "--since", "0s", "-f", "container=hog", "--format", "json")
    assert store("run", "--name", "hog", "-m", "40m", "--memory-swap", "40m", "busybox", "sh", "-c", HOG).status == 137
    events = []
    assert following.stdout is not None
    while not events or events[-1]["Action"] != "die":
        events.append(json.loads(following.stdout.readline()))
    assert [event["Action"] for event in events] == ["create", "start", "oom", "die"]
    assert events[-1]["Actor"]["Attributes"]["exitCode"] == "137"
    store.ok("rm", "hog")


@pytest.mark.vm_user("rl-user", "rl-part")
def test_oom_is_told_while_the_container_goes_on(store: Rl):
    following = store.spawn("events", "--since", "0s", "-f", "event=oom", "-f", "container=survivor")
    store.ok(
        *("run", "-d", "--init", "--name", "survivor", "-m", "40m", "--memory-swap", "40m", "busybox"),
        *("sleep", "1000"),
    )
    assert store("exec", "survivor", "sh", "-c", HOG).status == 137
    assert following.stdout is not None
    assert b" container oom " in following.stdout.readline()
    assert store.ok("inspect", "-f", "{{.State.Running}}", "survivor") == "true"
    store.ok("rm", "-f", "survivor")
