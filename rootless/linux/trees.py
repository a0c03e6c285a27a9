"""Whole directory trees, removed and copied by descriptor: no path is ever resolved twice."""

from __future__ import annotations

import errno
import os
import stat

from rootless.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FICLONE = 0x40049409
_SKIPPED_XATTRS = ("user.overlay.", "trusted.overlay.", "user.fuseoverlayfs.")


def remove_tree(path: str | bytes) -> None:
    """Remove a file, or a directory with everything in it; nothing there is fine.

    Follows no link, crosses no mount point, and needs one descriptor however deep the tree
    is. Directories of ours without permissions are opened up. Raises ``OSError`` (EACCES or
    EPERM where files of other ids are inside: call it in the user namespace then).
    """
    try:
        os.unlink(path)
        return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
    parent, name = os.path.split(os.fsencode(path).rstrip(b"/"))
    fd = os.open(parent or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    top = (os.fstat(fd).st_dev, os.fstat(fd).st_ino)
    stack: list[tuple[bytes, tuple[int, int]]] = []  # names below, and the identity of the directory that holds each
    here = top
    try:
        pending = [name]
        names: list[list[bytes]] = [pending]
        while names:
            pending = names[-1]
            if not pending:
                names.pop()
                if not stack:
                    break
                child, here = stack.pop()
                above = _leave(fd)
                os.close(fd)
                fd = above
                status = os.fstat(fd)
                if (status.st_dev, status.st_ino) != here:
                    raise OSError(errno.ESTALE, "directory was moved while it was removed", os.fsdecode(path))
                _rmdir(fd, child)
                continue
            child = pending.pop()
            if not _unlink(fd, child):
                below = _enter(fd, child)
                if below is None:
                    continue
                stack.append((child, here))
                os.close(fd)
                fd = below
                status = os.fstat(fd)
                here = (status.st_dev, status.st_ino)
                names.append([os.fsencode(entry) for entry in os.listdir(fd)])
    finally:
        os.close(fd)


def _unlink(directory: int, name: bytes) -> bool:
    """Unlink what is no directory; false for a directory."""
    for attempt in range(2):
        try:
            os.unlink(name, dir_fd=directory)
            return True
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno == errno.EISDIR:
                return False
            if error.errno == errno.EPERM and stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
                return False
            if error.errno != errno.EACCES or attempt:
                raise
            os.fchmod(directory, 0o700)  # not writable or not searchable: ours to change, or EPERM
    return True


def _enter(directory: int, name: bytes) -> int | None:
    """Open the directory ``name`` for emptying; None if it is gone."""
    resolve = syscalls.RESOLVE_NO_XDEV | syscalls.RESOLVE_NO_SYMLINKS
    for attempt in range(2):
        try:
            return syscalls.openat2(directory, os.fsdecode(name), _DIRECTORY, resolve=resolve)
        except FileNotFoundError:
            return None
        except PermissionError:
            if attempt:
                raise
            # fchmod refuses O_PATH descriptors; the link in /proc does not.
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
            try:
                os.chmod(f"/proc/self/fd/{fd}", 0o700)
            finally:
                os.close(fd)
    return None


def _leave(directory: int) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return os.open(b"..", flags, dir_fd=directory)
    except PermissionError:
        os.fchmod(directory, 0o700)  # no search permission
        return os.open(b"..", flags, dir_fd=directory)


def _rmdir(directory: int, name: bytes) -> None:
    try:
        os.rmdir(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except PermissionError:
        os.fchmod(directory, 0o700)
        os.rmdir(name, dir_fd=directory)


def copy_tree(source: str | int, target: str) -> None:
    """Copy the content and attributes of a directory into an existing one; runs in the user namespace.

    ``source`` may be an open directory, which stays the caller's.

    Hard links stay links, holes stay holes where the file system can clone; owners, modes,
    times and xattrs are kept. Devices and sockets are left out. Raises ``OSError``.
    """
    links: dict[tuple[int, int], str] = {}
    directories: list[tuple[str, os.stat_result]] = []
    source_fd = os.open(source, _DIRECTORY) if isinstance(source, str) else os.open(".", _DIRECTORY, dir_fd=source)
    todo = [("", os.fstat(source_fd))]
    target_fd = os.open(target, _DIRECTORY)
    try:
        while todo:
            prefix, status = todo.pop()
            directories.append((prefix, status))
            above = _reach(source_fd, prefix)
            into = _reach(target_fd, prefix)
            try:
                with os.scandir(above) as entries:
                    found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
                for name, entry_status in found:
                    path = f"{prefix}/{name}" if prefix else name
                    if stat.S_ISDIR(entry_status.st_mode):
                        os.mkdir(name, 0o700, dir_fd=into)
                        todo.append((path, entry_status))
                        continue
                    key = (entry_status.st_dev, entry_status.st_ino)
                    if entry_status.st_nlink > 1 and key in links:
                        _link(target_fd, links[key], into, name)
                        continue
                    if _copy_entry(above, into, name, entry_status) and entry_status.st_nlink > 1:
                        links[key] = path
            finally:
                os.close(above)
                os.close(into)
        for prefix, status in reversed(directories):
            above = _reach(source_fd, prefix)
            into = _reach(target_fd, prefix)
            try:
                _copy_attributes(above, into, status)
            finally:
                os.close(above)
                os.close(into)
    finally:
        os.close(source_fd)
        os.close(target_fd)


def _reach(root: int, path: str) -> int:
    """Open a directory below ``root`` whose components are directories, however long the path."""
    if len(path) < 3000:
        return syscalls.openat2(
            root, path or ".", _DIRECTORY, resolve=syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
        )
    cut = path.index("/", 2000)
    middle = _reach(root, path[:cut])
    try:
        return _reach(middle, path[cut + 1 :])
    finally:
        os.close(middle)


def _link(target_fd: int, first: str, into: int, name: str) -> None:
    directory, _, base = first.rpartition("/")
    holder = _reach(target_fd, directory)
    try:
        os.link(base, name, src_dir_fd=holder, dst_dir_fd=into, follow_symlinks=False)
    finally:
        os.close(holder)


def _copy_entry(above: int, into: int, name: str, status: os.stat_result) -> bool:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        read = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            write = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=into)
            try:
                _copy_data(read, write, status.st_size)
                _copy_attributes(read, write, status)
            finally:
                os.close(write)
        finally:
            os.close(read)
        return True
    if kind == stat.S_IFLNK:
        os.symlink(os.readlink(name, dir_fd=above), name, dir_fd=into)
    elif kind == stat.S_IFIFO:
        os.mkfifo(name, 0o600, dir_fd=into)
        # No chmod by name without following links (3.11): through the descriptor's link.
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=into)
        try:
            os.chown(name, status.st_uid, status.st_gid, dir_fd=into, follow_symlinks=False)
            os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(status.st_mode))
        finally:
            os.close(fd)
    else:
        return False
    os.chown(name, status.st_uid, status.st_gid, dir_fd=into, follow_symlinks=False)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=into, follow_symlinks=False)
    return True


