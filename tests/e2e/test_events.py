"""``rl events``: what happened and what happens."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest


@pytest.fixture
def since(box) -> str:
    now = time.time_ns()
    return f"{now // 10**9}.{now % 10**9:09d}"


def happened(box, since: str, *arguments: str) -> list[dict]:
    lines = box.ok("events", "--since", since, "--until", "0s", "--format", "json", *arguments).splitlines()
    return [json.loads(line) for line in lines]


def actions(found: list[dict]) -> list[str]:
    return [f"{event['Type']} {event['Action']}" for event in found]


def test_a_containers_life(box, since):
    assert box("run", "--name", "life", "-l", "a=b", "--network", "none", "busybox", "sh", "-c", "exit 3").status == 3
    box.ok("rm", "life")
    found = happened(box, since)
    assert actions(found) == [f"container {action}" for action in ("create", "start", "die", "destroy")]
    assert len({event["Actor"]["ID"] for event in found}) == 1
    assert all(
        event["Actor"]["Attributes"].items() >= {"a": "b", "name": "life", "image": "busybox"}.items()
        for event in found
    )
    assert found[2]["Actor"]["Attributes"]["exitCode"] == "3"
    assert found[2]["Actor"]["Attributes"]["execDuration"] == "0"


def test_rm_tells_of_the_container_and_its_volumes(box, since):
    box.ok("run", "--rm", "-v", "/data", "--network", "none", "busybox", "true")
    assert actions(happened(box, since)) == [
        *("volume create", "container create", "container start", "container die"),
        *("volume destroy", "container destroy"),
    ]


def test_kill_stop_and_exec(box, since):
    box.ok("run", "-d", "--name", "busy", "--network", "none", "--init", "busybox", "sleep", "1000")
    assert box("exec", "busy", "sh", "-c", "exit 7").status == 7
    box.ok("stop", "busy")
    found = happened(box, since, "-f", "container=busy")
    assert [event["Action"] for event in found] == [
        *("create", "start", "exec_create: sh -c exit 7", "exec_start: sh -c exit 7", "exec_die"),
        *("kill", "die", "stop"),
    ]
    told = [event["Actor"]["Attributes"] for event in found]
    assert told[4]["exitCode"] == "7"
    assert told[2]["execID"] == told[3]["execID"] == told[4]["execID"]
    assert (told[5]["signal"], told[6]["exitCode"]) == ("15", "143")


def test_a_detached_exec_tells_of_its_end_too(box):
    box.ok("run", "-d", "--name", "back", "--network", "none", "--init", "busybox", "sleep", "1000")
    following = box.spawn("events", "--since", "1h", "-f", "event=exec_die", "-f", "container=back")
    box.ok("exec", "-d", "back", "sh", "-c", "exit 9")
    assert b"exitCode=9" in following.stdout.readline()


def test_a_container_that_cannot_start_is_created_and_no_more(box, since):
    assert box("run", "--rm", "--network", "none", "busybox", "/no/such").status == 127
    assert actions(happened(box, since)) == ["container create", "container destroy"]


def test_pause_and_unpause(box, since):
    box.ok("run", "-d", "--name", "ice", "--network", "none", "--init", "busybox", "sleep", "1000")
    box.ok("pause", "ice")
    box.ok("unpause", "ice")
    assert [event["Action"] for event in happened(box, since)] == ["create", "start", "pause", "unpause"]


def test_images(box, rootfs, since):
    box.ok("pull", "-q", "busybox")
    box.ok("import", rootfs, "mine")
    box.ok("tag", "mine", "mine:two")
    box.ok("rmi", "mine:two")
    box.ok("rmi", "mine")
    found = happened(box, since, "-f", "type=image")
    told = [(event["Action"], event["Actor"]["Attributes"]["name"]) for event in found]
    identifier = found[1]["Actor"]["ID"]
    assert identifier.startswith("sha256:")
    assert told == [
        *(("pull", "busybox"), ("import", "mine:latest"), ("tag", "mine:two"), ("untag", "mine:two")),
        *(("untag", "mine:latest"), ("delete", identifier)),
    ]
    assert found[0]["Actor"]["ID"] == "busybox:latest"


def test_an_archive_that_is_loaded(box, busybox_archive, since):
    box.ok("load", "-q", "-i", busybox_archive)
    assert actions(happened(box, since)) == ["image load"]


def test_events_are_shown_as_they_happen_until_interrupted(box):
    following = box.spawn("events", "--since", "0s", "-f", "type=container", "--format", "{{.Action}} {{.From}}")
    box.ok("run", "--rm", "--network", "none", "busybox", "true")
    lines = [following.stdout.readline().decode().strip() for _ in range(4)]
    assert lines == [f"{action} busybox" for action in ("create", "start", "die", "destroy")]
    following.send_signal(signal.SIGINT)
    assert following.wait(10) == 130
    assert following.stderr.read() == b""


def test_the_text_is_dockers(box, since):
    identifier = box.ok("create", "--name", "said", "busybox")
    line = box.ok("system", "events", "--since", since, "--until", "0s")
    moment, _, rest = line.partition(" ")
    assert rest == f"container create {identifier} (image=busybox, name=said)"
    assert moment.endswith("Z")


def test_unknown_filters_and_faulty_moments_are_refused(box):
    assert "invalid filter 'color'" in box.fails(1, "events", "-f", "color=red")
    assert "invalid time" in box.fails(1, "events", "--since", "yesterday")
    assert "template" in box.fails(1, "events", "--format", "{{.Type")
    box.fails(2, "events", "argument")


@pytest.mark.skipif(
    os.path.exists("/sys/fs/cgroup/cgroup.controllers"), reason="tests/vm has this for cgroup version 2"
)
def test_a_kill_by_the_watchdog_is_one_oom(box, since):
    # Five processes with 6 MB and more each; the `true` keeps the shells from becoming sleep.
    each = "x=$(head -c 6000000 /dev/zero | tr '\\0' x); sleep 1000; true"
    hog = f'for i in 1 2 3 4 5; do sh -c "{each}" & done; wait'.replace("$(", "\\$(")
    limits = ("--limits", "best-effort", "-m", "24m")
    assert box("run", "--name", "hog", "--network", "none", *limits, "busybox", "sh", "-c", hog).status == 137
    assert [event["Action"] for event in happened(box, since)] == ["create", "start", "oom", "die"]
