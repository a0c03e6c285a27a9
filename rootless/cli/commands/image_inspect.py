"""``rl image inspect``."""

from __future__ import annotations

from rootless.cli import help_texts, reports
from rootless.cli.commands import inspect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS] IMAGE [IMAGE...]"
ARGUMENTS = (1, None)
OPTIONS: tuple[Row, ...] = (
    ("format", "f", "string", help_texts.INSPECT_FORMAT),
    ("platform", "", "!string", ""),
)
COMPLETES = "images"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Show images."""
    return inspect.show(context, values, arguments, lambda name: reports.inspect_image(context, name))
