"""Reading the log of events (``rootless/events.py``): what was, what comes, and which of it is wanted."""

from __future__ import annotations

import os
import select
import time

from rootless import jsonlite
from rootless.engine import filters as filtering
from rootless.engine import times
from rootless.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, BinaryIO

    from rootless.engine.engine import Engine
    from rootless.engine.filters import Filters

FILTERS = ("container", "daemon", "event", "image", "label", "network", "scope", "type", "volume")
_START = '{"Type":'


def follow(
    engine: Engine, *, since: str = "", until: str = "", filters: Iterable[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield events as they happen, from before now on if ``since`` or ``until`` is given; ends at ``until``.

    Both are dates, Unix times or durations before now. Raises ``InvalidArgument`` for these and
    for ``filters``, when it is called.
    """
    now = time.time_ns()
    first = times.parse_moment(since, now=now) if since else 0
    last = times.parse_moment(until, now=now) if until else None
    chosen = filtering.parse(filters, FILTERS)
    past = bool(since or until)
    log = _Log(engine.layout.events, past=past)
    return _wanted(log, first if past else 0, last, chosen)


def _wanted(log: _Log, first: int, last: int | None, chosen: Filters) -> Iterator[dict[str, Any]]:
    with log:
        while True:
            # In this order: what is written in between is older than the next look at the clock.
            over = last is not None and time.time_ns() > last
            for event in log.more():
                if first <= event["timeNano"] and (last is None or event["timeNano"] <= last) and wants(chosen, event):
                    yield event
            if over:
                return
            log.wait(None if last is None else (last - time.time_ns()) / 1e6 + 1)


def wants(filters: Filters, event: Mapping[str, Any]) -> bool:
    """Say whether an event passes filters, by Docker's rules."""
    actor, kind, action = event["Actor"], event["Type"], event["Action"]
    attributes = actor["Attributes"]
    for name, values in filters.items():
        if name == "label":
            fits = filtering.has_labels(values, attributes)
        elif name == "event":
            fits = action in values or action.partition(":")[0] in values
        elif name == "type":
            fits = kind in values
        elif name == "scope":
            fits = event["scope"] in values
        elif name == "image":
            image = attributes.get("name" if kind == "image" else "image", "")
            fits = not {actor["ID"], image, _untagged(actor["ID"]), _untagged(image)}.isdisjoint(values)
        else:
            fits = kind == name and any(
                text.startswith(value) for value in values for text in (actor["ID"], attributes.get("name", ""))
            )
        if not fits:
            return False
    return True


def _untagged(name: str) -> str:
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


class _Log:
    """The two files as one stream that goes on through rotations."""

    def __init__(self, path: str, *, past: bool) -> None:
        self._path = path
        # Before the first look, so that nothing falls between the two.
        wanted = syscalls.IN_MODIFY | syscalls.IN_CREATE | syscalls.IN_MOVED_TO
        self._watch = syscalls.inotify(((os.path.dirname(path), wanted),))
        self._files: list[BinaryIO] = []
        self._rest = b""
        while True:
            older, current = _opened(f"{path}.1"), _opened(path)
            if _same(older, f"{path}.1"):
                break
            for file in (older, current):
                if file:
                    file.close()
        if not past:
            if current:
                current.seek(0, os.SEEK_END)
            if older:
                older.close()
                older = None
        self._files = [file for file in (older, current) if file]

    def __enter__(self) -> None:
        """Do nothing yet."""

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        os.close(self._watch)
        for file in self._files:
            file.close()

    def more(self) -> Iterator[dict[str, Any]]:
        """Yield the events that are there by now."""
        while True:
            if not self._files:
                current = _opened(self._path)
                if current is None:
                    return
                self._files.append(current)
            # Asked before the file is read: what went into it before the next was begun is not missed.
            ended = len(self._files) > 1 or not _same(self._files[0], self._path)
            for line in self._files[0]:
                self._rest += line
                if self._rest.endswith(b"\n"):
                    event = parse(self._rest)
                    self._rest = b""
                    if event:
                        yield event
            if not ended:
                return
            self._files.pop(0).close()
            self._rest = b""

    def wait(self, milliseconds: float | None) -> None:
        """Wait until there may be more, or so long."""
        poller = select.poll()
        poller.register(self._watch, select.POLLIN)
        if poller.poll(None if milliseconds is None else max(0.0, min(milliseconds, 2**31 - 1))):
            try:
                while os.read(self._watch, 65536):
                    pass
            except BlockingIOError:
                pass


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the event of a line; behind one that a full disk tore, too. None if there is none."""
    text = line.decode("utf-8", "replace")
    try:
        event = jsonlite.loads(text[max(0, text.rfind(_START)) :])
    except ValueError:
        return None
    return event if isinstance(event, dict) and "timeNano" in event else None


def _opened(path: str) -> BinaryIO | None:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return None


def _same(file: BinaryIO | None, path: str) -> bool:
    try:
        current = os.stat(path)
    except FileNotFoundError:
        return file is None
    return file is not None and os.path.samestat(os.fstat(file.fileno()), current)
