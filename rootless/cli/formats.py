"""``--format`` of lists: ``table``, ``table TEMPLATE``, ``json`` and templates."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def write_rows(
    template: str,
    columns: Sequence[str],
    headers: Mapping[str, str],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Write the rows of a list as ``template`` says; the default table shows ``columns``.

    ``headers`` are the headings of all fields. Raises ``InvalidArgument`` for a faulty template.
    """
    if template in ("", "table"):
        from rootless.cli import tables

        lines = [[headers[column] for column in columns]]
        lines.extend([row[column] for column in columns] for row in rows)
        sys.stdout.write(tables.render(lines))
        return
    from rootless.cli import govalues, templates

    if template == "json":
        for row in rows:
            sys.stdout.write(govalues.to_json(govalues.Map(_fields(row))) + "\n")
        return
    is_table = template.startswith("table")
    text = template.removeprefix("table") if is_table else template
    parsed = templates.Template(text.strip(" ").replace("\\t", "\t").replace("\\n", "\n"))
    body = "".join(parsed.render(dict(row)) + "\n" for row in rows)
    if not is_table:
        sys.stdout.write(body)
        return
    from rootless.cli import tables

    heading: dict[str, Any] = govalues.Map(headers)
    heading["Label"] = _label_heading
    top = parsed.render(heading, govalues.HEADER_FUNCTIONS)
    sys.stdout.write(tables.render(tables.split(f"{top}\n{body}".removesuffix("\n"))))


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not callable(value)}


def _label_heading(name: str) -> str:
    return name.rsplit(".", 1)[-1].replace("-", " ").replace("_", " ")


def write_object(template: str, data: Any) -> None:
    """Write one object (info, version) as ``template`` says."""
    from rootless.cli import govalues, templates

    parsed = templates.Template("{{json .}}" if template == "json" else template)
    sys.stdout.write(parsed.render(govalues.typed(data)) + "\n")
