"""Reading the json-file log of a container, over its rotated files, and following it."""

from __future__ import annotations

import os
import select

from rootless import jsonlite
from rootless.engine import containers
from rootless.errors import InvalidArgument, RlError, Unsupported
from rootless.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from rootless.engine.engine import Engine

    Writer = Callable[[bytes], None]


def show(
    engine: Engine,
    text: str,
    *,
    follow: bool = False,
    tail: str = "all",
    since: str = "",
    until: str = "",
    timestamps: bool = False,
    write_out: Writer,
    write_err: Writer,
) -> None:
    """Write what a container has written, each stream to its own function.

    ``since`` and ``until`` are dates, Unix times or durations before now; ``tail`` is a
    number of lines or "all". With ``follow`` returns when the container has ended.
    """
    container = containers.find(engine, text)
    path = container.record["log_path"]
    if not path:
        raise Unsupported(
            f"container {container.name} keeps no log: its log driver is none", hint="config key log-driver"
        )
    from rootless.engine import times

    first = times.parse_moment(since) if since else 0
    last = times.parse_moment(until) if until else 0
    count = _tail(tail)
    reader = _Reader(path)

    def write(record: dict[str, Any]) -> bool:
        """Write one record if it is wanted; False when all that follow are too late."""
        if first or last:
            moment = times.from_text(record["time"])
            if last and moment > last:
                return False
            if moment < first:
                return True
        data = record["log"].encode("utf-8", "surrogatepass")
        if timestamps:
            data = f"{record['time']} ".encode() + data
        (write_err if record.get("stream") == "stderr" else write_out)(data)
        return True

    try:
        # The position is taken before the state: what is written in between is seen when following.
        watch = _watch(container.directory) if follow and container.running else -1
        records = reader.existing()
        for record in records if count is None else _last_lines(records, count):
            if not write(record):
                return
        if watch < 0:
            return
        poller = select.poll()
        poller.register(watch, select.POLLIN)
        while True:
            # In this order: what was written before the end was recorded is in the file.
            ended = not _is_running(engine, container.id)
            for record in reader.more():
                if not write(record):
                    return
            if ended:
                return
            poller.poll()
            _empty(watch)
    finally:
        reader.close()


def _is_running(engine: Engine, identifier: str) -> bool:
    try:
        return containers.load(engine, identifier).running
    except RlError:
        return False


def _watch(directory: str) -> int:
    wanted = syscalls.IN_MOVED_TO | syscalls.IN_CREATE | syscalls.IN_MOVE_SELF | syscalls.IN_MODIFY
    return syscalls.inotify(((directory, wanted),))


def _empty(watch: int) -> None:
    try:
        while os.read(watch, 65536):
            pass
    except BlockingIOError:
        pass


def _tail(text: str) -> int | None:
    if text in ("all", "", "-1"):
        return None
    try:
        number = int(text)
    except ValueError:
        raise InvalidArgument(f'invalid value for "tail": {text}', hint='a number of lines, or "all"') from None
    return None if number < 0 else number


def _last_lines(records: Iterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return the records of the last ``count`` lines; a long line is several records."""
    kept: list[list[dict[str, Any]]] = []
    complete = True
    for record in records:
        if complete:
            kept.append([])
            if len(kept) > count:
                del kept[0]
        if kept:
            kept[-1].append(record)
        complete = record["log"].endswith("\n")
    return [record for line in kept for record in line]


class _Reader:
    """Reads the records of a log file and goes on where it stopped, through rotations."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: Any = None
        self._rest = b""

    def existing(self) -> Iterator[dict[str, Any]]:
        """Yield all records there are, oldest file first."""
        number = 1
        while os.path.exists(f"{self._path}.{number}"):
            number += 1
        for older in range(number - 1, 0, -1):
            try:
                with open(f"{self._path}.{older}", "rb") as stream:
                    yield from filter(None, map(_parse, stream))
            except FileNotFoundError:
                continue
        yield from self.more()

    def more(self) -> Iterator[dict[str, Any]]:
        """Yield the records written since."""
        while True:
            if self._file is None:
                try:
                    self._file = open(self._path, "rb")
                except FileNotFoundError:
                    return
            for line in self._file:
                self._rest += line
                if self._rest.endswith(b"\n"):
                    record = _parse(self._rest)
                    self._rest = b""
                    if record:
                        yield record
            if not self._rotated():
                return

    def _rotated(self) -> bool:
        """See whether the path names another file by now, or a shorter one; then start with that."""
        ours = os.fstat(self._file.fileno())
        try:
            current = os.stat(self._path)
        except FileNotFoundError:
            return False
        if (current.st_ino, current.st_dev) != (ours.st_ino, ours.st_dev):
            self.close()
            return True
        if ours.st_size < self._file.tell():
            self._file.seek(0)
            return True
        return False

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = jsonlite.loads(line)
    except ValueError:  # a power loss, or a full disk, tore it
        return None
    return record if isinstance(record, dict) and "log" in record else None
