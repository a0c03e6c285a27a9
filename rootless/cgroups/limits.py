"""Which limits can be kept here: enforced by a controller, weaker in a named way, or refused with the remedy."""

from __future__ import annotations

import os

from rootless.cgroups import resources as wanted
from rootless.errors import InvalidArgument, Unsupported
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cgroups.detect import Host
    from rootless.cgroups.placement import Placement
    from rootless.cgroups.resources import Resources

STRICT, BEST_EFFORT = "strict", "best-effort"
MODES = (STRICT, BEST_EFFORT)
DROP_IN = "/etc/systemd/system/user@.service.d/delegate.conf"
DELEGATE = "Delegate=cpu cpuset io memory pids"
_WEAKER_FORM = "or accept a weaker form: --limits best-effort"


class Limit(Record):
    """What became of one limit; inspect reports it."""

    flag: str  # "--memory"
    status: str  # "enforced", "weaker", "refused"
    detail: str = ""

    @property
    def text(self) -> str:
        """Return "enforced", or "weaker: …" and "refused: …" with the detail."""
        return f"{self.status}: {self.detail}" if self.detail else self.status


class Weaker(Record):
    """What stands in for missing controllers; ``weaker`` carries it out."""

    rlimits: tuple[tuple[str, int], ...] = ()  # (RLIMIT_…, value): soft and hard, of each process
    processors: tuple[int, ...] = ()  # sched_setaffinity(2)
    nice: int = 0
    memory: int = 0  # the watchdog ends the container above this sum of all processes
    memory_swap: int = 0  # likewise, swap included
    threads: int = 0  # likewise

    def __bool__(self) -> bool:
        return self != Weaker()

    @property
    def watched(self) -> bool:
        """Say whether the watchdog has something to watch."""
        return bool(self.memory or self.memory_swap or self.threads)

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        return self.as_dict()

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Weaker:
        """Return the record in JSON values."""
        return cls(
            **{
                **values,
                "rlimits": tuple((name, value) for name, value in values.get("rlimits", ())),
                "processors": tuple(values.get("processors", ())),
            }
        )


class Plan(Record):
    """How a container's limits are kept."""

    enforced: Resources  # what goes into the cgroup
    weaker: Weaker = Weaker()
    limits: tuple[Limit, ...] = ()
    warnings: tuple[str, ...] = ()


def plan(
    resources: Resources,
    host: Host,
    placement: Placement,
    *,
    best_effort: bool = False,
    seed: str = "",
    processors: tuple[int, ...] | None = None,
) -> Plan:
    """Decide on each limit; with none it costs nothing.

    ``seed`` (the container's ID) spreads containers that are bound to processors. Raises one ``Unsupported`` that
    names all flags and controllers at fault, with the remedy.
    """
    fields = wanted.asked(resources)
    if not fields:
        return Plan(enforced=resources)
    lacking = [field for field, controller in fields.items() if controller not in placement.controllers]
    if lacking and not best_effort:
        raise refusal([(wanted.FIELDS[field][0], fields[field]) for field in lacking], host, placement)
    rest: dict[str, Any] = {field: type(getattr(resources, field))() for field in lacking}
    if "memory" in lacking:
        rest["memory_swap"] = 0  # also where -1 asks for nothing
    enforced = resources.replace(**rest)
    weaker, details = _weaken(resources, lacking, seed, processors)
    refused = [field for field in lacking if field not in details]
    if refused:
        raise refusal([(wanted.FIELDS[field][0], fields[field]) for field in refused], host, placement, weaker=False)
    return Plan(
        enforced=enforced,
        weaker=weaker,
        limits=tuple(
            Limit(
                flag=wanted.FIELDS[field][0],
                status="weaker" if field in details else "enforced",
                detail=details.get(field, ""),
            )
            for field in fields
        ),
        warnings=_warnings(enforced),
    )


