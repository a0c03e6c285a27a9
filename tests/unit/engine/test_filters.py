"""Filters of lists."""

from __future__ import annotations

import pytest

from rootless.engine import filters
from rootless.errors import InvalidArgument


def test_values_of_a_name_are_collected() -> None:
    parsed = filters.parse(["name=a", "label=x=y", "Name = b", ""], filters.CONTAINERS)
    assert parsed == {"name": ["a", "b"], "label": ["x=y"]}


@pytest.mark.parametrize(
    ("item", "message"), [("name", "bad format of filter"), ("colour=red", "invalid filter 'colour'")]
)
def test_unknown_or_malformed_filters_are_refused(item: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        filters.parse([item], filters.IMAGES)
    assert message in str(caught.value)


def test_closed_sets() -> None:
    assert filters.one_of({"status": ["exited"]}, "status", filters.STATES) == ["exited"]
    with pytest.raises(InvalidArgument, match="invalid filter 'status=gone'"):
        filters.one_of({"status": ["gone"]}, "status", filters.STATES)
    assert filters.boolean({}, "dangling") is None
    assert filters.boolean({"dangling": ["1"]}, "dangling") is True
    assert filters.boolean({"dangling": ["False"]}, "dangling") is False
    for values in (["x"], ["true", "false"]):
        with pytest.raises(InvalidArgument):
            filters.boolean({"dangling": values}, "dangling")


def test_names_are_regular_expressions_and_faulty_ones_match_nothing() -> None:
    assert filters.matches(["^web"], "web-1")
    assert filters.matches(["eb"], "web-1")
    assert filters.matches(["("], "(")
    assert not filters.matches(["(", "^x"], "web")


def test_all_labels_must_hold() -> None:
    labels = {"a": "1", "b": ""}
    assert filters.has_labels(["a", "b="], labels)
    assert filters.has_labels(["a=1"], labels)
    assert not filters.has_labels(["a=1", "c"], labels)
    assert not filters.has_labels(["a=2"], labels)


@pytest.mark.parametrize(
    ("pattern", "text", "result"),
    [
        ("nginx", "nginx", True),
        ("ng*", "nginx", True),
        ("*", "a/b", False),
        ("*/*", "a/b", True),
        ("ngin?", "nginx", True),
        ("ngin[xyz]", "nginx", True),
        ("ngin[^x]", "nginx", False),
        ("ngin[a-z]", "nginx", True),
        ("a.c", "abc", False),
        ("a\\*", "a*", True),
    ],
)
def test_globs_do_not_cross_slashes(pattern: str, text: str, result: bool) -> None:
    assert filters.glob(pattern, text) is result


def test_faulty_glob_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="syntax error in pattern"):
        filters.glob("a[", "a")
