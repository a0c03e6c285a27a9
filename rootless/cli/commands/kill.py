"""``rl kill``."""

from __future__ import annotations

from rootless.cli import actions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
OPTIONS: tuple[Row, ...] = (("signal", "s", "string", "Signal to send to the container (default KILL)"),)
COMPLETES = "running"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Kill containers."""
    return actions.kill(context, values, arguments)
