"""One control group: made, filled, limited, watched, frozen, killed, removed.

Everything is a short write or read below its directory. An object holds no descriptor.
"""

from __future__ import annotations

import errno
import os
import select
import time

from rootless.errors import InvalidArgument, SystemFailure, Unsupported, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rootless.cgroups.resources import Write
    from rootless.cgroups.stats import Stats

_GONE = (errno.ENOENT, errno.ENODEV)  # ENODEV: removed while the file was open


class Cgroup:
    """The control group at ``path``, which need not exist."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Cgroup({self.path!r})"

    # --- making and filling --------------------------------------------------------------

    def create(self) -> None:
        """Make the directory; one that exists is taken over if nothing lives in it.

        Raises ``SystemFailure``.
        """
        try:
            os.mkdir(self.path, 0o755)
        except FileExistsError:
            # Of an earlier run of the same container whose monitor was killed: its limits must not stay.
            self.remove()
            try:
                os.mkdir(self.path, 0o755)
            except OSError as error:
                raise from_oserror(error, "cannot make the container's control group") from error
        except OSError as error:
            raise from_oserror(error, "cannot make the container's control group") from error

    def open(self) -> int:
        """Return a descriptor of the directory, for clone3(2) with CLONE_INTO_CGROUP; the caller's to close."""
        return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def attach(self, pid: int, *, beside: int = 0) -> None:
        """Move a process here (0: the caller).

        If the payload has turned this into an inner cgroup (a nested systemd does), it goes where
        process ``beside`` is. Raises ``OSError``: EACCES if no common ancestor is ours (see ``manager``).
        """
        try:
            write(f"{self.path}/cgroup.procs", str(pid))
        except OSError as error:
            if error.errno != errno.EBUSY or not beside:
                raise
            write(f"{self._of(beside)}/cgroup.procs", str(pid))

    def _of(self, pid: int) -> str:
        """Return the directory of the cgroup at or below this one that ``pid`` is in."""
        from rootless.cgroups import detect

        path = detect.own_cgroup(f"/proc/{pid}/cgroup")
        _, found, below = path.partition(f"/{os.path.basename(self.path)}/")
        return f"{self.path}/{below}" if found else self.path

    def enable(self, controllers: Iterable[str]) -> tuple[str, ...]:
        """Pass controllers on to the children; returns those that the kernel refused.

        Raises ``OSError`` EBUSY if processes live here.
        """
        from rootless.cgroups import detect

        have = detect.words(f"{self.path}/cgroup.subtree_control")
        missing = [name for name in controllers if name not in have]
        if not missing:
            return ()
        path = f"{self.path}/cgroup.subtree_control"
        try:
            write(path, " ".join(f"+{name}" for name in missing))
            return ()
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise
        refused = []
        for name in missing:  # together they fail together
            try:
                write(path, f"+{name}")
            except OSError as error:
                if error.errno == errno.EBUSY:
                    raise
                refused.append(name)
        return tuple(refused)

    # --- limits --------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Say whether there is a file ``name``, as ``memory.max``."""
        return os.path.exists(f"{self.path}/{name}")

    def apply(self, writes: Iterable[Write]) -> None:
        """Set limits, in order; raises what fits the first that the kernel refuses, naming its flag."""
        for each in writes:
            try:
                write(f"{self.path}/{each.file}", each.value)
            except OSError as error:
                if error.errno in _GONE and each.optional:
                    continue
                raise _refusal(error, each, self.path) from error

    # --- life ----------------------------------------------------------------------------

    def exists(self) -> bool:
        """Say whether the directory is there."""
        return os.path.isdir(self.path)

    def pids(self) -> list[int]:
        """Return the processes here and below that our pid namespace sees."""
        found: list[int] = []
        for directory in reversed(self._tree()):
            try:
                found += [int(line) for line in read(f"{directory}/cgroup.procs").split()]
            except OSError as error:
                # EOPNOTSUPP: a threaded cgroup, whose processes are listed above it.
                if error.errno not in (*_GONE, errno.EOPNOTSUPP):
                    raise
        return [pid for pid in dict.fromkeys(found) if pid]

    def populated(self) -> bool:
        """Say whether any process lives here or below."""
        return self._events().get("populated", 0) == 1

    def kill(self) -> None:
        """Send SIGKILL to every process here and below; one that is being made meanwhile too."""
        try:
            write(f"{self.path}/cgroup.kill", "1")
            return
        except OSError as error:
            if not self.exists():
                return
            # Before Linux 5.14: nobody forks while all are frozen, and a frozen process can be killed.
            if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP, errno.EACCES):
                raise
        try:
            self._freeze("1", timeout=2)
        except OSError:
            pass
        for _ in range(16):
            pids = self.pids()
            for pid in pids:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
            if not pids or not self.populated():
                break
        try:
            write(f"{self.path}/cgroup.freeze", "0")
        except OSError:
            pass

    def freeze(self, timeout: float = 10) -> None:
        """Stop all processes and wait until they stand still; raises ``SystemFailure`` and thaws if they do not."""
        try:
            stands = self._freeze("1", timeout)
        except OSError as error:
            raise from_oserror(error, "cannot pause the container") from error
        if not stands:
            self.thaw()
            raise SystemFailure(
                "cannot pause the container: one of its processes did not stop within "
                f"{timeout:g} seconds (it waits for a device or a file server)"
            )

    def thaw(self, timeout: float = 10) -> None:
        """Let all processes go on."""
        try:
            self._freeze("0", timeout)
        except OSError as error:
            raise from_oserror(error, "cannot resume the container") from error

    def frozen(self) -> bool:
        """Say whether all processes stand still."""
        return self._events().get("frozen", 0) == 1

    def remove(self, timeout: float = 5) -> None:
        """Kill what is left, wait for its end, and remove the directories, deepest first.

        One that is not there is no error. Raises ``SystemFailure`` for what will not go.
        """
        if self.prune():  # the usual case: nothing is left
            return
        self.kill()
        self._wait("populated", 0, timeout)
        if not self.prune():
            raise SystemFailure(
                f"cannot remove control group {self.path}: processes in it do not end: "
                f"{' '.join(map(str, self.pids())) or 'none visible'}"
            )

    def watch_oom(self) -> OomWatch | None:
        """Return a watch for processes that the kernel kills for memory; None without the memory controller."""
        try:
            return OomWatch(f"{self.path}/memory.events")
        except FileNotFoundError:
            return None

    def oom_kills(self) -> int:
        """Return how many processes here and below were killed for memory."""
        try:
            return fields(read(f"{self.path}/memory.events")).get("oom_kill", 0)
        except OSError:
            return 0

    def stats(self) -> Stats:
        """Return the counters of this moment; raises ``OSError`` ENOENT if the cgroup has gone."""
        from rootless.cgroups import stats

        return stats.read(self.path)

    # --- details -------------------------------------------------------------------------

    def _freeze(self, value: str, timeout: float) -> bool:
        write(f"{self.path}/cgroup.freeze", value)
        return self._wait("frozen", int(value), timeout)

    def _events(self) -> dict[str, int]:
        try:
            return fields(read(f"{self.path}/cgroup.events"))
        except OSError:
            return {}

    def _wait(self, key: str, value: int, timeout: float) -> bool:
        """Wait for a value in cgroup.events, which signals its changes (POLLPRI)."""
        try:
            fd = os.open(f"{self.path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return value == 0
        try:
            poller = select.poll()
            poller.register(fd, select.POLLPRI)
            deadline = time.monotonic() + timeout
            while True:
                # Reading arms the notification: what changes afterwards wakes us.
                try:
                    current = fields(os.pread(fd, 4096, 0).decode("ascii")).get(key, 0)
                except OSError as error:
                    if error.errno not in _GONE:
                        raise
                    return value == 0
                if current == value:
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                poller.poll(left * 1000)
        finally:
            os.close(fd)

    def _tree(self) -> list[str]:
        """Return the directories at and below this one, deepest first."""
        found = [self.path]
        for directory in found:
            try:
                with os.scandir(directory) as entries:
                    found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            except OSError as error:
                if error.errno not in _GONE:
                    raise
        return found[::-1]

    def prune(self) -> bool:
        """Remove the directories if no process is left in them; says whether they are gone."""
        try:
            os.rmdir(self.path)  # cgroupfs removes what the kernel put there
            return True
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise from_oserror(error, "cannot remove control group") from error
        for directory in self._tree():
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
                    return False
                raise from_oserror(error, "cannot remove control group") from error
        return True


class OomWatch:
    """Tells of processes killed for memory: poll ``fd`` for POLLPRI, then call ``kills``."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._seen = 0
        self.kills()

    def kills(self) -> int:
        """Return how many more there were since the last call; arms the notification again."""
        try:
            total = fields(os.pread(self.fd, 4096, 0).decode("ascii")).get("oom_kill", 0)
        except OSError:  # the cgroup has gone
            return 0
        new, self._seen = total - self._seen, total
        return new

    def close(self) -> None:
        """Close the descriptor; safe to repeat."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def write(path: str, value: str) -> None:
    """Write a value to a file of the kernel in one call; raises ``OSError`` with the path."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode("ascii"))
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def read(path: str) -> str:
    """Return the content of a file of the kernel; raises ``OSError``."""
    with open(path, "rb") as stream:
        return stream.read().decode("ascii", "replace")


def fields(text: str) -> dict[str, int]:
    """Parse lines of a name and a number."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}


def _refusal(error: OSError, write: Write, path: str) -> Exception:
    what = f"{write.flag}: the kernel refused {write.value} in {write.file}"
    if error.errno in _GONE:
        if not os.path.isdir(path):
            return SystemFailure(f"{write.flag}: control group {path} has gone")
        if write.file.startswith("io.") and error.errno == errno.ENODEV:
            return InvalidArgument(f"{what}: no disk has this number", hint="name a device or a path on a local disk")
        return Unsupported(
            f"{write.flag}: control group {path} has no file {write.file}",
            hint="the kernel is too old for this limit, or was built or started without it",
        )
    if error.errno in (errno.EINVAL, errno.ERANGE):
        return InvalidArgument(what)
    if error.errno in (errno.EOPNOTSUPP, errno.ENODEV):
        return Unsupported(f"{what}: {(error.strerror or '').lower()}")
    return from_oserror(error, what)
