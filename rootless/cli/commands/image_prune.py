"""``rl image prune``."""
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
    ("all", "a", "bool", "Remove all unused images, not just dangling ones"),
    ("filter", "", "filter", 'Provide filter values (e.g. "until=<timestamp>")'),
    ("force", "f", "bool", "Do not prompt for confirmation"),
)
COMPLETES = ""


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Remove unused images, after asking."""
    if not values.get("force"):
        what = (
            "all images without at least one container associated to them"
            if values.get("all")
            else "all dangling images"
        )
        if not confirm(f"WARNING! This will remove {what}.\nAre you sure you want to continue?"):
            from rootless.errors import InvalidArgument

            raise InvalidArgument("image prune has been cancelled")
    return image_actions.prune_images(context, values)


def confirm(question: str) -> bool:
    """Ask on standard output; only y and yes are consent, and end of file is not."""
    import sys

    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer.endswith("\n"):
        sys.stdout.write("\n")
    return answer.strip().lower() in ("y", "yes")
