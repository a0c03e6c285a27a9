"""A control group's counters at one moment, as ``stats`` and the API show them."""

from __future__ import annotations

import os

from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class DeviceIo(Record):
    """What went to and from one disk since the cgroup was made."""

    major: int
    minor: int
    read_bytes: int = 0
    write_bytes: int = 0
    read_operations: int = 0
    write_operations: int = 0


class Pressure(Record):
    """Stall information (PSI): shares of time in percent, and the total in microseconds."""

    some_avg10: float = 0.0
    some_avg60: float = 0.0
    some_avg300: float = 0.0
    some_total: int = 0
    full_avg10: float = 0.0
    full_avg60: float = 0.0
    full_avg300: float = 0.0
    full_total: int = 0


class Stats(Record):
    """Counters; None where the controller (or the kernel) does not give them."""

    cpu_usage: int = 0  # microseconds
    cpu_user: int = 0
    cpu_system: int = 0
    cpu_periods: int = 0
    cpu_throttled_periods: int = 0
    cpu_throttled: int = 0  # microseconds
    memory_current: int | None = None  # with the page cache
    memory_inactive_file: int = 0
    memory_peak: int | None = None
    memory_limit: int | None = None  # None: no limit (or no controller)
    memory_swap: int | None = None
    memory_detail: dict[str, int] = {}  # memory.stat
    oom_kills: int = 0
    pids: int | None = None
    pids_limit: int | None = None
    io: tuple[DeviceIo, ...] | None = None
    pressure: dict[str, Pressure] = {}  # "cpu", "memory", "io"

    @property
    def memory(self) -> int | None:
        """Return the memory in use as Docker counts it: without page cache that can be dropped at once."""
        if self.memory_current is None:
            return None
        # Docker subtracts only what is less than the whole.
        inactive = self.memory_inactive_file
        return self.memory_current - inactive if inactive < self.memory_current else self.memory_current

    @property
    def read_bytes(self) -> int:
        """Return what was read from all disks."""
        return sum(device.read_bytes for device in self.io or ())

    @property
    def write_bytes(self) -> int:
        """Return what was written to all disks."""
        return sum(device.write_bytes for device in self.io or ())


class Usage(Record):
    """What processes without a cgroup use, summed up by ``weaker.usage``."""

    cpu: int = 0  # microseconds
    memory: int = 0
    pids: int = 0
    read_bytes: int = 0
    write_bytes: int = 0


def cpu_percent(before: int, after: int, elapsed: float) -> float:
    """Return processor use between two moments ``elapsed`` seconds apart, of which microseconds are known.

    100 is one whole processor.
    """
    return max(0, after - before) / (elapsed * 10_000) if elapsed > 0 else 0.0


def network(pid: int, *, proc: str = "/proc") -> tuple[int, int] | None:
    """Return the bytes (received, sent) on all interfaces but the loopback that a process sees; None if it has gone."""
    try:
        with open(f"{proc}/{pid}/net/dev", "rb") as stream:
            lines = stream.read().decode("ascii", "replace").splitlines()[2:]
    except OSError:
        return None
    received = sent = 0
    for line in lines:
        name, _, counters = line.partition(":")
        columns = counters.split()
        if name.strip() != "lo" and len(columns) >= 9:
            received += int(columns[0])
            sent += int(columns[8])
    return received, sent


def read(path: str) -> Stats:
    """Read the counters below ``path``; raises ``OSError`` ENOENT if there is no such cgroup."""
    from rootless.cgroups.group import fields
    from rootless.cgroups.group import read as content

    def text(name: str) -> str:
        try:
            return content(f"{path}/{name}")
        except OSError:
            return ""

    cpu = fields(content(f"{path}/cpu.stat")) if os.path.exists(f"{path}/cpu.stat") else {}
    if not cpu:
        os.stat(path)
    detail = fields(text("memory.stat"))
    return Stats(
        cpu_usage=cpu.get("usage_usec", 0),
        cpu_user=cpu.get("user_usec", 0),
        cpu_system=cpu.get("system_usec", 0),
        cpu_periods=cpu.get("nr_periods", 0),
        cpu_throttled_periods=cpu.get("nr_throttled", 0),
        cpu_throttled=cpu.get("throttled_usec", 0),
        memory_current=_number(text("memory.current")),
        memory_inactive_file=detail.get("inactive_file", 0),
        memory_peak=_number(text("memory.peak")),  # Linux 5.19
        memory_limit=_number(text("memory.max")),
        memory_swap=_number(text("memory.swap.current")),
        memory_detail=detail,
        oom_kills=fields(text("memory.events")).get("oom_kill", 0),
        pids=_number(text("pids.current")),
        pids_limit=_number(text("pids.max")),
        io=parse_io(text("io.stat")) if os.path.exists(f"{path}/io.stat") else None,
        pressure={
            name: parse_pressure(found) for name in ("cpu", "memory", "io") if (found := text(f"{name}.pressure"))
        },
    )


def parse_io(text: str) -> tuple[DeviceIo, ...]:
    """Parse io.stat: "254:0 rbytes=… wbytes=… rios=… wios=… dbytes=… dios=…" a line."""
    names = {
        "rbytes": "read_bytes",
        "wbytes": "write_bytes",
        "rios": "read_operations",
        "wios": "write_operations",
    }
    devices = []
    for line in text.splitlines():
        # Disks may share a line when one has nothing to show: "8:0 7:1 rbytes=…".
        words = line.split()
        numbers = [word for word in words if ":" in word]
        if not numbers:
            continue
        major, _, minor = numbers[-1].partition(":")
        values = dict(word.split("=", 1) for word in words if "=" in word)
        counters: dict[str, Any] = {
            field: int(values[key]) for key, field in names.items() if values.get(key, "").isdecimal()
        }
        if counters:
            devices.append(DeviceIo(major=int(major), minor=int(minor), **counters))
    return tuple(devices)


def parse_pressure(text: str) -> Pressure:
    """Parse a .pressure file: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", and "full"."""
    values: dict[str, Any] = {}
    for line in text.splitlines():
        kind, *pairs = line.split()
        if kind in ("some", "full"):
            for pair in pairs:
                name, _, value = pair.partition("=")
                if name in ("avg10", "avg60", "avg300", "total"):
                    values[f"{kind}_{name}"] = int(value) if name == "total" else float(value)
    return Pressure(**values)


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isdecimal() else None
