"""``rl completion fish``."""
# ruff: noqa: ARG001 (all verbs are called alike)

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = ""
ARGUMENTS = (0, 0)
OPTIONS: tuple[Row, ...] = ()
COMPLETES = ""


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Print the script."""
    from rootless.cli import completion

    print(completion.SCRIPTS["fish"], end="")
    return 0
