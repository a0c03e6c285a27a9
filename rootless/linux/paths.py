"""Paths resolved beneath a root that the caller holds open.

A container's file system is somebody else's: any component may be a symbolic link to
anywhere, and may change while we look. ``openat2`` with RESOLVE_IN_ROOT resolves links as
if the root were ``/`` and never leaves it.
"""

from __future__ import annotations

import os

from rootless.linux import syscalls


def open_beneath(root_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open ``path`` as a process chrooted to ``root_fd`` would; raises ``OSError``."""
    resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
    if not flags & (os.O_CREAT | 0o20000000):  # openat2 refuses a mode without O_CREAT or O_TMPFILE
        mode = 0
    return syscalls.openat2(root_fd, path or ".", flags, mode=mode, resolve=resolve)


def mkdirs_beneath(root_fd: int, path: str, mode: int = 0o755) -> int:
    """Make the directory ``path`` and its parents; return it open (O_PATH).

    Symbolic links are followed beneath the root, and where one dangles its target is made. A
    component that is no directory is an error. Raises ``OSError``.
    """
    try:
        return open_beneath(root_fd, path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    done = ""
    current = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root_fd)
    for name in path.split("/"):
        if name in ("", "."):
            continue
        done = f"{done}/{name}"
        try:
            # From the root each time: only so does ".." and an absolute link mean what it says.
            following = open_beneath(root_fd, done, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            try:
                os.mkdir(name, mode, dir_fd=current)
            except FileExistsError:
                os.close(mkdirs_beneath(root_fd, _target(current, done), mode))
            following = open_beneath(root_fd, done, os.O_PATH | os.O_DIRECTORY)
        finally:
            os.close(current)
        current = following
    return current


def create_file_beneath(root_fd: int, path: str, mode: int = 0o644) -> int:
    """Make an empty file and its parents if it is missing; return it open (O_PATH).

    A symbolic link that dangles, such as /etc/resolv.conf to somewhere in /run, gets its target.
    """
    try:
        return open_beneath(root_fd, path, os.O_PATH)
    except FileNotFoundError:
        pass
    parent, _, name = path.rstrip("/").rpartition("/")
    directory = mkdirs_beneath(root_fd, parent)
    try:
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode, dir_fd=directory))
        except FileExistsError:
            return create_file_beneath(root_fd, _target(directory, path.rstrip("/")), mode)
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)


def _target(directory: int, path: str) -> str:
    """Return where the symbolic link ``path``, whose last component is in ``directory``, points beneath the root.

    Following link after link ends: the kernel refuses a chain of more than 40 (ELOOP).
    """
    parent, _, name = path.rpartition("/")
    text = os.readlink(name, dir_fd=directory)
    return text if text.startswith("/") else f"{parent}/{text}"


def read_beneath(root: str, path: str, limit: int = 16 * 1024 * 1024) -> bytes:
    """Return the content of a regular file below the directory ``root``.

    Raises ``OSError``: EINVAL for anything but a regular file (never blocks on a FIFO),
    EFBIG above ``limit`` bytes.
    """
    import errno
    import stat

    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_beneath(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    finally:
        os.close(root_fd)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes", path)
        with open(fd, "rb", closefd=False) as stream:
            return stream.read(limit)
    finally:
        os.close(fd)
