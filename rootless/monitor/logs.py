r"""The json-file log: one JSON object a line, as Docker writes it.

``{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}``. A line longer
than 16 KiB is cut into several records, of which only the last ends with a newline. With
``max_size`` the file is renamed to ``PATH.1`` (and so on up to ``max_file`` - 1) when it is full.
"""

from __future__ import annotations

import os
import time

from rootless import jsonlite

CHUNK = 16 * 1024


def timestamp(nanoseconds: int) -> str:
    """Return RFC 3339 in UTC with nanoseconds."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    date = time.gmtime(seconds)
    return (
        f"{date.tm_year:04}-{date.tm_mon:02}-{date.tm_mday:02}T"
        f"{date.tm_hour:02}:{date.tm_min:02}:{date.tm_sec:02}.{fraction:09}Z"
    )


class JsonFileLog:
    """Writes the log of one container; a full disk loses lines, never the container."""

    def __init__(self, path: str, *, max_size: int = 0, max_file: int = 1) -> None:
        self._path = path
        self._max_size = max_size
        self._max_file = max_file
        self._rests: dict[str, bytes] = {}
        self._fd = -1
        self._size = 0
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size

    def write(self, stream: str, data: bytes) -> None:
        """Log ``data`` of "stdout" or "stderr"; an unfinished line waits for its end."""
        data = self._rests.pop(stream, b"") + data
        now = timestamp(time.time_ns())
        records = []
        start = 0
        while start < len(data):
            end = data.find(b"\n", start, start + CHUNK)
            end = end + 1 if end >= 0 else start + CHUNK
            if end > len(data):
                self._rests[stream] = data[start:]
                break
            records.append(self._record(stream, data[start:end], now))
            start = end
        self._append(records)

    def _record(self, stream: str, line: bytes, now: str) -> bytes:
        text = jsonlite.dumps(line.decode("utf-8", "replace"))
        return f'{{"log":{text},"stream":"{stream}","time":"{now}"}}\n'.encode()

    def _append(self, records: list[bytes]) -> None:
        # One write for as many records as the file may take: a reader sees whole lines.
        while records:
            count, size = 0, 0
            for record in records:
                if self._max_size and count and self._size + size + len(record) > self._max_size:
                    break
                count += 1
                size += len(record)
            if self._max_size and self._size and self._size + len(records[0]) > self._max_size:
                self._rotate()
                continue
            try:
                written = os.write(self._fd, b"".join(records[:count]))
                if written < size:
                    os.ftruncate(self._fd, self._size)  # no torn line stays behind
                else:
                    self._size += written
            except OSError:
                pass
            records = records[count:]

    def _rotate(self) -> None:
        os.close(self._fd)
        try:
            for number in range(self._max_file - 1, 0, -1):
                older = f"{self._path}.{number}"
                newer = f"{self._path}.{number - 1}" if number > 1 else self._path
                if os.path.exists(newer):
                    os.rename(newer, older)
            if self._max_file <= 1:
                os.truncate(self._path, 0)
        except OSError:
            pass
        try:
            self._open()
        except OSError:  # lines are lost until the next turn
            self._fd, self._size = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 0

    def close(self) -> None:
        """Write unfinished lines and close."""
        now = timestamp(time.time_ns())
        self._append([self._record(stream, rest, now) for stream, rest in self._rests.items()])
        os.close(self._fd)
