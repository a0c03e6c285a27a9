"""Leases: content that is in use before anything on disk refers to it.

A pull downloads blobs long before ``index.json`` names them; meanwhile somebody may
prune. A lease is a file ``tmp/lease.*`` with one digest (of a blob, or a chain ID) a
line. It counts for as long as its holder keeps the file open and locked; what a dead
process left counts for nothing.

The race: digest added after gc has read the lease, blob found present, then removed by
gc. Hence ``add`` happens under the content lock (shared), gc marks and sweeps under the
same lock (exclusive), and whoever leases looks for the blob *after* ``add`` returns.
"""

from __future__ import annotations

import os

from rootless.storage import workspace
from rootless.storage.faults import translated
from rootless.storage.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rootless.storage.layout import Layout


def content_lock(layout: Layout, *, exclusive: bool = False) -> Lock:
    """Return the lock that keeps gc from marking and sweeping.

    Hold it shared, for moments only: from looking an image up until a record on disk
    refers to it. The exclusive form is gc's.
    """
    return Lock(f"{layout.locks}/content", exclusive=exclusive)


class Lease:
    """Protects digests from gc until it is closed; a context manager."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        with translated("cannot make a lease"):
            self._path, self._fd = workspace.make_file(layout.tmp, "lease")

    def add(self, *wanted: str) -> None:
        """Protect blobs and snapshots by digest and chain ID, whether they exist yet or not."""
        with translated("cannot extend a lease"), content_lock(self._layout):
            os.write(self._fd, "".join(f"{digest}\n" for digest in wanted).encode("ascii"))

    def close(self) -> None:
        """Give everything up."""
        if self._fd >= 0:
            try:
                os.unlink(self._path)
            except OSError:
                pass
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def leased(layout: Layout) -> set[str]:
    """Return the digests under living leases."""
    found: set[str] = set()
    for name in os.listdir(layout.tmp):
        path = f"{layout.tmp}/{name}"
        if name.startswith("lease.") and not workspace.is_stale(path):
            try:
                with open(path, encoding="ascii") as stream:
                    found.update(stream.read().split())
            except FileNotFoundError:
                pass
    return found
