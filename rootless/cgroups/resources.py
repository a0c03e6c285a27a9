"""Limits of a container: what can be asked for, whether it makes sense, and what it is in cgroup files.

Sizes and messages are Docker's; zero and "" mean that nothing was asked for.
"""

from __future__ import annotations

import os

from rootless.errors import InvalidArgument, Unsupported
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MINIMUM_MEMORY = 6 * 1024 * 1024
PERIOD = 100_000  # microseconds: what --cpus and a quota alone are measured over
_SHARES, _MOST_SHARES = 2, 262_144
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


class DeviceRate(Record):
    """A rate for the disk ``path`` (a device) or the disk that holds it (anything else)."""

    path: str
    rate: int  # bytes or operations a second


class Resources(Record):
    """What a container may use."""

    memory: int = 0  # bytes
    memory_reservation: int = 0
    memory_swap: int = 0  # memory and swap together; -1 is no limit, 0 twice the memory
    nano_cpus: int = 0  # billionths of a processor: --cpus
    cpu_period: int = 0  # microseconds
    cpu_quota: int = 0  # microseconds; -1 is no limit
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0  # -1 is no limit
    blkio_weight: int = 0
    read_bps: tuple[DeviceRate, ...] = ()
    write_bps: tuple[DeviceRate, ...] = ()
    read_iops: tuple[DeviceRate, ...] = ()
    write_iops: tuple[DeviceRate, ...] = ()
    oom_kill_disable: bool = False

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Resources:
        """Return the record in JSON values; unknown names are left out."""
        known = {name: value for name, value in values.items() if name in cls._fields}
        for name in RATES:
            if name in known:
                known[name] = tuple(DeviceRate(path=rate["path"], rate=rate["rate"]) for rate in known[name])
        return cls(**known)

    def plain(self) -> dict[str, Any]:
        """Return JSON values of what was asked for."""
        values = {name: value for name, value in self.as_dict().items() if value != getattr(Resources, name)}
        for name in RATES:
            if name in values:
                values[name] = [rate.as_dict() for rate in values[name]]
        return values


class Write(Record):
    """One file of a cgroup and what to write there, for the sake of ``flag``."""

    file: str
    value: str
    flag: str
    optional: bool = False  # its absence changes nothing that was promised


# Field: flag, controller.
FIELDS: dict[str, tuple[str, str]] = {
    "memory": ("--memory", "memory"),
    "memory_swap": ("--memory-swap", "memory"),
    "memory_reservation": ("--memory-reservation", "memory"),
    "nano_cpus": ("--cpus", "cpu"),
    "cpu_quota": ("--cpu-quota", "cpu"),
    "cpu_period": ("--cpu-period", "cpu"),
    "cpu_shares": ("--cpu-shares", "cpu"),
    "cpuset_cpus": ("--cpuset-cpus", "cpuset"),
    "cpuset_mems": ("--cpuset-mems", "cpuset"),
    "pids_limit": ("--pids-limit", "pids"),
    "blkio_weight": ("--blkio-weight", "io"),
    "read_bps": ("--device-read-bps", "io"),
    "write_bps": ("--device-write-bps", "io"),
    "read_iops": ("--device-read-iops", "io"),
    "write_iops": ("--device-write-iops", "io"),
}
# Field: key in io.max.
RATES = {"read_bps": "rbps", "write_bps": "wbps", "read_iops": "riops", "write_iops": "wiops"}


def asked(resources: Resources) -> dict[str, str]:
    """Return the fields that limit something, with their controllers, in the order of ``FIELDS``."""
    result = {}
    for field, (_, controller) in FIELDS.items():
        value = getattr(resources, field)
        if value and value != -1:
            result[field] = controller
    return result


# -- from text ---------------------------------------------------------------------------


def parse_cpus(text: str) -> int:
    """Return billionths of a processor for ``1.5``; raises ``InvalidArgument``."""
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isascii() or not (whole + fraction).isdecimal():
        raise InvalidArgument(f"failed to parse {text} as a number of CPUs", hint="as in --cpus 1.5")
    if fraction.rstrip("0")[9:]:
        raise InvalidArgument(f"number of CPUs {text}: value is too precise")
    return int(whole or "0") * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))


