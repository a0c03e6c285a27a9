"""What a monitor and those attached to it say to each other.

::

    frame     1 byte kind, 3 bytes zero, 4 bytes length (big endian), data

    0  STDIN      client → monitor    data for the payload; no data is end of file
    1  STDOUT     monitor → client
    2  STDERR     monitor → client
    3  CONTROL    both ways           one JSON object

    control, client → monitor:  {"resize": [rows, columns]}
                                {"pause": true or false}
                                {"update": what cgroups.membership.record returned, "limits": [[flag, text], …]}
    control, monitor → client:  {"started": pid}
                                {"failed": [error class, message, hint]}
                                {"exited": status}     the last frame
                                {"done": [warning, …]}     to who asked for pause or update, as is its "failed"

The first three kinds are Docker's raw stream, so that the API can pass them on as they are.
"""

from __future__ import annotations

import struct

from rootless import jsonlite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

STDIN, STDOUT, STDERR, CONTROL = 0, 1, 2, 3
MAXIMUM = 1 << 20

_header = struct.Struct(">BxxxI")


def frame(kind: int, data: bytes) -> bytes:
    """Return one frame."""
    return _header.pack(kind, len(data)) + data


def control(**message: Any) -> bytes:
    """Return a control frame."""
    return frame(CONTROL, jsonlite.dumps(message).encode())


class Decoder:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the frames that ``data`` completes; raises ``ValueError`` for nonsense."""
        self._buffer += data
        while len(self._buffer) >= 8:
            kind, length = _header.unpack_from(self._buffer)
            if kind > CONTROL or length > MAXIMUM:
                raise ValueError(f"not a frame of the attach protocol: kind {kind}, {length} bytes")
            if len(self._buffer) < 8 + length:
                return
            data = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            yield kind, data
