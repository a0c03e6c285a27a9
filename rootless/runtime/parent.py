"""Starting a container: the side of the process that stays.

The caller must have one thread, be root of rl's user namespace (``userns.enter``) or hold an
id map that newuidmap will write, and is the parent of the container's first process.
"""

from __future__ import annotations

import errno
import os

from rootless import jsonlite
from rootless.errors import (
    CommandNotExecutable,
    CommandNotFound,
    InvalidArgument,
    NoSpace,
    RlError,
    SystemFailure,
)
from rootless.linux import idmap, sockets, syscalls
from rootless.runtime import init, plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

NAMESPACES = {
    "mount": syscalls.CLONE_NEWNS,
    "pid": syscalls.CLONE_NEWPID,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "network": syscalls.CLONE_NEWNET,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}

_LOST = "name a program of the image; that of a script is in its first line, and must be there too"
_NO_PROGRAM = "name a file that the container's user may execute"


class Child:
    """The container's first process while it is being started."""

    def __init__(self, pid: int, channel: _socket.socket) -> None:
        self.pid = pid
        self.terminal = -1  # master of its pseudo-terminal
        self._channel = channel

    def mapped(self) -> None:
        """Tell it that the id maps are written; it sets up the file system now."""
        self._channel.send(b"mapped")

    def wait_ready(self) -> None:
        """Wait until all is set up; raises what failed there."""
        while True:
            message, fd = sockets.receive(self._channel)
            if message == b"pty":
                self.terminal = fd
            elif message == b"ready":
                return
            else:
                raise explain(message, "set-up")

    def go(self) -> None:
        """Let it become the payload; raises what kept it from that."""
        self._channel.send(b"go")
        message, _ = sockets.receive(self._channel)
        if message:
            raise explain(message, "exec")
        self._channel.close()

    def kill(self) -> None:
        """End and reap it."""
        try:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        self._channel.close()
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1


def start(
    spec: dict[str, Any],
    rootfs: plan.Rootfs,
    rootfs_path: str,
    *,
    program: bytes | None = None,
    stdio: tuple[int, int, int] | None,
    cgroup_fd: int = -1,
) -> Child:
    """Clone the first process of a container; it waits for ``Child.mapped``.

    With ``cgroup_fd``, a directory of cgroup2, it begins its life in there.

    Raises ``SystemFailure`` when namespaces are refused.
    """
    # Built here, so that a mistake in the specification is known before anything exists.
    steps = plan.build(spec, rootfs)
    flags = syscalls.CLONE_NEWUSER
    for namespace in spec["linux"]["namespaces"]:
        if namespace["type"] != "user" and not namespace.get("path"):
            # Not the cgroup namespace: its root is the cgroup of whoever makes it, which must be init.
            flags |= NAMESPACES[namespace["type"]] if namespace["type"] != "cgroup" else 0
    ours, theirs = sockets.pair(sockets.SOCK_SEQPACKET)
    try:
        pid = syscalls.clone(flags, cgroup_fd=cgroup_fd)
    except OSError as error:
        raise idmap.explain_unshare(error) from error
    if pid == 0:
        try:
            ours.close()
            init.main(spec, steps, plan.Root(rootfs_path), theirs, program, stdio)
        finally:
            os._exit(1)
    theirs.close()
    return Child(pid, ours)


def explain(message: bytes, last_step: str) -> RlError:
    """Turn a report of the first process (or its silence) into the error that fits."""
    if not message:
        return SystemFailure(f"the container's first process ended without a word after step {last_step}")
    failure = jsonlite.loads(message)
    step, number, text = failure["step"], failure["errno"], failure["error"]
    if step == "exec":
        if number in (errno.ENOENT, errno.ENOTDIR):
            return CommandNotFound(f"exec: {text}", hint=_LOST)
        if number in (errno.EACCES, errno.ENOEXEC, errno.EISDIR, errno.EPERM, errno.ELOOP, errno.E2BIG):
            return CommandNotExecutable(f"exec: {text}", hint=_NO_PROGRAM)
    if number == 0:
        return InvalidArgument(text)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"{step}: {text}")
    if step == "identity" and number in (errno.EACCES, errno.ENOENT):
        return CommandNotExecutable(f"working directory: {text}")
    if step == "identity" and number == errno.EINVAL:
        return InvalidArgument(
            "the user or group id is outside of the ids that this machine lets you use",
            hint="/etc/subuid and /etc/subgid hold the ranges",
        )
    return SystemFailure(f"{step}: {text}")
