"""Set-up of a container's file system as data.

``build`` turns an OCI specification into a list of steps; each can say what it does
(``describe``) and do it (``execute``). Only the latter needs a namespace. Targets are
resolved beneath the new root by descriptor, so that a symbolic link in an image leads
nowhere else; sources are the host's.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.linux import paths, syscalls
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = {
    "ro": syscalls.MS_RDONLY,
    "nosuid": syscalls.MS_NOSUID,
    "nodev": syscalls.MS_NODEV,
    "noexec": syscalls.MS_NOEXEC,
    "noatime": syscalls.MS_NOATIME,
    "nodiratime": syscalls.MS_NODIRATIME,
    "relatime": syscalls.MS_RELATIME,
    "strictatime": syscalls.MS_STRICTATIME,
    "bind": syscalls.MS_BIND,
    "rbind": syscalls.MS_BIND | syscalls.MS_REC,
}
# Words that undo a flag; all of these are off by default.
NEGATED = ("rro", "rw", "suid", "dev", "exec", "atime", "diratime", "norelatime", "defaults", "async")
PROPAGATION = {
    "private": syscalls.MS_PRIVATE,
    "rprivate": syscalls.MS_PRIVATE | syscalls.MS_REC,
    "slave": syscalls.MS_SLAVE,
    "rslave": syscalls.MS_SLAVE | syscalls.MS_REC,
    "shared": syscalls.MS_SHARED,
    "rshared": syscalls.MS_SHARED | syscalls.MS_REC,
    "unbindable": syscalls.MS_UNBINDABLE,
    "runbindable": syscalls.MS_UNBINDABLE | syscalls.MS_REC,
}
_ATTRIBUTES = (
    (syscalls.MS_RDONLY, syscalls.MOUNT_ATTR_RDONLY),
    (syscalls.MS_NOSUID, syscalls.MOUNT_ATTR_NOSUID),
    (syscalls.MS_NODEV, syscalls.MOUNT_ATTR_NODEV),
    (syscalls.MS_NOEXEC, syscalls.MOUNT_ATTR_NOEXEC),
)
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
)


class Root:
    """The new root while it is being set up: its path on the host and a descriptor of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1

    def open(self) -> None:
        """Open the root; afterwards steps resolve their targets beneath it."""
        self.fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


class Step(Record):
    """One operation on the new root."""

    def describe(self) -> str:
        """Return one line for --debug and for errors."""
        raise NotImplementedError

    def execute(self, root: Root) -> None:
        """Do it; runs in the container's mount namespace as its root; raises ``OSError``."""
        raise NotImplementedError


class Rootfs(Step):
    """Mount the root file system itself, or bind it to itself to make it a mount point."""

    kind: str  # overlay, bind, or mounted (somebody else did it)
    source: str = ""
    data: str = ""
    cwd: str = "/"
    propagation: str = "rprivate"  # of everything, before anything is mounted

    def describe(self) -> str:
        """Say what becomes the root."""
        return f"rootfs {self.kind} {self.source}".rstrip()

    def execute(self, root: Root) -> None:
        """Mount it; ``data`` may name lower directories relative to ``cwd``."""
        # Nothing propagates to the host. As slaves (for binds that want it) mounts of the host still arrive.
        downwards = syscalls.MS_PRIVATE if self.propagation == "rprivate" else syscalls.MS_SLAVE
        syscalls.mount(None, "/", None, syscalls.MS_REC | downwards)
        if self.kind == "overlay":
            os.chdir(self.cwd)
            syscalls.mount("overlay", root.path, "overlay", 0, self.data)
            os.chdir("/")
        else:
            source = root.path if self.kind == "mounted" else self.source
            syscalls.mount(source, root.path, None, syscalls.MS_BIND | syscalls.MS_REC)
        root.open()


