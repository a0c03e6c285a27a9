"""Values and functions of templates: Go's printing, truth and comparison over JSON data.

A ``dict`` is a Go struct: its fields are fixed, an unknown one is an error. A ``Map`` is a Go map:
an unknown key is ``<no value>``, and it is printed in the order of its keys.
"""

from __future__ import annotations

from rootless.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Map(dict):  # type: ignore[type-arg]
    """A Go map: any key may be asked for."""


class NilMap(Map):
    """A Go map that is nil: empty, but ``null`` in JSON."""


class NilList(list):  # type: ignore[type-arg]
    """A Go slice that is nil: empty, but ``null`` in JSON."""


class _Missing:
    """The value of an absent key."""


MISSING = _Missing()
# Fields of inspect results whose values are Go maps.
MAP_FIELDS = frozenset(
    [
        "Annotations",
        "Data",
        "DriverOpts",
        "ExposedPorts",
        "Labels",
        "Networks",
        "Options",
        "PortBindings",
        "Ports",
        "Runtimes",
        "StorageOpt",
        "Sysctls",
        "Tmpfs",
        "Volumes",
    ]
)
# Fields whose values are Go slices, which matters where they are null.
LIST_FIELDS = frozenset(
    [
        "Args",
        "Binds",
        "CapAdd",
        "CapDrop",
        "Cmd",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "Entrypoint",
        "Env",
        "ExecIDs",
        "ExtraHosts",
        "GroupAdd",
        "Layers",
        "Links",
        "MaskedPaths",
        "Mounts",
        "OnBuild",
        "ReadonlyPaths",
        "RepoDigests",
        "RepoTags",
        "SecurityOpt",
        "Shell",
        "Ulimits",
        "VolumesFrom",
        "Warnings",
    ]
)


def typed(value: Any, field: str = "") -> Any:
    """Return JSON data with the objects that are maps in Docker's types made ``Map``."""
    if isinstance(value, dict):
        # HostConfig.LogConfig.Config is a map, Config of a container or image a struct.
        is_map = field in MAP_FIELDS or (field == "Config" and "Cmd" not in value and "Env" not in value)
        kind = Map if is_map else dict
        return kind((key, typed(item, key)) for key, item in value.items())
    if isinstance(value, list):
        return [typed(item) for item in value]
    if value is None:
        if field in MAP_FIELDS:
            return NilMap()
        if field in LIST_FIELDS:
            return NilList()
    return value


def fault(message: str) -> InvalidArgument:
    """Return the error for a template."""
    return InvalidArgument(f"template parsing error: {message}")


def type_name(value: Any) -> str:
    """Return Go's word for the type of a value."""
    names = {str: "string", bool: "bool", int: "int", float: "float64", list: "slice", dict: "struct", Map: "map"}
    return names.get(type(value), "value")


def truth(value: Any) -> bool:
    """Return Go's truth: not empty and not zero; a struct is always true."""
    if value is MISSING:
        return False
    if isinstance(value, dict) and not isinstance(value, Map):
        return True
    return bool(value)


