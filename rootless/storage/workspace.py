"""Work in progress below ``tmp/``, and how to tell it from what a dead process left.

An entry is named ``KIND.PID.STARTTIME.NUMBER`` and its maker holds a shared flock(2) on it.
So do the children that write into it, who may outlive their parent for a moment. It is
stale when its process is gone *and* nobody holds the lock: the name covers the moment
between making and locking.
"""

from __future__ import annotations

import fcntl
import itertools
import os

from rootless.linux import process

_numbers = itertools.count(1)  # next() is atomic: threads share it


def new_name(directory: str, kind: str) -> str:
    """Return a path in ``directory`` that no other process and no other call returns."""
    pid = os.getpid()
    return f"{directory}/{kind}.{pid}.{process.start_time(pid)}.{next(_numbers)}"


def make_file(directory: str, kind: str) -> tuple[str, int]:
    """Make a file (0600) and return its path and a descriptor of the caller's, locked as in use."""
    path = new_name(directory, kind)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return path, fd


def make_directory(directory: str, kind: str) -> tuple[str, int]:
    """Make a directory (0700) and return its path and a descriptor of the caller's, locked as in use."""
    path = new_name(directory, kind)
    os.mkdir(path, 0o700)
    return path, hold(path)


def hold(path: str) -> int:
    """Return a descriptor that marks ``path`` as in use for as long as it is open."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


def is_stale(path: str) -> bool:
    """Say whether the process that made ``path`` is gone and nobody else works in it."""
    fields = os.path.basename(path).split(".")
    ours = len(fields) == 4 and fields[1].isdecimal() and fields[2].isdecimal()
    if ours and process.is_alive(int(fields[1]), int(fields[2])):
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return os.path.lexists(path)  # a link, or something unreadable: none of ours is
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
