"""``update``: other limits and another restart policy for a container that exists.

The container's record is replaced as a whole. In one that runs its monitor changes the limits
first, so that a limit that the kernel refuses is never on record.
"""

from __future__ import annotations

from rootless import log
from rootless.cgroups import resources
from rootless.engine import containers, limiting
from rootless.engine.options import to_record
from rootless.errors import Conflict
from rootless.storage import records
from rootless.storage.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rootless.engine.engine import Engine
    from rootless.engine.options import RestartPolicy


def update(
    engine: Engine, text: str, changes: Mapping[str, Any], *, restart: RestartPolicy | None = None, limits: str = ""
) -> None:
    """Change what ``changes`` (fields of ``Resources``), ``restart`` and ``limits`` (the mode) give.

    Raises ``InvalidArgument``, ``Conflict`` and ``Unsupported``; nothing has changed then.
    """
    container = containers.find(engine, text)
    # Docker's rules: nothing is lifted by 0, except that this is no limit of processes.
    given = {name: value for name, value in changes.items() if value}
    if "pids_limit" in changes:
        given["pids_limit"] = changes["pids_limit"] or -1
    with Lock(f"{engine.layout.locks}/update"):
        container = containers.load(engine, container.id)
        options = dict(container.record["options"])
        if restart is not None:
            if container.auto_remove and restart.name != "no":
                raise Conflict(
                    f"cannot update container {text}: "
                    "restart policy cannot be updated because AutoRemove is enabled for the container"
                )
            options["restart"] = to_record(restart)
        if limits:
            options["limits"] = limits
        if given or limits:
            old = resources.Resources.from_plain(options.get("resources") or {})
            options["resources"] = to_record(resources.merge(old, given))
            _apply(engine, container, options)
        records.write(f"{container.directory}/container.json", {**container.record, "options": options})


def _apply(engine: Engine, container: containers.Container, options: dict[str, Any]) -> None:
    if not container.running:
        limiting.warn(limiting.decide(engine, container.id, options))
        return
    from rootless.engine import control

    decision = limiting.decide_running(engine, container, options)
    limits = [list(limit) for limit in decision.limits]
    for warning in control.ask(container, update=decision.record, limits=limits):
        log.warn(warning)
    limiting.warn(decision)
