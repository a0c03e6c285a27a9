"""What a container can see and do, asserted from the inside, and that each assertion could fail."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rootless.engine.specgen import MASKED_PATHS, READONLY_PATHS
from rootless.runtime import capabilities
from tests.e2e.test_headline import wait_for
from tests.support.stores import PYTHON, python

NET = ("--network", "none")
DEFAULT_CAPABILITIES = {
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("NET_BIND_SERVICE", "NET_RAW", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP"),
}


def inside(box, script: str, *options: str) -> str:
    """Run a shell script in a container; return what it printed."""
    return box.ok("run", "--rm", *(() if "--network" in options else NET), *options, "busybox", "sh", "-c", script)


def probe(box, script: str, *options: str, arguments: tuple[str, ...] = ()):
    """Run Python in a container; return what it printed as JSON."""
    more = () if "--network" in options else NET
    return box.json("run", "--rm", *more, *PYTHON, *options, "busybox", *python(script, *arguments))


def status_field(text: str, name: str) -> str:
    return re.search(rf"^{name}:\s*(.*)$", text, re.M)[1]


@pytest.fixture
def secret(tmp_path_factory) -> Path:
    """A file of the host that every user of the host may read."""
    directory = tmp_path_factory.mktemp("secret")
    directory.chmod(0o755)
    path = directory / "file"
    path.write_text("the host's secret\n")
    return path


# -- processes -------------------------------------------------------------------------------


def test_only_its_own_processes_exist(box):
    with subprocess.Popen(["sh", "-c", "echo ready; sleep 299.25; true"], stdout=subprocess.PIPE) as bystander:
        try:
            wait_for(bystander.stdout, "ready")
            assert "299.25" in Path(f"/proc/{bystander.pid}/cmdline").read_text()
            out = inside(box, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo; ls -d /proc/[0-9]*; echo $$")
            assert "299.25" not in out
            assert out.splitlines()[-1] == "1"
            assert {line for line in out.splitlines() if line.startswith("/proc/")} <= {
                "/proc/1",
                "/proc/2",
                "/proc/3",
                "/proc/4",
            }
            result = box("run", "--rm", *NET, "busybox", "kill", "-0", str(bystander.pid))
            assert result.status == 1
            assert "No such process" in result.stderr
            inside(box, "kill -9 -1; true")
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_containers_do_not_see_each_others_processes_files_or_memory(box):
    script = "echo mine >/tmp/own; echo mine >/dev/shm/own; echo ready; exec sleep 298.25"
    box.ok("run", "-d", "--name", "neighbour", *NET, "busybox", "sh", "-c", script)
    follower = box.spawn("logs", "-f", "neighbour")
    wait_for(follower.stdout, "ready")
    look = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ls /tmp /dev/shm; hostname"
    assert "298.25" not in inside(box, look)
    assert "own" not in inside(box, look)
    there = box.ok("exec", "neighbour", "sh", "-c", look)
    assert "298.25" in there
    assert there.count("own") == 2
    pid = box.json("inspect", "neighbour")[0]["State"]["Pid"]
    other = box.ok("run", "-d", "--name", "other", *NET, "busybox", "sleep", "300")
    theirs = box.json("inspect", other)[0]["State"]["Pid"]
    for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
        links = {os.readlink(f"/proc/{process}/ns/{kind}") for process in (pid, theirs, os.getpid())}
        assert len(links) == 3, f"{kind} namespace is shared: {links}"


# -- files ------------------------------------------------------------------------------------


def test_files_of_the_host_are_out_of_reach(box, secret):
    script = f"cat {secret}; cat /proc/1/root{secret}; ls {box.home}; cat /../../../..{secret}; cat /etc/shadow"
    result = box("run", "--rm", *NET, "busybox", "sh", "-c", script)
    assert "secret" not in result.stdout
    assert result.stdout == "root:*:::::::\n", "its own /etc/shadow"
    assert result.stderr.count("No such file or directory") == 4
    # They are within reach of the same commands where the user says so.
    assert inside(box, f"cat {secret}", "-v", f"{secret.parent}:{secret.parent}:ro") == "the host's secret"


def test_no_mount_of_the_host_is_left(box):
    mounts = inside(box, "cat /proc/self/mountinfo")
    assert {line.split()[4] for line in mounts.splitlines()} >= {"/", "/proc", "/sys", "/dev"}
    ours = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    unexpected = {line.split()[4] for line in mounts.splitlines()} & ours
    assert unexpected <= {
        "/",
        "/proc",
        "/sys",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/sys/fs/cgroup",
        "/sys/firmware",
    }
    assert str(box.home) not in mounts.replace(str(box.data_root / "containers"), ""), "only the three files in /etc"
    with_host = inside(box, "cat /proc/self/mountinfo", "-v", f"{box.home}:/there")
    assert " /there " in with_host


CHROOT = """
import json, os
os.mkdir("/jail")
before = os.listdir("/")
os.chroot("/jail")
for _ in range(100):
    os.chdir("..")
