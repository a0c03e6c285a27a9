"""``rl stop``."""

from __future__ import annotations

from rootless.cli import actions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
OPTIONS: tuple[Row, ...] = (
    ("signal", "s", "string", "Signal to send to the container"),
    ("time", "", "=timeout", ""),
    ("timeout", "t", "int", "Seconds to wait before killing the container"),
)
COMPLETES = "running"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Stop containers."""
    return actions.stop(context, values, arguments)
