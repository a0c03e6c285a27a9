"""What ``info`` finds out about machines of several kinds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rootless.config import Settings
from rootless.config import load as load_settings
from rootless.engine import info
from rootless.errors import MissingHelper
from rootless.storage.content import BlobStore
from rootless.storage.images import ImageStore
from rootless.storage.layout import Layout


class Driver:
    name = "vfs"
    notes = ("overlay: refused", "fuse-overlayfs: not installed")


class Machine:
    """An engine with a store of its own; its driver may be missing."""

    def __init__(self, settings: Settings, driver: Driver | None) -> None:
        self.settings = settings
        self.layout = Layout(settings.data_root)
        self.layout.create()
        self.images = ImageStore(self.layout, BlobStore(self.layout))
        self._driver = driver

    @property
    def snapshotter(self) -> Driver:
        if self._driver is None:
            raise MissingHelper("newuidmap is not installed", hint="apt install uidmap")
        return self._driver


class View:
    def __init__(self, status: str) -> None:
        self.state = {"status": status}


def settings(tmp_path: Path) -> Settings:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return load_settings(
        overrides={"data-root": str(tmp_path / "data"), "insecure-registries": ["reg:5000", "10.0.0.0/8"]},
        environ={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime)},
    )


def test_numbers_and_driver(tmp_path: Path) -> None:
    engine: Any = Machine(settings(tmp_path), Driver())
    views: Any = [View("running"), View("exited"), View("created")]
    data = info.collect(engine, views)
    json.dumps(data)
    assert (data["Containers"], data["ContainersRunning"], data["ContainersStopped"]) == (3, 1, 2)
    assert data["Driver"] == "vfs"
    assert ["Reason", "overlay: refused; fuse-overlayfs: not installed"] in data["DriverStatus"]
    assert data["KernelVersion"] == os.uname().release
    assert "name=rootless" in data["SecurityOptions"]
    assert data["RegistryConfig"]["IndexConfigs"]["reg:5000"]["Secure"] is False
    assert "10.0.0.0/8" in data["RegistryConfig"]["InsecureRegistryCIDRs"]
    assert any("vfs" in warning for warning in data["Warnings"])
    assert data["ID"] == info.collect(engine, [])["ID"]


def test_a_machine_that_cannot_run_containers_still_has_info(tmp_path: Path) -> None:
    engine: Any = Machine(settings(tmp_path), None)
    data = info.collect(engine, [])
    assert data["Driver"] == "none"
    assert "WARNING: containers cannot be run: newuidmap is not installed (apt install uidmap)" in data["Warnings"]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


MOUNTS = "1 0 0:1 / / rw - ext4 /dev/vda rw\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    write(tmp_path / "proc/self/mountinfo", MOUNTS)
    write(tmp_path / "proc/self/cgroup", "0::/session\n")
    return tmp_path / "proc"


def test_cgroup_version_1(tmp_path: Path, proc: Path) -> None:
    write(proc / "self/mountinfo", f"{MOUNTS}2 1 0:2 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n")
    found = info.probe_cgroups(str(proc), str(tmp_path / "cgroup"))
    assert (found.version, found.driver, found.controllers) == ("1", "none", ())
    assert "version 1" in str(info._lacks_for_cgroups(found)[0])


def test_delegation_by_systemd(tmp_path: Path, proc: Path) -> None:
    root = tmp_path / "cgroup"
    write(proc / "self/mountinfo", f"{MOUNTS}2 1 0:2 / {root} rw shared:1 - cgroup2 cgroup2 rw\n")
    uid = os.getuid()
    service = f"user.slice/user-{uid}.slice/user@{uid}.service"
    write(root / service / "cgroup.procs", "")
    write(root / service / "cgroup.controllers", "memory pids\n")
    found = info.probe_cgroups(str(proc), str(root))
    assert (found.version, found.driver, found.path) == ("2", "systemd", f"/{service}")
    assert found.controllers == ("memory", "pids")
    (finding,) = info._lacks_for_cgroups(found)
    assert "not delegated: cpu" in str(finding)
    assert "Delegate=" in finding.remedy


def test_no_delegation(tmp_path: Path, proc: Path) -> None:
    root = tmp_path / "cgroup"
    write(proc / "self/mountinfo", f"{MOUNTS}2 1 0:2 / {root} rw - cgroup2 cgroup2 rw\n")
    (root / "session").mkdir(parents=True)
    found = info.probe_cgroups(str(proc), str(root))
    assert (found.version, found.driver, found.path) == ("2", "none", "")
    assert "loginctl" in str(info._lacks_for_cgroups(found)[0])


def test_version_has_what_clients_ask_for() -> None:
    data = info.version()
    assert data["ApiVersion"] == "1.47"
    assert data["MinAPIVersion"] == "1.24"
    assert data["Components"][0]["Name"] == "Engine"
    assert data["Os"] == "linux"
