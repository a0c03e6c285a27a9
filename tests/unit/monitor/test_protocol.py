"""Frames of the attach protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.monitor import protocol

FRAMES = st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=200)), max_size=8)


@given(FRAMES, st.integers(1, 50))
def test_frames_survive_any_fragmentation(frames: list[tuple[int, bytes]], size: int) -> None:
    stream = b"".join(protocol.frame(kind, data) for kind, data in frames)
    decoder = protocol.Decoder()
    found = []
    for start in range(0, len(stream), size):
        found += list(decoder.feed(stream[start : start + size]))
    assert found == frames


def test_a_frame_is_the_raw_stream_of_docker() -> None:
    assert protocol.frame(protocol.STDERR, b"abc") == b"\x02\0\0\0\0\0\0\x03abc"


@pytest.mark.parametrize("junk", [b"\x09\0\0\0\0\0\0\0", b"\x01\0\0\0\xff\xff\xff\xff"])
def test_nonsense_is_refused(junk: bytes) -> None:
    with pytest.raises(ValueError):
        list(protocol.Decoder().feed(junk))
