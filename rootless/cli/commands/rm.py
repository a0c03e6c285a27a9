"""``rl rm``."""

from __future__ import annotations

from rootless.cli import actions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
OPTIONS: tuple[Row, ...] = (
    ("force", "f", "bool", "Force the removal of a running container (uses SIGKILL)"),
    ("link", "l", "!bool", ""),
    ("volumes", "v", "bool", "Remove anonymous volumes associated with the container"),
)
COMPLETES = "containers"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Remove containers."""
    return actions.remove(context, values, arguments)
