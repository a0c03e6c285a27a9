"""Open-file-description locks (fcntl(2), F_OFD_SETLK) on files below ``locks/``.

They belong to the open file: threads exclude each other, a fork shares its parent's, and
the kernel releases them when the last copy of the descriptor is closed, however the
process ended. The file carries pid and command of the last exclusive holder, for those
who wait. Lock files are never removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

PATIENCE = 2.0  # seconds before a waiter says for whom it waits
_BUSY = (errno.EAGAIN, errno.EACCES)


class Lock:
    """``with Lock(path, exclusive=True): …``; ``key`` locks one byte, so that one file holds many locks.

    Raises ``OSError`` if the file cannot be made. ``on_wait`` receives a line about the
    holder once the wait exceeds ``PATIENCE``; by default it goes to stderr. Taking a lock
    that the same object holds is an error; another object on the same file waits, even in
    one process.
    """

    def __init__(
        self, path: str, *, exclusive: bool = True, key: int = 0, on_wait: Callable[[str], None] | None = None
    ) -> None:
        self.path = path
        self._exclusive = exclusive
        self._key = key
        self._on_wait = on_wait or _tell
        self._fd = -1

    def acquire(self) -> None:
        """Wait for the lock and take it."""
        if not self.try_acquire():
            self._open()
            try:
                self._wait()
            except BaseException:
                self.release()
                raise
            self._sign()

    def try_acquire(self) -> bool:
        """Take the lock if it is free."""
        if self._fd >= 0:
            raise RuntimeError(f"{self.path} is already locked through this object")
        self._open()
        try:
            self._set(fcntl.F_OFD_SETLK)
        except OSError as error:
            self.release()
            if error.errno in _BUSY:
                return False
            error.filename = self.path
            raise
        self._sign()
        return True

    def release(self) -> None:
        """Give the lock up; harmless if it is not held."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def holder(self) -> str:
        """Return "PID COMMAND" of the last exclusive holder, or ""."""
        try:
            with open(self.path, "rb") as stream:
                return stream.read(300).decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def __enter__(self) -> Self:
        """Take the lock."""
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give it up."""
        self.release()

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _set(self, command: int) -> None:
        kind = fcntl.F_WRLCK if self._exclusive else fcntl.F_RDLCK
        # struct flock: type, whence, start, length, pid (which must be 0).
        fcntl.fcntl(self._fd, command, struct.pack("@hhqqi4x", kind, os.SEEK_SET, self._key, 1, 0))

    def _wait(self) -> None:
        threading = sys.modules.get("threading")
        if threading is not None and threading.active_count() > 1:
            # No fork with threads about, and no second thread just to tell a holder's name.
            self._set(fcntl.F_OFD_SETLKW)
            return
        # A child waits on the same open file, so that what it gets is ours: we can
        # time the wait without signals or threads.
        pid = os.fork()
        if pid == 0:
            try:
                self._set(fcntl.F_OFD_SETLKW)
                os._exit(0)
            finally:
                os._exit(1)
        from rootless.linux import process

        pidfd = os.pidfd_open(pid)
        try:
            if not process.wait_pidfd(pidfd, PATIENCE):
                self._on_wait(f"waiting for {self.path}, held by process {self.holder() or 'unknown'}")
                process.wait_pidfd(pidfd, None)
        except BaseException:
            os.kill(pid, 9)
            raise
        finally:
            os.close(pidfd)
            _, status = os.waitpid(pid, 0)
        if status:
            self._set(fcntl.F_OFD_SETLKW)

    def _sign(self) -> None:
        if not self._exclusive:
            return
        command = " ".join(sys.argv[:4]) if hasattr(sys, "argv") else ""
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()} {command[:200]}\n".encode("utf-8", "replace"), 0)
        except OSError:
            pass  # a full disk must not keep anybody from pruning


def _tell(line: str) -> None:
    print(f"rl: {line}", file=sys.stderr, flush=True)
