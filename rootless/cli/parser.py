"""Docker's grammar of options, read from tables.

A row is ``(name, short, kind, help)``. The kind is Docker's word for the value, shown in the
help: ``bool`` takes none, a kind of ``LISTS`` may be repeated, ``int`` is a number, anything else
is text. ``=name`` makes the row a hidden spelling of another, and ``!kind`` an option of
Docker's that rl knows and refuses.

The rules are those of Go's pflag: ``--name value``, ``--name=value``, ``--flag=false``, short
options combined (``-dp 80:80``, ``-itd``), a value glued on (``-p80:80``), ``--`` ends the
options. Where a command line follows (run, create, exec) options end at the first argument.
"""

from __future__ import annotations

from rootless.errors import InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Row = tuple[str, str, str, str]
    Values = dict[str, Any]

LISTS = frozenset(("list", "map", "network", "filter", "ulimit", "mount", "strings"))
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
HELP: Row = ("help", "", "bool", "Print usage")


class UsageError(InvalidArgument):
    """The command line is malformed."""


class RefusedOption(Unsupported):
    """An option of Docker's that rl does not have yet."""


def parse(
    rows: Sequence[Row],
    argv: Sequence[str],
    *,
    interspersed: bool = True,
    harmless: Mapping[str, tuple[str, ...]] | None = None,
) -> tuple[Values, list[str]]:
    """Split ``argv`` into the values of the options that were given and the other arguments.

    ``harmless`` names values of refused options that ask for what rl does anyway. ``--help``
    (and ``-h`` where no row claims it) ends the parsing. Raises ``UsageError`` in pflag's words,
    or ``RefusedOption``.
    """
    longs = {row[0]: row for row in rows}
    shorts = {row[1]: row for row in rows if row[1]}
    longs.setdefault("help", HELP)
    shorts.setdefault("h", HELP)
    values: Values = {}
    arguments: list[str] = []
    position, count = 0, len(argv)
    while position < count:
        word = argv[position]
        position += 1
        if word == "--":
            arguments.extend(argv[position:])
            break
        if len(word) < 2 or word[0] != "-":
            if not interspersed:
                arguments.extend(argv[position - 1 :])
                break
            arguments.append(word)
            continue
        if word[1] == "-":
            name, has_value, text = word[2:].partition("=")
            row = longs.get(name)
            if row is None:
                raise UsageError(f"unknown flag: --{name}", hint=_closest(name, longs))
            if not has_value:
                if _is_flag(row):
                    text = "true"
                elif position < count:
                    text = argv[position]
                    position += 1
                else:
                    raise UsageError(f"flag needs an argument: --{name}")
            _store(values, longs, row, text, harmless)
        else:
            rest = word[1:]
            while rest:
                letter, rest = rest[0], rest[1:]
                row = shorts.get(letter)
                if row is None:
                    raise UsageError(f"unknown shorthand flag: '{letter}' in {word}")
                if rest[:1] == "=":
                    text, rest = rest[1:], ""
                elif _is_flag(row):
                    text = "true"
                elif rest:
                    text, rest = rest, ""
                elif position < count:
                    text = argv[position]
                    position += 1
                else:
                    raise UsageError(f"flag needs an argument: '{letter}' in {word}")
                _store(values, longs, row, text, harmless)
        if "help" in values:
            break
    return values, arguments


def _is_flag(row: Row) -> bool:
    return row[2] == "bool" or row[2] == "!bool"


def _store(
    values: Values,
    longs: dict[str, Row],
    row: Row,
    text: str,
    harmless: Mapping[str, tuple[str, ...]] | None,
) -> None:
    name, short, kind, _ = row
    if kind[0] == "=":
        row = longs[kind[1:]]
        name, kind = row[0], row[2]
    if kind[0] == "!":
        if kind == "!bool" and text in _FALSE:
            return
        if harmless and text in harmless.get(name, ()):
            return
        raise RefusedOption(f"--{name} is not supported yet")
    if kind == "bool":
        if text not in _TRUE and text not in _FALSE:
            raise _invalid(text, name, short, f'strconv.ParseBool: parsing "{text}": invalid syntax')
        values[name] = text in _TRUE
    elif kind == "int":
        digits = text[1:] if text[:1] in ("+", "-") else text
        if not (digits.isascii() and digits.isdecimal()):
            raise _invalid(text, name, short, f'strconv.ParseInt: parsing "{text}": invalid syntax')
        values[name] = int(text)
    elif kind in LISTS:
        values.setdefault(name, []).append(text)
    else:
        values[name] = text


def _invalid(text: str, name: str, short: str, reason: str) -> UsageError:
    option = f"-{short}, --{name}" if short else f"--{name}"
    return UsageError(f'invalid argument "{text}" for "{option}" flag: {reason}')


def _closest(name: str, longs: dict[str, Row]) -> str:
    import difflib

    known = [candidate for candidate, row in longs.items() if row[2][0] not in "!="]
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean --{close[0]}?" if close else ""


def check_arguments(path: str, limits: tuple[int, int | None], arguments: Sequence[str]) -> None:
    """Raise ``UsageError`` in Docker's words if there are too few or too many arguments."""
    least, most = limits
    count = len(arguments)
    if least <= count and (most is None or count <= most):
        return
    if most == 0:
        raise UsageError(f"'{path}' accepts no arguments")
    if least == most:
        raise UsageError(f"'{path}' requires {least} argument{'s' if least > 1 else ''}")
    if most is None:
        raise UsageError(f"'{path}' requires at least {least} argument{'s' if least > 1 else ''}")
    if count < least:
        raise UsageError(f"'{path}' requires at least {least} and at most {most} arguments")
    raise UsageError(f"'{path}' requires at most {most} argument{'s' if most > 1 else ''}")
