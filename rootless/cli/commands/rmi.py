"""``rl rmi``."""

from __future__ import annotations

from rootless.cli import image_actions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS] IMAGE [IMAGE...]"
ARGUMENTS = (1, None)
OPTIONS: tuple[Row, ...] = (
    ("force", "f", "bool", "Force removal of the image"),
    ("no-prune", "", "!bool", ""),
    ("platform", "", "!strings", ""),
)
COMPLETES = "images"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Remove images."""
    return image_actions.remove_images(context, values, arguments)
