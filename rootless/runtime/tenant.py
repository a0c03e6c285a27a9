"""A process that joins a running container: exec.

::

    caller                     tenant (outside its pid namespace)        payload
      fork ──────────────────────→ join the cgroup
                                   setns(all at once), fork ─────────────→ terminal, identity
                              ←──── "pty" and the master, with a terminal ───
                              ←──── end of file: the payload runs; or what failed
      wait for the tenant         waits, leaves with its exit status

The tenant stays outside of the container's pid namespace only because setns(2) moves
children, not the caller. Like Docker's, an exec goes on when its client is killed.
"""

from __future__ import annotations

import errno
import os

from rootless.errors import RlError
from rootless.linux import process, sockets, syscalls
from rootless.record import Record
from rootless.runtime import identity as identities
from rootless.runtime import init
from rootless.runtime.parent import explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

    from rootless.events import Pending

_NAMESPACES = (
    syscalls.CLONE_NEWUSER
    | syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWCGROUP
)


class Limits(Record):
    """What a container is limited by, for who joins it."""

    cgroup: str = ""  # directory
    placement: dict[str, Any] | None = None  # of that cgroup: cgroups.placement.Placement
    required: bool = False  # it enforces limits: to stay outside would be to escape them
    weaker: dict[str, Any] | None = None  # cgroups.limits.Weaker
    init_pid: int = 0


class Tenant:
    """A running exec: the pid of the tenant, and the master of its terminal (or -1)."""

    def __init__(self, pid: int, terminal: int) -> None:
        self.pid = pid
        self.terminal = terminal

    def wait(self) -> int:
        """Reap the tenant and return the payload's exit status."""
        _, status = os.waitpid(self.pid, 0)
        return process.exit_status(status)


def start(
    pidfd: int,
    section: dict[str, Any],
    *,
    program: bytes | None,
    stdio: tuple[int, int, int] | None,
    limits: Limits | None = None,
    end: Pending | None = None,
) -> Tenant:
    """Start ``section`` (an OCI process) in the namespaces of the process behind ``pidfd``, within ``limits``.

    ``end`` is the event of its end, written whether or not the caller waits for that.
    Returns when the payload runs; raises ``CommandNotFound``, ``CommandNotExecutable``,
    ``InvalidArgument`` or ``SystemFailure``. The caller must have one thread.
    """
    ours, theirs = sockets.pair(sockets.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            _tenant(pidfd, section, program, stdio, limits, end, theirs)
        finally:
            os._exit(1)
    theirs.close()
    terminal = -1
    while True:
        message, fd = sockets.receive(ours)
        if message == b"pty":
            terminal = fd
        elif message in (b"", b"exec"):
            break
        else:
            os.waitpid(pid, 0)
            raise explain(message, "exec")
    # "exec" is followed by an error or by the end of file.
    failure, _ = sockets.receive(ours) if message else (b'{"step":"join","errno":3,"error":"it has ended"}', -1)
    ours.close()
    if failure:
        os.waitpid(pid, 0)
        if terminal >= 0:
            os.close(terminal)
        raise explain(failure, "exec")
    return Tenant(pid, terminal)


def _tenant(
    pidfd: int,
    section: dict[str, Any],
    program: bytes | None,
    stdio: tuple[int, int, int] | None,
    limits: Limits | None,
    end: Pending | None,
    channel: _socket.socket,
) -> None:
    step = "joining the container"
    try:
        if limits:
            _limit(limits)
        os.setsid()
        syscalls.join_session_keyring()
        # Until execve the container's processes must not look into this one (CVE-2016-9962).
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        namespaces = _NAMESPACES
        if _same_network(pidfd):
            # --network host: the machine's own, which we are in and may not join.
            namespaces &= ~syscalls.CLONE_NEWNET
        syscalls.setns(pidfd, namespaces)
        pid = os.fork()
    except OSError as error:
        init.report(channel, step, error.errno or errno.EIO, init.text_of(error))
        os._exit(1)
    except RlError as error:
        init.report(channel, step, 0, f"{error.message}; {error.hint}" if error.hint else error.message)
        os._exit(1)
    if pid:
        channel.close()
        null = os.open("/dev/null", os.O_RDWR)
        for target in range(3):
            os.dup2(null, target)
        kept = 3
        if end and end.fd >= 0:
            if end.fd != kept:
                os.dup2(end.fd, kept, inheritable=False)
            end.fd, kept = kept, kept + 1
        syscalls.close_range(kept)
        code = process.exit_status(os.waitpid(pid, 0)[1])
        if end:
            end.write(exitCode=str(code))
        os._exit(code)
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
        os.setsid()
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        step = "process"
        identity = identities.Identity(section, program)
        if stdio is None:
            step = "terminal"
            master = init.open_terminal(section.get("consoleSize"), identity.user.uid)
            sockets.send_fd(channel, b"pty", master)
            os.close(master)
        else:
            for target, fd in enumerate(stdio):
                os.dup2(fd, target)
        step = "working directory"
        channel = init.keep_only(channel)
        identity.prepare(make_directory=False)
        channel.send(b"exec")
        step = "identity"
        identity.assume()
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
        step = "exec"
        identity.execute()
    except OSError as error:
        init.report(channel, step, error.errno or errno.EIO, init.text_of(error))
    except RlError as error:
        init.report(channel, step, 0, error.message)
    except BaseException as error:
        init.report(channel, step, errno.EPROTO, f"{type(error).__name__}: {error}")
    finally:
        os._exit(1)


def _limit(limits: Limits) -> None:
    """Come under what limits the container; while its processes cannot see us, and we the host's files."""
    if limits.weaker:
        from rootless.cgroups import weaker
        from rootless.cgroups.limits import Weaker

        weaker.apply(Weaker.from_plain(limits.weaker), os.getpid())
    if limits.cgroup and limits.placement:
        from rootless.cgroups.group import Cgroup
        from rootless.cgroups.manager import open_manager
        from rootless.cgroups.placement import Placement

        manager = open_manager(Placement.from_plain(limits.placement))
        try:
            if manager:
                manager.attach(Cgroup(limits.cgroup), 0, beside=limits.init_pid)
        except RlError:
            if limits.required:
                raise


def _same_network(pidfd: int) -> bool:
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as stream:
        rows = dict(line.split(":", 1) for line in stream if ":" in line)
    theirs = os.stat(f"/proc/{rows['Pid'].strip()}/ns/net")
    return theirs.st_ino == os.stat("/proc/self/ns/net").st_ino