os.chroot(".")
print(json.dumps([sorted(before), sorted(os.listdir("/"))]))
"""


def test_the_classic_way_out_of_a_chroot_ends_at_the_containers_root(box):
    before, after = probe(box, CHROOT)
    assert before == after
    assert "jail" in after


def test_the_store_is_out_of_reach(box):
    result = box("run", "--rm", *NET, "busybox", "ls", box.data_root)
    assert result.status == 1
    assert oct((box.data_root / "containers").stat().st_mode & 0o077) == "0o0", "nor to other users of the machine"


def test_sockets_of_rl_are_out_of_reach(box):
    box.ok("run", "-d", "--name", "neighbour", "busybox", "sleep", "300")
    (attach,) = box.runtime_dir.glob("containers/*/attach.sock")
    script = f"ls {attach} {box.runtime_dir}; cat /proc/net/unix"
    for network in ("none", "default"):
        result = box("run", "--rm", "--network", network, "busybox", "sh", "-c", script)
        assert "attach.sock" not in result.stdout
        assert len(result.stdout.splitlines()) == 1, "the table's heading"
        assert result.stderr.count("No such file or directory") == 2


def test_descriptors_are_the_standard_streams_only(box, secret):
    """Not even those that rl inherited from its own parent."""
    box.ok("run", "-d", "--name", "box", *NET, "busybox", "sleep", "300")
    leaked = os.open(secret, os.O_RDONLY)
    directory = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        place = f"/proc/self/fd/{directory}"
        look = "for fd in /proc/self/fd/*; do readlink $fd; done"
        steal = f"cat <&{leaked}; cat {place}/passwd"
        for start in (("run", "--rm", *NET), ("exec",)):
            target = "busybox" if start[0] == "run" else "box"
            process = box.spawn(*start, target, "sh", "-c", look, pass_fds=(leaked, directory))
            stdout, _ = process.communicate(timeout=30)
            kinds = {re.sub(r":?\[\d+\]", "", line) for line in stdout.decode().splitlines()}
            assert kinds <= {"pipe", "/dev/null"}
            process = box.spawn(*start, target, "sh", "-c", steal, pass_fds=(leaked, directory))
            stdout, _ = process.communicate(timeout=30)
            assert (stdout, process.returncode) == (b"", 1)
            # A working directory that exists only in rl's own process (CVE-2024-21626).
            for cwd in (place, f"{place}/made"):
                process = box.spawn(*start, "-w", cwd, target, "cat", "passwd", pass_fds=(leaked, directory))
                stdout, stderr = process.communicate(timeout=30)
                assert stdout == b""
                assert process.returncode not in (0, 1), stderr
    finally:
        os.close(leaked)
        os.close(directory)


# -- network ----------------------------------------------------------------------------------

CONNECT = """
import json, socket, sys
answers = {}
for target in json.loads(sys.argv[1]):
    kind = socket.AF_INET if isinstance(target, list) else socket.AF_UNIX
    with socket.socket(kind) as client:
        client.settimeout(3)
        try:
            client.connect(tuple(target) if isinstance(target, list) else target)
            answers[str(target)] = "connected"
        except OSError as error:
            answers[str(target)] = type(error).__name__
