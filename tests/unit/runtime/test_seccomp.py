"""What the compiled filters say, found by running them in an interpreter of our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from rootless.errors import InvalidArgument, MissingHelper, NoSuchFile, Unsupported
from rootless.runtime import capabilities, seccomp
from tests.support import bpf

pyseccomp = pytest.importorskip("pyseccomp")

X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
NATIVE = pyseccomp.system_arch()
PERMITTED, REFUSED, ABSENT = bpf.ALLOW, bpf.errno_action(bpf.EPERM), bpf.errno_action(bpf.ENOSYS)
on_x86_64 = pytest.mark.skipif(NATIVE != X86_64, reason="numbers of x86-64")
CONTAINERS_PROFILE = "/usr/share/containers/seccomp.json"

_programs: dict[frozenset[str], bytes] = {}


def default_program(*caps: str) -> bytes:
    held = frozenset(caps)
    if held not in _programs:
        _programs[held] = seccomp.program(None, held)
    return _programs[held]


def number(name: str) -> int:
    return pyseccomp.resolve_syscall(NATIVE, name)


def verdict(name: str, *arguments: int, caps: tuple[str, ...] = capabilities.DEFAULT) -> int:
    return bpf.run(default_program(*caps), NATIVE, number(name), arguments)


def compiled(**profile: object) -> bytes:
    return seccomp.program({"defaultAction": "SCMP_ACT_ERRNO", **profile}, ())


# -- the default profile


@pytest.mark.parametrize(
    "name", ["read", "openat", "execve", "mmap", "futex", "statx", "epoll_pwait2", "landlock_add_rule"]
)
def test_what_ordinary_programs_need_is_permitted(name: str) -> None:
    assert verdict(name) == PERMITTED


HARMFUL = """mount umount2 unshare setns pivot_root bpf keyctl add_key request_key userfaultfd perf_event_open
    kexec_load init_module swapon reboot open_by_handle_at move_pages io_uring_setup io_uring_enter settimeofday
    syslog mbind process_madvise pidfd_getfd acct quotactl"""


@pytest.mark.parametrize("name", HARMFUL.split())
def test_what_reaches_into_the_host_is_refused(name: str) -> None:
    assert verdict(name) == REFUSED


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("mount", "CAP_SYS_ADMIN"),
        ("unshare", "CAP_SYS_ADMIN"),
        ("setns", "CAP_SYS_ADMIN"),
        ("clone3", "CAP_SYS_ADMIN"),
        ("bpf", "CAP_BPF"),
        ("perf_event_open", "CAP_PERFMON"),
        ("syslog", "CAP_SYSLOG"),
        ("open_by_handle_at", "CAP_DAC_READ_SEARCH"),
        ("chroot", "CAP_SYS_CHROOT"),
        ("init_module", "CAP_SYS_MODULE"),
        ("mbind", "CAP_SYS_NICE"),
        ("acct", "CAP_SYS_PACCT"),
        ("pidfd_getfd", "CAP_SYS_PTRACE"),
        ("settimeofday", "CAP_SYS_TIME"),
        ("vhangup", "CAP_SYS_TTY_CONFIG"),
        ("reboot", "CAP_SYS_BOOT"),
    ],
)
def test_a_capability_opens_its_system_calls(name: str, capability: str) -> None:
    assert verdict(name, caps=()) != PERMITTED
    assert verdict(name, caps=(capability,)) == PERMITTED


@pytest.mark.skipif(NATIVE in (0x80000016,), reason="flags are another argument")
@pytest.mark.parametrize("flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
def test_clone_makes_no_namespace_without_sys_admin(flag: int) -> None:
    assert verdict("clone", 17) == PERMITTED
    assert verdict("clone", 17 | flag) == REFUSED
    assert verdict("clone", 17 | flag, caps=("CAP_SYS_ADMIN",)) == PERMITTED


def test_clone3_seems_to_be_missing() -> None:
    assert verdict("clone3") == ABSENT


def test_personality_takes_five_values() -> None:
    permitted = {0, 8, 0x20000, 0x20008, 0xFFFFFFFF}
    for value in (*permitted, 1, 0x0040000, 0x20009, 0x0400000):
        assert verdict("personality", value) == (PERMITTED if value in permitted else REFUSED)


def test_sockets_of_the_host_and_its_kernel_are_refused() -> None:
    af_alg, af_vsock = 38, 40
    for family in range(64):
        assert verdict("socket", family, 1, 0) == (REFUSED if family in (af_alg, af_vsock) else PERMITTED)


@pytest.mark.skipif(NATIVE & 0x80000000 == 0, reason="64-bit registers")
@pytest.mark.parametrize("family", [38, 40])
def test_the_upper_half_of_a_register_hides_no_address_family(family: int) -> None:
    # The kernel takes an int, so 1 << 32 | 38 is 38 to it.
    for bit in range(32, 64):
        assert verdict("socket", 1 << bit | family, 1, 0) == REFUSED


@pytest.mark.parametrize("name", ["fchmodat2", "statmount", "mseal", "setxattrat", "removexattrat"])
def test_system_calls_newer_than_libseccomp_are_permitted(name: str) -> None:
    offset = seccomp._OFFSETS.get(NATIVE, 0)
    assert bpf.run(default_program(), NATIVE, seccomp._NUMBERS[name] + offset) == PERMITTED


def test_system_calls_newer_than_the_profile_seem_to_be_missing() -> None:
    offset = seccomp._OFFSETS.get(NATIVE, 0)
    for nr in (467, 480, 900, 0x3FFFFFFF - offset):
        assert bpf.run(default_program(), NATIVE, nr + offset) == ABSENT


def test_newer_system_calls_keep_their_conditions() -> None:
    lsm_set_self_attr = 460 + seccomp._OFFSETS.get(NATIVE, 0)
    assert bpf.run(default_program(), NATIVE, lsm_set_self_attr) == REFUSED
    assert bpf.run(default_program("CAP_SYS_ADMIN"), NATIVE, lsm_set_self_attr) == PERMITTED


@on_x86_64
def test_32_bit_programs_are_filtered_too() -> None:
    program = default_program()
    i386_mount, i386_read, i386_mseal = 21, 3, 462
    assert bpf.run(program, I386, i386_read) == PERMITTED
    assert bpf.run(program, I386, i386_mount) == REFUSED
    assert bpf.run(program, I386, i386_mseal) == PERMITTED
    assert bpf.run(program, I386, 600) == ABSENT


@on_x86_64
def test_the_x32_numbers_are_filtered_too() -> None:
    program, bit = default_program(), 0x40000000
    assert bpf.run(program, X86_64, bit | 0) == PERMITTED
    assert bpf.run(program, X86_64, bit | 165) == REFUSED
    assert bpf.run(program, X86_64, bit | 466) == PERMITTED
    assert bpf.run(program, X86_64, bit | 600) == ABSENT


@on_x86_64
def test_uretprobe_is_permitted() -> None:
    assert bpf.run(default_program(), X86_64, 335) == PERMITTED


def test_another_architecture_is_killed() -> None:
    foreign = AARCH64 if NATIVE == X86_64 else X86_64
    assert bpf.run(default_program(), foreign, 0) in (bpf.KILL_THREAD, bpf.KILL_PROCESS)


def test_default_profile_is_in_dockers_format() -> None:
    profile = seccomp.default_profile()
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    names = [name for rule in profile["syscalls"] if not rule.get("includes") for name in rule["names"]]
    unconditional = [name for name in names if name not in ("socket", "personality", "clone")]
    assert len(unconditional) == len(set(unconditional))


# -- the same beside another engine's profile

# Where the profile of containers-common (podman) permits something and we don't, and why not.
_MAKING_NAMESPACES = """clone clone3 unshare setns mount umount2 pivot_root mount_setattr move_mount open_tree fsopen
    fspick fsconfig fsmount"""
_NOT_HERE = {
    **dict.fromkeys(
        _MAKING_NAMESPACES.split(),
        "podman lets processes make namespaces and mount in them; Docker leaves that to CAP_SYS_ADMIN",
    ),
    "keyctl": "keyrings belong to no namespace",
    "reboot": "Docker asks for CAP_SYS_BOOT",
    "syslog": "Docker asks for CAP_SYSLOG",
    "pidfd_getfd": "Docker asks for CAP_SYS_PTRACE",
    **dict.fromkeys(("mbind", "get_mempolicy", "set_mempolicy"), "Docker asks for CAP_SYS_NICE"),
    "socket": "podman refuses netlink audit, Docker AF_ALG and AF_VSOCK",
}
# Where we permit something, and that profile doesn't.
_NEWER = """cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue futex_waitv statmount listmount
    mseal setxattrat getxattrat listxattrat removexattrat uretprobe"""
_ONLY_HERE = {
    **dict.fromkeys(
        _NEWER.split(),
        "newer than that profile",
    ),
    **dict.fromkeys(("io_pgetevents", "vmsplice"), "Docker finds no harm in it"),
    "socket": "podman refuses netlink audit, Docker AF_ALG and AF_VSOCK",
}


@pytest.mark.skipif(not os.path.exists(CONTAINERS_PROFILE), reason="containers-common is not installed")
def test_agrees_with_the_profile_of_containers_common() -> None:
    with open(CONTAINERS_PROFILE) as stream:
        theirs = seccomp.program(json.load(stream), capabilities.DEFAULT)
    ours = default_program(*capabilities.DEFAULT)
    only_here, not_here = set(), set()
    for nr in range(467):
        try:
            name = pyseccomp.resolve_syscall(NATIVE, nr).decode()
        except ValueError:
            names = [*seccomp._NUMBERS, *seccomp._OWN_NUMBERS]
            name = next((name for name in names if seccomp._newer(name, NATIVE) == nr), str(nr))
        for arguments in ((0, 0, 0), (17, 0, 0), (0x10000011, 0, 0), (38, 0, 0), (16, 3, 9), (0xFFFFFFFF, 0, 0)):
            here, there = (bpf.run(program, NATIVE, nr, arguments) == PERMITTED for program in (ours, theirs))
            if here and not there:
                only_here.add(name)
            if there and not here:
                not_here.add(name)
    # Numbers without a name are refused in one way or another by both.
    assert sorted(not_here - set(_NOT_HERE)) == []
    assert sorted(only_here - set(_ONLY_HERE)) == []


# -- profiles of users


def test_a_profile_in_the_form_of_an_oci_bundle() -> None:
    program = seccomp.program(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": [name for name, token in seccomp._ARCHITECTURES.items() if token == NATIVE],
            "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22}],
        },
        (),
    )
    assert bpf.run(program, NATIVE, number("getcwd")) == bpf.errno_action(bpf.EINVAL)
    assert bpf.run(program, NATIVE, number("read")) == PERMITTED
    assert bpf.run(program, NATIVE, 900) == PERMITTED


def test_an_old_profile_with_one_name_a_rule() -> None:
    program = compiled(syscalls=[{"name": "read", "action": "SCMP_ACT_ALLOW", "args": []}])
    assert bpf.run(program, NATIVE, number("read")) == PERMITTED
    assert bpf.run(program, NATIVE, number("write")) != PERMITTED


def test_an_empty_profile_is_no_filter() -> None:
    assert seccomp.program({}, ()) == b""


def test_names_that_nobody_knows_are_ignored() -> None:
    program = compiled(syscalls=[{"names": ["no_such_call", "read"], "action": "SCMP_ACT_ALLOW"}])
    assert bpf.run(program, NATIVE, number("read")) == PERMITTED


def test_two_comparisons_with_one_argument_are_alternatives() -> None:
    args = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (3, 5)]
    program = compiled(syscalls=[{"names": ["lseek"], "action": "SCMP_ACT_ALLOW", "args": args}])
    verdicts = [bpf.run(program, NATIVE, number("lseek"), (value,)) for value in (3, 4, 5)]
    assert verdicts == [PERMITTED, REFUSED, PERMITTED]


def test_comparisons_with_different_arguments_must_all_hold() -> None:
    args = [{"index": index, "value": 7, "op": "SCMP_CMP_EQ"} for index in (0, 1)]
    program = compiled(syscalls=[{"names": ["lseek"], "action": "SCMP_ACT_ALLOW", "args": args}])
    assert bpf.run(program, NATIVE, number("lseek"), (7, 7)) == PERMITTED
    assert bpf.run(program, NATIVE, number("lseek"), (7, 0)) == REFUSED


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"includes": {"minKernel": "3.0"}}, PERMITTED),
        ({"includes": {"minKernel": "99.0"}}, REFUSED),
        ({"excludes": {"minKernel": "3.0"}}, REFUSED),
        ({"includes": {"arches": ["nonesuch"]}}, REFUSED),
        ({"includes": {"caps": ["CAP_CHOWN", "CAP_KILL"]}}, REFUSED),
        ({"excludes": {"caps": ["CAP_CHOWN", "CAP_KILL"]}}, REFUSED),
        ({"includes": {"caps": ["CAP_CHOWN"]}, "excludes": {"caps": ["CAP_KILL"]}}, PERMITTED),
    ],
)
def test_conditions_of_rules(condition: dict[str, object], expected: int) -> None:
    rule = {"names": ["read"], "action": "SCMP_ACT_ALLOW", **condition}
    program = seccomp.program({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}, {"CAP_CHOWN"})
    assert bpf.run(program, NATIVE, number("read")) == expected


def test_no_enosys_where_the_default_is_enosys_already() -> None:
    program = compiled(defaultErrnoRet=38, syscalls=[{"names": ["read"], "action": "SCMP_ACT_ALLOW"}])
    assert bpf.run(program, NATIVE, 900) == ABSENT


@pytest.mark.parametrize(
    ("profile", "place"),
    [
        ({"defaultAction": "SCMP_ACT_PRAY"}, "$.defaultAction"),
        ({"syscalls": {}}, "$.syscalls"),
        ({"syscalls": [{"names": ["read"]}]}, "$.syscalls[0]"),
        ({"syscalls": [{"names": "read", "action": "SCMP_ACT_ALLOW"}]}, "$.syscalls[0].names"),
        ({"syscalls": [{"name": "read", "names": ["read"], "action": "SCMP_ACT_ALLOW"}]}, "both 'name' and 'names'"),
        ({"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 70000}]}, "errnoRet"),
        (
            {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"op": "="}]}]},
            "$.syscalls[0].args[0].op",
        ),
        (
            {
                "syscalls": [
                    {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"op": "SCMP_CMP_EQ", "index": 6}]}
                ]
            },
            "args[0].index",
        ),
        (
            {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "new"}}]},
            "$.syscalls[0].includes.minKernel",
        ),
        ({"architectures": ["SCMP_ARCH_PDP11"]}, "SCMP_ARCH_PDP11"),
        ({"architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86"}]}, "both 'architectures'"),
        ({"flags": ["SECCOMP_FILTER_FLAG_FUN"]}, "SECCOMP_FILTER_FLAG_FUN"),
    ],
)
def test_a_mistake_in_a_profile_is_named(profile: dict[str, object], place: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        compiled(**profile)
    assert place in caught.value.message


def test_notification_is_not_supported() -> None:
    with pytest.raises(Unsupported):
        compiled(syscalls=[{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}])
    with pytest.raises(Unsupported):
        compiled(listenerPath="/run/agent.sock")


def test_reading_a_profile(tmp_path) -> None:
    path = tmp_path / "profile.json"
    with pytest.raises(NoSuchFile, match="no such seccomp profile"):
        seccomp.read_profile(str(path))
    path.write_text("{")
    with pytest.raises(InvalidArgument, match="not valid JSON"):
        seccomp.read_profile(str(path))
    path.write_text("[]")
    with pytest.raises(InvalidArgument, match="JSON object"):
        seccomp.read_profile(str(path))
    path.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    assert seccomp.read_profile(str(path)) == {"defaultAction": "SCMP_ACT_ALLOW"}


def test_missing_libseccomp_names_the_package(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(MissingHelper) as caught:
        seccomp.program(None, ())
    assert "libseccomp2" in caught.value.hint
    assert "seccomp=unconfined" in caught.value.hint


# -- the cache


def test_a_cached_program_needs_no_libseccomp(tmp_path, monkeypatch) -> None:
    first = seccomp.program(None, capabilities.DEFAULT, str(tmp_path))
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    assert seccomp.program(None, reversed(capabilities.DEFAULT), str(tmp_path)) == first
    with pytest.raises(MissingHelper):
        seccomp.program(None, ("CAP_KILL",), str(tmp_path))


def test_each_profile_has_its_own_program(tmp_path) -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO"}]}
    other = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_ERRNO"}]}
    assert seccomp.program(profile, (), str(tmp_path)) != seccomp.program(other, (), str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["truncate", "change", "empty", "header", "old library"])
def test_a_damaged_entry_is_made_again(tmp_path, damage: str) -> None:
    expected = seccomp.program(None, (), str(tmp_path))
    (entry,) = tmp_path.iterdir()
    content = entry.read_bytes()
    header, _, body = content.partition(b"\n")
    digest, size, _, library = header.split(b" ", 3)
    entry.write_bytes(
        {
            "truncate": content[:-8],
            "change": content[:-1] + bytes([content[-1] ^ 1]),
            "empty": b"",
            "header": b"nonsense\n" + body,
            "old library": b" ".join([digest, size, b"1", library]) + b"\n" + body,
        }[damage]
    )
    assert seccomp.program(None, (), str(tmp_path)) == expected
    assert entry.read_bytes() == content


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path) -> None:
    assert seccomp.program(None, (), str(tmp_path / "absent")) == default_program()


def test_a_hit_imports_nothing_heavy(tmp_path) -> None:
    seccomp.program(None, ("CAP_KILL",), str(tmp_path))
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    code = (
        f"import sys; sys.path.insert(0, {root!r}); before = set(sys.modules)\n"
        "from rootless.runtime import seccomp\n"
        f"assert seccomp.program(None, ('CAP_KILL',), {str(tmp_path)!r})\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    result = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert not loaded & {"pyseccomp", "ctypes", "json", "re", "hashlib", "_hashlib", "subprocess", "typing", "enum"}
