"""Id maps: what /etc/subuid grants, and what a refusal means."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import SystemFailure
from rootless.linux import idmap

RANGES = ((0, 1000, 1), (1, 100000, 65536), (65537, 300000, 10))


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("alice:100000:65536\n", [(100000, 65536)]),
        ("bob:1:2\nalice:100000:65536\nalice:300000:5", [(100000, 65536), (300000, 5)]),
        ("1000:100000:65536\n", [(100000, 65536)]),
        ("alice:100000:65536\n1000:100000:65536\n", [(100000, 65536)]),
        ("# alice:1:2\n\nalice:1\nalice:x:5\nalice:5:-1\nalice:5:0\n alice:7:8 \n", [(7, 8)]),
        ("malice:1:2\nalice2:3:4\n", []),
        ("", []),
    ],
)
def test_ranges_of_a_user(text, ranges):
    assert idmap.parse_ranges(text, ("alice", "1000")) == ranges


@pytest.mark.parametrize(
    ("inside", "outside"),
    [(0, 1000), (1, 100000), (65536, 165535), (65537, 300000), (65546, 300009), (65547, None), (-1, None)],
)
def test_ids_outside(inside, outside):
    assert idmap.to_host(RANGES, inside) == outside


def test_a_containers_map_is_the_identity_of_ours():
    child = idmap.IdMap(uids=RANGES, gids=RANGES[:1]).identity()
    assert child.direct
    assert child.uids == ((0, 0, 1), (1, 1, 65536), (65537, 65537, 10))
    assert child.gids == ((0, 0, 1),)
    assert child.size == 65547


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 9)), min_size=1, max_size=6))
def test_what_is_mapped_is_mapped_once(rows):
    following, ranges = 0, []
    for gap, length in rows:
        ranges.append((following, following * 100 + gap, length))
        following += length
    found = [idmap.to_host(tuple(ranges), inside) for inside in range(following)]
    assert None not in found
    assert idmap.to_host(tuple(ranges), following) is None


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "not about disk space"), (errno.EUSERS, "nested too deeply")]
)
def test_refusals_of_the_kernel_are_explained(number, says):
    error = idmap.explain_unshare(OSError(number, "text"))
    assert isinstance(error, SystemFailure)
    assert says in error.message
    assert error.hint


def test_our_own_map_can_be_read():
    assert idmap.current_map("uid")[0][2] > 0
    assert idmap.user_name(0) == "root"
    assert idmap.user_name(4_000_000) == "4000000"
