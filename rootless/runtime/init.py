"""The first process of a container, from clone to execve.

Runs in new namespaces of all kinds, forked from the monitor: what it needs is imported
already, and it imports nothing, since soon its file system is the container's.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import select
import struct

from rootless import jsonlite
from rootless.errors import RlError
from rootless.linux import process, sockets, syscalls
from rootless.runtime import identity as identities
from rootless.runtime import plan as plans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TIOCSCTTY, TIOCSPTLCK, TIOCGPTN, TIOCSWINSZ = 0x540E, 0x40045431, 0x80045430, 0x5414


class Abort(Exception):
    """The parent has gone or has given up."""


def main(
    spec: dict[str, Any],
    steps: list[plans.Step],
    root: plans.Root,
    channel: _socket.socket,
    program: bytes | None,
    stdio: tuple[int, int, int] | None,
) -> None:
    """Set up the container and become its payload; never returns.

    ``stdio`` are the three standard descriptors, None for a terminal of its own. Errors go
    to the parent over ``channel`` with the step that failed.
    """
    step = "start"
    try:
        # A container does not outlive its monitor; a change of credentials clears this (prctl(2)).
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
        _expect(channel, b"mapped")
        os.setsid()
        syscalls.set_name("rl-init")
        # The user's own keys stay outside.
        syscalls.join_session_keyring()
        _become_root()
        if any(ns["type"] == "cgroup" and not ns.get("path") for ns in spec["linux"]["namespaces"]):
            step = "cgroup namespace"
            syscalls.unshare(syscalls.CLONE_NEWCGROUP)
        step = "loopback interface"
        if any(ns.get("type") == "network" and not ns.get("path") for ns in spec["linux"]["namespaces"]):
            raise_loopback()
        if spec.get("hostname") and any(ns["type"] == "uts" for ns in spec["linux"]["namespaces"]):
            step = "hostname"
            _socket.sethostname(spec["hostname"])
        for operation in steps:
            step = operation.describe()
            operation.execute(root)
        section = spec["process"]
        step = "process"
        identity = identities.Identity(section, program)
        if stdio is None:
            step = "terminal"
            master = open_terminal(section.get("consoleSize"), identity.user.uid)
            sockets.send_fd(channel, b"pty", master)
            os.close(master)
        else:
            for target, fd in enumerate(stdio):
                os.dup2(fd, target)
        step = "working directory"
        channel = keep_only(channel)
        identity.prepare()
        channel.send(b"ready")
        _expect(channel, b"go")
        step = "identity"
        identity.assume()
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
        if _hung_up(channel):
            raise Abort
        step = "exec"
        if spec.get("annotations", {}).get("io.rootless.init") == "true":
            _reap(channel)
        identity.execute()
    except Abort:
        os._exit(1)
    except OSError as error:
        report(channel, step, error.errno or errno.EIO, text_of(error))
    except RlError as error:
        report(channel, step, 0, error.message)
    except BaseException as error:
        report(channel, step, errno.EPROTO, f"{type(error).__name__}: {error}")
    finally:
        os._exit(1)


def text_of(error: OSError) -> str:
    """Return path and reason of an error as messages have them."""
    where = f"{error.filename}: " if error.filename else ""
    text = error.strerror or str(error)
    return f"{where}{text[:1].lower()}{text[1:]}"


def report(channel: _socket.socket, step: str, number: int, text: str) -> None:
    """Tell the parent what failed."""
    channel.send(jsonlite.dumps({"step": step, "errno": number, "error": text}).encode())


def keep_only(channel: _socket.socket) -> _socket.socket:
    """Close all descriptors but the standard streams and the channel, which moves to 3.

    Before anything that the image names is opened: a working directory /proc/self/fd/7 must lead
    to nothing of the host's (CVE-2024-21626).
    """
    fd = channel.detach()
    if fd != 3:
        os.dup2(fd, 3, inheritable=False)
    syscalls.close_range(4)
    return _socket.socket(sockets.AF_UNIX, sockets.SOCK_SEQPACKET, 0, fileno=3)


def _expect(channel: _socket.socket, word: bytes) -> None:
    if channel.recv(64) != word:
        raise Abort


def _hung_up(channel: _socket.socket) -> bool:
    poller = select.poll()
    poller.register(channel.fileno(), 0)
    return bool(poller.poll(0))


def _become_root() -> None:
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def raise_loopback() -> None:
    """Set the interface ``lo`` up: netdevice(7), without netlink."""
    siocgifflags, siocsifflags, iff_up = 0x8913, 0x8914, 0x1
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | sockets.SOCK_CLOEXEC)
    try:
        request = bytearray(struct.pack("16sh22x", b"lo", 0))
        fcntl.ioctl(sock.fileno(), siocgifflags, request)
        (flags,) = struct.unpack_from("h", request, 16)
        fcntl.ioctl(sock.fileno(), siocsifflags, struct.pack("16sh22x", b"lo", flags | iff_up))
    finally:
        sock.close()


def open_terminal(size: dict[str, int] | None, owner: int) -> int:
    """Make a pseudo-terminal of the container's devpts our controlling one; return its master.

    It appears as /dev/pts/N and /dev/console, so that tty(1) and ttyname(3) work inside.
    """
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    (number,) = struct.unpack("I", fcntl.ioctl(master, TIOCGPTN, bytes(4)))
    path = f"/dev/pts/{number}"
    slave = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    os.fchown(slave, owner, -1)
    if size:
        fcntl.ioctl(master, TIOCSWINSZ, struct.pack("4H", size["height"], size["width"], 0, 0))
    fcntl.ioctl(slave, TIOCSCTTY, 0)
    if not os.path.lexists("/dev/console"):
        os.close(os.open("/dev/console", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        syscalls.mount(path, "/dev/console", None, syscalls.MS_BIND)
    for target in range(3):
        os.dup2(slave, target)
    os.close(slave)
    return master


def _reap(channel: _socket.socket) -> None:
    """Stay as pid 1: start the payload as a child, forward signals, reap orphans (--init).

    Returns only in the child, which goes on to execve.
    """
    import _signal

    every = _signal.valid_signals()
    _signal.pthread_sigmask(_signal.SIG_BLOCK, every)
    child = os.fork()
    if child == 0:
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, every)
        os.setpgid(0, 0)
        return
    # End of file on the channel must mean that the payload runs, not that we do.
    channel.close()
    syscalls.close_range(3)
    syscalls.set_name("rl-init")
    try:
        os.tcsetpgrp(0, child)
    except OSError:
        pass
    while True:
        number = _signal.sigwaitinfo(every).si_signo
        if number != _signal.SIGCHLD:
            try:
                os.kill(child, number)
            except ProcessLookupError:
                pass
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                os._exit(1)
            if pid == 0:
                break
            if pid == child:
                os._exit(process.exit_status(status))