print(json.dumps(answers))
"""


@pytest.mark.parametrize("mode", ["default", "none", "host"])
def test_servers_on_the_hosts_loopback_are_reachable_with_the_hosts_network_only(box, mode):
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as abstract:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        name = f"\0rl-test-{os.getpid()}"
        abstract.bind(name)
        abstract.listen()
        port = tcp.getsockname()[1]
        targets = json.dumps([["127.0.0.1", port], ["10.0.2.2", port], name])
        answers = probe(box, CONNECT, "--network", mode, arguments=(targets,))
    answers = [answer == "connected" for answer in answers.values()]
    assert answers == ([True, False, True] if mode == "host" else [False, False, False])


def test_interfaces_by_network(box):
    def look(mode: str) -> set[str]:
        return set(inside(box, "ls /sys/class/net", "--network", mode).split())

    assert look("default") == {"lo", "tap0"}
    assert look("none") == {"lo"}
    assert look("host") == set(os.listdir("/sys/class/net"))
    assert "UP" in inside(box, "ip link show lo")
    assert inside(box, "ip route") == ""


# -- /proc, /sys, /dev ------------------------------------------------------------------------


def test_kernel_settings_are_read_only(box):
    for path in READONLY_PATHS:
        assert f" {path} " in inside(box, "cat /proc/self/mounts") or not os.path.exists(path)
    script = "echo 1 >/proc/sys/net/ipv4/ip_forward; touch /proc/bus /proc/irq; mkdir /sys/x /sys/fs/cgroup/x"
    result = box("run", "--rm", *NET, "busybox", "sh", "-c", script)
    assert result.stderr.count("Read-only file system") == 5, result
    assert box("run", "--rm", "--privileged", *NET, "busybox", "sh", "-c", script.split(";")[0]).status == 0


MASKS = """
import json, os, stat, sys
found = {}
for path in json.loads(sys.argv[1]):
    try:
        status = os.stat(path)
    except FileNotFoundError:
        continue
    if stat.S_ISDIR(status.st_mode):
        found[path] = sorted(os.listdir(path))
    else:
        found[path] = [os.major(status.st_rdev), os.minor(status.st_rdev)]
