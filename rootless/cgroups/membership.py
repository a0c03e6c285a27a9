"""A container's cgroup from its monitor's point of view: in before init is cloned, limits before the payload runs.

::

    command                      monitor
    record(…) ──── launch ─────→ enter()           before it enters rl's user namespace
                                 clone into fd      init's cgroup namespace then begins at the container's cgroup
                                 limit(init)       before "go"
                                 oom, check()      while it runs
                                 freeze(), thaw(), update(record)
                                 close()           after the end
"""

from __future__ import annotations

import os

from rootless.errors import RlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cgroups.group import Cgroup, OomWatch
    from rootless.cgroups.limits import Plan
    from rootless.cgroups.manager import CgroupManager
    from rootless.cgroups.placement import Placement
    from rootless.cgroups.weaker import Watchdog


def record(placement: Placement, plan: Plan | None, identifier: str) -> dict[str, Any] | None:
    """Return what ``Membership`` takes, as JSON values; None if there is nothing to do.

    No ``plan`` is one without limits.
    """
    weaker = plan.weaker.plain() if plan and plan.weaker else None
    if placement.manager == "none" and not weaker:
        return None
    values: dict[str, Any] = {}
    if plan:
        from rootless.cgroups import resources

        # -1 is what a new cgroup has: nobody needs to be asked for that.
        values = plan.enforced.plain() if resources.asked(plan.enforced) else {}
    return {"id": identifier, "placement": placement.plain(), "resources": values, "weaker": weaker}


FREEZER, SIGNALS = "cgroup freezer", "SIGSTOP to each process"


class Membership:
    """One container's; ``fd`` is its cgroup's directory, or -1 if it has none."""

    def __init__(self, launch: dict[str, Any] | None) -> None:
        self._launch = launch or {}
        self._manager: CgroupManager | None = None
        self._watchdog: Watchdog | None = None
        self._stopped: frozenset[int] | None = None
        self.group: Cgroup | None = None
        self.oom: OomWatch | None = None
        self.fd = -1

    @property
    def path(self) -> str:
        """Return the cgroup's directory, for the state; "" if there is none."""
        return self.group.path if self.group else ""

    def enter(self) -> None:
        """Make the cgroup, and move this process where it may fill it from.

        Without limits a container has a cgroup only if that takes no help, and is started without one
        otherwise. Raises ``RlError`` for a container with limits.
        """
        if not self._launch or self._launch["placement"]["manager"] == "none":
            return
        from rootless.cgroups import manager
        from rootless.cgroups.placement import Placement

        limited = bool(self._launch["resources"])
        self._manager = manager.open_manager(Placement.from_plain(self._launch["placement"]))
        assert self._manager is not None
        try:
            if self._manager.enter(ask=limited):
                self.group = self._manager.create(self._launch["id"])
                self.fd = self.group.open()
        except (RlError, OSError):
            if limited:
                raise
            self.group = None

    def limit(self, init_pid: int) -> list[str]:
        """Set all limits; returns warnings. Raises ``RlError`` for one that the kernel refuses.

        Not earlier than when init is set up: until it is replaced by the payload it is an interpreter, which
        6 MB would not hold.
        """
        launch, warnings = self._launch, []
        if self.group:
            if launch["resources"]:
                from rootless.cgroups import resources

                wanted = resources.Resources.from_plain(launch["resources"])
                self.group.apply(resources.writes(wanted, has=self.group.has))
            self.oom = self.group.watch_oom()
        if launch.get("weaker"):
            from rootless.cgroups import weaker
            from rootless.cgroups.limits import Weaker

            wanted_weaker = Weaker.from_plain(launch["weaker"])
            warnings = weaker.apply(wanted_weaker, init_pid)
            if wanted_weaker.watched:
                self._watchdog = weaker.Watchdog(wanted_weaker, init_pid)
        return warnings

    def update(self, launch: dict[str, Any] | None, init_pid: int) -> list[str]:
        """Replace the limits of a running container by those in a new record; returns warnings.

        Raises ``RlError`` for one that the kernel refuses; then all are as they were.
        """
        from rootless.cgroups import resources, weaker
        from rootless.cgroups.limits import Weaker

        launch, before = launch or {}, self._launch
        if self.group:
            old = resources.Resources.from_plain(before.get("resources") or {})
            new = resources.Resources.from_plain(launch.get("resources") or {})
            try:
                self.group.apply(resources.writes(new, has=self.group.has, reset=old))
            except RlError:
                try:
                    self.group.apply(resources.writes(old, has=self.group.has, reset=new))
                except (RlError, OSError):
                    pass  # the refusal is the better thing to report
                raise
        after = Weaker.from_plain(launch.get("weaker") or {})
        warnings = weaker.change(Weaker.from_plain(before.get("weaker") or {}), after, init_pid)
        self._watchdog = weaker.Watchdog(after, init_pid) if after.watched else None
        self._launch = {**before, "resources": launch.get("resources") or {}, "weaker": launch.get("weaker")}
        return warnings

    def freeze(self, init_pid: int) -> str:
        """Make all processes stand still; returns by what. Raises ``RlError``."""
        if self.group and self.group.has("cgroup.freeze"):
            self.group.freeze()
            return FREEZER
        from rootless.cgroups import weaker

        self._stopped = weaker.stop(init_pid)
        return SIGNALS

    def thaw(self, init_pid: int) -> None:
        """Let them go on. Raises ``RlError``."""
        if self._stopped is not None:
            from rootless.cgroups import weaker

            weaker.resume(init_pid, self._stopped)
            self._stopped = None
        elif self.group:
            self.group.thaw()

    @property
    def interval(self) -> float | None:
        """Return every how many seconds to ``check``; None for never."""
        if self._watchdog is None:
            return None
        from rootless.cgroups.weaker import INTERVAL

        return INTERVAL

    def check(self) -> str:
        """Return why the watchdog wants the container to end, or ""."""
        return self._watchdog.check() if self._watchdog else ""

    def oom_kills(self) -> int:
        """Return how many processes were killed for memory so far."""
        return self.group.oom_kills() if self.group else 0

    def close(self) -> None:
        """Kill what is left in the cgroup and remove it; safe to repeat. Raises ``RlError``."""
        if self.oom:
            self.oom.close()
            self.oom = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self.group and self._manager:
            group, self.group = self.group, None
            self._manager.leave(group)
