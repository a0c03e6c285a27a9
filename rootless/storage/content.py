"""Blobs by digest: manifests, configurations, compressed layers.

::

    partial/HEX   a download in progress or interrupted; its writer holds flock(2) on it
    tmp/blob.*    the same for content whose digest is not known yet
    blobs/sha256/HEX   complete, verified, synced; never written again

A blob appears by one rename. Digests come from outside and become parts of paths: each
method validates the digest that it is given.
"""

from __future__ import annotations

import errno
import fcntl
import os

from rootless.errors import Corrupt, NotFound
from rootless.oci import digests
from rootless.storage import workspace
from rootless.storage.faults import translated
from rootless.storage.records import sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO, Self

    from rootless.storage.layout import Layout

_CHUNK = 1 << 20


class BlobStore:
    """The blobs of one data root; safe for many threads and processes at once."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def path(self, digest: str) -> str:
        """Return where the blob is, or would be; raises ``InvalidArgument`` for a malformed digest."""
        return self._layout.blob(digests.validate(digest))

    def has(self, digest: str) -> bool:
        """Say whether the blob is here (complete)."""
        return os.path.exists(self.path(digest))

    def size(self, digest: str) -> int:
        """Return the size in bytes; raises ``NotFound``."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise _missing(digest) from None

    def open(self, digest: str) -> BinaryIO:
        """Return an unbuffered stream of the blob, not verified again; raises ``NotFound``."""
        with translated(f"cannot read blob {digest}"):
            try:
                return open(self.path(digest), "rb", buffering=0)
            except FileNotFoundError:
                raise _missing(digest) from None

    def read(self, digest: str) -> bytes:
        """Return a small blob, verified; raises ``NotFound`` or ``Corrupt``."""
        with translated(f"cannot read blob {digest}"), self.open(digest) as stream:
            data = stream.read()
        if digests.sha256_bytes(data) != digest:
            raise Corrupt(
                f"blob {digest} is damaged on disk: {self.path(digest)}", hint="remove the image and pull it again"
            )
        return data

    def put(self, data: bytes) -> str:
        """Store ``data`` and return its digest; raises ``NoSpace`` or ``SystemFailure``."""
        digest = digests.sha256_bytes(data)
        if not self.has(digest):
            with self.writer() as writer:
                writer.write(data)
                writer.commit()
        return digest

    def writer(self, digest: str = "", size: int = -1) -> BlobWriter:
        """Return a writer; with a digest it goes on where an earlier one stopped, at ``.offset``.

        Waits while another process (or thread) downloads the same blob; if that one
        succeeds, the writer is ``present`` and there is nothing to write. Without a
        digest the content decides, and ``commit`` returns it. ``size`` -1 is unknown.
        """
        if digest:
            digests.validate(digest)
        return BlobWriter(self._layout, digest, size)

    def remove(self, digest: str) -> int:
        """Remove a blob and return the bytes freed; 0 if it was not here."""
        path = self.path(digest)
        with translated(f"cannot remove blob {digest}"):
            try:
                size = os.stat(path).st_size
                os.unlink(path)
            except FileNotFoundError:
                return 0
        return size

    def list(self) -> list[str]:
        """Return the digests of all blobs, in no order."""
        with translated("cannot list blobs"):
            names = os.listdir(self._layout.blobs)
        return [f"sha256:{name}" for name in names if len(name) == 64]


class BlobWriter:
    """One blob on its way in. Closing it without ``commit`` keeps the partial for a resume."""

    def __init__(self, layout: Layout, digest: str, size: int) -> None:
        self.digest = digest
        self.size = size
        self.offset = 0
        self.present = False
        self._layout = layout
        self._hash = digests.new_hash()
        self._fd = -1
        with translated(f"cannot store blob {digest}".rstrip()):
            if digest:
                self._path = f"{layout.partial}/{digests.encoded(digest)}"
                self._open_partial()
            else:
                self._path, self._fd = workspace.make_file(layout.tmp, "blob")

    def _open_partial(self) -> None:
        while not os.path.exists(self._layout.blob(self.digest)):
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                ours = os.fstat(fd)
                try:
                    current = os.stat(self._path)
                except FileNotFoundError:
                    current = None
                if current is None or (current.st_dev, current.st_ino) != (ours.st_dev, ours.st_ino):
                    continue  # committed or discarded by the one for whom we waited
                self._fd, fd = fd, -1
            finally:
                if fd >= 0:
                    os.close(fd)
            if os.path.exists(self._layout.blob(self.digest)):
                self.discard()
                break
            self._take_over()
            return
        self.present = True
        self.offset = os.stat(self._layout.blob(self.digest)).st_size

    def _take_over(self) -> None:
        """Hash what an earlier download left."""
        length = os.fstat(self._fd).st_size
        if self.size >= 0 and length > self.size:
            os.ftruncate(self._fd, 0)
            length = 0
        while self.offset < length:
            data = os.read(self._fd, _CHUNK)
            if not data:
                break
            self._hash.update(data)
            self.offset += len(data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append ``data``.

        Raises ``NoSpace`` (the partial is removed: it would be in the way of whoever wants to
        make room) and ``Corrupt`` beyond the announced size.
        """
        if self.size >= 0 and self.offset + len(data) > self.size:
            self.discard()
            raise Corrupt(f"blob {self.digest} is larger than the {self.size} bytes that were announced")
        view = memoryview(data)
        try:
            with translated(f"cannot store blob {self.digest}".rstrip()):
                while view:
                    written = os.write(self._fd, view)
                    self._hash.update(view[:written])
                    self.offset += written
                    view = view[written:]
        except BaseException as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
                self.discard()
            raise

    def restart(self) -> None:
        """Forget what was written: the source cannot continue in the middle."""
        with translated(f"cannot store blob {self.digest}".rstrip()):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = digests.new_hash()
        self.offset = 0

    @property
    def content_digest(self) -> str:
        """The digest of what was written so far."""
        return self.digest if self.present else "sha256:" + self._hash.hexdigest()

    def commit(self) -> str:
        """Verify size and digest, sync, and make the blob visible; return its digest.

        Raises ``Corrupt`` after removing the partial. The writer is closed either way.
        """
        if self.present:
            return self.digest
        found = self.content_digest
        if self.size >= 0 and self.offset != self.size:
            self.discard()
            raise Corrupt(f"blob {self.digest} has {self.offset} bytes instead of the {self.size} that were announced")
        if self.digest and found != self.digest:
            self.discard()
            raise Corrupt(f"content of blob {self.digest} does not match: its digest is {found}")
        try:
            with translated(f"cannot store blob {found}"):
                os.fsync(self._fd)
                os.rename(self._path, self._layout.blob(found))
                sync_directory(self._layout.blobs)
        except BaseException:
            self.discard()
            raise
        self.close()
        return found

    def discard(self) -> None:
        """Remove what was written and close."""
        if self._fd >= 0:
            try:
                os.unlink(self._path)
            except OSError:
                pass
            os.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        """Close; content of known digest stays for a resume, anything else is removed."""
        if self._fd >= 0:
            if not self.digest or self.offset == 0:
                self.discard()
            else:
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


def _missing(digest: str) -> NotFound:
    return NotFound(f"blob {digest} is not in the store", hint="pull the image again")
