"""``rl start``."""

from __future__ import annotations

from rootless.cli import actions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
OPTIONS: tuple[Row, ...] = (
    ("attach", "a", "bool", "Attach STDOUT/STDERR and forward signals"),
    ("checkpoint", "", "!string", ""),
    ("checkpoint-dir", "", "!string", ""),
    ("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    ("interactive", "i", "bool", "Attach container's STDIN"),
)
COMPLETES = "stopped"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Start containers."""
    return actions.start(context, values, arguments)
