"""Directories that look like cgroup file systems, for what only reads and writes files."""

from __future__ import annotations

from pathlib import Path

FILES = ("cgroup.procs", "cgroup.subtree_control", "cgroup.controllers", "cgroup.type")


def cgroup(root: Path, path: str = "", *, controllers: str = "", enabled: str = "", procs: str = "") -> Path:
    """Make one cgroup; the root of the whole tree has no cgroup.type."""
    directory = root / path.strip("/")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cgroup.controllers").write_text(controllers + "\n")
    (directory / "cgroup.subtree_control").write_text(enabled + "\n")
    (directory / "cgroup.procs").write_text(procs)
    if path.strip("/"):
        (directory / "cgroup.type").write_text("domain\n")
    return directory


def proc(root: Path, own: str) -> Path:
    """Make a /proc whose process is in cgroup ``own``."""
    (root / "self").mkdir(parents=True)
    (root / "self/cgroup").write_text(f"0::{own}\n")
    return root


USER = "/user.slice/user-1000.slice"
SERVICE = f"{USER}/user@1000.service"


def session(tmp_path: Path, *, own: str, granted: str = "cpu memory pids", bus: bool = True, delegated: bool = True):
    """Make the tree of a systemd machine with user 1000 logged in, and return arguments of ``detect.host``."""
    root = tmp_path / "cgroup"
    everything = "cpuset cpu io memory hugetlb pids"
    cgroup(root, controllers=everything, enabled=everything)
    cgroup(root, USER, controllers=everything)
    cgroup(root, f"{USER}/session-3.scope", controllers="memory pids", procs="77\n")
    cgroup(root, SERVICE, controllers=granted, enabled=granted)
    cgroup(root, f"{SERVICE}/app.slice", controllers=granted, enabled="memory pids")
    cgroup(root, f"{SERVICE}/app.slice/term.scope", controllers="memory pids", procs="88\n")
    run = tmp_path / "run/user/1000"
    run.mkdir(parents=True)
    if bus:
        (run / "bus").write_text("")
    ours = str(root / SERVICE.strip("/"))
    return {
        "root": str(root),
        "proc": str(proc(tmp_path / "proc", own)),
        "run": str(tmp_path / "run"),
        "uid": 1000,
        "environ": {},
        # Tests may run as root, whom nothing is forbidden.
        "writable": lambda path: delegated and path.startswith(ours),
    }
