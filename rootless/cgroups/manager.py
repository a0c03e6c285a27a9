"""Getting processes and containers to their place; what ``placement`` decided, carried out.

Runs in the monitor (in or outside of rl's user namespace) and in commands that join a container.
"""

from __future__ import annotations

import errno
import os

from rootless.cgroups import detect
from rootless.cgroups.group import Cgroup, write
from rootless.errors import RlError, SystemFailure, Unsupported, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from rootless.cgroups.placement import Placement

    class CgroupManager(Protocol):
        """Where containers' cgroups are, and how processes get there."""

        def enter(self, *, ask: bool) -> bool:
            """Bring the calling process where it may start containers from.

            Without ``ask`` only if that takes no help from another process; says whether it worked.
            Raises ``SystemFailure`` or ``Unsupported``.
            """

        def create(self, identifier: str) -> Cgroup:
            """Make the cgroup of a container, with all controllers; ``enter`` comes before."""

        def attach(self, group: Cgroup, pid: int, *, beside: int = 0) -> None:
            """Move a process of ours, from wherever, into a container (for exec); see ``Cgroup.attach``."""

        def leave(self, group: Cgroup) -> None:
            """Remove a container's cgroup and what was made for it alone."""


MONITORS = "monitors"
EVACUATED = "rl-processes"
_DENIED = (errno.EACCES, errno.EPERM)
_GONE = (errno.ENOENT, errno.ENODEV)


def open_manager(placement: Placement) -> CgroupManager | None:
    """Return the manager; None for "none"."""
    if placement.manager == "systemd":
        return Systemd(placement)
    if placement.manager == "cgroupfs":
        return Cgroupfs(placement)
    return None


class Systemd:
    """A transient scope of the user manager; see the package's picture."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self.base = placement.base
        self._ready = False

    def enter(self, *, ask: bool) -> bool:
        """Move the caller to the leaf of the monitors, making the scope if need be."""
        if self._move():
            return True
        if not ask:
            return False
        lock = -1
        try:
            if self.placement.lock:
                import fcntl

                # One maker at a time: whoever waited finds the scope.
                lock = os.open(self.placement.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(lock, fcntl.LOCK_EX)
            # A scope may go, with its last process, between our look and our move: twice is bad luck.
            for _ in range(3):
                if self._move() or self._ask():
                    return True
        except OSError as error:
            raise from_oserror(error, "cannot enter the control group of rl") from error
        finally:
            if lock >= 0:
                os.close(lock)
        raise SystemFailure(f"systemd removes {self.placement.unit} as soon as it is made", hint=_JOURNAL)

    def _move(self) -> bool:
        """Move ourselves without help; False if the scope is not there or this session is not ours to leave.

        A scope lives as long as a process is in it: an empty directory is one that systemd has forgotten, or
        is about to remove.
        """
        if not Cgroup(self.base).populated():
            return False
        try:
            write(f"{self.base}/{MONITORS}/cgroup.procs", "0")
            return True
        except OSError as error:
            if error.errno not in (*_GONE, *_DENIED):
                raise from_oserror(error, "cannot enter the control group of rl") from error
            return False

    def _ask(self) -> bool:
        """Have systemd move us, into the scope that is there or a new one."""
        from rootless.cgroups import systemd

        pid = os.getpid()
        if Cgroup(self.base).populated():
            try:
                os.mkdir(f"{self.base}/{MONITORS}")
            except FileExistsError:
                pass
            except FileNotFoundError:
                return False
            if self._move():
                return True
            if systemd.attach(self.placement, f"/{MONITORS}", pid):
                return True
        self._clear_stale()
        found = systemd.start_scope(self.placement, pid)
        # Where systemd put us, which is not where we looked if its slices are arranged in another way.
        self.base = f"{self.placement.mount}{found}"
        try:
            os.mkdir(f"{self.base}/{MONITORS}")
        except FileExistsError:
            pass
        except FileNotFoundError:
            return False
        return self._move()

    def _clear_stale(self) -> None:
        """Remove a directory that systemd has forgotten: it would put us there in vain, and never remove it."""
        group = Cgroup(self.base)
        if group.exists() and not group.populated():
            group.prune()

    def create(self, identifier: str) -> Cgroup:
        """Make a container's cgroup."""
        if not self._ready:
            _enable(Cgroup(self.base), self.placement.controllers)
            self._ready = True
        group = Cgroup(f"{self.base}/{identifier}")
        group.create()
        return group

    def attach(self, group: Cgroup, pid: int, *, beside: int = 0) -> None:
        """Move a process; over the bus from a session that is not ours to leave."""
        try:
            group.attach(pid, beside=beside)
            return
        except OSError as error:
            if error.errno not in _DENIED:
                raise from_oserror(error, "cannot enter the container's control group") from error
        from rootless.cgroups import systemd

        scope = os.path.dirname(group.path)
        placement = self.placement.replace(unit=os.path.basename(scope))
        if not systemd.attach(placement, f"/{os.path.basename(group.path)}", pid or os.getpid()):
            raise SystemFailure(f"systemd does not know {placement.unit} any more", hint="stop and start the container")

    def leave(self, group: Cgroup) -> None:
        """Remove the container's cgroup; the scope goes by itself when the last monitor ends."""
        group.remove()


