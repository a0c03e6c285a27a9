"""What containers use: the numbers behind ``stats``.

From the container's cgroup where it has one and the controller counts; otherwise its
processes are summed up.
"""

from __future__ import annotations

import os
import time

from rootless.cgroups import stats as counters
from rootless.engine import containers
from rootless.errors import NoSuchContainer
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rootless.engine.containers import Container
    from rootless.engine.engine import Engine


class Sample(Record):
    """One container at one moment; None where it cannot be known."""

    at: float  # seconds of the monotonic clock
    cpu: int | None = None  # microseconds
    memory: int | None = None  # without what the page cache could give back
    memory_limit: int = 0  # the machine's memory without one
    received: int | None = None
    sent: int | None = None
    read: int | None = None
    written: int | None = None
    pids: int | None = None
    pressure: dict[str, float] = {}  # of "cpu", "memory", "io": percent of the last 10 s in which some process waited


class Reading(Record):
    """What ``stats`` says of one container: a sample and what it takes two of."""

    id: str
    name: str
    asked: str  # as the user named it
    running: bool
    sample: Sample
    cpu_percent: float | None = None


class Meter:
    """Reads the same containers again and again."""

    def __init__(self, engine: Engine, names: Sequence[str] = (), *, every: bool = False) -> None:
        """Look at ``names``, or at all containers that run (``every``: at all).

        Raises ``NoSuchContainer``.
        """
        self._engine = engine
        self._names = {containers.find(engine, name).id: name for name in names}
        self._every = every
        self._before: dict[str, Sample] = {}

    def read(self) -> list[Reading]:
        """Return a reading of each container, newest container first; none of those that are gone."""
        found = self._containers()
        spaces: dict[int, list[int]] = {}
        if any(container.running and not _complete(container) for container in found):
            from rootless.cgroups import weaker

            spaces = weaker.namespaces()
        readings, samples = [], {}
        for container in found:
            sample = _sample(container, spaces) if container.running else None
            percent: float | None = 0.0
            if sample is not None:
                samples[container.id] = sample
                percent = _percent(self._before.get(container.id), sample)
            readings.append(
                Reading(
                    id=container.id,
                    name=container.name,
                    asked=self._names.get(container.id, container.id[:12]),
                    running=sample is not None,
                    sample=sample or Sample(at=0.0),
                    cpu_percent=percent,
                )
            )
        self._before = samples
        return readings

    def _containers(self) -> list[Container]:
        if not self._names:
            everything = containers.list_all(self._engine)
            return [container for container in everything if self._every or container.running]
        found = []
        for identifier in self._names:
            try:
                found.append(containers.load(self._engine, identifier))
            except NoSuchContainer:
                continue
        return found


def _complete(container: Container) -> bool:
    """Say whether the container's cgroup counts all that we show."""
    path = container.state.get("cgroup")
    return bool(path) and all(
        os.path.exists(f"{path}/{name}") for name in ("cpu.stat", "memory.current", "io.stat", "pids.current")
    )


def _sample(container: Container, spaces: dict[int, list[int]]) -> Sample | None:
    """Return what a container uses now; None if it has ended meanwhile."""
    pid, path = int(container.state["pid"]), container.state.get("cgroup", "")
    found, usage = None, None
    try:
        if path:
            found = counters.read(path)
        if not path or not _complete(container):
            from rootless.cgroups import weaker

            usage = weaker.usage(spaces.get(os.stat(f"/proc/{pid}/ns/pid").st_ino, ()))
    except OSError:
        return None
    at = time.monotonic()
    network = None if container.record["options"].get("network") == "host" else counters.network(pid)
    cpu, memory, pids = (usage.cpu, usage.memory, usage.pids) if usage else (None, None, None)
    read, written = (usage.read_bytes, usage.write_bytes) if usage else (None, None)
    if found:
        cpu = found.cpu_usage if os.path.exists(f"{path}/cpu.stat") else cpu
        memory = memory if found.memory is None else found.memory
        pids = pids if found.pids is None else found.pids
        if found.io is not None:
            read, written = found.read_bytes, found.write_bytes
    return Sample(
        at=at,
        cpu=cpu,
        memory=memory,
        memory_limit=_limit(container, found),
        received=network and network[0],
        sent=network and network[1],
        read=read,
        written=written,
        pids=pids,
        pressure={name: found.pressure[name].some_avg10 for name in found.pressure} if found else {},
    )


def _limit(container: Container, found: counters.Stats | None) -> int:
    if found and found.memory_limit:
        return found.memory_limit
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    asked = (container.record["options"].get("resources") or {}).get("memory") or 0
    return min(asked, machine) if asked else machine


def _percent(before: Sample | None, after: Sample) -> float | None:
    if before is None or before.cpu is None or after.cpu is None:
        return None
    return counters.cpu_percent(before.cpu, after.cpu, after.at - before.at)