def parse_device_rate(text: str, *, size: bool) -> DeviceRate:
    """Parse ``PATH:RATE``; a rate of ``size`` may have a unit. Raises ``InvalidArgument``."""
    path, colon, rate = text.rpartition(":")
    if not colon or not path:
        raise InvalidArgument(f"bad format: {text}", hint="as in /dev/sda:1mb")
    if not path.startswith("/"):
        raise InvalidArgument(f"bad format for device path: {text}", hint="name a device or a path on the disk")
    digits = rate.rstrip("bkmgtpBKMGTP") if size else rate
    unit = rate[len(digits) :].lower()
    unit = unit[:1] if len(unit) == 2 and unit[1] == "b" else unit
    if not digits.isascii() or not digits.isdecimal() or unit not in _UNITS:
        expected = "<device-path>:<number>[<unit>]" if size else "<device-path>:<number>"
        detail = "unit is optional and can be kb, mb, or gb" if size else "number must be a positive integer"
        raise InvalidArgument(f"invalid rate for device: {text}, the correct format is {expected}", hint=detail)
    return DeviceRate(path=path, rate=int(digits) * _UNITS[unit])


def parse_set(text: str) -> set[int]:
    """Return the numbers in a list like ``0-2,4``; raises ``ValueError``."""
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        low = int(first)
        high = int(last) if dash else low
        if low < 0 or high < low or high > 8191:
            raise ValueError(part)
        numbers.update(range(low, high + 1))
    return numbers


# -- does it make sense? -----------------------------------------------------------------


def validate(
    resources: Resources, *, update: bool = False, processors: int = 0, sysfs: str = "/sys/devices/system"
) -> None:
    """Refuse what cannot be, in Docker's words; raises ``InvalidArgument`` or ``Unsupported``.

    ``processors`` overrides the number of processors that this process may use.
    """
    memory, swap, reservation = resources.memory, resources.memory_swap, resources.memory_reservation
    if resources.oom_kill_disable:
        raise Unsupported(
            "--oom-kill-disable does not exist in cgroup version 2: the kernel always kills at the limit",
            hint="leave it out; --memory-reservation protects memory without killing",
        )
    if memory and memory < MINIMUM_MEMORY:
        raise InvalidArgument("minimum memory limit allowed is 6MB")
    if swap < -1:
        raise InvalidArgument(f"invalid memory swap limit: {swap}", hint="-1 is unlimited swap")
    if memory and 0 < swap < memory:
        raise InvalidArgument("minimum memoryswap limit should be larger than memory limit, see usage")
    if swap > 0 and not memory and not update:
        raise InvalidArgument("you should always set the memory limit when using memoryswap limit, see usage")
    if reservation and reservation < MINIMUM_MEMORY:
        raise InvalidArgument("minimum memory reservation allowed is 6MB")
    if memory and reservation > memory:
        raise InvalidArgument("minimum memory limit can not be less than memory reservation limit, see usage")
    _validate_cpu(resources, processors, sysfs)
    if resources.pids_limit < -1:
        raise InvalidArgument(f"invalid pids limit: {resources.pids_limit}", hint="-1 is unlimited")
    if resources.blkio_weight and not 10 <= resources.blkio_weight <= 1000:
        raise InvalidArgument("range of blkio weight is from 10 to 1000")


