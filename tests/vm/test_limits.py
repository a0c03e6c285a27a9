"""Limits that hold, proved by the kernel that keeps them: delegated cgroup v2 in a real machine."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import cgroups, processes
from tests.support.rl import Rl

EVERYBODY = pytest.mark.vm_user("rl-user", "rl-part", "rl-plain")
PART = pytest.mark.vm_user("rl-user", "rl-part")
HOG = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived"
BOMB = "for i in $(seq 60); do sleep 100 & done; echo survived"


def groups_of_rl() -> list[Path]:
    """Return the cgroups of containers of this user."""
    return [
        group for group in cgroups.below(cgroups.MOUNT) if len(group.name) == 64 and group.stat().st_uid == os.getuid()
    ]


@pytest.fixture
def box(store: Rl):
    """The file's store; after each test no container and no cgroup of one is left."""
    yield store
    names = store.ok("ps", "-aq", "--no-trunc").split()
    if names:
        store.ok("rm", "-f", "-v", *names)
    assert groups_of_rl() == []


def group_of(box: Rl, name: str) -> Path:
    pid = box.ok("inspect", "-f", "{{.State.Pid}}", name)
    return cgroups.of(int(pid))


def file_of(box: Rl, name: str, file: str) -> str:
    return (group_of(box, name) / file).read_text().strip()


@PART
def test_a_memory_hog_dies_at_its_limit_and_only_it(box):
    box.ok("run", "-d", "--name", "bystander", "-m", "40m", "busybox", "sleep", "1000")
    result = box("run", "--name", "hog", "-m", "40m", "--memory-swap", "40m", "busybox", "sh", "-c", HOG)
    assert result.status == 137
    assert "survived" not in result.stdout
    state = box.json("inspect", "-f", "{{json .State}}", "hog")
    assert (state["OOMKilled"], state["ExitCode"], state["Status"]) == (True, 137, "exited")
    assert box.ok("inspect", "-f", "{{.State.Status}} {{.State.OOMKilled}}", "bystander") == "running false"


def test_the_same_hog_lives_with_enough(box):
    assert box.ok("run", "--rm", "-m", "700m", "busybox", "sh", "-c", HOG) == "survived"


@PART
def test_limits_are_in_the_containers_own_cgroup(box):
    box.ok(
        *("run", "-d", "--name", "all", "-m", "64m", "--memory-swap", "96m", "--memory-reservation", "32m"),
        *("--cpus", "0.5", "--cpu-shares", "512", "--pids-limit", "50", "busybox", "sleep", "1000"),
    )
    wanted = {
        "memory.max": str(64 << 20),
        "memory.swap.max": str(32 << 20),
        "memory.low": str(32 << 20),
        "cpu.max": "50000 100000",
        "pids.max": "50",
    }
    assert {file: file_of(box, "all", file) for file in wanted} == wanted
    assert 1 < int(file_of(box, "all", "cpu.weight")) < 100
    # Inside, the namespace begins at the container's own cgroup.
    assert box.ok("exec", "all", "cat", "/proc/self/cgroup") == "0::/"
    assert box.ok("exec", "all", "cat", "/sys/fs/cgroup/memory.max") == wanted["memory.max"]
    assert not os.access(group_of(box, "all") / "memory.max", os.X_OK)
    limits = box.json("inspect", "-f", "{{json .Rl.Limits}}", "all")
    assert set(limits.values()) == {"enforced"}


def test_processors_and_memory_nodes(box):
    box.ok("run", "-d", "--name", "bound", "--cpuset-cpus", "1", "--cpuset-mems", "0", "busybox", "sleep", "1000")
    assert file_of(box, "bound", "cpuset.cpus.effective") == "1"
    assert file_of(box, "bound", "cpuset.mems.effective") == "0"
    assert box.ok("exec", "bound", "grep", "Cpus_allowed_list", "/proc/self/status").split()[-1] == "1"