print(json.dumps(found))
"""


def test_masked_paths_are_empty(box):
    paths = json.dumps(MASKED_PATHS)
    masked = probe(box, MASKS, arguments=(paths,))
    assert {"/proc/keys", "/proc/interrupts", "/proc/timer_list"} <= masked.keys()
    assert {path: content for path, content in masked.items() if content not in ([], [1, 3])} == {}
    bare = probe(box, MASKS, "--privileged", arguments=(paths,))
    assert bare["/proc/keys"] == [0, 0], "a privileged container has no masks"


def test_devices_are_the_harmless_ones(box):
    names = inside(box, "ls /dev").split()
    links = ["fd", "ptmx", "stderr", "stdin", "stdout"]
    files = ["full", "mqueue", "null", "pts", "random", "shm", "tty", "urandom", "zero"]
    assert sorted(names) == sorted(links + files)
    assert inside(
        box, "echo x >/dev/null; head -c 4 /dev/zero | od -An -tx1; head -c 9 /dev/urandom | wc -c"
    ).split() == ["00"] * 4 + ["9"]
    assert inside(box, "stat -c %F /dev/ptmx /dev/pts/ptmx").splitlines() == ["symbolic link", "character special file"]
    result = box(
        "run", "--rm", *NET, "busybox", "sh", "-c", "mknod /disk b 8 0; mknod /mem c 1 1; mknod /fifo p && echo fifo"
    )
    assert result.stderr.count("Operation not permitted") == 2
    assert result.stdout == "fifo\n"
    # What the user may open on the host, and no more, with --privileged.
    assert "fuse" in inside(box, "ls /dev", "--privileged").split()


# -- capabilities -----------------------------------------------------------------------------


def sets(box, *options: str) -> dict[str, int]:
    """Return the capability sets of a payload as masks."""
    text = inside(box, "cat /proc/self/status", *options)
    return {name: int(status_field(text, name), 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}


def test_root_has_exactly_dockers_fourteen_capabilities(box):
    docker = 0xA80425FB
    assert sets(box) == {"CapInh": 0, "CapPrm": docker, "CapEff": docker, "CapBnd": docker, "CapAmb": 0}
    assert {name.removeprefix("CAP_") for name in capabilities.names(docker)} == DEFAULT_CAPABILITIES


def test_another_user_has_none_and_may_gain_no_more(box):
    assert sets(box, "-u", "nobody") == {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": 0xA80425FB, "CapAmb": 0}


def test_capabilities_can_be_dropped_and_added(box):
    assert set(sets(box, "--cap-drop", "ALL").values()) == {0}
    only = 1 << capabilities.NUMBERS["CAP_NET_ADMIN"]
    assert sets(box, "--cap-drop", "ALL", "--cap-add", "net_admin")["CapEff"] == only
    assert sets(box, "--cap-add", "SYS_PTRACE")["CapEff"] == 0xA80425FB | 1 << 19
    every = (1 << capabilities.last() + 1) - 1
    assert sets(box, "--privileged")["CapEff"] == every
    assert sets(box, "--cap-add", "ALL")["CapBnd"] == every


def test_capabilities_have_their_effect(box):
    def allowed(script: str, *options: str) -> bool:
        result = box("run", "--rm", *NET, *options, "busybox", "sh", "-c", script)
        assert result.status in (0, 1, 2), result
        return result.status == 0

    assert allowed("chown 33 /tmp")
    assert not allowed("chown 33 /tmp", "--cap-drop", "CHOWN")
    assert not allowed("ip link set lo mtu 1400")
    assert allowed("ip link set lo mtu 1400", "--cap-add", "NET_ADMIN")
    mount = "mount -t tmpfs none /mnt 2>/dev/null || exit 1"
    assert not allowed(f"mkdir /mnt; {mount}")
    assert allowed(f"mkdir /mnt; {mount}", "--privileged")


def test_privileges_end_at_the_users_own(box, secret):
    """All capabilities of --privileged are over the container's user namespace, not over the machine."""
    for command in ("cat /dev/kmsg", "mknod /disk b 8 0", "date -s @0", "echo x >/proc/sys/kernel/core_pattern"):
        result = box("run", "--rm", *NET, "--privileged", "busybox", "sh", "-c", command)
        assert re.search("not permitted|denied|No such file", result.stderr), (command, result)
    private = secret.with_name("private")
    private.touch()
    private.chmod(0o600)
    owner = inside(
        box,
        "stat -c %u /there/private; stat -c %u /etc-of-host/passwd; cat /etc-of-host/shadow || echo no",
        "--privileged",
        "-v",
        f"{secret.parent}:/there",
        "-v",
        "/etc:/etc-of-host",
    )
    assert owner.split() == ["0", "65534", "no"], "our files are root's inside, the machine's root is nobody"


# -- seccomp and no_new_privs -----------------------------------------------------------------

CALLS = """
import ctypes, errno, json, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    ctypes.set_errno(0)
    result = getattr(libc, name)(*arguments)
    return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]
CLONE_NEWUSER = 0x10000000
print(json.dumps({
    "keyctl": call("syscall", KEYCTL, 0, -3, 0),
    "mount": call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "bpf": call("syscall", BPF, 0, None, 0),
    "unshare": call("unshare", CLONE_NEWUSER),
    "personality": call("personality", 0x0040000),
    "getpid": call("getpid"),
}))
"""


def calls(box, *options: str) -> dict[str, str]:
    numbers = {"x86_64": ("250", "321"), "aarch64": ("219", "280")}[os.uname().machine]
    return probe(box, CALLS.replace("KEYCTL", numbers[0]).replace("BPF", numbers[1]), *options)


def test_the_default_filter_refuses_what_dockers_does(box):
    assert calls(box) == {
        **dict.fromkeys(("unshare", "keyctl", "mount", "bpf", "personality"), "EPERM"),
        "getpid": "ok",
    }
    status = inside(box, "cat /proc/self/status")
    assert (status_field(status, "Seccomp"), status_field(status, "NoNewPrivs")) == ("2", "0")


