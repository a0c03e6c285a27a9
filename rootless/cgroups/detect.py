"""What control groups this machine has, and what of them this user manages; by reading only."""

from __future__ import annotations

import os

from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = "/sys/fs/cgroup"
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")  # that rl uses


class Host(Record):
    """Control groups as this process finds them; paths are below ``mount`` and begin with a slash."""

    version: int  # 2, or 1 where controllers are (also partly) in version 1; 0 for none at all
    mount: str = ROOT
    own: str = ""  # of this process; "" if it is outside of what we see
    top: str = ""  # the highest ancestor of own (or own itself) that this user manages; "" if none
    service: str = ""  # the systemd user manager's, if it is delegated; else ""
    buses: tuple[str, ...] = ()  # sockets on which the user manager may answer, best first
    session: bool = False  # the user manager has a cgroup, delegated or not
    offered: tuple[str, ...] = ()  # controllers of the kernel, as far as we can see
    granted: tuple[str, ...] = ()  # controllers of service

    def directory(self, path: str) -> str:
        """Return the directory of a cgroup."""
        return f"{self.mount}{path}".rstrip("/")


def host(
    *,
    root: str = ROOT,
    proc: str = "/proc",
    run: str = "/run",
    uid: int | None = None,
    environ: Mapping[str, str] = os.environ,
    writable: Callable[[str], bool] | None = None,
) -> Host:
    """Look at the machine; a dozen system calls.

    ``root`` is where cgroup2 is mounted. To be called outside of rl's user namespace, in which
    we are root.
    """
    may = writable or is_managed
    if not os.path.exists(f"{root}/cgroup.controllers"):
        return Host(version=1 if os.path.isdir(root) and os.listdir(root) else 0, mount=root)
    number = os.getuid() if uid is None else uid
    own = own_cgroup(f"{proc}/self/cgroup")
    service = f"/user.slice/user-{number}.slice/user@{number}.service"
    session = os.path.isdir(f"{root}{service}")
    if not may(f"{root}{service}"):
        service = ""
    # Only the real root has no type; that of a cgroup namespace shows what was passed on to it.
    is_root = not os.path.exists(f"{root}/cgroup.type")
    return Host(
        version=2,
        mount=root,
        own=own,
        top=_top(root, own, may),
        service=service,
        buses=_buses(number, run, environ),
        session=session,
        offered=words(f"{root}/cgroup.controllers") if is_root else CONTROLLERS,
        granted=words(f"{root}{service}/cgroup.controllers") if service else (),
    )


def is_managed(directory: str) -> bool:
    """Say whether this user may make cgroups below ``directory``, fill them and give them controllers."""
    return all(
        os.access(path, os.W_OK)
        for path in (directory, f"{directory}/cgroup.procs", f"{directory}/cgroup.subtree_control")
    )


def own_cgroup(path: str = "/proc/self/cgroup") -> str:
    """Return the version 2 cgroup in a file like /proc/PID/cgroup; "" if it cannot be used."""
    try:
        with open(path, "rb") as stream:
            for line in stream.read().decode("utf-8", "surrogateescape").splitlines():
                if line.startswith("0::"):
                    # "/../x": outside of our cgroup namespace; "(deleted)": removed under our feet.
                    found = line[3:]
                    return "" if found.startswith("/..") or found.endswith(" (deleted)") else found
    except OSError:
        pass
    return ""


def words(path: str) -> tuple[str, ...]:
    """Return the words in a file; none if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return tuple(stream.read().decode("ascii", "replace").split())
    except OSError:
        return ()


def parent_of(path: str) -> str:
    """Return the parent of a cgroup path; that of the root is ""."""
    return "" if path in ("", "/") else path.rpartition("/")[0] or "/"


def _top(root: str, own: str, may: Callable[[str], bool]) -> str:
    top, path = "", own
    while path and may(f"{root}{path}".rstrip("/")):
        top, path = path, parent_of(path)
    return top


def _buses(uid: int, run: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return candidates that exist; the last is systemd's own socket, which needs no bus at all."""
    found = []
    for address in environ.get("DBUS_SESSION_BUS_ADDRESS", "").split(";"):
        if address.startswith("unix:path="):
            found.append(_unescape(address[10:].partition(",")[0]))
    directories = [directory for directory in (environ.get("XDG_RUNTIME_DIR", ""), f"{run}/user/{uid}") if directory]
    found += [f"{directory}/bus" for directory in directories]
    found += [f"{directory}/systemd/private" for directory in directories]
    return tuple(path for path in dict.fromkeys(found) if os.access(path, os.W_OK))


def _unescape(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)