def _copy_data(read: int, write: int, size: int) -> None:
    import fcntl

    if not size:
        return
    try:
        fcntl.ioctl(write, _FICLONE, read)
        return
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
    position = 0
    while position < size:
        try:
            position = os.lseek(read, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # only a hole is left
        end = os.lseek(read, position, os.SEEK_HOLE)
        os.lseek(write, position, os.SEEK_SET)
        os.lseek(read, position, os.SEEK_SET)
        while position < end:
            copied = os.sendfile(write, read, None, min(end - position, 1 << 30))
            if not copied:
                break
            position += copied
    os.ftruncate(write, size)


def _copy_attributes(source: int, target: int, status: os.stat_result) -> None:
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if name.startswith(_SKIPPED_XATTRS):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def tree_size(path: str) -> dict[str, Any]:
    """Return ``size`` (bytes of regular files, links counted once) and ``entries`` of a tree."""
    size = entries = 0
    seen: set[tuple[int, int]] = set()
    todo = [path]
    while todo:
        with os.scandir(todo.pop()) as found:
            for entry in found:
                status = entry.stat(follow_symlinks=False)
                entries += 1
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                elif stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
                    if status.st_nlink > 1:
                        seen.add((status.st_dev, status.st_ino))
                    size += status.st_size
    return {"size": size, "entries": entries}
