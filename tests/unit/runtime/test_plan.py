"""Set-up as data: what a specification becomes, without doing it.

``tests/golden/plans/NAME.txt`` is what ``describe`` says for ``tests/golden/specs/NAME.json``; after an
intended change run this file with UPDATE_GOLDEN=1 and read the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rootless.linux import syscalls
from rootless.runtime import plan

GOLDEN = Path(__file__).parents[2] / "golden"
SPECS = sorted(path.stem for path in (GOLDEN / "specs").glob("*.json"))
ROOTFS = plan.Rootfs(kind="overlay", data="lowerdir=l/1,upperdir=u,workdir=w", cwd="/data/snapshots")


def built(**spec) -> list[plan.Step]:
    return plan.build(spec, ROOTFS)


def mount(destination: str, kind: str, *options: str, source: str = "") -> dict:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


@pytest.mark.parametrize("name", SPECS)
def test_the_plan_of_each_golden_specification(name):
    spec = json.loads((GOLDEN / f"specs/{name}.json").read_text())
    text = "".join(f"{step.describe()}\n" for step in plan.build(spec, ROOTFS))
    path = GOLDEN / f"plans/{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


def test_the_root_comes_first_and_the_masks_just_before_the_pivot():
    steps = built(
        mounts=[mount("/proc", "proc")],
        linux={"maskedPaths": ["/proc/keys"], "readonlyPaths": ["/proc/sys"], "sysctl": {"kernel.x": "1"}},
        root={"readonly": True},
    )
    kinds = [type(step).__name__ for step in steps]
    # Sysctls before /proc/sys is read-only; masks last, so that no mount of the image's choice covers them.
    assert kinds == ["Rootfs", "FileSystem", "Sysctl", "Mask", "ReadOnly", "Pivot", "ReadOnlyRoot"]


def test_dev_is_furnished_when_it_is_a_tmpfs_of_ours_and_not_otherwise():
    with_dev = [step.describe() for step in built(mounts=[mount("/dev", "tmpfs")])]
    assert "bind /dev/null on /dev/null" in with_dev
    assert "symlink /dev/ptmx -> pts/ptmx" in with_dev
    bound = [step.describe() for step in built(mounts=[mount("/dev", "bind", "rbind", source="/dev")])]
    assert bound == ["rootfs overlay", "bind /dev on /dev", "pivot_root"]


def test_words_of_mount_options():
    flags, propagation, data = plan.parse_options(["ro", "nosuid", "rw", "rslave", "size=64m", "mode=755", "defaults"])
    assert flags == syscalls.MS_RDONLY | syscalls.MS_NOSUID
    assert propagation == ("rslave",)
    assert data == "size=64m,mode=755"


@pytest.mark.parametrize("options", [("bind",), ("rbind",), ("bind", "ro"), ("rbind", "ro", "rro", "nosuid", "rslave")])
def test_bind_mounts(options):
    (step,) = [
        step for step in built(mounts=[mount("/x", "bind", *options, source="/s")]) if isinstance(step, plan.Bind)
    ]
    assert step.recursive == ("rbind" in options)
    assert step.readonly == ("ro" in options)
    assert step.deep == ("rro" in options)
    assert step.options == tuple(word for word in options if word in ("nosuid", "rslave"))


def test_a_bind_is_one_by_its_option_whatever_its_type_says():
    (step,) = [
        step for step in built(mounts=[mount("/x", "none", "rbind", source="/s")]) if isinstance(step, plan.Bind)
    ]
    assert (step.source, step.target) == ("/s", "/x")


def test_cgroup_means_version_2_and_sysfs_has_a_fallback():
    steps = built(mounts=[mount("/sys", "sysfs", "ro"), mount("/sys/fs/cgroup", "cgroup", "ro")])
    assert [type(step) for step in steps[1:3]] == [plan.Sysfs, plan.Cgroup]
    assert steps[2].describe() == "mount cgroup2 on /sys/fs/cgroup"


def test_slaves_only_where_a_bind_wants_news_from_the_host():
    assert built()[0].propagation == "rprivate"
    assert built(linux={"rootfsPropagation": "rslave"})[0].propagation == "rslave"


def test_describing_needs_no_file_of_the_specification():
    steps = built(
        mounts=[mount("/x", "bind", "rbind", source="/nonexistent")],
        linux={"devices": [{"path": "/dev/nothing"}], "maskedPaths": ["/nothing"]},
    )
    assert all(step.describe() for step in steps)
