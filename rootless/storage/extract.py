"""One layer's tar archive made into files, inside the user namespace and a chroot.

Two flavours give the same file system:

- **overlay**: the directory holds this layer alone, as overlayfs wants it: a removed name
  is a character device 0:0, a directory that hides what is below carries
  ``user.overlay.opaque``. Directories that the archive implies but does not contain get
  their attributes from the layers below, whose topmost directory would show through.
- **vfs**: the directory holds a copy of everything below; names are removed for good.

The archive is hostile until proven otherwise. The process is chrooted into the target, so
no path, link or ``..`` leads outside; names are nevertheless made canonical first, so that
both flavours see one name for one file. What an archive may not do to a user namespace
(device nodes, foreign ids, some extended attributes) is left out and counted.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

from rootless.errors import Corrupt, RlError, SystemFailure
from rootless.linux import idmap
from rootless.linux.trees import remove_tree
from rootless.oci import digests
from rootless.storage import decompress, tarstream, workspace
from rootless.storage.tarstream import Member, TarReader, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

OVERFLOW_ID = 65534
OPAQUE = ("user.overlay.opaque", "user.fuseoverlayfs.opaque")
_WHITEOUT = b".wh."
_OPAQUE_MARKER = b".wh..wh..opq"
_FOREIGN_XATTRS = (b"user.overlay.", b"trusted.overlay.", b"user.fuseoverlayfs.")
_REFUSED = (errno.ENOTSUP, errno.EPERM, errno.EINVAL, errno.E2BIG, errno.ERANGE, errno.EACCES)
_ARCHIVES_FAULT = (
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.EFBIG,
    errno.EINVAL,
)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH_MAX = 4096
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def apply(source: str, target: str, flavour: str, lowers: tuple[str, ...], diff_id: str) -> dict[str, Any]:
    """Extract the archive ``source`` into the directory ``target``; runs in a child in the user namespace.

    ``lowers`` are the directories of the layers below, topmost first (flavour overlay). The
    uncompressed stream must have the digest ``diff_id`` unless that is "". Returns
    ``diff_id``, ``size`` (bytes of files), ``entries``, ``squashed`` (entries whose ids are
    above the range), ``devices`` (left out), ``xattrs`` (refused). Raises ``Corrupt``
    and ``OSError``; the target is to be thrown away then. Chroots: never call it in a
    process that goes on.
    """
    os.umask(0)
    sys.setrecursionlimit(4 * _PATH_MAX)  # a path may have half as many components as bytes
    hold = workspace.hold(os.path.dirname(target))  # released by our end, even if our parent dies first
    uids, gids = _Ids(idmap.current_map("uid")), _Ids(idmap.current_map("gid"))
    below = [os.open(path, _DIRECTORY) for path in lowers]
    hasher = digests.Hasher()
    with open(source, "rb", buffering=0) as stream:
        reader = TarReader(decompress.ahead(_hashed(decompress.pieces(stream), hasher)))
        reader.prefetch()  # after this nothing is imported any more
        os.chroot(target)
        os.chdir("/")
        extractor = _Extractor(reader, flavour == "overlay", below, uids, gids)
        try:
            extractor.run()
        except OSError as error:
            where = extractor.current
            if error.errno in _ARCHIVES_FAULT:
                raise Corrupt(f"tar member {printable(where)}: {(error.strerror or '').lower()}") from error
            raise OSError(error.errno, error.strerror, printable(where)) from error
        except RlError:
            raise
        except Exception as error:
            raise SystemFailure(
                f"tar member {printable(extractor.current)}: {type(error).__name__}: {error}"
            ) from error
    os.close(hold)
    if diff_id and hasher.digest != diff_id:
        raise Corrupt(f"layer does not match its diff ID {diff_id}: its content has {hasher.digest}")
    return {
        "diff_id": hasher.digest,
        "size": extractor.size,
        "entries": extractor.entries,
        "squashed": extractor.squashed,
        "devices": extractor.devices,
        "xattrs": extractor.refused,
    }


def _hashed(pieces: Iterator[bytes], hasher: digests.Hasher) -> Iterator[bytes]:
    for piece in pieces:
        hasher.update(piece)
        yield piece


class _Ids:
    """Which ids exist in this namespace."""

    def __init__(self, ranges: tuple[tuple[int, int, int], ...]) -> None:
        self._ranges = ranges
        self._known: dict[int, int] = {}
        self._overflow = OVERFLOW_ID if self._mapped(OVERFLOW_ID) else 0

    def _mapped(self, value: int) -> bool:
        return any(first <= value < first + length for first, _, length in self._ranges)

    def __call__(self, value: int) -> int:
        """Return ``value``, or the overflow id if it does not exist here."""
        known = self._known.get(value)
        if known is None:
            if len(self._known) > 4096:
                self._known.clear()
            known = self._known[value] = value if self._mapped(value) else self._overflow
        return known


def clean(name: bytes) -> bytes:
    """Return ``name`` relative to the root, without empty, ``.`` and ``..`` components; the root is b""."""
    if b"//" not in name and b"/." not in name and name[:1] not in (b".", b"/"):
        return name[:-1] if name.endswith(b"/") else name
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if parts:
                parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


class _Extractor:
    """State of one extraction; the current directory and the root are the target."""

    def __init__(self, reader: TarReader, overlay: bool, below: list[int], uids: _Ids, gids: _Ids) -> None:
        self._reader = reader
        self._overlay = overlay
        self._below = below
        self._uids = uids
        self._gids = gids
        self._times: dict[bytes, int] = {}
        self._left_out: set[bytes] = set()  # devices
        # Flavour vfs: which names are this layer's, and which directories were looked at.
        self._made: set[bytes] = set()
        self._settled: dict[bytes, bytes] = {}
        self.current = b""
        self.size = self.entries = self.squashed = self.devices = self.refused = 0

    def run(self) -> None:
        """Extract all members and read the stream to its end."""
        reader = self._reader
        if self._overlay:
            self._inherit(b"")
        makers = {
            tarstream.REGULAR: self._file,
            tarstream.DIRECTORY: self._directory,
            tarstream.SYMLINK: self._symlink,
            tarstream.LINK: self._link,
            tarstream.FIFO: self._fifo,
            tarstream.CHARACTER: self._device,
            tarstream.BLOCK: self._device,
        }
        while (member := reader.next()) is not None:
            self.current = member.name
            maker = makers.get(member.type)
            path = clean(member.name)
            if maker is None:
                reader.skip(member)
                continue
            if _WHITEOUT in path and self._is_marker(path):
                reader.skip(member)
                continue
            self.entries += 1
            if len(path) >= _PATH_MAX:
                raise Corrupt(f"tar member {printable(member.name)}: file name too long")
            if not path and member.type != tarstream.DIRECTORY:
                raise Corrupt(f"tar member {printable(member.name)} would replace the root directory")
            if not self._overlay and path:
                path = self._settle(path)
                self._made.add(path)
            uid, gid = self._uids(member.uid), self._gids(member.gid)
            if uid != member.uid or gid != member.gid:
                member.uid, member.gid = uid, gid
                self.squashed += 1
            maker(member, path)
        self._set_times()
        reader.drain()

    # Members

    def _file(self, member: Member, path: bytes) -> None:
        try:
            fd = os.open(path, _CREATE, member.mode)
        except OSError as error:
            self._make_room(path, error)
            fd = os.open(path, _CREATE, member.mode)
        try:
            if member.stored or member.extents is not None:
                self._reader.copy(member, fd)
                self.size += member.size
            os.fchown(fd, member.uid, member.gid)
            if member.mode & 0o7000:
                os.fchmod(fd, member.mode)  # after chown, which clears set-id bits
            if member.xattrs:
                self._set_xattrs(fd, member.xattrs)
            _utime(fd, member.mtime)
        finally:
            os.close(fd)

    def _directory(self, member: Member, path: bytes) -> None:
        if path:
            self._make_directory(path)
        place = path or b"."
        os.chown(place, member.uid, member.gid, follow_symlinks=False)
        os.chmod(place, member.mode)
        if member.xattrs:
            self._set_xattrs(place, member.xattrs)
        self._times[place] = member.mtime

    def _make_directory(self, path: bytes) -> None:
        try:
            os.mkdir(path, 0o755)
            return
        except OSError as error:
            if error.errno == errno.EEXIST and stat.S_ISDIR(os.lstat(path).st_mode):
                return
            replaced = self._make_room(path, error)
        os.mkdir(path, 0o755)
        if replaced:
            self._make_opaque(path)

    def _symlink(self, member: Member, path: bytes) -> None:
        if not member.link:
            raise Corrupt(f"tar member {printable(member.name)} is a symbolic link to nothing")
        try:
            os.symlink(member.link, path)
        except OSError as error:
            self._make_room(path, error)
            os.symlink(member.link, path)
        self._finish(member, path)

    def _fifo(self, member: Member, path: bytes) -> None:
        try:
            os.mkfifo(path, member.mode)
        except OSError as error:
            self._make_room(path, error)
            os.mkfifo(path, member.mode)
        self._finish(member, path)

    def _finish(self, member: Member, path: bytes) -> None:
        os.chown(path, member.uid, member.gid, follow_symlinks=False)
        if member.type == tarstream.FIFO and member.mode & 0o7000:
            os.chmod(path, member.mode)
        if member.xattrs:
            self._set_xattrs(path, member.xattrs)
        _utime(path, member.mtime)

    def _device(self, _member: Member, path: bytes) -> None:
        # mknod(2) of anything but a whiteout is refused in a user namespace; a container
        # gets its devices in /dev from the runtime.
        self.devices += 1
        self._left_out.add(path)

    def _link(self, member: Member, path: bytes) -> None:
        target = clean(member.link)
        if not target:
            raise Corrupt(f"tar member {printable(member.name)} is a hard link to the root directory")
        if target == path:
            return
        status = _lstat(target)
        if status is not None and stat.S_ISDIR(status.st_mode):
            raise Corrupt(f"tar member {printable(member.name)} is a hard link to the directory {printable(target)}")
        if status is None and target in self._left_out:
            self._device(member, path)
            return
        if status is None:
            self._copy_from_below(member, target, path)
            return
        if _is_whiteout(status):
            raise Corrupt(f"hard link {printable(path)} to {printable(target)}, which the layer removes")
        there = _lstat(path)
        if there is not None and (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino):
            return
        try:
            os.link(target, path, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.EMLINK:
                self._make_room(path, error)
                if _lstat(target) is None:
                    raise Corrupt(f"hard link {printable(path)} replaces its own target") from error
                os.link(target, path, follow_symlinks=False)
                return
            fd = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            self._copy_file(fd, path)

    def _copy_from_below(self, member: Member, target: bytes, path: bytes) -> None:
        """Give a hard link whose target is in a lower layer a copy of it."""
        fd = self._find_below(target, directory=False) if self._overlay else None
        if fd is None:
            raise Corrupt(
                f"tar member {printable(member.name)} is a hard link to {printable(target)}, which is missing"
            )
        self._copy_file(fd, path)

    def _copy_file(self, source: int, path: bytes) -> None:
        """Copy the regular file ``source``, a descriptor that is closed, to ``path``."""
        try:
            status = os.fstat(source)
            try:
                fd = os.open(path, _CREATE, 0o600)
            except OSError as error:
                self._make_room(path, error)
                fd = os.open(path, _CREATE, 0o600)
            try:
                while os.sendfile(fd, source, None, 1 << 30):
                    pass
                os.fchown(fd, status.st_uid, status.st_gid)
                os.fchmod(fd, stat.S_IMODE(status.st_mode))
                self._copy_xattrs(source, fd)
                os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
            finally:
                os.close(fd)
            self.size += status.st_size
        finally:
            os.close(source)

    # Markers

    def _is_marker(self, path: bytes) -> bool:
        """Act on a whiteout or an opaque marker; false for a name that merely looks a bit like one."""
        directory, _, name = path.rpartition(b"/")
        if any(part.startswith(_WHITEOUT) for part in directory.split(b"/")):
            if b".wh..wh." in directory:
                return True  # aufs' own bookkeeping
            raise Corrupt(f"tar member {printable(path)} is inside of a whiteout")
        if not name.startswith(_WHITEOUT):
            return False
        if name == _OPAQUE_MARKER:
            if directory and not self._known(directory):
                return True
            if not self._overlay:
                real = self._settle(directory + b"/x").rpartition(b"/")[0] if directory else b""
                self._hide_content(real)
                return True
            if directory:
                self._make_parents(directory + b"/x")
                self._make_opaque(directory)
            else:
                # overlayfs merges the root directories of all layers whatever they say.
                for old in {old for lower in self._below for old in os.listdir(lower)}:
                    self._hide(os.fsencode(old))
            return True
        if name.startswith(_WHITEOUT + _WHITEOUT):
            return True
        hidden = name[len(_WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise Corrupt(f"tar member {printable(path)} removes no name")
        if directory and not self._known(directory):
            return True
        self._hide(directory + b"/" + hidden if directory else hidden)
        return True

    def _known(self, directory: bytes) -> bool:
        """Say whether a directory is in this layer or below: in any other there is nothing to hide."""
        if not self._overlay:
            return self._known_vfs(directory)
        try:
            return stat.S_ISDIR(os.stat(directory).st_mode)
        except OSError:
            pass
        fd = self._find_below(directory, directory=True)
        if fd is None:
            return False
        os.close(fd)
        return True

    def _known_vfs(self, directory: bytes) -> bool:
        real = b""
        for part in directory.split(b"/"):
            real = real + b"/" + part if real else part
            status = _lstat(real)
            if status is not None and stat.S_ISLNK(status.st_mode) and real in self._made:
                real = os.path.realpath(real).lstrip(b"/")
                status = _lstat(real or b".")
            if status is None or not stat.S_ISDIR(status.st_mode):
                return False  # links of lower layers are not followed
        return True

    def _hide(self, path: bytes) -> None:
        """Remove what lower layers have at ``path``; what this layer has stays, whatever came first."""
        if not self._overlay:
            path = self._settle(path)
            status = _lstat(path)
            if status is None:
                return
            if path in self._made:
                if stat.S_ISDIR(status.st_mode):
                    self._hide_content(path)
                return
            self._remove(path)
            return
        for _ in range(2):
            try:
                os.mknod(path, stat.S_IFCHR, 0)
                return
            except FileExistsError:
                if stat.S_ISDIR(os.lstat(path).st_mode):
                    self._make_opaque(path)
                return
            except (FileNotFoundError, NotADirectoryError):
                self._make_parents(path)
            except PermissionError:
                # A kernel before 5.8. fuse-overlayfs reads this form as well.
                directory, _, name = path.rpartition(b"/")
                fd = os.open((directory + b"/" if directory else b"") + _WHITEOUT + name, os.O_CREAT | os.O_WRONLY, 0)
                os.close(fd)
                return

    def _hide_content(self, path: bytes) -> None:
        """Flavour vfs: remove what the directory has from lower layers."""
        for name in os.listdir(path or b"."):
            child = path + b"/" + name if path else name
            if child not in self._made:
                self._remove(child)
            elif stat.S_ISDIR(os.lstat(child).st_mode):
                self._hide_content(child)

    def _make_opaque(self, path: bytes) -> None:
        if not self._overlay:
            return
        try:
            for name in OPAQUE:
                os.setxattr(path, name, b"y", follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            os.close(os.open(path + b"/" + _OPAQUE_MARKER, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))

    # Parents and obstacles

    def _make_room(self, path: bytes, error: OSError) -> bool:
        """Make it possible to create ``path`` after ``error``; true if something that is no directory went.

        A name of this layer that was no directory hides what is below; a directory that takes
        its place must go on hiding it.
        """
        if error.errno in _ABSENT:
            self._make_parents(path)
        elif error.errno != errno.EEXIST:
            raise error
        status = _lstat(path)
        if status is None:
            return False
        self._remove(path)
        return not stat.S_ISDIR(status.st_mode)

    def _remove(self, path: bytes) -> None:
        self._settled.clear()
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            remove_tree(path)
        else:
            os.unlink(path)

    def _make_parents(self, path: bytes) -> None:
        """Make the missing directories above ``path`` (flavour overlay), following this layer's links."""
        position = path.find(b"/")
        while position > 0:
            prefix = path[:position]
            position = path.find(b"/", position + 1)
            status = _lstat(prefix)
            if status is None:
                os.mkdir(prefix, 0o755)
                self._inherit(prefix)
            elif stat.S_ISLNK(status.st_mode):
                self._make_link_target(prefix)
            elif not stat.S_ISDIR(status.st_mode):
                os.unlink(prefix)
                os.mkdir(prefix, 0o755)
                self._make_opaque(prefix)

    def _make_link_target(self, prefix: bytes) -> None:
        """See to it that the symbolic link ``prefix`` leads to a directory."""
        try:
            status = os.stat(prefix)
        except FileNotFoundError:
            real = os.path.realpath(prefix).lstrip(b"/")
            if _lstat(real) is None:
                self._make_parents(real + b"/x")
                return
            raise
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(prefix)
            os.mkdir(prefix, 0o755)
            self._make_opaque(prefix)

    def _settle(self, path: bytes) -> bytes:
        """Flavour vfs: return ``path`` with its parents made and resolved.

        A link of a lower layer is replaced by a directory, as the overlay flavour's
        directory would hide it; a link of this layer is followed.
        """
        directory, _, name = path.rpartition(b"/")
        if not directory:
            return name
        real = self._settled.get(directory)
        if real is None:
            real = self._settle(directory)
            status = _lstat(real)
            if status is not None and stat.S_ISLNK(status.st_mode) and real in self._made:
                self._make_link_target_vfs(real)
                status = _lstat(real)
                if status is not None and stat.S_ISLNK(status.st_mode):
                    real = os.path.realpath(real).lstrip(b"/")
                    status = _lstat(real) if real else os.lstat(b".")
            if status is not None and not stat.S_ISDIR(status.st_mode):
                self._remove(real)
                status = None
            if status is None:
                os.mkdir(real, 0o755)
            # Also where it was there before: the overlay flavour would have made it.
            self._made.add(real)
            self._settled[directory] = real
        return real + b"/" + name if real else name

    def _make_link_target_vfs(self, link: bytes) -> None:
        try:
            status = os.stat(link)
        except FileNotFoundError:
            real = os.path.realpath(link).lstrip(b"/")
            if _lstat(real) is not None:
                raise
            self._settle(real + b"/x")
            return
        if not stat.S_ISDIR(status.st_mode):
            self._remove(link)

    # Layers below

    def _inherit(self, path: bytes) -> None:
        """Give a directory that the archive only implies the attributes it has below."""
        fd = self._find_below(path, directory=True)
        if fd is None:
            return
        place = path or b"."
        try:
            status = os.fstat(fd)
            os.chown(place, status.st_uid, status.st_gid, follow_symlinks=False)
            os.chmod(place, stat.S_IMODE(status.st_mode))
            self._copy_xattrs(fd, place)
            self._times[place] = status.st_mtime_ns
        finally:
            os.close(fd)

    def _find_below(self, path: bytes, *, directory: bool) -> int | None:
        """Open what the layers below have at ``path``: a directory, or a regular file.

        Component by component without following links: these descriptors lie outside of
        our root. None if nothing, something else, or something hidden is there.
        """
        parts = path.split(b"/") if path else []
        for lower in self._below:
            fd = os.dup(lower)
            opaque = False
            try:
                for index, part in enumerate(parts):
                    last = index == len(parts) - 1
                    flags = _DIRECTORY
                    if last and not directory:
                        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                    following = os.open(part, flags, dir_fd=fd)
                    os.close(fd)
                    fd = following
                    opaque = opaque or (not (last and not directory) and is_opaque(fd))
                if directory or stat.S_ISREG(os.fstat(fd).st_mode):
                    result, fd = fd, -1
                    return result
                return None
            except FileNotFoundError:
                if opaque:
                    return None
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV):
                    return None  # a file, a link or a whiteout: whatever is further below is hidden
                raise
            finally:
                if fd >= 0:
                    os.close(fd)
        return None

    # Attributes

    def _set_xattrs(self, place: int | bytes, xattrs: dict[bytes, bytes]) -> None:
        for name, value in xattrs.items():
            if name.startswith(_FOREIGN_XATTRS) or b"\0" in name or not name:
                self.refused += 1  # would be read as overlayfs' own notes
                continue
            try:
                if isinstance(place, int):
                    os.setxattr(place, name, value)
                else:
                    os.setxattr(place, name, value, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _REFUSED:
                    raise
                self.refused += 1

    def _copy_xattrs(self, source: int, place: int | bytes) -> None:
        names = (os.fsencode(name) for name in os.listxattr(source))
        self._set_xattrs(
            place, {name: os.getxattr(source, name) for name in names if not name.startswith(_FOREIGN_XATTRS)}
        )

    def _set_times(self) -> None:
        """Set the times of directories, which all that was made in them has changed."""
        for path, mtime in self._times.items():
            status = _lstat(path)
            if status is not None and stat.S_ISDIR(status.st_mode):
                _utime(path, mtime)


def is_opaque(fd: int) -> bool:
    """Say whether an open directory of a layer hides what is below it."""
    for name in OPAQUE:
        try:
            if os.getxattr(fd, name) == b"y":
                return True
        except OSError:
            pass
    try:
        os.lstat(_OPAQUE_MARKER, dir_fd=fd)
    except OSError:
        return False
    return True


def _utime(place: int | bytes, mtime: int) -> None:
    try:
        if isinstance(place, int):
            os.utime(place, ns=(mtime, mtime))
        else:
            os.utime(place, ns=(mtime, mtime), follow_symlinks=False)
    except OverflowError:
        pass  # a year that no clock knows


def _lstat(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
