"""How an event is shown."""

from __future__ import annotations

import json
import time

import pytest

from rootless.cli.commands import events
from rootless.errors import InvalidArgument

EVENT = {
    "Type": "container",
    "Action": "start",
    "Actor": {"ID": "abc", "Attributes": {"name": "x", "image": "busybox"}},
    "scope": "local",
    "time": 1767225600,
    "timeNano": 1767225600000000007,
}


@pytest.mark.parametrize(
    ("zone", "moment"),
    [("UTC", "2026-01-01T00:00:00.000000007Z"), ("Asia/Kolkata", "2026-01-01T05:30:00.000000007+05:30")],
)
def test_text_is_dockers(monkeypatch, zone, moment):
    monkeypatch.setenv("TZ", zone if zone == "UTC" else "IST-5:30")
    time.tzset()
    try:
        assert events.text(EVENT) == f"{moment} container start abc (image=busybox, name=x)"
        assert events.text({**EVENT, "Actor": {"ID": "abc", "Attributes": {}}}) == f"{moment} container start abc"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("template", ["json", "{{json .}}"])
def test_json_is_the_object_itself(template):
    line = events.printer(template)(EVENT)
    assert json.loads(line) == EVENT
    assert "\n" not in line


def test_templates_know_dockers_fields():
    show = events.printer("{{.Type}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}} {{.Time}} {{.TimeNano}}")
    assert show(EVENT) == "container start abc x 1767225600 1767225600000000007"
    assert events.printer("{{.Status}} {{.ID}} {{.From}} {{.Scope}}")(EVENT) == "start abc busybox local"
    assert events.printer("{{json .Actor.Attributes}}")(EVENT) == '{"image":"busybox","name":"x"}'


def test_a_faulty_template_is_refused_before_anything_happens():
    with pytest.raises(InvalidArgument):
        events.printer("{{.Type")
