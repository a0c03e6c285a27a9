"""``rl run``."""

from __future__ import annotations

from rootless.cli import actions, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Values

USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
ARGUMENTS = (1, None)
INTERSPERSED = False
OPTIONS = options.RUN
HARMLESS = options.HARMLESS
COMPLETES = "images"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Create and run a container."""
    return actions.run(context, values, options.container_options(values, arguments, context.settings))