@pytest.mark.parametrize("options", [("--security-opt", "seccomp=unconfined"), ("--privileged",)])
def test_without_a_filter_the_kernel_decides(box, options):
    answers = calls(box, *options)
    assert answers["unshare"] == answers["keyctl"] == answers["personality"] == "ok"
    assert answers["mount"] == ("ok" if "--privileged" in options else "EPERM")
    assert status_field(inside(box, "cat /proc/self/status", *options), "Seccomp") == "0"


def test_a_profile_of_ones_own(box):
    profile = box.home / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    result = box("run", "--rm", *NET, "--security-opt", f"seccomp={profile}", "busybox", "mkdir", "/x")
    assert (result.status, "not supported" in result.stderr) == (1, True), result


def test_exec_is_filtered_as_the_container_is(box):
    box.ok("run", "-d", "--name", "box", *NET, "busybox", "sleep", "300")
    status = box.ok("exec", "box", "cat", "/proc/self/status")
    assert status_field(status, "Seccomp") == "2"
    assert int(status_field(status, "CapBnd"), 16) == 0xA80425FB
    assert box("exec", "box", "unshare", "-U", "true").status == 1


SETUID = """
cp /usr/bin/python3 /tmp/python; chmod 4755 /tmp/python
exec /bin/su -s /bin/sh nobody -c '/tmp/python -I -S -c "import os; print(os.getuid(), os.geteuid())"'
"""


def test_no_new_privileges_makes_setuid_programs_plain(box):
    assert inside(box, SETUID, *PYTHON) == "65534 0"
    assert inside(box, SETUID, *PYTHON, "--security-opt", "no-new-privileges") == "65534 65534"
    status = inside(box, "cat /proc/self/status", "--security-opt", "no-new-privileges")
    assert (status_field(status, "NoNewPrivs"), status_field(status, "Seccomp")) == ("1", "2")


# -- ids --------------------------------------------------------------------------------------


def subordinate(kind: str) -> int:
    """Return the first of our subordinate ids."""
    for line in Path(f"/etc/sub{kind}").read_text().splitlines():
        owner, first, _ = line.split(":")
        if owner in (os.environ.get("USER"), str(os.getuid())):
            return int(first)
    raise AssertionError("no range")


