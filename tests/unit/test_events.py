"""The log of events as it is written."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rootless import events

RECORD = {"id": "ab" * 32, "name": "web", "image": "busybox", "labels": {"a": "1", "name": "hidden"}}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_is_a_line_in_dockers_shape(tmp_path):
    before = time.time_ns()
    events.container(str(tmp_path / "log"), RECORD, "die", exitCode="1")
    (event,) = read(tmp_path / "log")
    assert list(event) == ["Type", "Action", "Actor", "scope", "time", "timeNano"]
    assert before <= event["timeNano"] <= time.time_ns()
    assert event["time"] == event["timeNano"] // 10**9
    assert event["Actor"] == {
        "ID": "ab" * 32,
        "Attributes": {"a": "1", "image": "busybox", "name": "web", "exitCode": "1"},
    }
    assert (event["Type"], event["Action"], event["scope"]) == ("container", "die", "local")


def test_the_log_is_its_users_alone(tmp_path):
    events.write(str(tmp_path / "log"), "image", "pull", "x", {})
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["missing/log", "full", "."])
def test_what_goes_wrong_with_the_log_keeps_nobody_from_anything(tmp_path, name):
    (tmp_path / "full").symlink_to("/dev/full")
    events.write(str(tmp_path / name), "image", "pull", "x", {})
    pending = events.Pending(str(tmp_path / name), "image", "pull", "x", {})
    pending.write(more="y")
    pending.close()


def test_a_full_log_is_set_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "LIMIT", 1000)
    path = tmp_path / "log"
    for number in range(30):
        events.write(str(path), "image", "pull", str(number), {})
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1"]
    assert path.stat().st_size < 1300
    numbers = [int(event["Actor"]["ID"]) for event in read(tmp_path / "log.1") + read(path)]
    assert numbers == list(range(numbers[0], 30))


def test_writers_at_once_lose_no_line_and_tear_none(tmp_path):
    path = tmp_path / "log"

    def many(writer: int) -> None:
        for number in range(50):
            events.write(str(path), "image", "pull", f"{writer}-{number}", {"long": "x" * 5000})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(many, range(4)))
    found = [
        event["Actor"]["ID"]
        for name in ("log.1", "log")
        if (tmp_path / name).exists()
        for event in read(tmp_path / name)
    ]
    assert len(set(found)) == 200


def test_a_pending_event_needs_no_path_any_more(tmp_path):
    pending = events.Pending(str(tmp_path / "log"), "container", "exec_die", "x", {"a": "1"})
    (tmp_path / "log").rename(tmp_path / "elsewhere")
    pending.write(exitCode="3")
    pending.close()
    (event,) = read(tmp_path / "elsewhere")
    assert event["Actor"]["Attributes"] == {"a": "1", "exitCode": "3"}


def test_an_event_costs_less_than_a_tenth_of_a_millisecond(tmp_path):
    def once() -> float:
        start = time.perf_counter()
        events.container(str(tmp_path / "log"), RECORD, "start")
        return time.perf_counter() - start

    assert min(once() for _ in range(50)) < 0.0001
