"""The user namespace in which rl does what takes more than one id.

::

    initial namespace                     user 1000
      └── rl's namespace                  0 = 1000, 1… = the subordinate ranges; kept by the pause process
            └── one per container         the same ids; made by the monitor without newuidmap

The **pause process** is a sleeping interpreter with nothing loaded. It reads a FIFO that
each user of the namespace holds open for writing, and leaves half a minute after the last
has gone. It may be killed at any time: those inside keep the namespace alive themselves,
and the next command makes a new one.
"""

from __future__ import annotations

import errno
import os
import sys

from rootless import errors
from rootless.linux import fds, idmap, process, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self

IDLE_SECONDS = 30

# Without a writer poll() reports POLLHUP at once; whoever opens the FIFO meanwhile is in time.
_PAUSE = f"""import os,select,time
p=select.poll();p.register(0)
while 1:
 p.poll()
 time.sleep({IDLE_SECONDS})
 if p.poll(0):os._exit(0)
"""


class UserNamespace:
    """rl's namespace of the calling user, made when first needed.

    ``runtime_dir`` is where the pause process is recorded. Not thread-safe.
    """

    def __init__(self, runtime_dir: str) -> None:
        self.directory = runtime_dir
        self._fd = -1
        self._fifo = -1
        self._map: idmap.IdMap | None = None

    @property
    def map(self) -> idmap.IdMap:
        """Return the id map; raises ``Denied`` for users that have no ranges."""
        if self._map is None:
            self._map = idmap.for_user()
        return self._map

    def open(self) -> int:
        """Return a descriptor of the namespace, making it if need be; it stays ours.

        Raises ``SystemFailure``, ``MissingHelper`` or ``Denied`` with the remedy.
        """
        if self._fd >= 0:
            return self._fd
        id_map = self.map
        pid_file = f"{self.directory}/pause.pid"
        fifo = f"{self.directory}/pause.fifo"
        if self._join_existing(pid_file, fifo, id_map):
            return self._fd
        import fcntl

        # One maker at a time; the lock dies with its holder.
        lock = os.open(f"{self.directory}/pause.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._join_existing(pid_file, fifo, id_map):
                self._make(pid_file, fifo, id_map)
        finally:
            os.close(lock)
        return self._fd

    def _join_existing(self, pid_file: str, fifo: str, id_map: idmap.IdMap) -> bool:
        try:
            with open(pid_file, encoding="ascii") as stream:
                pid, start, recorded = stream.read().split(" ", 2)
        except (OSError, ValueError):
            return False
        if recorded != _describe(id_map) or not process.is_alive(int(pid), int(start)):
            return False
        try:
            # Fails with ENXIO when the reader has gone.
            self._fifo = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        return True

    def _make(self, pid_file: str, fifo: str, id_map: idmap.IdMap) -> None:
        try:
            os.unlink(fifo)
        except FileNotFoundError:
            pass
        os.mkfifo(fifo, 0o600)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._fifo = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
        go_read, go_write = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            # Ours to write: while it is open here, the end of our maker would go unnoticed.
            os.close(go_write)
            _pause(reader, ready_write, go_read)
        for fd in (reader, ready_write, go_read):
            os.close(fd)
        try:
            with open(ready_read, "rb") as stream:
                answer = stream.read().decode()
            if answer:
                number = int(answer)
                raise idmap.explain_unshare(OSError(number, os.strerror(number)))
            idmap.write(pid, id_map)
            self._fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            temporary = f"{pid_file}.{os.getpid()}"
            with open(temporary, "w", encoding="ascii") as stream:
                stream.write(f"{pid} {process.start_time(pid)} {_describe(id_map)}")
            os.rename(temporary, pid_file)
            os.write(go_write, b"1")
        except BaseException:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            os.close(self._fifo)
            self._fifo = -1
            raise
        finally:
            os.close(go_write)

    def enter(self) -> None:
        """Join the namespace with this process, which must have one thread, as its root.

        A mount namespace of its own comes with it. There is no way back.
        """
        syscalls.setns(self.open(), syscalls.CLONE_NEWUSER)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        # Directories made for a container belong to that, whatever the user's mask says of the user's own.
        os.umask(0o022)
        syscalls.unshare(syscalls.CLONE_NEWNS)
        # Nothing mounted here shows outside; what is mounted outside still arrives.
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)

    def descriptors(self) -> list[int]:
        """Return the descriptors that keep the namespace, for those who close all others."""
        return [fd for fd in (self._fd, self._fifo) if fd >= 0]

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run ``function`` in a child inside the namespace and return its result.

        The result must be marshal-able. ``RlError`` and ``OSError`` raised there are raised
        here. The function must import nothing that it did not import before.
        """
        self.open()
        return _run_forked(self.enter, function, arguments)

    def worker(self) -> Worker:
        """Return a helper process inside the namespace, for callers that will start threads."""
        return Worker(self)


class Worker:
    """A process inside the namespace that makes a child for each call.

    Forked before the caller starts threads, so that no lock is ever copied while it is held.
    Functions are named ``package.module:name`` by what they are.
    """

    def __init__(self, namespace: UserNamespace) -> None:
        namespace.open()
        request_read, self._request = os.pipe2(os.O_CLOEXEC)
        self._reply, reply_write = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._request)
                os.close(self._reply)
                syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
                namespace.enter()
                _serve(request_read, reply_write)
            finally:
                os._exit(1)
        os.close(request_read)
        os.close(reply_write)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """As ``UserNamespace.call``, for a function at the top level of a module."""
        import marshal

        request = marshal.dumps((function.__module__, function.__qualname__, arguments))
        fds.write_all(self._request, len(request).to_bytes(4, "little") + request)
        size = _read_exactly(self._reply, 4)
        return _unpack(_read_exactly(self._reply, int.from_bytes(size, "little")))

    def close(self) -> None:
        """End the helper process."""
        if self._pid:
            os.close(self._request)
            os.close(self._reply)
            try:
                os.waitpid(self._pid, 0)
            except ChildProcessError:
                pass
            self._pid = 0

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the helper process; at once if the caller was interrupted."""
        if kind is not None and self._pid:
            os.kill(self._pid, 9)
        self.close()


