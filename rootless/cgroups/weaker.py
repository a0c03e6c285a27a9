"""What is left without a controller: affinity, nice, and a watchdog. Resource limits go by the OCI spec.

None of it is a wall: ``limits`` says so wherever it is used.
"""

from __future__ import annotations

import os
import time

from rootless.errors import SystemFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from rootless.cgroups.limits import Weaker
    from rootless.cgroups.stats import Usage

INTERVAL = 0.5  # seconds between two looks of the watchdog
_SIGCONT, _SIGSTOP = 18, 19


def rlimits(weaker: Weaker, existing: list[dict[str, int | str]]) -> list[dict[str, int | str]]:
    """Return ``process.rlimits`` of the OCI spec with those of ``weaker``; a tighter one of the user's stays."""
    result = {str(limit["type"]): limit for limit in existing}
    for name, value in weaker.rlimits:
        before = result.get(name)
        # RLIM_INFINITY is -1 or 2**64 - 1.
        soft, hard = (int(before["soft"]), int(before["hard"])) if before else (-1, -1)
        result[name] = {
            "type": name,
            "soft": value if soft == -1 else min(soft, value),
            "hard": value if hard == -1 else min(hard, value),
        }
    return list(result.values())


def apply(weaker: Weaker, pid: int) -> list[str]:
    """Bind and slow down a process, which passes it on to its children; returns warnings.

    Rather before the payload runs. For a container's first process and for each exec's.
    """
    warnings = []
    if weaker.processors:
        try:
            os.sched_setaffinity(pid, weaker.processors)
        except OSError as error:
            listed = ",".join(map(str, weaker.processors))
            warnings.append(f"cannot bind the container to processors {listed}: {(error.strerror or '').lower()}")
    if weaker.nice:
        try:
            os.setpriority(os.PRIO_PROCESS, pid, max(weaker.nice, os.getpriority(os.PRIO_PROCESS, pid)))
            # With autogrouping nice compares processes of one session only; a container is a session.
            fd = os.open(f"/proc/{pid}/autogroup", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, str(weaker.nice).encode())
            finally:
                os.close(fd)
        except FileNotFoundError:
            pass  # a kernel without autogrouping
        except OSError as error:
            warnings.append(f"cannot lower the container's priority: {(error.strerror or '').lower()}")
    return warnings


def change(before: Weaker, after: Weaker, init_pid: int) -> list[str]:
    """Bring all processes of a running container from one form to another; returns what only a new start brings."""
    warnings = []
    if after.processors != before.processors:
        processors = after.processors or tuple(os.sched_getaffinity(0))
        if not _for_each_thread(init_pid, lambda thread: os.sched_setaffinity(thread, processors)):
            warnings.append("cannot bind all processes of the container to other processors")
    if after.nice != before.nice and not _for_each_thread(
        init_pid, lambda thread: os.setpriority(os.PRIO_PROCESS, thread, after.nice)
    ):
        warnings.append("nobody but root can raise a priority: it holds from the next start of the container")
    if after.rlimits != before.rlimits:
        warnings += _change_rlimits(dict(before.rlimits), dict(after.rlimits), init_pid)
    return warnings


def _change_rlimits(old: dict[str, int], new: dict[str, int], init_pid: int) -> list[str]:
    import resource

    warnings = []
    for name, value in {**dict.fromkeys(old, resource.RLIM_INFINITY), **new}.items():
        if old.get(name) == value:
            continue
        number, kept = getattr(resource, name), False
        for pid in members(init_pid):
            try:
                soft, hard = resource.prlimit(pid, number)
                if hard == resource.RLIM_INFINITY or 0 <= value < hard:
                    resource.prlimit(pid, number, (min(soft, value) if soft >= 0 else value, value))
                elif value != hard:
                    kept = True
            except ProcessLookupError:
                continue
            except (OSError, ValueError):
                kept = True
        if kept:
            warnings.append(f"the processes that run keep their {name}: a higher one holds from the next start")
    return warnings


def _for_each_thread(init_pid: int, function: Callable[[int], object]) -> bool:
    """Call ``function`` for each thread of a container, twice, as they make others meanwhile; False if one refused."""
    fine = True
    for _ in range(2):
        for pid in members(init_pid):
            try:
                threads = os.listdir(f"/proc/{pid}/task")
            except OSError:
                continue
            for thread in threads:
                try:
                    function(int(thread))
                except ProcessLookupError:
                    continue
                except OSError:
                    fine = False
    return fine


def stop(init_pid: int, *, timeout: float = 5, proc: str = "/proc") -> frozenset[int]:
    """Stop every process of a container with SIGSTOP, and wait until they stand still.

    Returns those that did so before, for ``resume``. Raises ``SystemFailure`` (and resumes) if one does not stop.
    """
    already: frozenset[int] | None = None
    sent: set[int] = set()
    deadline = time.monotonic() + timeout
    while True:
        found = _states(init_pid, proc)
        if already is None:
            already = frozenset(pid for _, pid, state in found if state in "Tt")
        # One that waits for a disk, or for its vfork's child, runs nothing of its own and stops on its return.
        moving = [pid for _, pid, state in found if state not in "TtZX" and not (state == "D" and pid in sent)]
        if not moving:
            return already
        if time.monotonic() > deadline:
            resume(init_pid, already, proc=proc)
            raise SystemFailure(f"cannot pause the container: its processes did not stop within {timeout:g} seconds")
        for pid in moving:  # parents first, so that none sees a child stop
            _send(pid, _SIGSTOP)
            sent.add(pid)
        time.sleep(0.001)  # nobody tells us