@pytest.mark.parametrize(("user", "outside"), [("0", None), ("33:33", 32), ("nobody", 65533)])
def test_ids_inside_are_the_users_own_outside(box, user, outside):
    uid = os.getuid() if outside is None else subordinate("uid") + outside
    gid = os.getgid() if outside is None else subordinate("gid") + outside
    shared = box.home / f"shared-{user[:2]}"
    shared.mkdir()
    shared.chmod(0o777)
    name = f"box-{user[:2]}"
    box.ok(
        "run",
        "-d",
        "--name",
        name,
        *NET,
        "-u",
        user,
        "-v",
        f"{shared}:/shared",
        "busybox",
        "sh",
        "-c",
        "touch /shared/made; exec sleep 300",
    )
    pid = box.json("inspect", name)[0]["State"]["Pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    assert set(status_field(status, "Uid").split()) == {str(uid)}
    assert set(status_field(status, "Gid").split()) == {str(gid)}
    assert box.ok("exec", name, "stat", "-c", "%u", "/shared/made") == box.ok("exec", name, "id", "-u")
    made = (shared / "made").stat()
    assert (made.st_uid, made.st_gid) == (uid, gid)
    shared.chmod(0o700)


# -- keys -------------------------------------------------------------------------------------

KEYS = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
add, keyctl = {"x86_64": (248, 250), "aarch64": (217, 219)}[os.uname().machine]
JOIN, SEARCH, SESSION, USER = 1, 10, -3, -4
"""
WITH_KEY = f"""{KEYS}
assert libc.syscall(keyctl, JOIN, None) > 0
assert libc.syscall(add, b"user", b"rl-test", b"secret", 6, SESSION) > 0
os.execv(sys.argv[1], sys.argv[1:])
"""
FIND_KEY = f"""{KEYS}
print(json.dumps([libc.syscall(keyctl, SEARCH, ring, b"user", b"rl-test", 0) > 0 for ring in (SESSION, USER)]))
"""


def test_the_users_keys_stay_outside(box):
    holder = [sys.executable, "-I", "-S", "-c", WITH_KEY]
    found = subprocess.run([*holder, sys.executable, "-I", "-S", "-c", FIND_KEY], capture_output=True, text=True)
    assert json.loads(found.stdout)[0], f"a program outside has the key: {found.stderr}"
    box.ok(
        "run", "-d", "--name", "box", *NET, *PYTHON, "--security-opt", "seccomp=unconfined", "busybox", "sleep", "300"
    )
    run = ("run", "--rm", *NET, *PYTHON, "--security-opt", "seccomp=unconfined", "busybox", *python(FIND_KEY))
    for command in (run, ("exec", "box", *python(FIND_KEY))):
        result = subprocess.run(
            [*holder, *box._argv(command)], capture_output=True, text=True, env=box._environment(None), timeout=30
        )
        assert result.stdout == "[false, false]\n", result.stderr


# -- our terminal -----------------------------------------------------------------------------

TERMINAL = """
import fcntl, json, os, sys
kinds = [os.isatty(fd) for fd in range(3)]
answers = []
for path in (0, 1, 2, "/dev/tty", "/dev/console"):
    try:
        fd = os.open(path, os.O_RDWR) if isinstance(path, str) else path
        for byte in b"touch /injected\\n":
            fcntl.ioctl(fd, 0x5412, bytes([byte]))  # TIOCSTI: type for the user
        answers.append("typed")
    except OSError as error:
        answers.append(error.errno)
print(json.dumps([kinds, answers]))
"""


@pytest.mark.parametrize("options", [(), ("-i",), ("-it",)], ids=["plain", "-i", "-it"])
@pytest.mark.parametrize("verb", ["run", "exec"])
def test_nothing_can_be_typed_into_our_terminal(box, verb, options):
    """The payload's streams are pipes, or a terminal of the container's; never ours."""
    if verb == "run":
        command = ("run", "--rm", *options, *NET, *PYTHON, "busybox", *python(TERMINAL))
    else:
        box.ok("run", "-d", "--name", "box", *NET, *PYTHON, "busybox", "sleep", "300")
        command = ("exec", *options, "box", *python(TERMINAL))
    import pexpect

    script = '"$@"; echo the end; read typed; echo "got <$typed>"'
    argv = ["-c", script, "sh", *box._argv(command)]
    child = pexpect.spawn("/bin/sh", argv, env=box._environment(None), timeout=30, echo=False)
    box._terminals.append(child)
    child.expect(r"\[\[(true|false)[^\r]*\r\n")
    kinds, answers = json.loads(child.match[0])
    if options == ("-it",):
        assert kinds == [True] * 3
    else:
        assert kinds == [False] * 3
        assert "typed" not in answers
    child.expect("the end")
    child.send("by the user\r")
    child.expect("got <by the user>")


# -- many files at once -----------------------------------------------------------------------


def test_limits_of_the_user_and_hardened_mounts_hold(box):
    mounts = dict(line.split()[1:4:2] for line in inside(box, "cat /proc/mounts").splitlines())
    for path in ("/proc", "/sys", "/dev/shm", "/dev/mqueue", "/sys/fs/cgroup"):
        assert {"nosuid", "nodev", "noexec"} <= set(mounts[path].split(",")), path
    assert {"nosuid", "noexec"} <= set(mounts["/dev/pts"].split(","))
    assert "ro" in mounts["/sys"].split(",")


def test_a_read_only_root(box):
    result = box(
        "run", "--rm", "--read-only", *NET, "busybox", "sh", "-c", "touch /x /etc/hosts /dev/shm/ok && echo no"
    )
    assert (result.status, result.stdout) == (1, "")
    assert result.stderr.count("Read-only file system") == 2, result


def test_a_container_does_not_see_that_the_host_mounts_something(box):
    """Nor does the host see mounts of a container."""
    before = Path("/proc/self/mountinfo").read_text()
    box.ok(
        "run",
        "-d",
        "--name",
        "box",
        "--privileged",
        "busybox",
        "sh",
        "-c",
        "mkdir /mnt; mount -t tmpfs none /mnt; exec sleep 300",
    )
    assert " /mnt " not in Path("/proc/self/mountinfo").read_text()
    assert len(Path("/proc/self/mountinfo").read_text().splitlines()) == len(before.splitlines())
