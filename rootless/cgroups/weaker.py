"""What is left without a controller: affinity, nice, and a watchdog. Resource limits go by the OCI spec.

None of it is a wall: ``limits`` says so wherever it is used.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rootless.cgroups.limits import Weaker

INTERVAL = 0.5  # seconds between two looks of the watchdog


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

    Needs to be allowed to look at them: as root of rl's user namespace.
    """
    try:
        namespace = os.stat(f"{proc}/{init_pid}/ns/pid").st_ino
    except OSError:
        return []
    found = []
    for name in os.listdir(proc):
        if name.isdecimal():
            try:
                if os.stat(f"{proc}/{name}/ns/pid").st_ino == namespace:
                    found.append(int(name))
            except OSError:
                continue
    return found


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
    try:
        with open(f"{proc}/{pid}/stat", "rb") as stream:
            content = stream.read()
        return int(content[content.rindex(b")") + 2 :].split(b" ", 18)[17])
    except (OSError, ValueError):
        return 0


def _kilobytes(path: str) -> dict[str, int]:
    rows = {}
    try:
        with open(path, "rb") as stream:
            for line in stream.read().decode("ascii", "replace").splitlines():
                name, _, value = line.partition(":")
                words = value.split()
                if len(words) == 2 and words[1] == "kB" and words[0].isdecimal():
                    rows[name] = int(words[0])
    except OSError:
        pass
    return rows