def _validate_cpu(resources: Resources, processors: int, sysfs: str) -> None:
    if resources.nano_cpus:
        if resources.cpu_period:
            raise InvalidArgument("conflicting options: nano CPUs and CPU period cannot both be set")
        if resources.cpu_quota:
            raise InvalidArgument("conflicting options: nano CPUs and CPU quota cannot both be set")
        count = processors or len(os.sched_getaffinity(0))
        # Less than a hundredth is below the kernel's shortest quota of 1 ms in 100.
        if not 10_000_000 <= resources.nano_cpus <= count * 1_000_000_000:
            raise InvalidArgument(f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    if resources.cpu_shares < 0:
        raise InvalidArgument(f"invalid CPU shares ({resources.cpu_shares}): value must be a positive integer")
    if resources.cpu_period and not 1000 <= resources.cpu_period <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if resources.cpu_quota != -1 and resources.cpu_quota and resources.cpu_quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    for text, kind, unavailable, path in (
        (resources.cpuset_cpus, "cpus", "CPUs", f"{sysfs}/cpu/online"),
        (resources.cpuset_mems, "mems", "memory nodes", f"{sysfs}/node/online"),
    ):
        if not text:
            continue
        try:
            wanted = parse_set(text)
        except ValueError:
            raise InvalidArgument(f"invalid value {text} for cpuset {kind}", hint="as in 0-2,4") from None
        available = _content(path) or "0"
        if not wanted <= parse_set(available):
            raise InvalidArgument(
                f"requested {unavailable} are not available - requested {text}, available: {available}"
            )


def merge(old: Resources, changes: Mapping[str, Any]) -> Resources:
    """Return ``old`` with the ``changes`` of an update, in Docker's rules; raises ``InvalidArgument``.

    ``changes`` holds only what was given.
    """
    if old.nano_cpus and (changes.get("cpu_quota") or changes.get("cpu_period")):
        which = "quota" if changes.get("cpu_quota") else "period"
        raise InvalidArgument(f"conflicting options: CPU {which} cannot be updated as NanoCPUs has already been set")
    if (old.cpu_quota or old.cpu_period) and changes.get("nano_cpus"):
        which = "quota" if old.cpu_quota else "period"
        raise InvalidArgument(f"conflicting options: nano CPUs cannot be updated as CPU {which} has already been set")
    new = old.replace(**changes)
    if changes.get("memory") and "memory_swap" not in changes and 0 < old.memory_swap < new.memory:
        raise InvalidArgument(
            "memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    validate(new, update=True)
    return new


# -- into files --------------------------------------------------------------------------


def weight_of_shares(shares: int) -> int:
    """Return the cpu.weight (1…10000) of CPU shares (2…262144), so that 1024 is 100.

    The conversion that OCI runtimes use since 2025; the linear one before made 39 of 1024.
    """
    if shares <= _SHARES:
        return 1
    if shares >= _MOST_SHARES:
        return 10_000
    import math

    exponent = math.log2(shares)
    return math.ceil(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34))


def writes(
    resources: Resources,
    *,
    has: Callable[[str], bool] = lambda _name: True,
    disk: Callable[[str], str] | None = None,
    reset: Resources | None = None,
) -> list[Write]:
    """Return what to write into a container's cgroup, in order.

    ``has`` says which files that cgroup has, ``disk`` turns a path into "MAJOR:MINOR" (default:
    ``devices.disk_of``). With ``reset`` (the resources so far) limits that no longer stand are lifted.
    """
    result = _memory(resources, has, reset) + _cpu(resources, reset)
    for name, field in (("cpuset.cpus", "cpuset_cpus"), ("cpuset.mems", "cpuset_mems")):
        value = getattr(resources, field)
        if value or (reset and getattr(reset, field)):
            result.append(Write(file=name, value=value or "\n", flag=FIELDS[field][0]))
    if resources.pids_limit > 0:
        result.append(Write(file="pids.max", value=str(resources.pids_limit), flag="--pids-limit"))
    elif resources.pids_limit == -1 and (not reset or reset.pids_limit != -1):
        result.append(Write(file="pids.max", value="max", flag="--pids-limit", optional=True))
    if resources.blkio_weight:
        result += _weights(resources.blkio_weight, has)
    return result + _rates(resources, disk, reset)


def _memory(resources: Resources, has: Callable[[str], bool], reset: Resources | None) -> list[Write]:
    result = []
    if resources.memory:
        result.append(Write(file="memory.max", value=str(resources.memory), flag="--memory"))
        swap = swap_limit(resources)
        if resources.memory_swap > 0 or has("memory.swap.max"):
            # Without swap in the kernel a limit of memory alone is all there is to keep.
            optional = resources.memory_swap <= resources.memory
            result.append(Write(file="memory.swap.max", value=swap, flag="--memory-swap", optional=optional))
    elif reset and reset.memory:
        result.append(Write(file="memory.max", value="max", flag="--memory"))
        result.append(Write(file="memory.swap.max", value="max", flag="--memory-swap", optional=True))
    if resources.memory_reservation or (reset and reset.memory_reservation):
        result.append(Write(file="memory.low", value=str(resources.memory_reservation), flag="--memory-reservation"))
    return result


def swap_limit(resources: Resources) -> str:
    """Return memory.swap.max: Docker's limit is of both together, the kernel's of swap alone."""
    if resources.memory_swap == -1:
        return "max"
    if resources.memory_swap == 0:
        return str(resources.memory)  # twice the memory in all
    return str(resources.memory_swap - resources.memory)


def _cpu(resources: Resources, reset: Resources | None) -> list[Write]:
    result = []
    if resources.cpu_shares:
        weight = str(weight_of_shares(resources.cpu_shares))
        result.append(Write(file="cpu.weight", value=weight, flag="--cpu-shares"))
    elif reset and reset.cpu_shares:
        result.append(Write(file="cpu.weight", value="100", flag="--cpu-shares"))
    flag = "--cpus" if resources.nano_cpus else "--cpu-quota" if resources.cpu_quota else "--cpu-period"
    maximum = cpu_max(resources)
    if maximum:
        result.append(Write(file="cpu.max", value=maximum, flag=flag))
    elif reset and cpu_max(reset):
        result.append(Write(file="cpu.max", value=f"max {PERIOD}", flag=flag))
    return result


def cpu_max(resources: Resources) -> str:
    """Return cpu.max, "QUOTA PERIOD" in microseconds; "" if nothing was asked for."""
    if resources.nano_cpus:
        return f"{max(1000, resources.nano_cpus * PERIOD // 1_000_000_000)} {PERIOD}"
    if resources.cpu_quota > 0:
        return f"{resources.cpu_quota} {resources.cpu_period or PERIOD}"
    if resources.cpu_period:
        return f"max {resources.cpu_period}"
    return ""


def _weights(weight: int, has: Callable[[str], bool]) -> list[Write]:
    """Weigh for each I/O scheduler that the kernel has: bfq in blkio's own unit, iocost from 1 to 10000."""
    found = []
    if has("io.bfq.weight"):
        found.append(Write(file="io.bfq.weight", value=str(weight), flag="--blkio-weight"))
    if has("io.weight") or not found:
        linear = 1 + (weight - 10) * 9999 // 990
        found.append(Write(file="io.weight", value=f"default {linear}", flag="--blkio-weight"))
    return found


def _rates(resources: Resources, disk: Callable[[str], str] | None, reset: Resources | None) -> list[Write]:
    if not any(getattr(each, field) for each in (resources, reset or resources) for field in RATES):
        return []
    find = disk
    if find is None:
        from rootless.cgroups import devices

        find = devices.disk_of
    new = _by_disk(resources, find)
    old = _by_disk(reset, find) if reset else {}
    result = []
    for number in {**new, **old}:
        lifted = {key: ("max", flag) for key, (_, flag) in old.get(number, {}).items()}
        for key, (value, flag) in {**lifted, **new.get(number, {})}.items():
            # A line for each, so that a refusal names its flag.
            result.append(Write(file="io.max", value=f"{number} {key}={value}", flag=flag))
    return result


def _by_disk(resources: Resources, find: Callable[[str], str]) -> dict[str, dict[str, tuple[str, str]]]:
    """Return for each disk its keys of io.max with (value, flag)."""
    table: dict[str, dict[str, tuple[str, str]]] = {}
    for field, key in RATES.items():
        for rate in getattr(resources, field):
            # A rate of 0 is none, as in Docker.
            value = str(rate.rate) if rate.rate else "max"
            table.setdefault(find(rate.path), {})[key] = (value, FIELDS[field][0])
    return table


def _content(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""