def show(value: Any, *, top: bool = False) -> str:
    """Return a value as Go's ``%v`` prints it."""
    if value is MISSING or (value is None and top):
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return _show_float(value)
    if isinstance(value, Map):
        return "map[" + " ".join(f"{show(key)}:{show(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, dict):
        return "{" + " ".join(show(item) for item in value.values() if not callable(item)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(show(item) for item in value) + "]"
    return str(value)


def _show_float(value: float) -> str:
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


# -- functions --


def to_json(value: Any) -> str:
    """Return compact JSON; maps in the order of their keys, structs in that of their fields."""
    import json

    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if value is MISSING or isinstance(value, (NilMap, NilList)):
        return None
    if isinstance(value, Map):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if not callable(item)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _join(items: Any, separator: str) -> str:
    if items is None or items is MISSING:
        return ""
    if isinstance(items, dict):
        return separator.join(sorted(show(item) for item in items.values()))
    if not isinstance(items, (list, tuple)):
        raise fault(f"error calling join: expected slice, got {type_name(items)}")
    return separator.join(show(item) for item in items)


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _title(text: str) -> str:
    out, start = [], True
    for char in text:
        out.append(char.upper() if start else char)
        start = not (char.isalnum() or char in "_'")
    return "".join(out)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None or value is MISSING:
            raise fault("error calling index: index of untyped nil")
        if isinstance(value, Map):
            value = value.get(key, "" if all(isinstance(item, str) for item in value.values()) else MISSING)
        elif isinstance(value, dict):
            if key not in value:
                raise fault(f"error calling index: no field {show(key)}")
            value = value[key]
        elif isinstance(value, str):
            value = value.encode()[_position(key, len(value.encode()))]
        elif isinstance(value, (list, tuple)):
            value = value[_position(key, len(value))]
        else:
            raise fault(f"error calling index: can't index item of type {type_name(value)}")
    return value


def _position(key: Any, length: int) -> int:
    if not isinstance(key, int) or isinstance(key, bool):
        raise fault(f"error calling index: cannot index slice/array with type {type_name(key)}")
    if not 0 <= key < length:
        raise fault(f"error calling index: index out of range: {key}")
    return key


def _slice(value: Any, *bounds: int) -> Any:
    first = bounds[0] if bounds else 0
    last = bounds[1] if len(bounds) > 1 else len(value)
    if not 0 <= first <= last <= len(value):
        raise fault(f"error calling slice: index out of range: {last}")
    return value[first:last]


def _len(value: Any) -> int:
    if not isinstance(value, (str, list, tuple, dict)):
        raise fault(f"error calling len: len of type {type_name(value)}")
    return len(value.encode()) if isinstance(value, str) else len(value)


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise fault("error calling eq: missing argument for comparison")
    for other in others:
        both = (first, other)
        known = not any(item is None or item is MISSING for item in both)
        if known and isinstance(first, str) != isinstance(other, str):
            raise fault("error calling eq: incompatible types for comparison")
        if first == other or all(item is None or item is MISSING for item in both):
            return True
    return False


def _order(first: Any, second: Any) -> int:
    if isinstance(first, str) != isinstance(second, str) or not isinstance(first, (str, int, float)):
        raise fault("incompatible types for comparison")
    return int(first > second) - int(first < second)


def _printf(template: str, *arguments: Any) -> str:
    out: list[str] = []
    position, used = 0, 0
    while position < len(template):
        char = template[position]
        position += 1
        if char != "%":
            out.append(char)
            continue
        start = position
        while position < len(template) and template[position] in "+-# 0123456789.":
            position += 1
        if position == len(template):
            out.append("%!(NOVERB)")
            break
        flags, verb = template[start:position], template[position]
        position += 1
        if verb == "%":
            out.append("%")
        elif used >= len(arguments):
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_verb(flags, verb, arguments[used]))
            used += 1
    if used < len(arguments):
        extra = ", ".join(f"{type_name(item)}={show(item)}" for item in arguments[used:])
        out.append(f"%!(EXTRA {extra})")
    return "".join(out)


def _verb(flags: str, verb: str, value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if verb in "bc" and number and isinstance(value, int):
        return ("%" + flags + "s") % (chr(value) if verb == "c" else f"{value:b}")
    if (verb in "doxX" and number and isinstance(value, int)) or (verb in "feEgG" and number):
        return str(("%" + flags + verb) % value)
    if verb == "q":
        from rootless.engine.listing import quote

        return ("%" + flags + "s") % quote(show(value))
    if verb == "t" and isinstance(value, bool):
        return ("%" + flags + "s") % show(value)
    if verb in "vs":
        return ("%" + flags.replace("+", "").replace("#", "") + "s") % show(value)
    return f"%!{verb}({type_name(value)}={show(value)})"


def _print(*arguments: Any) -> str:
    """Go's ``fmt.Sprint``: a space between operands when neither is a string."""
    out: list[str] = []
    for index, value in enumerate(arguments):
        if index and not isinstance(value, str) and not isinstance(arguments[index - 1], str):
            out.append(" ")
        out.append(show(value))
    return "".join(out)


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _placeholder(*_: Any) -> Any:
    raise fault("and, or are evaluated in place")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _placeholder,
    "or": _placeholder,
    "not": lambda value: not truth(value),
    "eq": _eq,
    "ne": lambda first, second: not _eq(first, second),
    "lt": lambda first, second: _order(first, second) < 0,
    "le": lambda first, second: _order(first, second) <= 0,
    "gt": lambda first, second: _order(first, second) > 0,
    "ge": lambda first, second: _order(first, second) >= 0,
    "index": _index,
    "slice": _slice,
    "len": _len,
    "print": _print,
    "printf": _printf,
    "println": lambda *values: " ".join(show(value) for value in values) + "\n",
    "json": to_json,
    "join": _join,
    "split": _split,
    "title": _title,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "pad": _pad,
    "truncate": lambda text, length: text[:length],
}
# In the header of a table these leave the column's name as it is.
HEADER_FUNCTIONS: dict[str, Callable[..., Any]] = dict.fromkeys(
    ("json", "split", "join", "title", "lower", "upper", "truncate"), lambda value, *_: value
)
