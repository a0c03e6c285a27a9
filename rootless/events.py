r"""The log of events: one JSON object a line in Docker's shape, written by whoever does something.

::

    DATA ROOT/events.log      {"Type":"container","Action":"start","Actor":{"ID":…,"Attributes":{…}},
                               "scope":"local","time":…,"timeNano":…}
    DATA ROOT/events.log.1    what it was before it was full

There is no daemon that could hand events out: ``rl events`` (``engine/events.py``) follows the file. An event is
one append of one line; nothing that goes wrong with it may keep anybody from what the event tells of.
"""

from __future__ import annotations

import os
import time

from rootless import jsonlite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LIMIT = 1 << 20  # bytes after which a new file is begun


def write(path: str, kind: str, action: str, identifier: str, attributes: Mapping[str, str]) -> None:
    """Append an event to the log ``path``; never fails."""
    try:
        fd = _open(path)
        try:
            if os.fstat(fd).st_size > LIMIT:
                _rotate(path, fd)
                os.close(fd)
                fd = _open(path)
            os.write(fd, line(kind, action, identifier, attributes))
        finally:
            os.close(fd)
    except OSError:
        pass


def container(path: str, record: Mapping[str, Any], action: str, **more: str) -> None:
    """Append an event of the container with this ``container.json``; never fails."""
    write(path, "container", action, record["id"], {**attributes(record), **more})


def attributes(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what each event of a container tells of it."""
    return {**(record.get("labels") or {}), "image": record.get("image", ""), "name": record["name"]}


class Pending:
    """An event to come in a process that will not reach the log by its path any more."""

    def __init__(self, path: str, kind: str, action: str, identifier: str, attributes: Mapping[str, str]) -> None:
        self._event = kind, action, identifier
        self._attributes = attributes
        try:
            self.fd = _open(path)
        except OSError:
            self.fd = -1

    def write(self, **more: str) -> None:
        """Append it, with what was not known before; never fails."""
        try:
            os.write(self.fd, line(*self._event, {**self._attributes, **more}))
        except OSError:
            pass

    def close(self) -> None:
        """Give it up in this process."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def line(kind: str, action: str, identifier: str, attributes: Mapping[str, str]) -> bytes:
    """Return the line of an event that happens now."""
    now = time.time_ns()
    event = {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": identifier, "Attributes": dict(attributes)},
        "scope": "local",
        "time": now // 10**9,
        "timeNano": now,
    }
    return jsonlite.dumps(event).encode() + b"\n"


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _rotate(path: str, fd: int) -> None:
    """Set the full file aside, unless somebody else did meanwhile."""
    import fcntl

    fcntl.flock(fd, fcntl.LOCK_EX)
    if os.path.samestat(os.fstat(fd), os.stat(path)):
        os.rename(path, f"{path}.1")