def _warnings(enforced: Resources) -> tuple[str, ...]:
    """Say which limits the kernel takes without keeping them in full; looks at the disks named."""
    if not any(getattr(enforced, field) for field in ("blkio_weight", *wanted.RATES)):
        return ()
    from rootless.cgroups import devices

    found = []
    for field in wanted.RATES:
        for rate in getattr(enforced, field):
            devices.disk_of(rate.path)  # raises what is wrong with it
            if field.startswith("write") and (warning := devices.writeback_warning(rate.path)):
                found.append(f"{wanted.FIELDS[field][0]}: {warning}")
    if enforced.blkio_weight and not devices.has_bfq():
        found.append("--blkio-weight has an effect only on disks with the bfq scheduler, and none here uses it")
    return tuple(dict.fromkeys(found))


# -- weaker forms ------------------------------------------------------------------------


def _weaken(
    resources: Resources, lacking: list[str], seed: str, processors: tuple[int, ...] | None
) -> tuple[Weaker, dict[str, str]]:
    """Return the stand-ins and a description for each field that has one."""
    if not lacking:
        return Weaker(), {}
    available = processors or tuple(sorted(os.sched_getaffinity(0)))
    values: dict[str, Any] = {}
    details: dict[str, str] = {}
    if "memory" in lacking:
        # Not RLIMIT_AS: the runtimes of Go, Java and node reserve gigabytes of addresses that they never use,
        # and would not start. RLIMIT_DATA counts what is private and writable (Linux 4.7).
        values["rlimits"] = (("RLIMIT_DATA", resources.memory),)
        values["memory"] = resources.memory
        if resources.memory_swap > 0:
            values["memory_swap"] = resources.memory_swap
        details["memory"] = (
            "each process is limited (RLIMIT_DATA), and a watchdog ends the container when all together use more"
        )
    if "memory_swap" in lacking:
        details["memory_swap"] = "a watchdog ends the container when all processes together use more, swap included"
    if "pids_limit" in lacking:
        values["threads"] = resources.pids_limit
        details["pids_limit"] = "a watchdog ends the container when there are more"
        if _counts_by_namespace():
            values["rlimits"] = (*values.get("rlimits", ()), ("RLIMIT_NPROC", resources.pids_limit))
            details["pids_limit"] = (
                "each user in the container is limited (RLIMIT_NPROC), "
                "and a watchdog ends it when there are more in all"
            )
    if "cpuset_cpus" in lacking:
        values["processors"] = tuple(sorted(wanted.parse_set(resources.cpuset_cpus)))
        details["cpuset_cpus"] = "bound with sched_setaffinity, which the container's processes may undo"
    quota = [field for field in ("nano_cpus", "cpu_quota", "cpu_period") if field in lacking]
    if quota:
        pool = values.get("processors", available)
        count = _processors(resources)
        chosen = pool if not count or count >= len(pool) else _spread(pool, count, seed)
        if count:
            values["processors"] = chosen
        text = f"bound to {len(chosen)} of {len(available)} processors with sched_setaffinity, not to a share of time"
        details.update(dict.fromkeys(quota, text))
    if "cpu_shares" in lacking:
        values["nice"] = nice_of_shares(resources.cpu_shares)
        details["cpu_shares"] = (
            f"nice {values['nice']}" if values["nice"] else "nice 0, since an ordinary user cannot raise a priority"
        )
        if resources.cpu_shares == 1024:
            details["cpu_shares"] = "nice 0"
    return Weaker(**values), details


def _counts_by_namespace() -> bool:
    """Say whether RLIMIT_NPROC counts a user's processes for each user namespace: since Linux 5.14."""
    major, minor, *_ = os.uname().release.split(".")
    return (int(major), int(minor.partition("-")[0])) >= (5, 14)