class FileSystem(Step):
    """Mount a new file system of ``kind`` at ``target``."""

    kind: str
    target: str
    source: str = ""
    flags: int = 0
    data: str = ""

    def describe(self) -> str:
        """Say what is mounted where."""
        return f"mount {self.kind} on {self.target}"

    def execute(self, root: Root) -> None:
        """Make the mount point if it is missing, then mount."""
        fd = paths.mkdirs_beneath(root.fd, self.target)
        try:
            if self.kind in ("proc", "sysfs"):
                self._refuse_link(root)
            syscalls.mount(self.source or self.kind, f"/proc/self/fd/{fd}", self.kind, self.flags, self.data or None)
        finally:
            os.close(fd)

    def _refuse_link(self, root: Root) -> None:
        """Raise if a link leads to the target: masks would then depend on what the image or a volume says."""
        resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS
        try:
            os.close(syscalls.openat2(root.fd, self.target, os.O_PATH, resolve=resolve))
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            text = "is a symbolic link in the image, and must be a directory"
            raise OSError(errno.ELOOP, text, self.target) from None


class Sysfs(FileSystem):
    """Mount sysfs; the host's is shown instead where the network namespace is the host's.

    A new instance takes CAP_SYS_ADMIN over the network namespace it shows (sysfs(5)).
    """

    def execute(self, root: Root) -> None:
        """Mount, or bind the host's /sys read-only."""
        try:
            super().execute(root)
        except PermissionError:
            readonly = bool(self.flags & syscalls.MS_RDONLY)
            words = ("nosuid", "nodev", "noexec")
            Bind(source="/sys", target=self.target, options=words, readonly=readonly, deep=readonly).execute(root)


class Cgroup(FileSystem):
    """Mount cgroup2 for a cgroup namespace of our own; an empty directory where that is refused."""

    def execute(self, root: Root) -> None:
        """Mount, or leave a read-only tmpfs where the kernel has no cgroup2 for us."""
        try:
            super().execute(root)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EBUSY, errno.ENODEV):
                raise
            FileSystem(
                kind="tmpfs", target=self.target, flags=self.flags | syscalls.MS_RDONLY, data="size=0k,mode=755"
            ).execute(root)


class Tmpfs(FileSystem):
    """Mount a tmpfs; ``copy_up`` keeps mode and owner of the directory it covers."""

    def execute(self, root: Root) -> None:
        """Mount; without mode= in the options the covered directory's mode is kept."""
        if "mode=" in self.data:
            super().execute(root)
            return
        fd = paths.mkdirs_beneath(root.fd, self.target)
        try:
            mode = stat.S_IMODE(os.stat(f"/proc/self/fd/{fd}").st_mode)
        finally:
            os.close(fd)
        data = f"{self.data},mode={mode:o}" if self.data else f"mode={mode:o}"
        FileSystem(kind="tmpfs", target=self.target, flags=self.flags, data=data, source="tmpfs").execute(root)


