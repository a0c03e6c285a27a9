"""The cgroups of this machine, as the kernel shows them."""

from __future__ import annotations

import os
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")


def of(pid: int | str = "self") -> Path:
    """Return the cgroup of a process (version 2)."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return MOUNT / line[3:].lstrip("/")
    raise AssertionError(f"process {pid} is in no cgroup of version 2")


def controllers(group: Path) -> set[str]:
    """Return the controllers that exist in a cgroup."""
    return set((group / "cgroup.controllers").read_text().split())


def manager(uid: int | None = None) -> Path:
    """Return the cgroup of a user's systemd, which is delegated to the user; it may not exist."""
    number = os.getuid() if uid is None else uid
    return MOUNT / f"user.slice/user-{number}.slice/user@{number}.service"


def below(group: Path) -> set[Path]:
    """Return all cgroups below one."""
    return {Path(directory) for directory, _, _ in os.walk(group)} - {group}


def keys(file: Path) -> dict[str, int]:
    """Return a file of lines `name number`: memory.events, memory.stat, cpu.stat."""
    return {name: int(value) for name, value in (line.split() for line in file.read_text().splitlines())}
