"""System calls that the standard library lacks; the only user of ctypes.

The raw ``_ctypes`` module is used instead of ``ctypes``, which costs 3 ms more to import
(docs/decisions/0002). Every wrapper raises ``OSError`` with the name of the call, and
constants keep their kernel spelling. Calls hold the interpreter lock: processes that use
them have one thread.
"""

from __future__ import annotations

import _ctypes
import errno
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOSYMFOLLOW = 0x100
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000
MS_STRICTATIME = 0x1000000
MNT_DETACH = 0x2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

OPEN_TREE_CLONE = 1
AT_RECURSIVE = 0x8000
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
AT_EMPTY_PATH = 0x1000

IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_MOVE_SELF = 0x2, 0x80, 0x100, 0x800

SECCOMP_SET_MODE_FILTER = 1
KEYCTL_JOIN_SESSION_KEYRING = 1

# Numbers that libc gives no wrapper for. Since Linux 5.0 new calls share one number on all
# architectures (openat2 = 437 and so on), so only older ones differ.
_NUMBERS = {
    "x86_64": {"clone": 56, "pivot_root": 155, "capget": 125, "capset": 126, "seccomp": 317, "keyctl": 250},
    "aarch64": {"clone": 220, "pivot_root": 41, "capget": 90, "capset": 91, "seccomp": 277, "keyctl": 219},
    "riscv64": {"clone": 220, "pivot_root": 41, "capget": 90, "capset": 91, "seccomp": 277, "keyctl": 219},
    "ppc64le": {"clone": 120, "pivot_root": 203, "capget": 183, "capset": 184, "seccomp": 358, "keyctl": 271},
}
_SINCE_5_0 = {
    "open_tree": 428,
    "move_mount": 429,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "mount_setattr": 442,
}

_FUNCFLAG_CDECL, _FUNCFLAG_PYTHONAPI, _FUNCFLAG_USE_ERRNO = 0x1, 0x4, 0x8


class _Long(_ctypes._SimpleCData):  # type: ignore[misc,name-defined,type-arg,unused-ignore]
    _type_ = "l"


class _Int(_ctypes._SimpleCData):  # type: ignore[misc,name-defined,type-arg,unused-ignore]
    _type_ = "i"


class _Pointer(_ctypes._SimpleCData):  # type: ignore[misc,name-defined,type-arg,unused-ignore]
    _type_ = "z"


class _Function(_ctypes.CFuncPtr):  # type: ignore[misc,name-defined,unused-ignore]
    _flags_ = _FUNCFLAG_CDECL | _FUNCFLAG_PYTHONAPI | _FUNCFLAG_USE_ERRNO
    _restype_ = _Long


class _IntFunction(_ctypes.CFuncPtr):  # type: ignore[misc,name-defined,unused-ignore]
    # For functions that C declares as int: the upper half of the register is not theirs, -1 read as long is positive.
    _flags_ = _FUNCFLAG_CDECL | _FUNCFLAG_PYTHONAPI | _FUNCFLAG_USE_ERRNO
    _restype_ = _Int


class _Void(_ctypes.CFuncPtr):  # type: ignore[misc,name-defined,unused-ignore]
    _flags_ = _FUNCFLAG_CDECL | _FUNCFLAG_PYTHONAPI
    _restype_ = None


_libc = _ctypes.dlopen(None, 0)  # type: ignore[arg-type,attr-defined,unused-ignore]


def _function(name: str, kind: type = _Function) -> Any:
    return kind(_ctypes.dlsym(_libc, name))  # type: ignore[attr-defined,unused-ignore]


_syscall = _function("syscall")
_mount = _function("mount", _IntFunction)
_umount2 = _function("umount2", _IntFunction)
_unshare = _function("unshare", _IntFunction)
_setns = _function("setns", _IntFunction)
_prctl = _function("prctl", _IntFunction)


def _number(name: str) -> int:
    if name in _SINCE_5_0:
        return _SINCE_5_0[name]
    machine = os.uname().machine
    try:
        return _NUMBERS[machine][name]
    except KeyError:
        raise OSError(errno.ENOSYS, f"rl does not know the number of this system call on {machine}", name) from None


def _fail(name: str, path: str | None = None) -> NoReturn:
    number = _ctypes.get_errno()  # type: ignore[attr-defined,unused-ignore]
    raise OSError(number, f"{os.strerror(number)} ({name})", path)


def _int(value: int) -> Any:
    return _Long(value)


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


def inotify(watches: tuple[tuple[str, int], ...]) -> int:
    """Return a descriptor that becomes readable when a watched path changes: inotify(7).

    ``watches`` are (path, mask of IN_… events); the descriptor does not block.
    """
    fd: int = _function("inotify_init1", _IntFunction)(_int(os.O_CLOEXEC | os.O_NONBLOCK))
    if fd < 0:
        _fail("inotify_init1")
    add = _function("inotify_add_watch", _IntFunction)
    for path, mask in watches:
        if add(_int(fd), _bytes(path), _int(mask)) < 0:
            try:
                _fail("inotify_add_watch", path)
            finally:
                os.close(fd)
    return fd