def resume(init_pid: int, already: Container[int] = (), *, proc: str = "/proc") -> None:
    """Let the processes of a container go on, but those that had stopped by themselves."""
    for _, pid, _ in reversed(_states(init_pid, proc)):
        if pid not in already:
            _send(pid, _SIGCONT)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _states(init_pid: int, proc: str) -> list[tuple[int, int, str]]:
    """Return (start, pid, state) of a container's processes, parents before their children."""
    found = []
    for pid in members(init_pid, proc=proc):
        fields = _stat(pid, proc)
        if fields:
            found.append((int(fields[19]), pid, fields[0].decode()))
    return sorted(found)


class Watchdog:
    """Sums up what a container's processes use; to be asked every ``INTERVAL`` seconds."""

    def __init__(self, weaker: Weaker, init_pid: int, *, proc: str = "/proc") -> None:
        self._weaker = weaker
        self._init = init_pid
        self._proc = proc

    def check(self) -> str:
        """Return why the container has to be ended, or ""; a reason with "memory" counts as OOM."""
        pids = members(self._init, proc=self._proc)
        weaker = self._weaker
        if weaker.threads:
            count = sum(threads(pid, proc=self._proc) for pid in pids)
            if count > weaker.threads:
                return f"{count} threads are more than the limit of {weaker.threads}"
        if weaker.memory or weaker.memory_swap:
            resident, swapped = memory(pids, proc=self._proc)
            if weaker.memory and resident > weaker.memory:
                return f"{resident} bytes of memory are more than the limit of {weaker.memory}"
            if weaker.memory_swap and resident + swapped > weaker.memory_swap:
                return f"{resident + swapped} bytes of memory and swap are more than the limit of {weaker.memory_swap}"
        return ""


def members(init_pid: int, *, proc: str = "/proc") -> list[int]:
    """Return the processes in the pid namespace of ``init_pid``, itself included.

    Needs to be allowed to look at them: as root of rl's user namespace, or as its owner outside.
    """
    try:
        namespace = os.stat(f"{proc}/{init_pid}/ns/pid").st_ino
    except OSError:
        return []
    return namespaces(proc=proc).get(namespace, [])


def namespaces(*, proc: str = "/proc") -> dict[int, list[int]]:
    """Return the processes of each pid namespace (by its inode) that we may look at."""
    found: dict[int, list[int]] = {}
    for name in os.listdir(proc):
        if name.isdecimal():
            try:
                namespace = os.stat(f"{proc}/{name}/ns/pid").st_ino
            except OSError:
                continue
            found.setdefault(namespace, []).append(int(name))
    return found


def usage(pids: Iterable[int], *, proc: str = "/proc") -> Usage:
    """Return what processes use, and used with the children that they have waited for."""
    from rootless.cgroups.stats import Usage

    pids = tuple(pids)
    ticks = count = read = written = 0
    for pid in pids:
        fields = _stat(pid, proc)
        if not fields:
            continue
        ticks += sum(int(field) for field in fields[11:15])
        count += int(fields[17])
        rows = _rows(f"{proc}/{pid}/io")
        read += int(rows.get("read_bytes", "0"))
        written += int(rows.get("write_bytes", "0"))
    return Usage(
        cpu=ticks * 1_000_000 // os.sysconf("SC_CLK_TCK"),
        memory=memory(pids, proc=proc)[0],
        pids=count,
        read_bytes=read,
        write_bytes=written,
    )


def memory(pids: Iterable[int], *, proc: str = "/proc") -> tuple[int, int]:
    """Return (resident, swapped) bytes of processes together; pages that several share count once in all."""
    resident = swapped = 0
    for pid in pids:
        rows = _kilobytes(f"{proc}/{pid}/smaps_rollup")
        if "Pss" in rows:
            resident += rows["Pss"]
            swapped += rows.get("SwapPss", 0)
        else:  # before Linux 4.14, or a process that we may not look into
            rows = _kilobytes(f"{proc}/{pid}/status")
            resident += rows.get("RssAnon", 0) + rows.get("RssShmem", 0)
            swapped += rows.get("VmSwap", 0)
    return resident * 1024, swapped * 1024


def threads(pid: int, *, proc: str = "/proc") -> int:
    """Return the number of threads of a process; 0 if it has gone."""
    fields = _stat(pid, proc)
    return int(fields[17]) if fields else 0


def _stat(pid: int, proc: str) -> list[bytes]:
    """Return the fields of proc_pid_stat(5) from the third, the state; none if the process has gone."""
    try:
        with open(f"{proc}/{pid}/stat", "rb") as stream:
            content = stream.read()
        return content[content.rindex(b")") + 2 :].split(b" ", 20)
    except (OSError, ValueError):
        return []


def _kilobytes(path: str) -> dict[str, int]:
    rows = {}
    for name, value in _rows(path).items():
        words = value.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdecimal():
            rows[name] = int(words[0])
    return rows


def _rows(path: str) -> dict[str, str]:
    """Return the lines "NAME: VALUE" of a file; none if it cannot be read."""
    rows = {}
    try:
        with open(path, "rb") as stream:
            for line in stream.read().decode("ascii", "replace").splitlines():
                name, _, value = line.partition(":")
                rows[name] = value.strip()
    except OSError:
        pass
    return rows
