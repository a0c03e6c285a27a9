"""The default filter at work: loaded by an ordinary user with no_new_privs, judged by its effects."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable

import pytest

from rootless.linux import syscalls
from rootless.runtime import capabilities, seccomp

pyseccomp = pytest.importorskip("pyseccomp")
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86-64")

SIGCHLD = 17
CLONE, CLONE3, PERSONALITY, SOCKET, UNSHARE, MOUNT, KEYCTL, PTRACE = 56, 435, 135, 41, 272, 165, 250, 101
GETPID, FCHMODAT2, STATMOUNT, IO_URING_SETUP, SETNS, BPF, CHROOT, SYSLOG = 39, 452, 457, 425, 308, 321, 161, 103
NAMESPACE_FLAGS = {
    "mount": syscalls.CLONE_NEWNS,
    "cgroup": syscalls.CLONE_NEWCGROUP,
    "uts": syscalls.CLONE_NEWUTS,
    "ipc": syscalls.CLONE_NEWIPC,
    "user": syscalls.CLONE_NEWUSER,
    "pid": syscalls.CLONE_NEWPID,
    "net": syscalls.CLONE_NEWNET,
}


@pytest.fixture(scope="module")
def programs() -> dict[str, bytes]:
    return {
        "default": seccomp.program(None, capabilities.DEFAULT),
        "admin": seccomp.program(None, {*capabilities.DEFAULT, "CAP_SYS_ADMIN"}),
    }


def filtered(program: bytes, act: Callable[[Callable[..., int]], object]) -> str:
    """Run ``act(call)`` in a filtered child; ``call(number, …)`` returns 0 or the errno."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(*words: int | bytes | None) -> int:
        arguments = [ctypes.c_long(word) if isinstance(word, int) else word for word in words]
        ctypes.set_errno(0)
        return 0 if libc.syscall(*arguments) >= 0 else ctypes.get_errno()

    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
            syscalls.load_seccomp(program)
            os.write(write, repr(act(call)).encode())
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return text


def clone_and_reap(call: Callable[..., int], flags: int) -> int:
    """Clone by the bare call; the new process leaves at once."""
    parent = os.getpid()
    result = call(CLONE, flags | SIGCHLD, 0, 0, 0, 0)
    if os.getpid() != parent:
        os._exit(0)
    if result == 0:
        os.wait()
    return result


def test_the_filter_is_in_force(programs) -> None:
    def act(call: Callable[..., int]) -> object:
        with open("/proc/self/status") as stream:
            return [line.split()[1] for line in stream if line.startswith(("Seccomp:", "NoNewPrivs:"))]

    assert filtered(programs["default"], act) == repr(["1", "2"])


def test_ordinary_work_goes_on(programs) -> None:
    def act(call: Callable[..., int]) -> object:
        read, write = os.pipe2(os.O_CLOEXEC)
        os.write(write, b"ping")
        pid = os.fork()
        if pid == 0:
            os.execv("/bin/true", ["true"])
        _, status = os.waitpid(pid, 0)
        return os.read(read, 9), status, len(os.listdir("/")) > 3, call(GETPID)

    assert filtered(programs["default"], act) == repr((b"ping", 0, True, 0))


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (UNSHARE, (0,)),
        (SETNS, (-1, 0)),
        (MOUNT, (b"none", b"/nonexistent", b"tmpfs", 0, None)),
        (KEYCTL, (0, 0, 0)),
        (IO_URING_SETUP, (0, None)),
        (BPF, (0, None, 0)),
        (SYSLOG, (10, None, 0)),
    ],
)
def test_forbidden_calls_give_eperm(programs, number: int, arguments: tuple[int | bytes | None, ...]) -> None:
    assert filtered(programs["default"], lambda call: call(number, *arguments)) == str(errno.EPERM)


def test_clone_without_namespaces_is_allowed(programs) -> None:
    assert filtered(programs["default"], lambda call: clone_and_reap(call, 0)) == "0"


@pytest.mark.parametrize("name", NAMESPACE_FLAGS)
def test_clone_of_a_namespace_is_forbidden(programs, name: str) -> None:
    assert filtered(programs["default"], lambda call: clone_and_reap(call, NAMESPACE_FLAGS[name])) == str(errno.EPERM)


def test_clone_of_a_user_namespace_passes_the_filter_with_sys_admin(programs) -> None:
    unfiltered = filtered(
        seccomp.program({"defaultAction": "SCMP_ACT_ALLOW"}, ()),
        lambda call: clone_and_reap(call, syscalls.CLONE_NEWUSER),
    )
    with_admin = filtered(programs["admin"], lambda call: clone_and_reap(call, syscalls.CLONE_NEWUSER))
    assert with_admin == unfiltered


def test_clone3_gives_enosys_so_that_libc_falls_back(programs) -> None:
    arguments = struct.pack("=11Q", syscalls.CLONE_NEWUSER, *[0] * 3, SIGCHLD, *[0] * 6)
    assert filtered(programs["default"], lambda call: call(CLONE3, arguments, 88)) == str(errno.ENOSYS)


def test_personality(programs) -> None:
    def act(call: Callable[..., int]) -> object:
        return [call(PERSONALITY, value) for value in (0xFFFFFFFF, 0, 8, 0x20000, 0x20008, 0x0040000, 1, 0x0400000)]

    assert filtered(programs["default"], act) == repr([0] * 5 + [errno.EPERM] * 3)


def test_sockets(programs) -> None:
    def act(call: Callable[..., int]) -> object:
        alg, vsock, inet, unix = 38, 40, 2, 1
        return [call(SOCKET, family, 1, 0) for family in (inet, unix, alg, vsock, 1 << 32 | alg)]

    assert filtered(programs["default"], act) == repr([0, 0, errno.EPERM, errno.EPERM, errno.EPERM])


def test_calls_newer_than_libseccomp_reach_the_kernel(programs) -> None:
    def act(call: Callable[..., int]) -> object:
        return [call(FCHMODAT2, -1, b"x", 0o600, 0), call(STATMOUNT, None, None, 0, 0)]

    assert str(errno.EPERM) not in filtered(programs["default"], act).strip("[]").split(", ")


def test_calls_that_do_not_exist_give_enosys(programs) -> None:
    assert filtered(programs["default"], lambda call: [call(600), call(0x40000000 | 600)]) == repr([errno.ENOSYS] * 2)


def test_a_payload_may_filter_itself_further(programs) -> None:
    def act(call: Callable[..., int]) -> object:
        syscalls.load_seccomp(further)
        return call(PTRACE, 0, 0, 0, 0)

    further = seccomp.program(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22}],
        },
        (),
    )
    assert filtered(programs["default"], act) == str(errno.EINVAL)


def test_an_unlisted_architecture_is_killed(programs) -> None:
    only_native = seccomp.program(
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]}, ()
    )
    everything = seccomp.program({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"]}, ())
    if filtered(everything, lambda _: i386_getpid() == os.getpid()) != "True":
        pytest.skip("this kernel does not run 32-bit system calls")
    # int $0x80 in a 64-bit process enters by i386's table; getpid is 20 there.
    assert filtered(programs["default"], lambda _: i386_getpid() == os.getpid()) == "True"
    assert filtered(only_native, lambda _: i386_getpid()) == ""


def i386_getpid() -> int:
    """Ask for the pid by the 32-bit entry: push rbx; mov eax,20; int 0x80; pop rbx; ret."""
    import mmap

    code = bytes.fromhex("53b814000000cd805bc3")
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)()
