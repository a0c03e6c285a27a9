"""``rl ps``."""
# ruff: noqa: ARG001 (all verbs are called alike)

from __future__ import annotations

from rootless.cli import help_texts, reports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS]"
ARGUMENTS = (0, 0)
OPTIONS: tuple[Row, ...] = (
    ("all", "a", "bool", "Show all containers (default shows just running)"),
    ("filter", "f", "filter", help_texts.FILTER),
    ("format", "", "string", help_texts.LIST_FORMAT),
    ("last", "n", "int", "Show n last created containers (includes all states) (default -1)"),
    ("latest", "l", "bool", "Show the latest created container (includes all states)"),
    ("no-trunc", "", "bool", "Don't truncate output"),
    ("quiet", "q", "bool", "Only display container IDs"),
    ("size", "s", "!bool", ""),
)
COMPLETES = ""


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """List containers."""
    template = values.get("format", "")
    quiet = values.get("quiet", False)
    if quiet and template:
        import sys

        sys.stderr.write("WARNING: Ignoring custom format, because both --format and --quiet are set.\n")
    rows = reports.list_containers(context, values)
    if quiet:
        for row in rows:
            print(row["ID"])
        return 0
    from rootless.cli import formats
    from rootless.engine import listing

    formats.write_rows(template, listing.CONTAINER_COLUMNS, listing.CONTAINER_HEADERS, rows)
    return 0