def _processors(resources: Resources) -> int:
    """Return the least number of processors that gives what was asked for."""
    if resources.nano_cpus:
        return -(-resources.nano_cpus // 1_000_000_000)
    if resources.cpu_quota > 0:
        return -(-resources.cpu_quota // (resources.cpu_period or wanted.PERIOD))
    return 0


def _spread(pool: tuple[int, ...], count: int, seed: str) -> tuple[int, ...]:
    """Choose by container, so that not all of them share the first processors."""
    start = sum(seed.encode()) % len(pool)
    return tuple(sorted(pool[(start + step) % len(pool)] for step in range(count)))


def nice_of_shares(shares: int) -> int:
    """Return the nice value that weighs most like CPU shares: each step is a factor of 1.25."""
    import math

    return max(0, min(19, round(math.log(1024 / max(2, shares), 1.25))))


# -- refusals ----------------------------------------------------------------------------


def refusal(lacking: list[tuple[str, str]], host: Host, placement: Placement, *, weaker: bool = True) -> Unsupported:
    """Return the error for (flag, controller) pairs that cannot be: what is missing, who grants it, and where."""
    flags = ", ".join(dict.fromkeys(flag for flag, _ in lacking))
    missing = sorted({controller for _, controller in lacking})
    reason, remedy = explain(missing, host, placement)
    message = f"cannot limit {flags}: {reason}"
    if not weaker:
        return Unsupported(f"{message}, and there is no weaker form", hint=remedy)
    return Unsupported(message, hint=f"{remedy}; {_WEAKER_FORM}" if remedy else _WEAKER_FORM)


def explain(missing: list[str], host: Host, placement: Placement) -> tuple[str, str]:
    """Return why controllers are missing, and what to do about it."""
    listed = " and ".join([", ".join(missing[:-1]), missing[-1]] if len(missing) > 1 else missing)
    names = f"{listed} controller{'s' if len(missing) > 1 else ''}"
    are = "are" if len(missing) > 1 else "is"
    if host.version != 2:
        return (
            f"this machine uses cgroup version {host.version or 'none'}, limits without root need version 2",
            "as root: boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line "
            "(in /etc/default/grub, then update-grub)",
        )
    absent = [name for name in missing if name not in host.offered]
    if absent:
        extra = " and with cgroup_enable=memory" if "memory" in absent else ""
        return (
            f"the kernel does not offer the {names}",
            f"as root: start a kernel that has {', '.join(absent)}, without cgroup_disable={absent[0]}{extra}",
        )
    if placement.manager == "none" and placement.chosen:
        return "the cgroup manager is none", "leave out --cgroup-manager none (config: cgroup-manager)"
    drop_in = (
        f'root creates {DROP_IN} with the two lines "[Service]" and "{DELEGATE}", '
        "runs systemctl daemon-reload, and you log in again"
    )
    if placement.manager == "systemd":
        return f"the {names} {are} not delegated to this user", drop_in
    if placement.manager == "cgroupfs":
        where = placement.parent or "/"
        if host.service and where.startswith(host.service):
            return f"the {names} {are} not delegated to this user", drop_in
        return (
            f"cgroup {where} does not have the {names}",
            f"whoever made {where} must pass {'them' if len(missing) > 1 else 'it'} on: write "
            f"{' '.join(f'+{name}' for name in missing)} into cgroup.subtree_control of each cgroup above it",
        )
    if host.service:  # the user manager runs, and no socket of its answers us
        return (
            "the systemd user manager cannot be reached",
            "install dbus-user-session, or set XDG_RUNTIME_DIR to /run/user/UID, and log in again",
        )
    if host.session:  # it runs, in a cgroup that is not delegated to it
        return f"the {names} {are} not delegated to this user", drop_in
    if os.path.isdir("/run/systemd/system"):
        return (
            "no cgroup is delegated to this user, because no systemd session of theirs runs",
            f"log in by ssh or on a console instead of su, or root runs: loginctl enable-linger {_user()}; "
            f"for controllers beyond memory and pids {drop_in}",
        )
    home = f"{host.mount}/{_user()}"
    return (
        "no cgroup is delegated to this user",
        f"root makes one: mkdir -p {home}/shell, passes controllers on to it by cgroup.subtree_control, "
        f"chown -R {_user()} {home}, and moves your shell into {home}/shell",
    )


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def check_mode(text: str) -> str:
    """Return a value of ``--limits``; raises ``InvalidArgument``."""
    if text not in MODES:
        raise InvalidArgument(f"invalid value for limits: {text}", hint=f"one of {', '.join(MODES)}")
    return text
