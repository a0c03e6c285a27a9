"""``rl inspect``, and what ``container inspect`` and ``image inspect`` share with it."""

from __future__ import annotations

from rootless.cli import actions, help_texts, reports
from rootless.errors import NotFound, RlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS] NAME|ID [NAME|ID...]"
ARGUMENTS = (1, None)
OPTIONS: tuple[Row, ...] = (
    ("format", "f", "string", help_texts.INSPECT_FORMAT),
    ("size", "s", "!bool", ""),
    ("type", "", "string", "Only inspect objects of the given type"),
)
COMPLETES = "objects"
TYPES = ("container", "image")


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Show containers and images."""
    from rootless.cli.parser import UsageError

    wanted = values.get("type", "")
    if "type" in values and wanted not in TYPES:
        raise UsageError(f'unknown type: "{wanted}": must be one of "container", "image"')

    def find(name: str) -> dict[str, Any]:
        if wanted != "image":
            try:
                return reports.inspect_container(context, name)
            except NotFound:
                if wanted:
                    raise
        try:
            return reports.inspect_image(context, name)
        except RlError as error:
            if wanted or not (isinstance(error, NotFound) or "reference format" in error.message):
                raise
            raise NotFound(f"no such object: {name}") from None

    return show(context, values, arguments, find)


def show(context: Context, values: Values, names: list[str], find: Callable[[str], dict[str, Any]]) -> int:
    """Print what ``find`` says of each name as ``--format`` wants it; those that exist, and 1 if one does not."""
    import sys

    from rootless.cli import govalues, templates

    template = values.get("format", "")
    parsed = templates.Template(template) if template not in ("", "json") else None
    found, errors, text = [], [], ""
    for name in names:
        try:
            element = find(name)
            if parsed is None:
                found.append(element)
            else:
                text += parsed.render(govalues.typed(element)) + "\n"
        except RlError as error:
            errors.append(error)
    if parsed is None:
        import json

        separators = (",", ":") if template else None
        indent = None if template else 4
        text = json.dumps(found, ensure_ascii=False, separators=separators, indent=indent) + "\n"
    sys.stdout.write(text)
    for problem in errors:
        actions.complain(context, problem)
    return 1 if errors else 0
