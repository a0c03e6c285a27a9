"""Limits of a container: where its cgroup goes, and how each limit is kept or why it cannot be.

Decided when a container is created, so that what cannot be is refused at once, and again at each
start, since the session may have become another.
"""

from __future__ import annotations

import os
import sys

from rootless import log
from rootless.cgroups import resources as wanted
from rootless.errors import Conflict
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rootless.cgroups.detect import Host
    from rootless.cgroups.limits import Plan
    from rootless.cgroups.placement import Placement
    from rootless.cgroups.resources import Resources
    from rootless.engine.containers import Container
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
    return _decision(resources, host, placement, identifier, best_effort=_best_effort(engine, options))


def decide_running(engine: Engine, container: Container, options: Mapping[str, Any]) -> Decision:
    """Return how other limits are kept in a container that runs, in the cgroup that it has.

    Raises ``Unsupported`` as ``decide``, or ``Conflict`` if it would need the cgroup that it does not have.
    """
    from rootless.cgroups import detect
    from rootless.cgroups.placement import Placement

    resources = wanted.Resources.from_plain(options.get("resources") or {})
    best_effort, state = _best_effort(engine, options), container.state
    if state.get("cgroup") and state.get("placement"):
        placement = Placement.from_plain(state["placement"])
        return _decision(resources, detect.host(), placement, container.id, best_effort=best_effort)
    host, placement = place(engine, options.get("cgroup_parent", ""))
    decision = _decision(resources, host, placement, container.id, best_effort=best_effort)
    if not any(text == "enforced" for _, text in decision.limits):
        return decision
    if best_effort:
        return _decision(resources, host, placement.replace(controllers=()), container.id, best_effort=True)
    raise Conflict(
        f"container {container.name} runs without a control group, since it was started without limits",
        hint=f"update it while it is stopped: rl stop {container.name}",
    )


def _best_effort(engine: Engine, options: Mapping[str, Any]) -> bool:
    from rootless.cgroups import limits

    return limits.check_mode(options.get("limits") or engine.settings["limits"]) == limits.BEST_EFFORT


def _decision(
    resources: Resources, host: Host, placement: Placement, identifier: str, *, best_effort: bool
) -> Decision:
    from rootless.cgroups import limits, membership

    plan = limits.plan(resources, host, placement, best_effort=best_effort, seed=identifier)
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


def warn(decision: Decision) -> None:
    """Say which limits are kept in part only."""
    for warning in decision.warnings:
        log.warn(warning)
    for flag, text in decision.limits:
        if text != "enforced":
            log.warn(f"{flag} is kept in a weaker form: {text.removeprefix('weaker: ')}")


def apply_rlimits(decision: Decision, section: dict[str, Any]) -> None:
    """Add the resource limits that stand in for missing controllers to an OCI process section."""
    if decision.plan and decision.plan.weaker:
        from rootless.cgroups import weaker

        section["rlimits"] = weaker.rlimits(decision.plan.weaker, section.get("rlimits", []))
