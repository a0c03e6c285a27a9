"""A container's cgroup from its monitor's side, on directories that look like cgroups."""

from __future__ import annotations

import pytest

from rootless.cgroups import membership
from rootless.cgroups.group import Cgroup
from rootless.cgroups.limits import Plan
from rootless.cgroups.placement import Placement
from rootless.cgroups.resources import Resources
from rootless.errors import Unsupported

M = 1 << 20
OLD, NEW = 32 * M, 64 * M  # of equal length: a file of a test is not truncated as the kernel's are


def record(**limits):
    placement = Placement(manager="cgroupfs", base="/x", controllers=("memory", "pids"))
    return membership.record(placement, Plan(enforced=Resources(**limits)), "id")


@pytest.fixture
def member(tmp_path):
    for name in ("memory.max", "memory.swap.max"):
        (tmp_path / name).write_text(str(OLD))
    found = membership.Membership(record(memory=OLD))
    found.group = Cgroup(str(tmp_path))
    return found


def test_nothing_to_do_is_no_record():
    assert membership.record(Placement(manager="none"), None, "id") is None


def test_an_update_sets_the_new_limits(member, tmp_path):
    assert member.update(record(memory=NEW), 0) == []
    assert (tmp_path / "memory.max").read_text() == str(NEW)
    assert (tmp_path / "memory.swap.max").read_text() == str(NEW)
    assert member.interval is None


def test_an_update_that_is_refused_leaves_all_limits_as_they_were(member, tmp_path):
    with pytest.raises(Unsupported, match="--pids-limit"):
        member.update(record(memory=NEW, pids_limit=5), 0)  # there is no pids.max
    assert (tmp_path / "memory.max").read_text() == str(OLD)


def test_a_container_without_a_cgroup_has_no_path():
    member = membership.Membership(None)
    member.enter()
    assert (member.path, member.fd, member.limit(0), member.oom_kills()) == ("", -1, [], 0)
    member.close()
