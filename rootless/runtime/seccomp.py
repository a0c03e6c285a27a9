"""From a seccomp profile to the program that the kernel runs.

A profile is JSON in Docker's format (``archMap``, rules with ``includes`` and ``excludes``)
or the ``linux.seccomp`` object of an OCI bundle. libseccomp compiles it, and what comes
out is cached, for compiling takes 15 ms and a run has 25. A prelude of our own goes
before libseccomp's program::

    load arch ── ours? ──> load number ── newer than libseccomp? ──> the rule's action
                    │                  ── newer than the profile? ──> ENOSYS
                    └───────────────────────────────────────────────> libseccomp's program

ENOSYS and not the profile's EPERM for system calls that nobody knew when the profile was
written, since libc then falls back to older ones (runc does the same).
"""

from __future__ import annotations

import os
import struct
import sys

from rootless import jsonlite
from rootless.errors import InvalidArgument, MissingHelper, NoSuchFile, Unsupported
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType
    from typing import Any

_FORMAT = 1  # raise it when the compiler below changes what it emits
_DEFAULT_PROFILE = "seccomp_default.json"
_EPERM = 1
_ENOSYS = 38  # 89 on MIPS and 90 elsewhere do not matter: errno values in profiles are Linux's generic ones

_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_PERMISSIVE = (0x7FF00000, 0x7FFC0000, 0x7FFF0000)  # TRACE, LOG, ALLOW
_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_FLAGS = (
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
)

# AUDIT_ARCH_* of linux/audit.h, which libseccomp uses as its tokens, but for x32.
_ARCHITECTURES = {
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_LOONGARCH64": 0xC0000102,
    "SCMP_ARCH_MIPS": 0x00000008,
    "SCMP_ARCH_MIPS64": 0x80000008,
    "SCMP_ARCH_MIPS64N32": 0xA0000008,
    "SCMP_ARCH_MIPSEL": 0x40000008,
    "SCMP_ARCH_MIPSEL64": 0xC0000008,
    "SCMP_ARCH_MIPSEL64N32": 0xE0000008,
    "SCMP_ARCH_PPC": 0x00000014,
    "SCMP_ARCH_PPC64": 0x80000015,
    "SCMP_ARCH_PPC64LE": 0xC0000015,
    "SCMP_ARCH_RISCV64": 0xC00000F3,
    "SCMP_ARCH_S390": 0x00000016,
    "SCMP_ARCH_S390X": 0x80000016,
}
_X86_64 = _ARCHITECTURES["SCMP_ARCH_X86_64"]
_X32 = _ARCHITECTURES["SCMP_ARCH_X32"]
_X32_BIT = 0x40000000
_S390 = (_ARCHITECTURES["SCMP_ARCH_S390"], _ARCHITECTURES["SCMP_ARCH_S390X"])
# The names that a profile's "arches" uses.
_SHORT_NAMES = {
    0x40000003: "x86",
    0xC000003E: "amd64",
    0x4000003E: "x32",
    0x40000028: "arm",
    0xC00000B7: "arm64",
    0xC0000102: "loongarch64",
    0x80000008: "mips64",
    0xA0000008: "mips64n32",
    0x40000008: "mipsel",
    0xC0000008: "mipsel64",
    0xE0000008: "mipsel64n32",
    0x00000014: "ppc",
    0x80000015: "ppc64",
    0xC0000015: "ppc64le",
    0xC00000F3: "riscv64",
    0x00000016: "s390",
    0x80000016: "s390x",
}

# System calls that the libseccomp of a supported distribution may not know by name yet.
# These numbers are the same on all architectures but for the offsets.
_NUMBERS = {
    "process_madvise": 440,
    "epoll_pwait2": 441,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
    "memfd_secret": 447,
    "process_mrelease": 448,
    "futex_waitv": 449,
    "set_mempolicy_home_node": 450,
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_getattr": 468,
    "file_setattr": 469,
}
_OFFSETS = {
    _X32: _X32_BIT,
    0x00000008: 4000,
    0x40000008: 4000,
    0x80000008: 5000,
    0xC0000008: 5000,
    0xA0000008: 6000,
    0xE0000008: 6000,
}
_OWN_NUMBERS = {"uretprobe": {_X86_64: 335}, "riscv_hwprobe": {_ARCHITECTURES["SCMP_ARCH_RISCV64"]: 258}}


