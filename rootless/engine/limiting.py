"""Limits of a container: where its cgroup goes, and how each limit is kept or why it cannot be.

Decided when a container is created, so that what cannot be is refused at once, and again at each
start, since the session may have become another.
"""

from __future__ import annotations

import os
import sys

from rootless.cgroups import resources as wanted
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rootless.cgroups.detect import Host
    from rootless.cgroups.limits import Plan
    from rootless.cgroups.placement import Placement
    from rootless.engine.engine import Engine

_VERSION_2 = "/sys/fs/cgroup/cgroup.controllers"


class Decision(Record):
    """What became of a container's limits on this machine, now."""

    record: dict[str, Any] | None = None  # for cgroups.membership.Membership
    limits: tuple[tuple[str, str], ...] = ()  # (flag, "enforced" or "weaker: how"), for inspect
    warnings: tuple[str, ...] = ()
    plan: Plan | None = None


def decide(engine: Engine, identifier: str, options: Mapping[str, Any]) -> Decision:
    """Return how the limits in a container's recorded ``options`` are kept.

    Raises one ``Unsupported`` that names the flags, the controllers, and who can grant them.
    """
    resources = wanted.Resources.from_plain(options.get("resources") or {})
    parent = options.get("cgroup_parent", "")
    limited = bool(wanted.asked(resources))
    named = parent or engine.settings["cgroup-parent"] or engine.settings["cgroup-manager"]
    if not limited and not named and not os.path.exists(_VERSION_2):
        return Decision()
    host, placement = place(engine, parent)
    from rootless.cgroups import membership

    if not limited:
        # Without help: asking systemd takes longer than all the rest of a start.
        return Decision(record=membership.record(placement, None, identifier) if host.top else None)
    from rootless.cgroups import limits

    mode = options.get("limits") or engine.settings["limits"]
    plan = limits.plan(
        resources, host, placement, best_effort=limits.check_mode(mode) == limits.BEST_EFFORT, seed=identifier
    )
    return Decision(
        record=membership.record(placement, plan, identifier),
        limits=tuple((limit.flag, limit.text) for limit in plan.limits),
        warnings=plan.warnings,
        plan=plan,
    )


def place(engine: Engine, parent: str = "") -> tuple[Host, Placement]:
    """Return what this machine offers and where containers' cgroups go."""
    from rootless.cgroups import detect, placement

    host = detect.host()
    return host, placement.choose(
        host,
        manager=engine.settings["cgroup-manager"],
        parent=parent or engine.settings["cgroup-parent"],
        data_root=engine.settings.data_root,
        lock=f"{engine.settings.runtime_dir}/cgroup.lock",
        modules=tuple(sys.path),
    )


def apply_rlimits(decision: Decision, section: dict[str, Any]) -> None:
    """Add the resource limits that stand in for missing controllers to an OCI process section."""
    if decision.plan and decision.plan.weaker:
        from rootless.cgroups import weaker

        section["rlimits"] = weaker.rlimits(decision.plan.weaker, section.get("rlimits", []))
