"""``Record``: frozen, keyword-only values."""

from __future__ import annotations

import pytest

from rootless.record import Record


class Point(Record):
    x: int
    y: int = 2


class Named(Point):
    name: str = "origin"


def test_fields_come_from_annotations_and_bases() -> None:
    point = Named(x=1, name="a")
    assert (point.x, point.y, point.name) == (1, 2, "a")
    assert point.as_dict() == {"x": 1, "y": 2, "name": "a"}


def test_missing_and_unknown_fields_are_refused() -> None:
    with pytest.raises(TypeError, match="lacks x"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no field 'z'"):
        Point(x=1, z=2)  # type: ignore[call-arg]


def test_is_read_only_but_can_be_copied_with_changes() -> None:
    point = Point(x=1)
    with pytest.raises(AttributeError):
        point.x = 5  # type: ignore[misc]
    assert point.replace(y=9) == Point(x=1, y=9)
    assert point.y == 2


def test_equality_and_hash_are_of_class_and_fields() -> None:
    assert Point(x=1) == Point(x=1, y=2)
    assert hash(Point(x=1)) == hash(Point(x=1))
    assert Point(x=1) != Named(x=1)


def test_repr_shows_what_is_not_default() -> None:
    assert repr(Named(x=1, name="b")) == "Named(x=1, name='b')"
