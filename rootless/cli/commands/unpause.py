"""``rl unpause``."""
# ruff: noqa: ARG001 (all verbs are called alike)

from __future__ import annotations

from rootless.cli import actions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
OPTIONS: tuple[Row, ...] = ()
COMPLETES = "paused"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Let paused containers go on."""
    return actions.unpause(context, arguments)