def _describe(id_map: idmap.IdMap) -> str:
    """Return the map as text, so that a change of the ranges makes a new namespace."""
    return f"{id_map.uids}{id_map.gids}"


def _pause(reader: int, ready: int, go: int) -> None:
    """Body of the child that becomes the pause process; never returns."""
    try:
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER)
        except OSError as error:
            os.write(ready, str(error.errno).encode())
            os._exit(1)
        os.setsid()
        os.dup2(reader, 0)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.chdir("/")
        os.close(ready)
        if os.read(go, 1):
            process.reset_signals()
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            syscalls.close_range(3)
            os.execve(sys.executable, ["rl-pause", "-I", "-S", "-c", _PAUSE], {})
    finally:
        os._exit(1)


def _run_forked(enter: Callable[[], None], function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    import marshal  # before the fork: the child imports nothing  # noqa: F401

    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read_end)
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
            _answer(write_end, enter, function, arguments)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write_end)
    try:
        with open(read_end, "rb") as stream:
            answer = stream.read()
    except BaseException:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise
    _, status = os.waitpid(pid, 0)
    if not answer:
        raise errors.SystemFailure(
            f"{function.__name__} in the user namespace ended without an answer (status {process.exit_status(status)})"
        )
    return _unpack(answer)


def _answer(fd: int, enter: Callable[[], None], function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    import marshal

    try:
        enter()
        reply = marshal.dumps((0, function(*arguments)))
    except errors.RlError as error:
        reply = marshal.dumps((1, type(error).__name__, error.message, error.hint))
    except OSError as error:
        reply = marshal.dumps((2, error.errno or errno.EIO, error.strerror or str(error), error.filename))
    except Exception as error:  # an error of ours must not look like silence
        import traceback

        reply = marshal.dumps((3, f"{type(error).__name__}: {error}", traceback.format_exc()))
    fds.write_all(fd, reply)


def _unpack(answer: bytes) -> Any:
    import marshal

    kind, *values = marshal.loads(answer)
    if kind == 0:
        return values[0]
    if kind == 1:
        raise getattr(errors, values[0])(values[1], hint=values[2])
    if kind == 2:
        raise OSError(values[0], values[1], values[2])
    raise RuntimeError(f"{values[0]}\n{values[1]}")


def _serve(request_fd: int, reply_fd: int) -> None:
    import importlib
    import marshal

    def nothing() -> None:
        """Stand for ``enter``: this process is inside already."""

    while True:
        try:
            size = int.from_bytes(_read_exactly(request_fd, 4), "little")
        except EOFError:
            os._exit(0)
        module, name, arguments = marshal.loads(_read_exactly(request_fd, size))
        function = getattr(importlib.import_module(module), name)
        try:
            reply = marshal.dumps((0, _run_forked(nothing, function, arguments)))
        except errors.RlError as error:
            reply = marshal.dumps((1, type(error).__name__, error.message, error.hint))
        except OSError as error:
            reply = marshal.dumps((2, error.errno or errno.EIO, error.strerror or str(error), error.filename))
        except Exception as error:
            reply = marshal.dumps((3, f"{type(error).__name__}: {error}", ""))
        fds.write_all(reply_fd, len(reply).to_bytes(4, "little") + reply)


def _read_exactly(fd: int, size: int) -> bytes:
    parts = []
    while size:
        chunk = os.read(fd, min(size, 1 << 20))
        if not chunk:
            raise EOFError("the helper process in the user namespace has ended")
        parts.append(chunk)
        size -= len(chunk)
    return b"".join(parts)