def test_a_quota_of_processor_time_holds_within_15_percent(box):
    box.ok("run", "-d", "--name", "spin", "--cpus", "0.4", "busybox", "sh", "-c", "while :; do :; done")
    stat = group_of(box, "spin") / "cpu.stat"
    first, start = cgroups.keys(stat)["usage_usec"], time.monotonic()
    time.sleep(4)  # what is measured is time
    used, seconds = cgroups.keys(stat)["usage_usec"] - first, time.monotonic() - start
    assert used / 1e6 / seconds == pytest.approx(0.4, rel=0.15)
    assert cgroups.keys(stat)["nr_throttled"] > 0


@PART
def test_a_fork_bomb_stops_at_the_pids_limit(box):
    result = box("run", "--rm", "--name", "bomb", "--pids-limit", "15", "busybox", "sh", "-c", BOMB)
    assert result.status != 0
    assert "survived" not in result.stdout
    assert "fork" in result.stderr


def test_writes_to_a_disk_are_slowed_to_the_limit(box):
    directory = Path("/scratch") / f"rl-{os.getpid()}"
    directory.mkdir()
    command = ("dd", "if=/dev/zero", "of=/data/file", "bs=64k", "count=64", "oflag=direct")
    bind = ("-v", f"{directory}:/data")
    took = []
    for limits in ((), ("--device-write-bps", f"{directory}:1mb")):
        start = time.monotonic()
        box.ok("run", "--rm", *bind, *limits, "busybox", *command)
        took.append(time.monotonic() - start)
    (directory / "file").unlink()
    directory.rmdir()
    # 4 MiB at 1 MiB a second; the rest is the container's start, which both have.
    assert 3 < took[1] - took[0] < 9, took


def test_reads_and_operations_have_limits_of_their_own(box):
    box.ok(
        *("run", "-d", "--name", "io", "--device-read-bps", "/dev/vdc:2mb", "--device-read-iops", "/dev/vdc:100"),
        *("--device-write-iops", "/scratch:50", "busybox", "sleep", "1000"),
    )
    disk = Path("/sys/block/vdc/dev").read_text().strip()
    assert file_of(box, "io", "io.max") == f"{disk} rbps=2097152 wbps=max riops=100 wiops=50"


def test_a_weight_is_given_to_the_scheduler_that_knows_weights(box):
    box.ok("run", "-d", "--name", "heavy", "--blkio-weight", "700", "busybox", "sleep", "1000")
    assert "700" in file_of(box, "heavy", "io.bfq.weight")


@PART
def test_update_takes_effect_on_a_running_container(box):
    box.ok("run", "-d", "--name", "grow", "-m", "40m", "--pids-limit", "20", "busybox", "sleep", "1000")
    assert (
        box.ok("update", "--memory", "80m", "--memory-swap", "80m", "--cpus", "0.3", "--pids-limit", "40", "grow")
        == "grow"
    )
    assert file_of(box, "grow", "memory.max") == str(80 << 20)
    assert file_of(box, "grow", "cpu.max") == "30000 100000"
    assert file_of(box, "grow", "pids.max") == "40"
    assert box.ok("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}", "grow") == f"{80 << 20} 300000000"


def test_limits_survive_a_restart(box):
    box.ok("run", "-d", "--name", "again", "-m", "48m", "--pids-limit", "20", "busybox", "sleep", "1000")
    box.ok("update", "--pids-limit", "25", "again")
    box.ok("stop", "-t", "0", "again")
    assert groups_of_rl() == []
    box.ok("start", "again")
    assert file_of(box, "again", "memory.max") == str(48 << 20)
    assert file_of(box, "again", "pids.max") == "25"


def test_an_exec_is_in_the_containers_cgroup(box):
    box.ok("run", "-d", "--name", "inside", "-m", "40m", "--memory-swap", "40m", "busybox", "sleep", "1000")
    box.ok("exec", "-d", "inside", "sleep", "999")
    group = group_of(box, "inside")
    commands = {Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (group / "cgroup.procs").read_text().split()}
    assert {b"sleep\x001000\0", b"sleep\x00999\0"} <= commands
    assert box("exec", "inside", "sh", "-c", HOG).status == 137


