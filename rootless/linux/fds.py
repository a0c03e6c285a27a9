"""Descriptors in bulk."""

from __future__ import annotations

from rootless.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def close_all_but(keep: Iterable[int]) -> None:
    """Close every descriptor of the process that is not in ``keep``."""
    first = 0
    for fd in sorted(set(keep)):
        if fd > first:
            syscalls.close_range(first, fd - 1)
        first = fd + 1
    syscalls.close_range(first)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of ``data`` to a blocking descriptor; raises ``OSError``."""
    import os

    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
