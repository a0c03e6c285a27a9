"""``rl pull``."""

from __future__ import annotations

from rootless.cli import image_actions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS] NAME[:TAG|@DIGEST]"
ARGUMENTS = (1, 1)
OPTIONS: tuple[Row, ...] = (
    ("all-tags", "a", "!bool", ""),
    ("disable-content-trust", "", "!bool", ""),
    ("platform", "", "string", "Set platform of the image (os/arch[/variant])"),
    ("quiet", "q", "bool", "Suppress verbose output"),
)
HARMLESS = {"disable-content-trust": ("true",)}
COMPLETES = "images"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Pull an image."""
    return image_actions.pull(context, values, arguments[0])
