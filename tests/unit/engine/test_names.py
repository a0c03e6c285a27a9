"""Names and identifiers of containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from rootless.engine import names
from rootless.errors import InvalidArgument, NoSuchContainer
from rootless.storage.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(str(tmp_path))
    layout.create()
    return layout


def add(layout: Layout, identifier: str, name: str) -> None:
    Path(layout.container(identifier)).mkdir()
    Path(f"{layout.names}/{name}").symlink_to(f"../containers/{identifier}")


def test_ids_are_64_digits_and_never_look_like_a_number() -> None:
    for _ in range(50):
        identifier = names.new_id()
        assert len(identifier) == 64
        assert names.is_hex(identifier)
        assert not identifier[:12].isdecimal()


def test_random_names_are_valid_and_avoid_taken_ones() -> None:
    taken: set[str] = set()
    for _ in range(200):
        name = names.random_name(taken.__contains__)
        assert name not in taken
        assert names.check_name(name) == name
        taken.add(name)
    assert names.random_name(lambda _: True).startswith("container_")


@pytest.mark.parametrize("name", ["", "a", "/", "-ab", ".ab", "a b", "ü1", "a/b", "../x", "x" * 256])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid container name"):
        names.check_name(name)


def test_a_leading_slash_is_dropped() -> None:
    assert names.check_name("/web-1.x_y") == "web-1.x_y"


def test_a_name_wins_over_an_id_prefix(layout: Layout) -> None:
    add(layout, "abc" + "0" * 61, "web")
    add(layout, "def" + "0" * 61, "abc")
    assert names.resolve(layout, "abc").startswith("def")
    assert names.resolve(layout, "/web").startswith("abc0")
    assert names.resolve(layout, "abc0").startswith("abc0")
    assert names.resolve(layout, "d").startswith("def")
    assert names.resolve(layout, "def" + "0" * 61).startswith("def")


def test_an_ambiguous_prefix_is_refused(layout: Layout) -> None:
    add(layout, "ab1" + "0" * 61, "one")
    add(layout, "ab2" + "0" * 61, "two")
    with pytest.raises(InvalidArgument, match="multiple IDs found with provided prefix: ab"):
        names.resolve(layout, "ab")


@pytest.mark.parametrize("text", ["nope", "abc", "../containers", "names/x", "f" * 64, "a/b"])
def test_unknown_containers(layout: Layout, text: str) -> None:
    with pytest.raises(NoSuchContainer, match="no such container: "):
        names.resolve(layout, text)


def test_short_ids() -> None:
    assert names.short_id("sha256:" + "ab" * 32) == "abababababab"
    assert names.short_id("ab" * 32) == "abababababab"