class Cgroupfs:
    """A directory below a cgroup that was delegated; monitors stay where they are."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self.base = placement.base

    def enter(self, *, ask: bool) -> bool:
        """Make the directories and pass controllers down to them.

        Without ``ask`` processes are not moved out of the way, so that there may be no controllers.
        """
        try:
            os.makedirs(self.base, exist_ok=True)
            self._pass_down(evacuate=ask)
        except OSError as error:
            raise from_oserror(error, "cannot use the delegated control group") from error
        return True

    def _pass_down(self, *, evacuate: bool) -> None:
        """Pass controllers from the highest cgroup that is ours to the base."""
        placement = self.placement
        path, chain = placement.parent, [self.base]
        while path:
            directory = f"{placement.mount}{path}".rstrip("/")
            if not detect.is_managed(directory):
                break
            chain.append(directory)
            path = detect.parent_of(path)
        for directory in reversed(chain):
            have = detect.words(f"{directory}/cgroup.controllers")
            _enable(Cgroup(directory), [name for name in placement.controllers if name in have], evacuate=evacuate)

    def create(self, identifier: str) -> Cgroup:
        """Make a container's cgroup."""
        group = Cgroup(f"{self.base}/{identifier}")
        group.create()
        return group

    def attach(self, group: Cgroup, pid: int, *, beside: int = 0) -> None:
        """Move a process."""
        try:
            group.attach(pid, beside=beside)
        except OSError as error:
            if error.errno in _DENIED:
                raise Unsupported(
                    "this session's processes may not be moved into the container's control group",
                    hint="run rl from the delegated cgroup, or with --cgroup-manager systemd",
                ) from error
            raise from_oserror(error, "cannot enter the container's control group") from error

    def leave(self, group: Cgroup) -> None:
        """Remove the container's cgroup, and the base with the last one."""
        group.remove()
        try:
            os.rmdir(self.base)
        except OSError:
            pass  # others are in it


_JOURNAL = "journalctl --user -e says why"


def _enable(group: Cgroup, controllers: tuple[str, ...] | list[str], *, evacuate: bool = True) -> None:
    """Pass controllers on from ``group``, whose processes go to a leaf if they are in the way.

    What the kernel refuses to pass on is found out by the limit that needs it.
    """
    for _ in range(8):  # processes fork while they are moved
        try:
            group.enable(controllers)
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise from_oserror(error, "cannot pass controllers on") from error
        if not evacuate:
            return
        _evacuate(group)
    raise SystemFailure(
        f"cannot pass controllers on from {group.path}: processes keep appearing in it",
        hint="name another cgroup with --cgroup-parent",
    )


def _evacuate(group: Cgroup) -> None:
    leaf = f"{group.path}/{MONITORS if group.path.endswith('.scope') else EVACUATED}"
    try:
        os.makedirs(leaf, exist_ok=True)
        with open(f"{group.path}/cgroup.procs", "rb") as stream:
            pids = stream.read().split()
    except OSError as error:
        raise from_oserror(error, "cannot empty the control group") from error
    for pid in pids:
        try:
            write(f"{leaf}/cgroup.procs", pid.decode())
        except ProcessLookupError:
            continue
        except OSError as error:
            raise from_oserror(error, f"cannot move process {pid.decode()} out of {group.path}") from error


def find(path: str) -> Cgroup | None:
    """Return the cgroup that a container's state names, if it has one that still exists."""
    group = Cgroup(path) if path else None
    return group if group and group.exists() else None


def forget(path: str) -> None:
    """Remove the cgroup of a container whose monitor was killed; never raises."""
    group = find(path)
    if group is None:
        return
    try:
        group.remove()
    except (RlError, OSError):
        return
    base = os.path.dirname(path)
    if not base.endswith(".scope"):
        try:
            os.rmdir(base)
        except OSError:
            pass
