"""``rl load``."""
# ruff: noqa: ARG001 (all verbs are called alike)

from __future__ import annotations

from rootless.cli import image_actions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS]"
ARGUMENTS = (0, 0)
OPTIONS: tuple[Row, ...] = (
    ("input", "i", "string", "Read from tar archive file, instead of STDIN"),
    ("platform", "", "string", "Load only the given platform variant (os/arch[/variant])"),
    ("quiet", "q", "bool", "Suppress the load output"),
)
COMPLETES = ""


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Load an archive."""
    return image_actions.load_images(context, values)
