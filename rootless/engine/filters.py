"""``--filter``: which names a list knows, and what a value matches.

A filter set maps each name to its values. Values of one name are alternatives, except
those of ``label``, which must all hold; names must all hold.
"""

from __future__ import annotations

from rootless.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Filters = Mapping[str, list[str]]

CONTAINERS = (
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
)
IMAGES = ("before", "dangling", "label", "reference", "since", "until")
PRUNE = ("dangling", "label", "label!", "until")
STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
HEALTH = ("none", "starting", "healthy", "unhealthy")


def parse(items: Iterable[str], known: Iterable[str]) -> dict[str, list[str]]:
    """Collect ``NAME=VALUE`` strings; raises ``InvalidArgument`` in Docker's words."""
    result: dict[str, list[str]] = {}
    for item in items:
        if not item:
            continue
        name, equals, value = item.partition("=")  # "label!=x" names "label!"
        if not equals:
            raise InvalidArgument(f"bad format of filter (expected name=value): {item}")
        result.setdefault(name.strip().lower(), []).append(value.strip())
    check(result, known)
    return result


def check(filters: Filters, known: Iterable[str]) -> None:
    """Refuse names that the list does not know."""
    names = tuple(known)
    for name in filters:
        if name not in names:
            raise InvalidArgument(f"invalid filter '{name}'", hint=f"known filters: {', '.join(names)}")


def one_of(filters: Filters, name: str, allowed: Iterable[str]) -> list[str]:
    """Return the values of a filter that takes only certain words."""
    words = tuple(allowed)
    for value in filters.get(name, ()):
        if value not in words:
            raise InvalidArgument(f"invalid filter '{name}={value}'", hint=f"one of {', '.join(words)}")
    return list(filters.get(name, ()))


def boolean(filters: Filters, name: str) -> bool | None:
    """Return the value of a yes-or-no filter, None if it is not used."""
    values = {value.lower() for value in filters.get(name, ())}
    if not values:
        return None
    if values <= {"true", "1", "t"}:
        return True
    if values <= {"false", "0", "f"}:
        return False
    raise InvalidArgument(f"invalid filter '{name}={', '.join(sorted(values))}'", hint="true or false")


def matches(values: Iterable[str], text: str) -> bool:
    """Say whether any value is found in ``text`` as a regular expression (Docker's ``name``, ``id``)."""
    import re

    for value in values:
        if value == text:
            return True
        try:
            if re.search(value, text):
                return True
        except re.error:
            continue
    return False


def has_labels(wanted: Iterable[str], labels: Mapping[str, str]) -> bool:
    """Say whether all of ``KEY`` and ``KEY=VALUE`` hold."""
    for item in wanted:
        key, equals, value = item.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def glob(pattern: str, text: str) -> bool:
    """Match as Go's path.Match: ``*`` and ``?`` do not cross a slash."""
    import re

    expression, position = [], 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            expression.append("[^/]*")
        elif character == "?":
            expression.append("[^/]")
        elif character == "[":
            end = pattern.find("]", position + 1)
            if end < 0:
                raise InvalidArgument(f"invalid filter 'reference={pattern}': syntax error in pattern")
            inside = pattern[position:end]
            negation = "^" if inside[0] in "^!" else ""
            body = inside.lstrip("^!") if negation else inside
            expression.append("[" + negation + body.replace("\\", "\\\\").replace("[", "\\[") + "]")
            position = end + 1
        else:
            if character == "\\" and position < len(pattern):
                character = pattern[position]
                position += 1
            expression.append(re.escape(character))
    try:
        return re.fullmatch("".join(expression), text) is not None
    except re.error:
        raise InvalidArgument(f"invalid filter 'reference={pattern}': syntax error in pattern") from None
