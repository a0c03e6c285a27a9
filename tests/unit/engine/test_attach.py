"""Detach keys and what waits for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.engine import attach
from rootless.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "keys"), [("ctrl-p,ctrl-q", b"\x10\x11"), ("a,ctrl-[", b"a\x1b"), ("ctrl-@", b"\0"), ("x", b"x")]
)
def test_detach_keys_are_spelled_as_docker_does(text: str, keys: bytes) -> None:
    assert attach.parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "a,,b", "shift-a"])
def test_bad_detach_keys_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid detach keys"):
        attach.parse_detach_keys(text)


def test_the_sequence_detaches_even_in_pieces() -> None:
    keys = attach.KeyFilter(b"\x10\x11")
    assert keys.feed(b"ls\n\x10") == b"ls\n"
    with pytest.raises(attach.Detached):
        keys.feed(b"\x11")


def test_a_lone_first_key_waits_and_is_released() -> None:
    keys = attach.KeyFilter(b"\x10\x11")
    assert keys.feed(b"\x10") == b""
    assert keys.release() == b"\x10"
    assert keys.feed(b"\x11") == b"\x11"


def test_a_first_key_twice_keeps_the_second_waiting() -> None:
    keys = attach.KeyFilter(b"\x10\x11")
    assert keys.feed(b"\x10\x10") == b"\x10"
    with pytest.raises(attach.Detached):
        keys.feed(b"\x11")


@given(st.binary(), st.binary(min_size=1, max_size=4))
def test_nothing_typed_is_lost_or_reordered(data: bytes, sequence: bytes) -> None:
    keys = attach.KeyFilter(sequence)
    try:
        passed = keys.feed(data) + keys.release()
    except attach.Detached:
        assert sequence in data
    else:
        assert passed == data


def test_without_a_sequence_everything_passes() -> None:
    assert attach.KeyFilter(b"").feed(b"\x10\x11abc") == b"\x10\x11abc"
