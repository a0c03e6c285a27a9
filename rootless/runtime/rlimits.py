"""Resource limits: names, numbers, and what to do about those that an ordinary user may not have.

Nobody without CAP_SYS_RESOURCE in the initial user namespace raises a hard limit. A limit
that asks for more is set as high as it goes, and ``check`` says so beforehand.
"""

from __future__ import annotations

# Not inside the functions: `apply` runs where the interpreter's modules are out of reach.
import resource

from rootless.errors import InvalidArgument, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_UNLIMITED = -1
_LARGEST = (1 << 64) - 1

NUMBERS = {
    "RLIMIT_AS": resource.RLIMIT_AS,
    "RLIMIT_CORE": resource.RLIMIT_CORE,
    "RLIMIT_CPU": resource.RLIMIT_CPU,
    "RLIMIT_DATA": resource.RLIMIT_DATA,
    "RLIMIT_FSIZE": resource.RLIMIT_FSIZE,
    "RLIMIT_LOCKS": 10,  # without a meaning since Linux 2.4.25, and not in the module
    "RLIMIT_MEMLOCK": resource.RLIMIT_MEMLOCK,
    "RLIMIT_MSGQUEUE": resource.RLIMIT_MSGQUEUE,
    "RLIMIT_NICE": resource.RLIMIT_NICE,
    "RLIMIT_NOFILE": resource.RLIMIT_NOFILE,
    "RLIMIT_NPROC": resource.RLIMIT_NPROC,
    "RLIMIT_RSS": resource.RLIMIT_RSS,
    "RLIMIT_RTPRIO": resource.RLIMIT_RTPRIO,
    "RLIMIT_RTTIME": resource.RLIMIT_RTTIME,
    "RLIMIT_SIGPENDING": resource.RLIMIT_SIGPENDING,
    "RLIMIT_STACK": resource.RLIMIT_STACK,
}


def number(name: str) -> int:
    """Return the number of a limit named as in OCI (``RLIMIT_NOFILE``) or by Docker (``nofile``)."""
    upper = name.upper()
    if not upper.startswith("RLIMIT_"):
        upper = f"RLIMIT_{upper}"
    if upper not in NUMBERS:
        raise InvalidArgument(
            f"invalid ulimit type: {name}",
            hint=f"known: {', '.join(known.removeprefix('RLIMIT_').lower() for known in NUMBERS)}",
        )
    return NUMBERS[upper]


def clamp(soft: int, hard: int, ceiling: int) -> tuple[int, int]:
    """Return (soft, hard) no higher than the hard limit ``ceiling``; -1 is unlimited."""
    soft, hard = _signed(soft), _signed(hard)
    if ceiling == _UNLIMITED:
        return soft, hard
    return _lower(soft, ceiling), _lower(hard, ceiling)


def check(limits: Iterable[tuple[str, int, int]]) -> list[str]:
    """Return a warning for each (name, soft, hard) that this user may not have in full.

    Raises ``InvalidArgument`` for unknown names and soft limits above the hard one.
    """
    warnings = []
    for name, soft, hard in limits:
        _validate(name, soft, hard)
        ceiling = resource.getrlimit(number(name))[1]
        if clamp(soft, hard, ceiling) != (_signed(soft), _signed(hard)):
            short = name.lower().removeprefix("rlimit_")
            warnings.append(
                f"ulimit {short}={_show(soft)}:{_show(hard)} is above this user's hard limit, {ceiling} is used instead"
            )
    return warnings


def apply(name: str, soft: int, hard: int) -> None:
    """Set a limit of this process and its children to come, as high as it may be.

    Raises ``InvalidArgument`` or ``SystemFailure``.
    """
    _validate(name, soft, hard)
    which = number(name)
    ceiling = resource.getrlimit(which)[1]
    try:
        try:
            # Real root may go above the ceiling.
            resource.setrlimit(which, (_signed(soft), _signed(hard)))
        except (ValueError, PermissionError):
            # ValueError is what the module makes of EPERM.
            resource.setrlimit(which, clamp(soft, hard, ceiling))
    except ValueError as error:
        raise InvalidArgument(f"cannot set ulimit {name} to {_show(soft)}:{_show(hard)}: {error}") from error
    except OSError as error:
        raise from_oserror(error, f"cannot set ulimit {name} to {_show(soft)}:{_show(hard)}") from error


def _validate(name: str, soft: int, hard: int) -> None:
    number(name)
    for value in (soft, hard):
        if not _UNLIMITED <= value <= _LARGEST:
            raise InvalidArgument(f"ulimit {name}: {value} is out of range")
    if clamp(soft, hard, _signed(hard))[0] != _signed(soft):
        raise InvalidArgument(f"ulimit {name}: soft limit {_show(soft)} is above hard limit {_show(hard)}")


def _signed(value: int) -> int:
    # OCI writes RLIM_INFINITY as an unsigned number.
    return _UNLIMITED if value == _LARGEST else value


def _lower(value: int, ceiling: int) -> int:
    return ceiling if value == _UNLIMITED else min(value, ceiling)


def _show(value: int) -> str:
    return "unlimited" if _signed(value) == _UNLIMITED else str(value)
