"""``rl logs``."""

from __future__ import annotations

from rootless.cli import actions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS] CONTAINER"
ARGUMENTS = (1, 1)
OPTIONS: tuple[Row, ...] = (
    ("details", "", "!bool", ""),
    ("follow", "f", "bool", "Follow log output"),
    (
        "since",
        "",
        "string",
        'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    ),
    ("tail", "n", "string", 'Number of lines to show from the end of the logs (default "all")'),
    ("timestamps", "t", "bool", "Show timestamps"),
    (
        "until",
        "",
        "string",
        'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    ),
)
COMPLETES = "containers"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Show the logs of a container."""
    return actions.logs(context, values, arguments[0])
