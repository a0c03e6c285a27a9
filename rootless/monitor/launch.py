"""How a command starts a monitor.

A lean process forks it; one that has imported the command line's machinery starts a fresh
interpreter instead, since a fork would carry all of that for the container's life
(8 MB against 3). Either way the monitor is nobody's child: it is started through a
process that ends at once.

The launch record is a dict of JSON values::

    id, directory, runtime_dir      of the container
    spec                            its OCI specification
    rootfs                          {kind, source, data, cwd}, see runtime/plan.py
    program                         the compiled seccomp filter, a character a byte, or ""
    terminal, interactive           what the payload gets as standard streams
    network                         None, or {"ports": [arguments of slirp.add_hostfwd]}
    log                             None, or {"path", "max_size", "max_file"}
    remove                          None, or {"trash", "name", "volumes"}: remove at the end
    state                           the fields of state.json so far
"""

from __future__ import annotations

import os
import sys

from rootless import jsonlite
from rootless.linux import fds, sockets, syscalls
from rootless.linux.userns import UserNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import _socket

# Any of these in memory makes a fork heavier than a fresh start.
HEAVY = ("click", "asyncio", "urllib3", "threading", "dataclasses", "argparse")

_SPAWN = "import sys; sys.path[:0] = sys.argv[1:2]; from rootless.monitor import launch; launch.spawned()"


def start(launch: dict[str, Any], namespace: UserNamespace) -> _socket.socket:
    """Start a monitor and return the socket on which it will speak ``monitor.protocol``.

    Raises what making the user namespace raises; what fails later comes as ``failed`` frame.
    """
    namespace.open()
    ours, theirs = sockets.pair()
    lean = not any(name in sys.modules for name in HEAVY)
    sys.stdout.flush()
    sys.stderr.flush()
    between = os.fork()
    if between == 0:
        try:
            os.setsid()
            if os.fork():
                os._exit(0)
            ours.close()
            _detach(theirs.fileno())
            theirs.detach()
            if lean:
                _be_monitor(launch, namespace)
            else:
                _exec_monitor(launch, namespace)
        finally:
            os._exit(1)
    theirs.close()
    os.waitpid(between, 0)
    return ours


def _detach(channel: int) -> None:
    """Move the channel to descriptor 3 and let go of the caller's streams and directory."""
    null = os.open("/dev/null", os.O_RDWR)
    for target in range(3):
        os.dup2(null, target)
    if channel != 3:
        os.dup2(channel, 3, inheritable=False)
    os.chdir("/")


def _be_monitor(launch: dict[str, Any], namespace: UserNamespace) -> None:
    import _socket

    from rootless.monitor import reaper

    fds.close_all_but([0, 1, 2, 3, *namespace.descriptors()])
    reaper.main(launch, namespace, _socket.socket(sockets.AF_UNIX, sockets.SOCK_STREAM, 0, fileno=3))


def _exec_monitor(launch: dict[str, Any], namespace: UserNamespace) -> None:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    text = jsonlite.dumps({"launch": launch, "runtime": namespace.directory}).encode()
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        # The record may be larger than a pipe holds, so somebody else writes it.
        os.close(read_end)
        view = memoryview(text)
        while view:
            view = view[os.write(write_end, view) :]
        os._exit(0)
    os.close(write_end)
    os.dup2(read_end, 0)
    os.set_inheritable(3, True)
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", _SPAWN, root], dict(os.environ))


def spawned() -> None:
    """Entry of the fresh interpreter: read the launch record from standard input."""
    import _socket

    from rootless.monitor import reaper

    with open(0, "rb", closefd=False) as stream:
        content = jsonlite.loads(stream.read())
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    os.set_inheritable(3, False)
    syscalls.close_range(4)
    namespace = UserNamespace(content["runtime"])
    first = _socket.socket(sockets.AF_UNIX, sockets.SOCK_STREAM, 0, fileno=3)
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pass
    reaper.main(content["launch"], namespace, first)
