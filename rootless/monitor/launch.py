"""How a command starts a monitor.

A lean process forks it *before* it imports what the command itself needs (``prefork``): the
monitor stays small, and loads its own modules on the other processor meanwhile. A
process that carries the command line's machinery, or threads, starts a fresh
interpreter instead. Either way the monitor reads a launch record from its socket, and
ends at once if the command ends without sending one.

The launch record is a dict of JSON values::

    id, directory, runtime_dir      of the container
    spec                            its OCI specification
    rootfs                          {kind, source, data, cwd}, see runtime/plan.py
    program                         the compiled seccomp filter, a character a byte, or ""
    terminal, interactive           what the payload gets as standard streams
    attached                        whether the first client brings the input, which then ends with it
    network                         None, or {"ports": [arguments of slirp.add_hostfwd]}
    cgroup                          None, or what cgroups.membership.record returned
    log                             None, or {"path", "max_size", "max_file"}
    events                          the log of events (rootless/events.py)
    attributes                      what each event of the container tells of it
    remove                          None, or {"trash", "name", "volumes"}: remove at the end
    state                           the fields of state.json so far
    namespace                       the directory of linux.userns.UserNamespace
"""

from __future__ import annotations

import os
import sys

from rootless import jsonlite
from rootless.linux import fds, sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

_SPAWN = "import sys; sys.path[:0] = sys.argv[1:2]; from rootless.monitor import launch; launch.spawned()"
_CHANNEL = 3  # the monitor's end of the socket

_waiting: _socket.socket | None = None


def prefork() -> None:
    """Fork a monitor that waits for its record; to be called before anything heavy is imported.

    The calling process must have one thread and end soon after the container has started.
    """
    global _waiting
    if _waiting is None:
        _waiting = _fork(exec_it=False)


def start(launch: dict[str, Any]) -> _socket.socket:
    """Start a monitor and return the socket on which it will speak ``monitor.protocol``.

    What fails comes as a ``failed`` frame. Raises ``OSError``.
    """
    global _waiting
    channel, _waiting = _waiting or _fork(exec_it=True), None
    text = jsonlite.dumps(launch).encode()
    try:
        channel.sendall(len(text).to_bytes(4, "big") + text)
    except BrokenPipeError:
        pass  # it ended: whoever waits for its first word is told so
    return channel


def _fork(*, exec_it: bool) -> _socket.socket:
    ours, theirs = sockets.pair()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            if exec_it and os.fork():
                os._exit(0)  # the caller may live long: it shall not have to reap a monitor
            _detach(theirs.detach())
            if exec_it:
                root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
                os.set_inheritable(_CHANNEL, True)
                argv = [sys.executable, "-I", "-S", "-c", _SPAWN, root]
                os.execve(sys.executable, argv, dict(os.environ))
            _be_monitor()
        finally:
            os._exit(1)
    theirs.close()
    if exec_it:
        os.waitpid(pid, 0)
    return ours


def _detach(channel: int) -> None:
    """Let go of the caller's streams, descriptors and directory; only the channel is kept."""
    if channel != _CHANNEL:
        os.dup2(channel, _CHANNEL, inheritable=False)
    null = os.open("/dev/null", os.O_RDWR)
    for target in range(3):
        os.dup2(null, target)
    fds.close_all_but(range(_CHANNEL + 1))
    os.chdir("/")


def spawned() -> None:
    """Entry of a fresh interpreter; never returns."""
    os.set_inheritable(_CHANNEL, False)
    _be_monitor()


def _be_monitor() -> None:
    import _socket

    from rootless.linux.userns import UserNamespace
    from rootless.monitor import reaper

    channel = _socket.socket(sockets.AF_UNIX, sockets.SOCK_STREAM, 0, fileno=_CHANNEL)
    text = _receive(channel, int.from_bytes(_receive(channel, 4), "big"))
    launch = jsonlite.loads(text)
    del text
    reaper.main(launch, UserNamespace(launch["namespace"]), channel)


def _receive(channel: _socket.socket, size: int) -> bytes:
    """Return exactly ``size`` bytes; ends the process if there will be none."""
    data = b""
    while len(data) < size:
        chunk = channel.recv(size - len(data))
        if not chunk:
            os._exit(0)
        data += chunk
    return data