def test_pause_freezes_the_cgroup(box):
    box.ok("run", "-d", "--name", "ice", "-m", "64m", "busybox", "sh", "-c", "while :; do date +%s%N >/tmp/now; done")
    box.ok("pause", "ice")
    assert file_of(box, "ice", "cgroup.freeze") == "1"
    stat = group_of(box, "ice") / "cpu.stat"
    before = cgroups.keys(stat)["usage_usec"]
    assert "(Paused)" in box.ok("ps", "--format", "{{.Status}}")
    assert cgroups.keys(stat)["usage_usec"] == before
    box.ok("unpause", "ice")
    assert file_of(box, "ice", "cgroup.freeze") == "0"
    box.ok("pause", "ice")
    box.ok("rm", "-f", "ice")


@PART
def test_stats_agree_with_the_kernels_counters(box):
    box.ok(
        "run",
        "-d",
        "--name",
        "seen",
        "-m",
        "100m",
        "busybox",
        "sh",
        "-c",
        "head -c 20000000 /dev/zero >/dev/shm/x; sleep 1000",
    )
    group = group_of(box, "seen")
    deadline = time.monotonic() + 20
    while int((group / "memory.current").read_text()) < 20_000_000 and time.monotonic() < deadline:
        time.sleep(0.1)
    row = json.loads(box.ok("stats", "--no-stream", "--format", "json", "seen"))
    used, limit = row["MemUsage"].split(" / ")
    cached = cgroups.keys(group / "memory.stat")["inactive_file"]
    assert limit == "100MiB"
    assert used.endswith("MiB")
    assert float(used[:-3]) == pytest.approx(
        (int((group / "memory.current").read_text()) - cached) / (1 << 20), rel=0.1
    )
    assert int(row["PIDs"]) == int((group / "pids.current").read_text())
    assert all(float(row[name].removesuffix("%")) >= 0 for name in ("CPUPressure", "MemPressure", "IOPressure"))


def test_a_parent_slice_can_be_named(box):
    box.ok("run", "-d", "--name", "child", "--cgroup-parent", "rl-test.slice", "-m", "40m", "busybox", "sleep", "1000")
    assert "/rl.slice/rl-test.slice/" in str(group_of(box, "child"))
    assert file_of(box, "child", "memory.max") == str(40 << 20)


def test_a_delegated_directory_does_without_systemd(box):
    scope = ["systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes"]
    ours = f"XDG_RUNTIME_DIR={box.env['XDG_RUNTIME_DIR']}"
    box.prefix = ["env", f"XDG_RUNTIME_DIR=/run/user/{os.getuid()}", *scope, "env", ours]
    try:
        limits = ("-m", "40m", "--pids-limit", "20")
        seen = box.ok(
            *("--cgroup-manager", "cgroupfs", "run", "--rm", *limits, "busybox"),
            *("cat", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max"),
        )
    finally:
        box.prefix = []
    assert seen.split() == [str(40 << 20), "20"]


@pytest.mark.limit(400)
def test_twenty_containers_with_limits(box):
    started = [box.spawn("run", "-d", "-m", "32m", "--network", "none", "busybox", "sleep", "1000") for _ in range(20)]
    for process in started:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
    groups = groups_of_rl()
    assert len(groups) == 20
    assert {(group / "memory.max").read_text().strip() for group in groups} == {str(32 << 20)}


def test_a_killed_monitor_leaves_no_cgroup_behind(box):
    box.ok("run", "-d", "--name", "lost", "-m", "40m", "busybox", "sleep", "1000")
    group = group_of(box, "lost")
    pid = int(box.ok("inspect", "-f", "{{.State.Pid}}", "lost"))
    monitor = int(
        next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("PPid")).split()[
            1
        ]
    )
    os.kill(monitor, 9)
    assert processes.wait_gone([pid, monitor], 10) == []
    assert box.ok("ps", "-a", "--format", "{{.Names}} {{.State}}") == "lost exited"
    box.ok("rm", "lost")
    assert not group.exists()


