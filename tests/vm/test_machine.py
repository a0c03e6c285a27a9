"""The virtual machine is what the other tests here take it for."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import cgroups
from tests.support.rl import Rl

EVERYTHING = {"cpu", "cpuset", "io", "memory", "pids"}
DEFAULT = {"cpu", "memory", "pids"}
SESSION = pytest.mark.vm_user("rl-user", "rl-part", "rl-nosub")
EVERYBODY = pytest.mark.vm_user("rl-user", "rl-part", "rl-nosub", "rl-plain")


def has_bus() -> bool:
    return subprocess.run(["systemctl", "--user", "show", "-p", "Version"], capture_output=True).returncode == 0


@EVERYBODY
def test_has_only_cgroup_version_2():
    types = [line.split(" - ")[1].split()[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert "cgroup2" in types
    assert "cgroup" not in types


@SESSION
def test_session_has_a_manager_and_a_bus():
    assert cgroups.of().name.startswith("session-")
    assert os.environ["XDG_RUNTIME_DIR"] == f"/run/user/{os.getuid()}"
    assert has_bus()


@SESSION
def test_the_manager_has_a_delegated_subtree():
    manager = cgroups.manager()
    assert manager.stat().st_uid == os.getuid()
    expected = EVERYTHING if getpass.getuser() == "rl-user" else DEFAULT
    assert cgroups.controllers(manager) == expected


def test_a_scope_can_have_every_controller():
    scope = ["systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes"]
    script = "cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cgroup.controllers"
    assert set(subprocess.check_output([*scope, "sh", "-c", script], text=True).split()) == EVERYTHING


@pytest.mark.vm_user("rl-plain")
def test_the_plain_user_has_no_manager_no_bus_and_no_subtree():
    assert "XDG_RUNTIME_DIR" not in os.environ
    assert not has_bus()
    assert not cgroups.manager().exists()
    groups = [cgroups.MOUNT, *cgroups.below(cgroups.MOUNT)]
    assert [group for group in groups if group.stat().st_uid == os.getuid()] == []


@EVERYBODY
def test_only_one_user_has_no_subordinate_ids():
    found = any(line.startswith(f"{getpass.getuser()}:") for line in Path("/etc/subuid").read_text().splitlines())
    assert found == (getpass.getuser() != "rl-nosub")


@EVERYBODY
def test_devices_are_open_to_everyone():
    for path in ("/dev/fuse", "/dev/net/tun"):
        assert os.access(path, os.R_OK | os.W_OK)


def test_the_scratch_disk_has_a_scheduler_that_knows_weights(tmp_path):
    major, minor = divmod(os.stat("/scratch").st_dev, 256)
    assert (major, minor) == tuple(map(int, Path("/sys/block/vdc/dev").read_text().split(":")))
    assert "[bfq]" in Path("/sys/block/vdc/queue/scheduler").read_text()
    assert os.access("/scratch", os.W_OK)


def test_there_is_swap():
    assert len(Path("/proc/swaps").read_text().splitlines()) == 2


def test_commands_can_be_killed_by_the_oom_killer():
    assert Path("/proc/self/oom_score_adj").read_text() == "0\n"


@pytest.mark.vm_user("rl-user", "rl-part", "rl-plain")
def test_rl_runs_a_container(loaded: Rl):
    assert loaded.ok("run", "--rm", "--network", "none", "busybox", "echo", "hello") == "hello"


def test_rl_runs_a_container_on_a_network(loaded: Rl):
    assert "inet 10.0.2." in loaded.ok("run", "--rm", "busybox", "ip", "-4", "addr", "show", "dev", "tap0")


def test_podman_is_there_as_reference():
    assert shutil.which("podman")
    info = ["podman", "info", "--format", "{{.Host.CgroupsVersion}} {{.Host.CgroupManager}} {{.Host.OCIRuntime.Name}}"]
    assert subprocess.check_output(info, text=True).split() == ["v2", "systemd", "crun"]
