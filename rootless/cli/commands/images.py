"""``rl images``."""

from __future__ import annotations

from rootless.cli import help_texts, reports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS] [REPOSITORY[:TAG]]"
ARGUMENTS = (0, 1)
OPTIONS: tuple[Row, ...] = (
    ("all", "a", "bool", "Show all images (default hides intermediate images)"),
    ("digests", "", "bool", "Show digests"),
    ("filter", "f", "filter", help_texts.FILTER),
    ("format", "", "string", help_texts.LIST_FORMAT),
    ("no-trunc", "", "bool", "Don't truncate output"),
    ("quiet", "q", "bool", "Only show image IDs"),
    ("tree", "", "!bool", ""),
)
COMPLETES = "images"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """List images."""
    template = values.get("format", "")
    if ".Digest" in template:
        values["digests"] = True
    rows = reports.list_images(context, values, arguments[0] if arguments else "")
    if values.get("quiet") and template in ("", "table"):
        for row in rows:
            print(row["ID"])
        return 0
    from rootless.cli import formats
    from rootless.engine import listing

    columns: tuple[str, ...] = listing.IMAGE_COLUMNS
    if values.get("digests"):
        columns = (*columns[:2], "Digest", *columns[2:])
    formats.write_rows(template, columns, listing.IMAGE_HEADERS, rows)
    return 0
