"""Directory trees that belong to somebody else: removal by descriptor, following nothing."""

from __future__ import annotations

import os
import stat


def remove_tree(path: str) -> None:
    """Remove a file or directory tree; symbolic links are removed, never followed.

    To be run as root of the user namespace when the tree holds subordinate ids. A path that
    does not exist is no error. Raises ``OSError`` for what could not be removed.
    """
    parent, _, name = path.rstrip("/").rpartition("/")
    try:
        parent_fd = os.open(parent or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _remove(parent_fd, name)
    finally:
        os.close(parent_fd)


def _remove(parent_fd: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent_fd)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        # EPERM: POSIX's word for a directory, or a directory that we may not write to.
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
            raise
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=parent_fd)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent_fd)  # mode 000: overlay's work directories
        fd = os.open(name, flags, dir_fd=parent_fd)
    try:
        entries = os.listdir(fd)
        if entries and not os.access(".", os.W_OK | os.X_OK, dir_fd=fd):
            os.fchmod(fd, 0o700)
        for entry in entries:
            _remove(fd, entry)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent_fd)
