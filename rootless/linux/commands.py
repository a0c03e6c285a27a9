"""External programs: argv lists, a small environment, a time limit, stderr kept.

No shell is ever involved. Signals are reset in the child: Python ignores SIGPIPE, and
some helpers refuse to start so.
"""

from __future__ import annotations

import os
import select
import time

from rootless.errors import MissingHelper
from rootless.linux import process
from rootless.record import Record

_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
_KEEP = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
_PACKAGES = {"newuidmap": "uidmap", "newgidmap": "uidmap"}


class CommandResult(Record):
    """How a program ended; ``status`` is the shell's (128 + N after signal N)."""

    status: int
    stdout: bytes
    stderr: bytes

    def reason(self) -> str:
        """Return the last line of stderr, or the exit status."""
        lines = self.stderr.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self.status}"


def which(name: str) -> str | None:
    """Return the path of an executable in PATH or the usual system directories."""
    if "/" in name:
        return name if os.access(name, os.X_OK) else None
    for directory in (*os.environ.get("PATH", "").split(":"), *_SBIN):
        path = f"{directory}/{name}"
        if directory.startswith("/") and os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None


def find(name: str) -> str:
    """Return the path of an executable; raises ``MissingHelper`` naming the package."""
    path = which(name)
    if path is None:
        package = _PACKAGES.get(name, name)
        raise MissingHelper(
            f"{name} is not installed", hint=f"install it: apt install {package} (dnf: {_dnf(package)})"
        )
    return path


def _dnf(package: str) -> str:
    return {"uidmap": "shadow-utils"}.get(package, package)


def environment() -> dict[str, str]:
    """Return the part of our environment that helpers are given."""
    return {name: os.environ[name] for name in _KEEP if name in os.environ}


def spawn(
    argv: list[str],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    pass_fds: tuple[int, ...] = (),
    env: dict[str, str] | None = None,
    new_session: bool = False,
) -> int:
    """Start a program and return its pid; standard streams are /dev/null unless given.

    ``pass_fds`` stay open under their numbers. Raises ``MissingHelper`` if the program is
    absent; the caller waits for the pid.
    """
    path = find(argv[0])
    pid = os.fork()
    if pid:
        return pid
    try:
        process.reset_signals()
        if new_session:
            os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for target, source in ((0, stdin), (1, stdout), (2, stderr)):
            os.dup2(null if source is None else source, target)
        for fd in pass_fds:
            os.set_inheritable(fd, True)
        os.execve(path, argv, environment() if env is None else env)
    finally:
        os._exit(127)


def run(
    argv: list[str], *, stdin: bytes = b"", timeout: float = 30.0, env: dict[str, str] | None = None
) -> CommandResult:
    """Run a program to its end and return what it wrote.

    Raises ``MissingHelper`` if it is absent and ``TimeoutError`` (after killing it) if it
    takes longer than ``timeout`` seconds.
    """
    in_read, in_write = os.pipe2(os.O_CLOEXEC)
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    try:
        pid = spawn(argv, stdin=in_read, stdout=out_write, stderr=err_write, env=env)
    except BaseException:
        for fd in (in_read, in_write, out_read, out_write, err_read, err_write):
            os.close(fd)
        raise
    for fd in (in_read, out_write, err_write):
        os.close(fd)
    output: dict[int, list[bytes]] = {out_read: [], err_read: []}
    poller = select.poll()
    for fd in output:
        poller.register(fd, select.POLLIN)
    os.set_blocking(in_write, False)
    poller.register(in_write, select.POLLOUT)
    open_fds = {out_read, err_read, in_write}
    deadline = time.monotonic() + timeout
    try:
        while open_fds - {in_write}:
            left = deadline - time.monotonic()
            events = poller.poll(max(0, left * 1000)) if left > 0 else []
            if not events and left <= 0:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                raise TimeoutError(f"{argv[0]} did not end within {timeout:g} seconds")
            for fd, _ in events:
                if fd == in_write:
                    try:
                        stdin = stdin[os.write(fd, stdin[:65536]) :]
                    except BrokenPipeError:
                        stdin = b""
                    done = not stdin
                else:
                    chunk = os.read(fd, 65536)
                    output[fd].append(chunk)
                    done = not chunk
                if done:
                    poller.unregister(fd)
                    os.close(fd)
                    open_fds.discard(fd)
        _, status = os.waitpid(pid, 0)
    finally:
        for fd in open_fds:
            os.close(fd)
    return CommandResult(
        status=process.exit_status(status), stdout=b"".join(output[out_read]), stderr=b"".join(output[err_read])
    )
