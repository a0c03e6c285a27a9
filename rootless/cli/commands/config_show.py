"""``rl config show``."""
# ruff: noqa: ARG001 (all verbs are called alike)

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS]"
ARGUMENTS = (0, 0)
OPTIONS: tuple[Row, ...] = (
    (
        "format",
        "f",
        "string",
        'Format output using a custom template: "table" (default), "json", or a Go template with .Key, .Value, .Origin',
    ),
)
COMPLETES = ""
COLUMNS = ("Key", "Value", "Origin")
HEADERS = {"Key": "KEY", "Value": "VALUE", "Origin": "ORIGIN"}


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Show effective settings with their origin: default, a file, a variable or a flag."""
    from rootless import jsonlite
    from rootless.cli import formats

    settings = context.settings
    template = values.get("format", "")
    if template == "json":
        content = {key: {"value": settings[key], "origin": settings.origins[key]} for key in settings.values}
        print(jsonlite.dumps(content))
        return 0
    rows = []
    for key, value in settings.values.items():
        text = value if isinstance(value, str) else jsonlite.dumps(value)
        rows.append({"Key": key, "Value": text, "Origin": settings.origins[key]})
    formats.write_rows(template, COLUMNS, HEADERS, rows)
    return 0
