"""Moments and durations as Docker reads and writes them, without ``datetime`` (and ``re``).

Inside rl a moment is a whole number of nanoseconds since 1970; in records it is RFC 3339
with nine digits of fraction.
"""

from __future__ import annotations

import time

from rootless.errors import InvalidArgument

NEVER = "0001-01-01T00:00:00Z"
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def now_text() -> str:
    """Return this moment for a record."""
    return to_text(time.time_ns())


def to_text(moment: int) -> str:
    """Return a moment as ``2026-01-02T03:04:05.000000006Z``."""
    seconds, fraction = divmod(moment, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


def from_text(text: str) -> int:
    """Return the moment of an RFC 3339 text; 0 for what is none, or before 1970 (never)."""
    try:
        return max(0, _rfc3339(text))
    except (ValueError, IndexError, OverflowError):
        return 0


def display(moment: int) -> str:
    """Return a moment as Go prints one, in local time: ``2026-01-02 03:04:05 +0100 CET``."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(moment // 10**9))


def parse_moment(text: str, *, now: int | None = None) -> int:
    """Read a value of --since, --until or the filter ``until``.

    A Go duration before now (``1h30m``), seconds since 1970 with an optional fraction, or
    a date with as much of a time as wanted, local unless it has a zone.
    """
    if text[:1].isdigit() and text[-1:] in ("s", "m", "h"):
        return (time.time_ns() if now is None else now) - parse_duration(text)
    whole, _, fraction = text.partition(".")
    if whole.isascii() and whole.isdecimal() and (not fraction or (fraction.isascii() and fraction.isdecimal())):
        return int(whole) * 10**9 + int(fraction[:9].ljust(9, "0"))
    try:
        return _rfc3339(text)
    except (ValueError, IndexError, OverflowError):
        raise InvalidArgument(
            f"invalid time: {text}", hint="for example 2026-01-31T12:00:00, 1767225600 or 10m (before now)"
        ) from None


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a Go duration: ``1h30m``, ``1.5s``, ``500ms``."""
    rest, total = text, 0.0
    if not rest:
        raise InvalidArgument('invalid duration ""')
    while rest:
        count = 0
        while count < len(rest) and rest[count] in "0123456789.":
            count += 1
        end = count
        while end < len(rest) and rest[end] not in "0123456789.":
            end += 1
        number, unit = rest[:count], rest[count:end]
        if unit not in _UNITS or number.count(".") > 1 or not number.strip("."):
            raise InvalidArgument(f'invalid duration "{text}"', hint="for example 90s, 1h30m or 500ms")
        total += float(number) * _UNITS[unit]
        rest = rest[end:]
    return int(total)


def human_duration(nanoseconds: int) -> str:
    """Return an approximate length of time in Docker's words: ``About a minute``, ``3 days``."""
    seconds = nanoseconds // 10**9
    minutes, hours = seconds // 60, (seconds + 1800) // 3600
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for limit, length, unit in ((24 * 14, 24, "days"), (24 * 60, 24 * 7, "weeks"), (24 * 730, 24 * 30, "months")):
        if hours < limit:
            return f"{hours // length} {unit}"
    return f"{seconds // 3600 // 24 // 365} years"


def _rfc3339(text: str) -> int:
    date, _, clock = text.replace(" ", "T", 1).partition("T")
    year, month, day = (_number(part) for part in date.split("-"))
    zone: int | None = None
    if clock.endswith(("Z", "z")):
        clock, zone = clock[:-1], 0
    else:
        for sign in ("+", "-"):
            head, found, tail = clock.partition(sign)
            if found:
                hours, _, minutes = tail.partition(":")
                zone = (_number(hours) * 60 + _number(minutes or "0")) * (60 if sign == "+" else -60)
                clock = head
    clock, _, fraction = clock.partition(".")
    parts = [_number(part) for part in clock.split(":")] if clock else []
    hour, minute, second = [*parts, 0, 0, 0][:3]
    if len(parts) > 3 or not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61):
        raise ValueError(text)
    if fraction:
        _number(fraction)
    nanoseconds = int(fraction[:9].ljust(9, "0"))
    if zone is None:
        seconds = int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1)))
    else:
        seconds = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - zone
    return seconds * 10**9 + nanoseconds


def _days(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01, counting years from March so that leap days come last."""
    year -= month <= 2
    passed = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + passed - 719468


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise ValueError(text)
    return int(text)
