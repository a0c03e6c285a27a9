"""``rl create``."""

from __future__ import annotations

from rootless.cli import actions, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Values

USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
ARGUMENTS = (1, None)
INTERSPERSED = False
OPTIONS = options.CREATE
HARMLESS = options.HARMLESS
COMPLETES = "images"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Create a container."""
    return actions.create(context, values, options.container_options(values, arguments, context.settings))