class Bind(Step):
    """Show ``source`` of the host at ``target``, with all mounts below it."""

    source: str
    target: str
    readonly: bool = False
    deep: bool = False  # attributes go to mounts below it too
    recursive: bool = True
    options: tuple[str, ...] = ()  # nosuid, nodev, noexec and a propagation

    def describe(self) -> str:
        """Say what is shown where."""
        return f"bind {self.source} on {self.target}{' (ro)' if self.readonly else ''}"

    def execute(self, root: Root) -> None:
        """Clone the mount, set its attributes while nobody can see it, attach it."""
        flags = syscalls.OPEN_TREE_CLONE | (syscalls.AT_RECURSIVE if self.recursive else 0)
        try:
            tree = syscalls.open_tree(-100, self.source, flags)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            self._execute_classic(root)
            return
        try:
            attributes = syscalls.MOUNT_ATTR_RDONLY if self.readonly else 0
            for word, attribute in (
                ("nosuid", syscalls.MOUNT_ATTR_NOSUID),
                ("nodev", syscalls.MOUNT_ATTR_NODEV),
                ("noexec", syscalls.MOUNT_ATTR_NOEXEC),
            ):
                if word in self.options:
                    attributes |= attribute
            if attributes:
                syscalls.mount_setattr(tree, set_flags=attributes, recursive=self.deep)
            target = self._target(root, stat.S_ISDIR(os.stat(tree).st_mode))
            try:
                syscalls.move_mount(tree, target)
            finally:
                os.close(target)
            for word in self.options:
                if word in PROPAGATION:
                    syscalls.mount(None, f"/proc/self/fd/{tree}", None, PROPAGATION[word])
        finally:
            os.close(tree)

    def _target(self, root: Root, directory: bool) -> int:
        if directory:
            return paths.mkdirs_beneath(root.fd, self.target)
        return paths.create_file_beneath(root.fd, self.target)

    def _execute_classic(self, root: Root) -> None:
        """Do it with mount(2), for kernels before 5.12 and seccomp filters that know no open_tree."""
        target = self._target(root, os.path.isdir(self.source))
        flags = syscalls.MS_BIND | (syscalls.MS_REC if self.recursive else 0)
        try:
            syscalls.mount(self.source, f"/proc/self/fd/{target}", None, flags)
        finally:
            os.close(target)
        wanted = syscalls.MS_RDONLY if self.readonly else 0
        for word in self.options:
            wanted |= FLAGS.get(word, 0)
        if wanted:
            # The descriptor above is of what the mount covers; resolve the target again.
            target = paths.open_beneath(root.fd, self.target, os.O_PATH)
            try:
                path = f"/proc/self/fd/{target}"
                # Flags that an outer namespace locked must be repeated, or the remount is refused.
                locked = os.statvfs(path).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_RDONLY)
                syscalls.mount(None, path, None, syscalls.MS_REMOUNT | syscalls.MS_BIND | wanted | locked)
            finally:
                os.close(target)


class Link(Step):
    """Make a symbolic link; one that exists stays."""

    text: str
    path: str

    def describe(self) -> str:
        """Say what points where."""
        return f"symlink {self.path} -> {self.text}"

    def execute(self, root: Root) -> None:
        """Make it."""
        parent, _, name = self.path.rpartition("/")
        fd = paths.mkdirs_beneath(root.fd, parent)
        try:
            os.symlink(self.text, name, dir_fd=fd)
        except FileExistsError:
            pass
        finally:
            os.close(fd)