class _Condition(Record):
    """A comparison with one argument of the system call."""

    index: int
    operator: int
    value: int
    second: int


class _Rule(Record):
    """What to do about some system calls; ``action`` is the kernel's value."""

    names: tuple[str, ...]
    action: int
    conditions: tuple[_Condition, ...]


def read_profile(path: str) -> dict[str, Any]:
    """Read the profile that a user named; raises ``NoSuchFile`` or ``InvalidArgument``."""
    try:
        content = jsonlite.load_file(path)
    except FileNotFoundError as error:
        raise NoSuchFile(f"no such seccomp profile: {path}") from error
    except OSError as error:
        raise InvalidArgument(f"cannot read seccomp profile {path}: {(error.strerror or '').lower()}") from error
    except ValueError as error:
        raise InvalidArgument(f"seccomp profile {path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise InvalidArgument(f"seccomp profile {path} must be a JSON object")
    return content


def default_profile() -> dict[str, Any]:
    """Return the profile that containers get unless they ask for another."""
    profile: dict[str, Any] = jsonlite.loads(_default_source())
    return profile


def program(profile: dict[str, Any] | None, caps: Iterable[str], cache_dir: str = "") -> bytes:
    """Return the filter (an array of ``struct sock_filter``) for a container with ``caps``.

    ``profile`` is parsed JSON, ``None`` the default; ``caps`` is the bounding set as
    ``CAP_…`` names. Empty bytes mean no filter (a profile without default action and
    rules). ``cache_dir`` must exist and belong to the user; "" caches nothing. Raises
    ``InvalidArgument`` naming the place in the profile, ``Unsupported``, or
    ``MissingHelper`` without libseccomp.
    """
    held = frozenset(caps)
    if not cache_dir:
        return _compile(default_profile() if profile is None else profile, held)
    if profile is None:
        source = _default_source()
    else:
        source = jsonlite.dumps(profile, sort_keys=True).encode()
    machine = os.uname()
    release = ".".join(map(str, _kernel(machine.release)))
    facts = f"{_FORMAT} {machine.machine} {sys.maxsize} {release} {' '.join(sorted(held))}\n"
    key = _fingerprint(facts.encode() + source)
    path = f"{cache_dir}/seccomp-{key[:32]}"
    cached = _read_cache(path)
    if cached is not None:
        return cached
    compiled = _compile(default_profile() if profile is None else profile, held)
    _write_cache(path, compiled)
    return compiled


def _default_source() -> bytes:
    path = f"{os.path.dirname(__file__)}/{_DEFAULT_PROFILE}"
    with open(path, "rb") as stream:
        return stream.read()


def _fingerprint(data: bytes) -> str:
    # hashlib and oci.digests load OpenSSL, for 3 ms; these few kilobytes don't need its speed.
    try:
        from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        try:
            from _sha2 import sha256  # type: ignore[import-not-found,no-redef,unused-ignore]  # Python 3.12
        except ImportError:
            from hashlib import sha256
    digest: str = sha256(data).hexdigest()
    return digest


def _read_cache(path: str) -> bytes | None:
    # The first line is: digest of the program, then size, mtime and path of the libseccomp that made
    # it. There is no fsync behind the file, hence the digest; another libseccomp may do better.
    try:
        with open(path, "rb") as stream:
            header, _, content = stream.read().partition(b"\n")
        digest, size, mtime, library = header.split(b" ", 3)
    except (OSError, ValueError):
        return None
    if _fingerprint(content).encode() != digest:
        return None
    try:
        status = os.stat(library)
    except OSError:
        return content
    return content if (b"%d %d" % (status.st_size, status.st_mtime_ns)) == size + b" " + mtime else None


def _write_cache(path: str, content: bytes) -> None:
    library = b""
    with open("/proc/self/maps", "rb") as stream:
        for line in stream:
            if b"/libseccomp.so" in line:
                library = line[line.index(b"/") :].rstrip(b"\n")
                break
    temporary = f"{path}.{os.getpid()}"
    try:
        status = os.stat(library)
        digest = _fingerprint(content).encode()
        header = b"%s %d %d %s\n" % (digest, status.st_size, status.st_mtime_ns, library)
        with open(temporary, "wb") as stream:
            stream.write(header + content)
        os.rename(temporary, path)
    except OSError:
        # A cache that can't be written (full disk, read-only store) costs time and nothing else.
        try:
            os.unlink(temporary)
        except OSError:
            pass


def _kernel(release: str) -> tuple[int, int]:
    numbers = []
    for part in release.split(".")[:2]:
        digits = ""
        for character in part:
            if not character.isdecimal():
                break
            digits += character
        numbers.append(int(digits or "0"))
    return numbers[0], numbers[1] if len(numbers) > 1 else 0


def _load_library() -> ModuleType:
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        # RuntimeError: pyseccomp is there and finds no libseccomp.
        raise MissingHelper(
            "libseccomp is not installed, which makes the system call filter",
            hint="install it: apt install libseccomp2 (dnf: libseccomp), or do without the filter: "
            "--security-opt seccomp=unconfined",
        ) from error
    module: ModuleType = pyseccomp
    return module


def _invalid(place: str, text: str) -> InvalidArgument:
    return InvalidArgument(f"invalid seccomp profile: {place}: {text}")


def _action(name: object, errno_return: object, place: str) -> int:
    if name == "SCMP_ACT_NOTIFY":
        raise Unsupported(f"seccomp profile: {place}: SCMP_ACT_NOTIFY is not supported")
    if not isinstance(name, str) or name not in _ACTIONS:
        raise _invalid(place, f"unknown action {jsonlite.dumps(name)}")
    if name not in _WITH_ERRNO:
        return _ACTIONS[name]
    if errno_return is None:
        errno_return = _EPERM
    if type(errno_return) is not int or not 0 <= errno_return <= 0xFFFF:
        raise _invalid(place, "errnoRet is not a number from 0 to 65535")
    return _ACTIONS[name] | errno_return


def _strings(value: object, place: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _invalid(place, "not a list of strings")
    return value


def _objects(value: object, place: str) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _invalid(place, "not a list of objects")
    return value


def _new_enough(wanted: object, place: str) -> bool:
    parts = wanted.split(".") if isinstance(wanted, str) else []
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise _invalid(place, 'not a kernel version "<kernel>.<major>"')
    return _kernel(os.uname().release) >= (int(parts[0]), int(parts[1]))


def _applies(entry: dict[str, Any], caps: frozenset[str], arch: str, place: str) -> bool:
    excludes, includes = entry.get("excludes") or {}, entry.get("includes") or {}
    for name, value in (("excludes", excludes), ("includes", includes)):
        if not isinstance(value, dict):
            raise _invalid(f"{place}.{name}", "not an object")
    if arch in _strings(excludes.get("arches"), f"{place}.excludes.arches"):
        return False
    if caps.intersection(_strings(excludes.get("caps"), f"{place}.excludes.caps")):
        return False
    minimum = excludes.get("minKernel")
    if minimum and _new_enough(minimum, f"{place}.excludes.minKernel"):
        return False
    arches = _strings(includes.get("arches"), f"{place}.includes.arches")
    if arches and arch not in arches:
        return False
    if not caps.issuperset(_strings(includes.get("caps"), f"{place}.includes.caps")):
        return False
    minimum = includes.get("minKernel")
    return not minimum or _new_enough(minimum, f"{place}.includes.minKernel")


def _conditions(value: object, place: str) -> tuple[_Condition, ...]:
    conditions = []
    for number, entry in enumerate(_objects(value, place)):
        operator = entry.get("op")
        if not isinstance(operator, str) or operator not in _OPERATORS:
            raise _invalid(f"{place}[{number}].op", f"unknown operator {jsonlite.dumps(operator)}")
        index = entry.get("index", 0)
        if type(index) is not int or not 0 <= index <= 5:
            raise _invalid(f"{place}[{number}].index", "not a number from 0 to 5")
        values = entry.get("value", 0), entry.get("valueTwo", 0)
        for item in values:
            if type(item) is not int or not 0 <= item < 1 << 64:
                raise _invalid(f"{place}[{number}]", "value is not an unsigned 64-bit number")
        conditions.append(_Condition(index=index, operator=_OPERATORS[operator], value=values[0], second=values[1]))
    return tuple(conditions)


def _rules(profile: dict[str, Any], caps: frozenset[str], arch: str) -> list[_Rule]:
    rules = []
    for number, entry in enumerate(_objects(profile.get("syscalls"), "$.syscalls")):
        place = f"$.syscalls[{number}]"
        names = _strings(entry.get("names"), f"{place}.names")
        old = entry.get("name")
        if old:
            if names:
                raise _invalid(place, "both 'name' and 'names' are specified, use one of them")
            names = _strings([old], f"{place}.name")
        action = _action(entry.get("action"), entry.get("errnoRet"), place)
        conditions = _conditions(entry.get("args"), f"{place}.args")
        if not _applies(entry, caps, arch, place):
            continue
        indexes = [condition.index for condition in conditions]
        if len(set(indexes)) == len(indexes):
            rules.append(_Rule(names=tuple(names), action=action, conditions=conditions))
        else:
            # libseccomp takes one comparison an argument; more have always meant alternatives.
            rules += [_Rule(names=tuple(names), action=action, conditions=(one,)) for one in conditions]
    return rules


def _architectures(profile: dict[str, Any], native: int) -> list[int]:
    listed = _strings(profile.get("architectures"), "$.architectures")
    mapped = _objects(profile.get("archMap"), "$.archMap")
    if listed and mapped:
        raise _invalid("$", "both 'architectures' and 'archMap' are specified, use one of them")
    place = "$.architectures"
    for entry in mapped:
        if _ARCHITECTURES.get(str(entry.get("architecture"))) == native:
            place = "$.archMap"
            listed = _strings(entry.get("subArchitectures"), "$.archMap.subArchitectures")
            break
    tokens = [native]
    for name in listed:
        if name not in _ARCHITECTURES:
            raise _invalid(place, f"unknown architecture {name}")
        if _ARCHITECTURES[name] not in tokens:
            tokens.append(_ARCHITECTURES[name])
    return tokens


def _compile(profile: dict[str, Any], caps: frozenset[str]) -> bytes:
    if not profile.get("defaultAction") and not profile.get("syscalls"):
        return b""
    if profile.get("listenerPath"):
        raise Unsupported("seccomp profile: $.listenerPath is not supported")
    for flag in _strings(profile.get("flags"), "$.flags"):
        # They concern logging, speculation and notifications: none changes what a program may do.
        if flag not in _FLAGS:
            raise _invalid("$.flags", f"unknown flag {flag}")
    library = _load_library()
    native = library.system_arch()
    default = _action(profile.get("defaultAction"), profile.get("defaultErrnoRet"), "$.defaultAction")
    tokens = _architectures(profile, native)
    rules = _rules(profile, caps, _SHORT_NAMES.get(native, ""))
    try:
        compiler = library.SyscallFilter(default)
        for token in tokens[1:]:
            compiler.add_arch(token)
        if sum(len(rule.names) for rule in rules) > 32:
            # A binary tree; libseccomp up to 2.5.4 gets it wrong for an empty list of rules.
            try:
                compiler.set_attr(library.Attr.CTL_OPTIMIZE, 2)
            except OSError:
                pass
    except OSError as error:
        raise InvalidArgument(
            f"invalid seccomp profile: its architectures do not fit this machine: {(error.strerror or '').lower()}"
        ) from error
    extras: dict[int, dict[int, int]] = {token: {} for token in tokens}
    last = dict.fromkeys(tokens, 0)
    done = set()
    for rule in rules:
        for name in rule.names:
            known = library.resolve_syscall(library.Arch.NATIVE, name) != -1
            for token in tokens:
                number = library.resolve_syscall(token, name) if known else _newer(name, token)
                last[token] = max(last[token], number)
                if not known and not rule.conditions and number > 0 and rule.action != default:
                    extras[token].setdefault(number, rule.action)
            if not known or rule.action == default or (name, rule) in done:
                continue
            done.add((name, rule))
            _add(library, compiler, rule, name)
    with_stub = default & 0xFFFF0000 not in _PERMISSIVE and default != _ACTIONS["SCMP_ACT_ERRNO"] | _ENOSYS
    return _prelude(tokens, extras, last if with_stub else {}) + _export(compiler)


def _newer(name: str, token: int) -> int:
    if name in _NUMBERS:
        return _NUMBERS[name] + _OFFSETS.get(token, 0)
    return _OWN_NUMBERS.get(name, {}).get(token, -1)


def _add(library: ModuleType, compiler: Any, rule: _Rule, name: str) -> None:
    arguments = [library.Arg(one.index, one.operator, one.value, one.second) for one in rule.conditions]
    try:
        compiler.add_rule(rule.action, name, *arguments)
    except OSError as error:
        raise InvalidArgument(
            f"invalid seccomp profile: rule for {name}: {(error.strerror or '').lower()}",
            hint="does another rule for it contradict this one?",
        ) from error


class _File:
    """A descriptor in the shape that pyseccomp wants."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.fd


def _export(compiler: Any) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        compiler.export_bpf(_File(fd))
        size = os.lseek(fd, 0, os.SEEK_END)
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)


# struct sock_filter { __u16 code; __u8 jt, jf; __u32 k; } and the instructions used here.
_LOAD, _JUMP, _RETURN = 0x20, 0x05, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JA, BPF_RET|BPF_K
_IF_EQUAL, _IF_GREATER, _IF_AT_LEAST = 0x15, 0x25, 0x35  # BPF_JMP|{BPF_JEQ,BPF_JGT,BPF_JGE}|BPF_K
_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data
_TO_MAIN = -1  # target of a jump, replaced when the length of the prelude is known


def _prelude(tokens: list[int], extras: dict[int, dict[int, int]], last: dict[int, int]) -> bytes:
    sections = []
    for token in tokens:
        if token == _X32:
            continue
        code = [(_LOAD, 0, 0, _NUMBER)]
        if token == _X86_64:
            # Both report AUDIT_ARCH_X86_64; x32 has a bit in the number. Without x32 libseccomp kills.
            other = _section(_X32, extras[_X32], last) if _X32 in tokens else [(_JUMP, 0, 0, _TO_MAIN)]
            code += [(_IF_AT_LEAST, 0, 1, _X32_BIT), (_JUMP, 0, 0, 0)]
            own = _section(token, extras[token], last)
            code[-1] = (_JUMP, 0, 0, len(own))
            code += own + other
        else:
            code += _section(token, extras[token], last)
        sections.append((token, code))
    head = [(_LOAD, 0, 0, _ARCH)]
    distance = 2 * len(sections) + 1  # from the start of the tests to the first section
    for position, (token, code) in enumerate(sections):
        head += [(_IF_EQUAL, 0, 1, token), (_JUMP, 0, 0, distance - 2 * position - 2)]
        distance += len(code)
    head.append((_JUMP, 0, 0, _TO_MAIN))
    whole = head + [instruction for _, code in sections for instruction in code]
    return b"".join(
        struct.pack("=HBBI", code, yes, no, len(whole) - position - 1 if value == _TO_MAIN else value)
        for position, (code, yes, no, value) in enumerate(whole)
    )


def _section(token: int, extras: dict[int, int], last: dict[int, int]) -> list[tuple[int, int, int, int]]:
    code: list[tuple[int, int, int, int]] = []
    limit = last.get(token, 0)
    if token in _S390 and limit:
        # Calls too large for the instruction arrive as 0, and stay so when the kernel doesn't know them.
        code += [(_IF_EQUAL, 0, 1, 0), (_RETURN, 0, 0, _ACTIONS["SCMP_ACT_ERRNO"] | _ENOSYS)]
    if extras:
        lowest = min(extras)
        code += [(_IF_AT_LEAST, 1, 0, lowest), (_JUMP, 0, 0, _TO_MAIN)]
    for number, action in sorted(extras.items()):
        code += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, action)]
    if limit:
        code += [(_IF_GREATER, 0, 1, limit), (_RETURN, 0, 0, _ACTIONS["SCMP_ACT_ERRNO"] | _ENOSYS)]
    code.append((_JUMP, 0, 0, _TO_MAIN))
    return code
