"""``rl events``."""
# ruff: noqa: ARG001 (all verbs are called alike)

from __future__ import annotations

import sys
import time

from rootless import jsonlite
from rootless.cli import help_texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS]"
ARGUMENTS = (0, 0)
OPTIONS: tuple[Row, ...] = (
    ("filter", "f", "filter", help_texts.FILTER),
    ("format", "", "string", help_texts.INSPECT_FORMAT),
    ("since", "", "string", "Show all events created since timestamp"),
    ("until", "", "string", "Stream events until this timestamp"),
)
COMPLETES = ""


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Print events as they happen, until it is interrupted."""
    from rootless.engine import events

    show = printer(values.get("format", ""))
    found = events.follow(
        context.engine,
        since=values.get("since", ""),
        until=values.get("until", ""),
        filters=values.get("filter", ()),
    )
    for event in found:
        sys.stdout.write(show(event) + "\n")
        sys.stdout.flush()
    return 0


def printer(template: str) -> Callable[[Mapping[str, Any]], str]:
    """Return what turns an event into a line; raises ``InvalidArgument`` for a faulty template."""
    if not template:
        return text
    if template == "json" or template.replace(" ", "") == "{{json.}}":
        return jsonlite.dumps
    from rootless.cli import templates

    parsed = templates.Template(template.replace("\\t", "\t").replace("\\n", "\n"))
    return lambda event: parsed.render(fields(event))


def text(event: Mapping[str, Any]) -> str:
    """Return Docker's line: the moment in local time, what happened to what, and its attributes by name."""
    seconds, fraction = divmod(event["timeNano"], 10**9)
    moment = time.localtime(seconds)
    zone = time.strftime("%z", moment)
    zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    actor = event["Actor"]
    told = ", ".join(f"{name}={value}" for name, value in sorted(actor["Attributes"].items()))
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{fraction:09d}{zone}"
    line = f"{line} {event['Type']} {event['Action']} {actor['ID']}"
    return f"{line} ({told})" if told else line


def fields(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the placeholders of ``--format``; Status, ID and From are Docker's old names."""
    from rootless.cli.govalues import Map

    kind, actor = event["Type"], event["Actor"]
    attributes = Map(actor["Attributes"])
    return {
        "Type": kind,
        "Action": event["Action"],
        "Actor": {"ID": actor["ID"], "Attributes": attributes},
        "Scope": event["scope"],
        "Time": event["time"],
        "TimeNano": event["timeNano"],
        "Status": event["Action"] if kind in ("container", "image") else "",
        "ID": actor["ID"] if kind in ("container", "image") else "",
        "From": attributes.get("image", "") if kind == "container" else "",
    }
