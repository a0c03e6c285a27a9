"""``rl exec``."""

from __future__ import annotations

from rootless.cli import actions, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Values

USAGE = "[OPTIONS] CONTAINER COMMAND [ARG...]"
ARGUMENTS = (2, None)
INTERSPERSED = False
OPTIONS = options.EXEC
COMPLETES = "running"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Run a command in a container."""
    return actions.exec_(context, values, arguments[0], options.exec_options(values, arguments[1:]))
