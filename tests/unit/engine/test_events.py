"""The log of events as it is read: since, until, filters, rotation."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from rootless import events as log
from rootless.engine import events
from rootless.errors import InvalidArgument

WEB = {"id": "ab" * 32, "name": "web", "image": "busybox:1", "labels": {"tier": "front"}}


@pytest.fixture
def store(tmp_path):
    """An engine with a log, as far as reading needs one."""
    path = str(tmp_path / "events.log")

    def follow(**options):
        return events.follow(SimpleNamespace(layout=SimpleNamespace(events=path)), **options)

    return SimpleNamespace(path=path, follow=follow)


def actions(found):
    return [event["Action"] for event in found]


def test_the_past_is_shown_where_it_is_asked_for(store):
    log.container(store.path, WEB, "create")
    middle = time.time_ns()
    log.container(store.path, WEB, "start")
    text = f"{middle // 10**9}.{middle % 10**9:09d}"
    assert actions(store.follow(since="1h", until="0s")) == ["create", "start"]
    assert actions(store.follow(since=text, until="0s")) == ["start"]
    assert actions(store.follow(until=text)) == ["create"]


def test_without_since_only_what_comes_is_shown(store):
    log.container(store.path, WEB, "create")
    following = store.follow()
    log.container(store.path, WEB, "start")
    assert next(following)["Action"] == "start"
    following.close()


def test_a_log_that_does_not_exist_yet_is_empty(store):
    assert list(store.follow(since="1h", until="0s")) == []
    following = store.follow()
    log.container(store.path, WEB, "create")
    assert next(following)["Action"] == "create"
    following.close()


def test_it_ends_at_until_though_nothing_happens(store):
    end = time.time_ns() + 50_000_000
    assert list(store.follow(until=f"{end // 10**9}.{end % 10**9:09d}")) == []
    assert time.time_ns() >= end


def test_following_survives_rotations(store, monkeypatch):
    monkeypatch.setattr(log, "LIMIT", 1000)
    following = store.follow()
    for number in range(30):
        log.write(store.path, "image", "pull", str(number), {})
        assert next(following)["Actor"]["ID"] == str(number)
    following.close()
    assert len(list(store.follow(since="1h", until="0s"))) >= 3


def test_a_torn_line_costs_only_itself(store):
    log.container(store.path, WEB, "create")
    with open(store.path, "a", encoding="ascii") as stream:
        stream.write('{"Type":"container","Act')
    log.container(store.path, WEB, "start")
    assert actions(store.follow(since="1h", until="0s")) == ["create", "start"]


DIE = {
    "Type": "container",
    "Action": "die",
    "Actor": {"ID": "ab" * 32, "Attributes": {"image": "busybox:1", "name": "web", "tier": "front"}},
    "scope": "local",
    "timeNano": 1,
}
EXEC = {**DIE, "Action": "exec_start: sh -c x"}
TAG = {
    "Type": "image",
    "Action": "tag",
    "Actor": {"ID": "sha256:cd", "Attributes": {"name": "me/app:2"}},
    "scope": "local",
}


@pytest.mark.parametrize(
    ("filters", "event", "fits"),
    [
        (["container=web"], DIE, True),
        (["container=abab"], DIE, True),
        (["container=other"], DIE, False),
        (["container=me"], TAG, False),
        (["event=die"], DIE, True),
        (["event=start", "event=die"], DIE, True),
        (["event=exec_start"], EXEC, True),
        (["event=exec_die"], EXEC, False),
        (["image=busybox"], DIE, True),
        (["image=busybox:1"], DIE, True),
        (["image=busybox:2"], DIE, False),
        (["image=me/app"], TAG, True),
        (["label=tier"], DIE, True),
        (["label=tier=front", "label=more"], DIE, False),
        (["type=container"], DIE, True),
        (["type=image"], DIE, False),
        (["type=image", "event=die"], DIE, False),
        (["volume=web"], DIE, False),
        (["network=web"], DIE, False),
        (["daemon=web"], DIE, False),
        (["scope=local"], TAG, True),
    ],
)
def test_filters_are_dockers(filters, event, fits):
    from rootless.engine import filters as filtering

    assert events.wants(filtering.parse(filters, events.FILTERS), event) is fits


@pytest.mark.parametrize("options", [{"filters": ["color=red"]}, {"since": "yesterday"}, {"until": "x"}])
def test_nonsense_is_refused_before_anything_is_shown(store, options):
    with pytest.raises(InvalidArgument):
        store.follow(**options)
