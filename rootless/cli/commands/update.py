"""``rl update``."""

from __future__ import annotations

from rootless.cli import actions, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Values

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
OPTIONS = options.UPDATE
COMPLETES = "containers"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Change the limits of containers."""
    return actions.update(context, values, arguments)