class Mask(Step):
    """Hide a path: /dev/null over a file, an empty read-only tmpfs over a directory."""

    path: str

    def describe(self) -> str:
        """Say what is hidden."""
        return f"mask {self.path}"

    def execute(self, root: Root) -> None:
        """Cover it; a path that does not exist needs no cover."""
        try:
            fd = paths.open_beneath(root.fd, self.path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            place = f"/proc/self/fd/{fd}"
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                syscalls.mount("tmpfs", place, "tmpfs", syscalls.MS_RDONLY, "size=0k,mode=755")
            else:
                syscalls.mount("/dev/null", place, None, syscalls.MS_BIND)
        finally:
            os.close(fd)


class ReadOnly(Step):
    """Make a path read-only by a bind mount over itself."""

    path: str

    def describe(self) -> str:
        """Say what becomes read-only."""
        return f"read-only {self.path}"

    def execute(self, root: Root) -> None:
        """Bind and set the attribute; a path that does not exist needs nothing."""
        try:
            fd = paths.open_beneath(root.fd, self.path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            source = f"/proc/self/fd/{fd}"
            syscalls.mount(source, source, None, syscalls.MS_BIND | syscalls.MS_REC)
        finally:
            os.close(fd)
        fd = paths.open_beneath(root.fd, self.path, os.O_PATH)
        try:
            _remount_readonly(fd)
        finally:
            os.close(fd)


class Sysctl(Step):
    """Set a kernel parameter of one of the container's namespaces."""

    name: str
    value: str

    def describe(self) -> str:
        """Say what is set."""
        return f"sysctl {self.name}={self.value}"

    def execute(self, root: Root) -> None:
        """Write it below the container's /proc/sys."""
        fd = paths.open_beneath(root.fd, f"proc/sys/{self.name.replace('.', '/')}", os.O_WRONLY)
        try:
            os.write(fd, self.value.encode())
        finally:
            os.close(fd)


class Pivot(Step):
    """Make the new root the root, and let go of the old one."""

    def describe(self) -> str:
        """Say so."""
        return "pivot_root"

    def execute(self, root: Root) -> None:
        """pivot_root(".", ".") stacks the old root on the new; detaching it uncovers the new (pivot_root(2))."""
        os.chdir(root.path)
        syscalls.pivot_root(".", ".")
        syscalls.umount(".", syscalls.MNT_DETACH)
        os.chdir("/")
        os.close(root.fd)
        root.path = "/"
        root.open()


class ReadOnlyRoot(Step):
    """Make the root file system read-only; other mounts stay as they are.

    The payload's working directory ``cwd`` is made before, which is too late afterwards.
    """

    cwd: str = "/"

    def describe(self) -> str:
        """Say so."""
        return "read-only /"

    def execute(self, root: Root) -> None:
        """Remount."""
        if self.cwd != "/":
            try:
                os.makedirs(self.cwd, mode=0o755, exist_ok=True)
            except OSError:
                pass  # whoever enters it reports what is wrong with it
        _remount_readonly(root.fd)


def _remount_readonly(fd: int) -> None:
    try:
        syscalls.mount_setattr(fd, set_flags=syscalls.MOUNT_ATTR_RDONLY)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        path = f"/proc/self/fd/{fd}"
        locked = os.statvfs(path).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)
        syscalls.mount(None, path, None, syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | locked)


def parse_options(options: list[str]) -> tuple[int, tuple[str, ...], str]:
    """Split OCI mount options into flags, propagation words and data for the file system."""
    flags, propagation, data = 0, [], []
    for option in options:
        if option in FLAGS:
            flags |= FLAGS[option]
        elif option in PROPAGATION:
            propagation.append(option)
        elif option not in NEGATED:
            data.append(option)
    return flags, tuple(propagation), ",".join(data)


def _mount_step(mount: dict[str, Any]) -> Step:
    target, source, kind = mount["destination"], mount.get("source", ""), mount.get("type", "")
    flags, propagation, data = parse_options(mount.get("options", []))
    if flags & syscalls.MS_BIND or kind == "bind":
        words = tuple(word for word in ("nosuid", "nodev", "noexec") if flags & FLAGS[word])
        return Bind(
            source=source,
            target=target,
            readonly=bool(flags & syscalls.MS_RDONLY),
            deep="rro" in mount.get("options", []),
            recursive="bind" not in mount.get("options", []),
            options=words + propagation,
        )
    kinds: dict[str, type[FileSystem]] = {"sysfs": Sysfs, "cgroup": Cgroup, "tmpfs": Tmpfs}
    step = kinds.get(kind, FileSystem)
    return step(kind="cgroup2" if kind == "cgroup" else kind, target=target, source=source, flags=flags, data=data)


def build(spec: dict[str, Any], rootfs: Rootfs) -> list[Step]:
    """Return the steps that set up the file system of ``spec``, in order."""
    linux = spec.get("linux", {})
    steps: list[Step] = [rootfs.replace(propagation=linux.get("rootfsPropagation") or "rprivate")]
    for mount in spec.get("mounts", []):
        steps.append(_mount_step(mount))
        if mount["destination"] == "/dev" and mount.get("type") == "tmpfs":
            steps += [Bind(source=f"/dev/{name}", target=f"/dev/{name}", recursive=False) for name in _DEVICES]
            steps += [Link(text=text, path=path) for text, path in _LINKS]
    for device in linux.get("devices", []):
        steps.append(Bind(source=device.get("source", device["path"]), target=device["path"], recursive=False))
    steps += [Sysctl(name=name, value=value) for name, value in linux.get("sysctl", {}).items()]
    steps += [Mask(path=path) for path in linux.get("maskedPaths", [])]
    steps += [ReadOnly(path=path) for path in linux.get("readonlyPaths", [])]
    steps.append(Pivot())
    if spec.get("root", {}).get("readonly"):
        steps.append(ReadOnlyRoot(cwd=spec.get("process", {}).get("cwd") or "/"))
    return steps
