"""``rl tag``."""
# ruff: noqa: ARG001 (all verbs are called alike)

from __future__ import annotations

from rootless.cli import image_actions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"
ARGUMENTS = (2, 2)
OPTIONS: tuple[Row, ...] = ()
COMPLETES = "images"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Tag an image."""
    return image_actions.tag_image(context, arguments[0], arguments[1])
