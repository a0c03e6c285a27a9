"""What ``info`` finds out about machines of several kinds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rootless.cgroups.detect import Host
from rootless.cgroups.placement import Placement
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


def settings(tmp_path: Path, more: dict[str, Any] | None = None) -> Settings:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return load_settings(
        overrides={
            "data-root": str(tmp_path / "data"),
            "insecure-registries": ["reg:5000", "10.0.0.0/8"],
            **(more or {}),
        },
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


# -- control groups ----------------------------------------------------------------------

OFFERED = ("cpu", "cpuset", "io", "memory", "pids")


def test_cgroup_version_1() -> None:
    host = Host(version=1)
    found = info.describe_cgroups(host, Placement(manager="none"))
    assert (found.version, found.manager, found.controllers, found.missing) == (1, "none", (), OFFERED)
    (finding,) = info._lacks_for_cgroups(found)
    assert "version 1" in finding.lack
    assert "systemd.unified_cgroup_hierarchy=1" in finding.remedy


def test_partial_delegation_by_systemd(tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service/memory.swap.max").write_text("max")
    host = Host(version=2, mount=str(tmp_path), service="/service", session=True, buses=("/b",), offered=OFFERED)
    place = Placement(manager="systemd", parent="/service/app.slice", controllers=("memory", "pids"))
    found = info.describe_cgroups(host, place)
    assert (found.manager, found.missing, found.swap) == ("systemd", ("cpu", "cpuset", "io"), True)
    (finding,) = info._lacks_for_cgroups(found)
    assert "limits of cpu, cpuset, io cannot be enforced" in finding.lack
    assert "delegate.conf" in finding.remedy
    assert "Delegate=" in finding.remedy


def test_full_delegation_is_nothing_to_warn_of() -> None:
    host = Host(version=2, own="/ci", top="/ci", offered=OFFERED)
    found = info.describe_cgroups(host, Placement(manager="cgroupfs", parent="/ci", controllers=OFFERED))
    assert (found.missing, info._lacks_for_cgroups(found)) == ((), [])


def test_a_configured_manager_that_does_not_exist_is_a_finding(tmp_path: Path) -> None:
    engine: Any = Machine(settings(tmp_path, {"cgroup-parent": "/nowhere/../x"}), Driver())
    data = info.collect(engine, [])
    assert data["CgroupDriver"] == "none"
    assert data["MemoryLimit"] is False
    assert data["Rl"]["CgroupReason"]


def test_version_has_what_clients_ask_for() -> None:
    data = info.version()
    assert data["ApiVersion"] == "1.47"
    assert data["MinAPIVersion"] == "1.24"
    assert data["Components"][0]["Name"] == "Engine"
    assert data["Os"] == "linux"
