"""Capabilities: names, numbers, and what ``--cap-add`` and ``--cap-drop`` make of Docker's default.

The numbers are those of linux/capability.h; names carry ``CAP_`` as in OCI documents.
"""

from __future__ import annotations

from rootless.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
NUMBERS = {name: number for number, name in enumerate(NAMES)}

# What Docker leaves to root in a container.
DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
)


def last() -> int:
    """Return the number of the highest capability that this kernel knows, and we too."""
    try:
        with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as stream:
            return min(int(stream.read()), len(NAMES) - 1)
    except (OSError, ValueError):
        return len(NAMES) - 1


def normalize(name: str) -> str:
    """Return ``CAP_…`` (or ``ALL``) for a name in any case, with or without the prefix.

    Raises ``InvalidArgument`` for a name that is no capability.
    """
    upper = name.upper()
    if upper == "ALL":
        return upper
    if not upper.startswith("CAP_"):
        upper = f"CAP_{upper}"
    if upper not in NUMBERS:
        import difflib

        close = difflib.get_close_matches(upper, NUMBERS, 1)
        hint = f"did you mean {close[0]}?" if close else "capabilities(7) lists them"
        raise InvalidArgument(f'unknown capability: "{upper}"', hint=hint)
    return upper


def resolve(add: Iterable[str], drop: Iterable[str], privileged: bool = False) -> list[str]:
    """Return the capabilities of a container in the order of their numbers, by Docker's rules.

    ``--privileged`` is all that the kernel knows, whatever else is said; adding ALL is
    all but those dropped; dropping ALL leaves those added; else the default changes.
    """
    added = {normalize(name) for name in add}
    dropped = {normalize(name) for name in drop}
    if privileged:
        return list(NAMES[: last() + 1])
    if "ALL" in added:
        chosen = set(NAMES[: last() + 1]) - dropped
    elif "ALL" in dropped:
        chosen = added
    else:
        chosen = (set(DEFAULT) - dropped) | added
    return [name for name in NAMES if name in chosen]


def mask(names: Iterable[str]) -> int:
    """Return the bit mask of capabilities given by name; raises ``InvalidArgument``."""
    bits = 0
    for name in names:
        if name not in NUMBERS:
            raise InvalidArgument(f'unknown capability: "{name}"')
        bits |= 1 << NUMBERS[name]
    return bits


def names(bits: int) -> list[str]:
    """Return the names in a bit mask, such as the fields of /proc/PID/status; unknown bits are left out."""
    return [name for number, name in enumerate(NAMES) if bits >> number & 1]