def mount(source: str | None, target: str, fstype: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """Mount: mount(2)."""
    if _mount(_bytes(source), _bytes(target), _bytes(fstype), _int(flags), _bytes(data)) != 0:
        _fail(f"mount {fstype}" if fstype else "mount", target)


def umount(target: str, flags: int = 0) -> None:
    """Unmount: umount2(2)."""
    if _umount2(_bytes(target), _int(flags)) != 0:
        _fail("umount2", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Change the root mount: pivot_root(2)."""
    if _syscall(_int(_number("pivot_root")), _bytes(new_root), _bytes(put_old)) != 0:
        _fail("pivot_root", new_root)


def unshare(flags: int) -> None:
    """Leave namespaces for new ones: unshare(2)."""
    if _unshare(_int(flags)) != 0:
        _fail("unshare")


def setns(fd: int, flags: int = 0) -> None:
    """Join the namespace(s) of ``fd``, which may be a pidfd since Linux 5.8: setns(2)."""
    if _setns(_int(fd), _int(flags)) != 0:
        _fail("setns")


def clone(flags: int, *, cgroup_fd: int = -1) -> int:
    """Fork with ``flags``, like fork(2) but for the namespaces: clone(2).

    With ``cgroup_fd`` the child is born in that cgroup: clone3(2), Linux 5.7.
    Returns 0 in the child. The interpreter's fork hooks run in both processes; libc's
    (pthread_atfork) do not, so the caller must have one thread.
    """
    sigchld = 17
    number = _number("clone")
    clone_into_cgroup = 0x200000000
    arguments = struct.pack("=11Q", flags | clone_into_cgroup, 0, 0, 0, sigchld, 0, 0, 0, 0, 0, max(cgroup_fd, 0))
    _function("PyOS_BeforeFork", _Void)()
    pid: int
    if cgroup_fd >= 0:
        pid = _syscall(_int(_SINCE_5_0["clone3"]), arguments, _int(len(arguments)))
    else:
        pid = _syscall(_int(number), _int(flags | sigchld), _int(0), _int(0), _int(0), _int(0))
    if pid == 0:
        _function("PyOS_AfterFork_Child", _Void)()
        return 0
    _function("PyOS_AfterFork_Parent", _Void)()
    if pid < 0:
        _fail("clone")
    return pid


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """Operate on the process: prctl(2)."""
    result: int = _prctl(_int(option), _int(arg2), _int(arg3), _int(arg4), _int(arg5))
    if result < 0:
        _fail("prctl")
    return result


def set_name(name: str) -> None:
    """Set the name that ps and top show (15 bytes): PR_SET_NAME."""
    _prctl(_int(PR_SET_NAME), name.encode()[:15], _int(0), _int(0), _int(0))


def openat2(dir_fd: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Open with a restriction on how ``path`` resolves; close-on-exec: openat2(2), Linux 5.6."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    while True:
        fd: int = _syscall(_int(_SINCE_5_0["openat2"]), _int(dir_fd), _bytes(path), how, _int(len(how)))
        if fd >= 0:
            return fd
        # EAGAIN: a rename raced with the resolution of "..".
        if _ctypes.get_errno() not in (errno.EINTR, errno.EAGAIN):  # type: ignore[attr-defined,unused-ignore]
            _fail("openat2", path)


def open_tree(dir_fd: int, path: str, flags: int) -> int:
    """Return a descriptor of a mount (a detached copy with OPEN_TREE_CLONE): open_tree(2), Linux 5.2."""
    fd: int = _syscall(_int(_SINCE_5_0["open_tree"]), _int(dir_fd), _bytes(path), _int(flags | os.O_CLOEXEC))
    if fd < 0:
        _fail("open_tree", path)
    return fd


def move_mount(from_fd: int, to_fd: int, to_path: str = "") -> None:
    """Attach the mount ``from_fd`` at ``to_fd`` (or ``to_path`` below it): move_mount(2), Linux 5.2."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if to_path else 0x40)  # MOVE_MOUNT_T_EMPTY_PATH
    if _syscall(_int(_SINCE_5_0["move_mount"]), _int(from_fd), b"", _int(to_fd), _bytes(to_path), _int(flags)) != 0:
        _fail("move_mount", to_path)


def mount_setattr(
    fd: int, *, set_flags: int = 0, clear_flags: int = 0, propagation: int = 0, recursive: bool = False
) -> None:
    """Change attributes of the mount ``fd``: mount_setattr(2), Linux 5.12."""
    attributes = struct.pack("=QQQQ", set_flags, clear_flags, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    number = _SINCE_5_0["mount_setattr"]
    if _syscall(_int(number), _int(fd), b"", _int(flags), attributes, _int(len(attributes))) != 0:
        _fail("mount_setattr")


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    """Close all descriptors from ``first`` to ``last``: close_range(2), Linux 5.9."""
    if _syscall(_int(_SINCE_5_0["close_range"]), _int(first), _int(last), _int(0)) != 0:
        os.closerange(first, min(last, 65536))


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the calling process's capability sets, given as bit masks: capset(2)."""
    header = struct.pack("=Ii", 0x20080522, 0)
    low, high = 0xFFFFFFFF, 32
    data = struct.pack(
        "=6I",
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> high,
        permitted >> high,
        inheritable >> high,
    )
    if _syscall(_int(_number("capset")), header, data) != 0:
        _fail("capset")


def load_seccomp(program: bytes) -> None:
    """Install a filter, an array of ``struct sock_filter``: seccomp(2).

    Needs no_new_privs or CAP_SYS_ADMIN in the user namespace.
    """
    pointer = bytes(memoryview(_Pointer(program)).cast("B"))
    sock_fprog = struct.pack("@H6x", len(program) // 8) + pointer
    if _syscall(_int(_number("seccomp")), _int(SECCOMP_SET_MODE_FILTER), _int(0), sock_fprog) != 0:
        _fail("seccomp")


def trim_memory() -> None:
    """Give memory that the process has freed back to the kernel, where libc can: malloc_trim(3)."""
    try:
        trim = _function("malloc_trim", _IntFunction)
    except OSError:  # a libc without
        return
    trim(_int(0))


def join_session_keyring() -> None:
    """Give the process an empty session keyring of its own: keyctl(2)."""
    _syscall(_int(_number("keyctl")), _int(KEYCTL_JOIN_SESSION_KEYRING), None)