def test_the_monitors_memory_is_not_the_containers(box):
    box.ok("run", "-d", "--name", "small", "-m", "6m", "busybox", "sleep", "1000")
    assert box.ok("exec", "small", "echo", "alive") == "alive"
    assert int(file_of(box, "small", "memory.current")) < 6 << 20


@pytest.mark.vm_user("rl-part")
@pytest.mark.parametrize(
    ("flags", "controller"),
    [(("--cpuset-cpus", "0"), "cpuset"), (("--device-write-bps", "/:1mb"), "io"), (("--blkio-weight", "500"), "io")],
)
def test_a_controller_that_is_not_delegated_is_named_with_the_drop_in(box, flags, controller):
    line = box.fails(125, "run", "--rm", *flags, "busybox", "true")
    assert flags[0] in line
    assert controller in line
    assert "/etc/systemd/system/user@.service.d/delegate.conf" in line
    assert "Delegate=" in line


@pytest.mark.vm_user("rl-plain")
@pytest.mark.parametrize("flags", [("-m", "50m"), ("--cpus", "0.5"), ("--pids-limit", "20"), ("--cpuset-cpus", "0")])
def test_without_delegation_each_limit_is_refused_with_the_remedy(box, flags):
    line = box.fails(125, "run", "--rm", *flags, "busybox", "true")
    assert "loginctl enable-linger" in line or "log in" in line
    assert "--limits best-effort" in line


@pytest.mark.vm_user("rl-plain")
def test_without_delegation_best_effort_keeps_memory_by_a_watchdog(box):
    result = box("run", "--name", "hog", "-m", "40m", "--limits", "best-effort", "busybox", "sh", "-c", HOG)
    assert result.status != 0
    assert "survived" not in result.stdout
    assert "weaker" in result.stderr
    assert box.json("inspect", "-f", "{{json .Rl.Limits}}", "hog")["--memory"].startswith("weaker: ")


@EVERYBODY
def test_a_container_without_limits_runs_and_leaves_nothing(box):
    assert box.ok("run", "--rm", "--network", "none", "busybox", "echo", "hello") == "hello"


# --- the same with podman, as reference ---------------------------------------------------


@pytest.fixture(scope="module")
def podman(busybox_archive: Path):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=170)

    loaded = run("load", "-q", "-i", str(busybox_archive))
    assert loaded.returncode == 0, loaded.stderr
    yield run
    run("rm", "-f", "-a", "-t", "0")


def test_podman_gives_the_same_files_the_same_values(box, podman):
    flags = ("-m", "64m", "--memory-swap", "96m", "--cpus", "0.5", "--pids-limit", "50", "--cpuset-cpus", "0")
    image = "docker.io/library/busybox:latest"
    made = podman("run", "-d", "--name", "reference", "--network", "none", *flags, image, "sleep", "1000")
    assert made.returncode == 0, made.stderr
    box.ok("run", "-d", "--name", "ours", "--network", "none", *flags, "busybox", "sleep", "1000")
    theirs = cgroups.of(int(podman("inspect", "-f", "{{.State.Pid}}", "reference").stdout))
    for file in ("memory.max", "memory.swap.max", "cpu.max", "pids.max", "cpuset.cpus"):
        assert file_of(box, "ours", file) == (theirs / file).read_text().strip(), file


def test_podmans_hog_ends_like_ours(box, podman):
    flags = ("--name", "hog", "-m", "40m", "--memory-swap", "40m", "--network", "none")
    reference = podman("run", *flags, "docker.io/library/busybox:latest", "sh", "-c", HOG)
    ours = box("run", *flags, "busybox", "sh", "-c", HOG)
    assert (
        (ours.status, "survived" in ours.stdout)
        == (reference.returncode, "survived" in reference.stdout)
        == (137, False)
    )
