"""``rl import``."""

from __future__ import annotations

from rootless.cli import image_actions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS] file|- [REPOSITORY[:TAG]]"
ARGUMENTS = (1, 2)
OPTIONS: tuple[Row, ...] = (
    ("change", "c", "list", "Apply Dockerfile instruction to the created image"),
    ("message", "m", "string", "Set commit message for imported image"),
    ("platform", "", "string", "Set platform of the image (os/arch[/variant])"),
)
COMPLETES = "files"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Import a tarball."""
    return image_actions.import_image(context, values, arguments[0], arguments[1] if len(arguments) > 1 else "")
