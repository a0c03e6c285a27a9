"""The runtime on a plain bundle, as runc would be tested: no store, no image, no network helper."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from rootless import errors
from rootless.linux import idmap, process, sockets
from rootless.linux.userns import UserNamespace
from rootless.runtime import parent, plan, tenant

ALL = ("user", "mount", "pid", "ipc", "uts", "network", "cgroup")
ENV = ["PATH=/bin", "GREETING=hello"]
CAPS = ["CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"]


@pytest.fixture(scope="module")
def userns(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    namespace = UserNamespace(str(directory))
    namespace.open()
    yield namespace
    pid = int((directory / "pause.pid").read_text().split()[0])
    os.kill(pid, 9)
    os.waitpid(pid, 0)


@pytest.fixture(scope="module")
def root(busybox_archive, tmp_path_factory):
    """busybox, unpacked by the user: a root file system without any engine."""
    directory = tmp_path_factory.mktemp("bundle") / "rootfs"
    with tarfile.open(busybox_archive) as archive:
        layer = json.load(archive.extractfile("manifest.json"))[0]["Layers"][0]
        data = gzip.decompress(archive.extractfile(layer).read())
    directory.mkdir()
    subprocess.run(["tar", "-x", "-C", directory], input=data, check=True)
    (directory / "plain").write_text("no program\n")
    (directory / "closed").mkdir(mode=0o700)
    return directory


def spec(*args: str, mounts: tuple = (), linux: dict | None = None, **section) -> dict:
    """A small specification; keywords replace fields of its process."""
    top = {name: section.pop(name) for name in ("hostname", "root", "annotations") if name in section}
    return {
        "ociVersion": "1.1.0",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ENV,
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPS),
            **section,
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666"],
            },
            *mounts,
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ALL], **(linux or {})},
        **top,
    }


def perform(id_map: idmap.IdMap, root: str, spec: dict, given: bytes, act, terminal: bool) -> list:
    """Run a bundle; what a monitor does, without what makes a monitor. Runs as root of the user namespace."""
    if terminal:
        stdio, output, errors_read = None, -1, -1
    else:
        in_read, in_write = os.pipe2(os.O_CLOEXEC)
        output, out_write = os.pipe2(os.O_CLOEXEC)
        errors_read, err_write = os.pipe2(os.O_CLOEXEC)
        os.write(in_write, given)
        os.close(in_write)
        stdio = (in_read, out_write, err_write)
    child = parent.start(spec, plan.Rootfs(kind="bind", source=root), root, stdio=stdio)
    for fd in stdio or ():
        os.close(fd)
    try:
        idmap.write(child.pid, id_map.identity())
        child.mapped()
        child.wait_ready()
        child.go()
    except errors.RlError:
        child.kill()
        raise
    extra = act(child) if act else None
    if terminal:
        texts = [_read_terminal(child.terminal), ""]
    else:
        texts = [_read_all(output), _read_all(errors_read)]
    _, status = os.waitpid(child.pid, 0)
    return [process.exit_status(status), *texts, extra]


def _read_all(fd: int) -> str:
    with open(fd, "rb") as stream:
        return stream.read().decode()


def _read_terminal(fd: int) -> str:
    text = b""
    try:
        while data := os.read(fd, 65536):
            text += data
    except OSError:  # EIO: nobody holds the other side any more
        pass
    return text.decode()


@pytest.fixture
def run(userns, root):
    def call(specification: dict, given: bytes = b"", act=None, terminal: bool = False):
        return userns.call(perform, userns.map, str(root), specification, given, act, terminal)

    return call


def sh(script: str, **changes) -> dict:
    return spec("/bin/sh", "-c", script, **changes)


# -- what it does ------------------------------------------------------------------------


def test_a_bundle_runs(run):
    status, out, err, _ = run(sh("echo $GREETING; cat; echo oops >&2; exit 7"), b"from outside\n")
    assert (status, out, err) == (7, "hello\nfrom outside\n", "oops\n")


def test_death_by_a_signal(run):
    assert run(sh("sh -c 'kill -9 $$'; echo $?"))[1] == "137\n"


def test_a_bundle_made_by_another_program(run, tmp_path):
    """`crun spec` writes what every OCI runtime takes."""
    subprocess.run(["crun", "spec", "--rootless"], cwd=tmp_path, check=True)
    theirs = json.loads((tmp_path / "config.json").read_text())
    theirs["process"].update(args=["/bin/sh", "-c", "hostname; id -u; ls /sys >/dev/null && echo ok"], terminal=False)
    status, out, err, _ = run(theirs)
    assert (status, err) == (0, "")
    assert out.split() == [theirs["hostname"], "0", "ok"]


def test_all_namespaces_are_new(run):
    _, out, _, _ = run(sh("for n in /proc/self/ns/*; do readlink $n; done"))
    inside = dict(line.rstrip("]").split(":[") for line in out.split())
    for kind in ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup"):
        assert f"{kind}:[{inside[kind]}]" != os.readlink(f"/proc/self/ns/{kind}")


def test_namespaces_that_are_not_asked_for_are_shared(run):
    shared = sh(
        "readlink /proc/self/ns/net", linux={"namespaces": [{"type": kind} for kind in ALL if kind != "network"]}
    )
    assert run(shared)[1].strip() == os.readlink("/proc/self/ns/net")


def test_host_name_loopback_and_limits(run):
    script = "hostname; ip -o link show lo | grep -c LOWER_UP; ulimit -n"
    limit = {"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}
    assert run(sh(script, hostname="inside", rlimits=[limit]))[1].split() == ["inside", "1", "77"]


def test_user_groups_and_umask(run):
    user = {"uid": 33, "gid": 44, "additionalGids": [55, 66], "umask": 0o077}
    assert run(sh("id; umask; echo $HOME", user=user))[1].split() == [
        "uid=33(www-data)", "gid=44", "groups=55,66", "0077", "/",
    ]  # fmt: skip
    assert run(sh("id -u; echo $HOME", user={"username": "www-data"}))[1].split() == ["33", "/var/www"]


def test_capabilities_are_those_of_the_specification(run):
    status = dict(line.split(":\t") for line in run(sh("cat /proc/self/status"))[1].splitlines() if ":\t" in line)
    mask = f"{1 << 0 | 1 << 5 | 1 << 6 | 1 << 7:016x}"
    assert [status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")] == [mask] * 3 + ["0" * 16] * 2


def test_mounts_masks_and_read_only_paths(run, tmp_path):
    (tmp_path / "file").write_text("shown\n")
    mounts = (
        {"destination": "/new/deep", "type": "bind", "source": str(tmp_path), "options": ["rbind", "ro"]},
        {"destination": "/one", "type": "bind", "source": str(tmp_path / "file"), "options": ["bind"]},
        {"destination": "/tmpfs", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "mode=1777"]},
    )
    linux = {
        "maskedPaths": ["/proc/keys", "/etc"],
        "readonlyPaths": ["/home", "/proc/sys"],
        "sysctl": {"net.ipv4.ip_forward": "1"},
    }
    script = (
        "cat /new/deep/file /one; touch /new/deep/x; touch /home/x; ls /etc; wc -c </proc/keys; "
        "cat /proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/ip_forward; stat -c %a /tmpfs; cat /outside"
    )
    _, out, err, _ = run(sh(script, mounts=mounts, linux={"namespaces": [{"type": kind} for kind in ALL], **linux}))
    assert out.split() == ["shown", "shown", "0", "1", "1777"]
    assert err.count("Read-only file system") == 3
    assert "'/outside': No such file" in err


def test_a_read_only_root(run):
    _, _, err, _ = run(sh("touch /x; touch /dev/x && echo ok >&2", root={"path": "rootfs", "readonly": True}))
    assert err.splitlines() == ["touch: /x: Read-only file system", "ok"]


def test_the_old_root_is_gone(run, tmp_path):
    _, out, _, _ = run(sh(f"ls -d {tmp_path} /.old* 2>/dev/null; cut -d' ' -f5 /proc/self/mountinfo"))
    assert str(tmp_path) not in out
    assert out.split()[0] == "/"
    assert set(out.split()) >= {"/", "/proc", "/dev", "/dev/pts", "/dev/null"}


def test_a_terminal(run):
    section = sh("tty; stty size; echo done", terminal=True, consoleSize={"height": 30, "width": 100})
    status, out, _, _ = run(section, terminal=True)
    assert (status, out) == (0, "/dev/pts/0\r\n30 100\r\ndone\r\n")


def test_no_descriptor_of_ours_comes_along(run):
    """Every descriptor that this process has is inherited by a fork."""
    assert run(sh("ls /proc/self/fd | wc -l"))[1].strip() == "4", "three streams, and the directory that ls reads"


def test_joining_it(run):
    def act(child):
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        pidfd = os.pidfd_open(child.pid)
        section = sh("hostname; ls -d /proc/[0-9]* | wc -l; exit 9")["process"]
        joined = tenant.start(pidfd, section, program=None, stdio=(null, out_write, null))
        os.close(out_write)
        text = _read_all(out_read)
        status = joined.wait()
        os.kill(child.pid, 9)
        return [status, text]

    status, _, _, (theirs, text) = run(sh("exec sleep 300", hostname="joined"), act=act)
    assert (status, theirs) == (137, 9)
    name, count = text.split()
    assert name == "joined"
    assert int(count) >= 2, "the payload, and what joined it"


def test_it_dies_with_its_parent(userns, root):
    """The process that started it ends; the kernel ends the container."""

    def orphan() -> bool:
        read_end, write_end = os.pipe()
        starter = os.fork()
        if starter == 0:
            child = parent.start(
                sh("exec sleep 300"), plan.Rootfs(kind="bind", source=str(root)), str(root), stdio=(0, 1, 2)
            )
            idmap.write(child.pid, id_map.identity())
            child.mapped()
            child.wait_ready()
            child.go()
            os.write(write_end, str(child.pid).encode())
            os._exit(0)
        os.close(write_end)
        os.waitpid(starter, 0)
        with open(read_end) as stream:
            pid = int(stream.read())
        pidfd = process.open_pidfd(pid)
        return pidfd is None or process.wait_pidfd(pidfd, 10)

    id_map = userns.map
    assert userns.call(orphan)


# -- what goes wrong -----------------------------------------------------------------------

BAD_MOUNT = {"destination": "/x", "type": "nosuchfs", "source": "none"}
MISSING = {"destination": "/x", "type": "bind", "source": "/nonexistent/source", "options": ["rbind"]}
ON_FILE = {"destination": "/etc/passwd", "type": "bind", "source": "/usr", "options": ["rbind"]}
BELOW_FILE = {"destination": "/etc/passwd/x", "type": "tmpfs", "source": "tmpfs"}


@pytest.mark.parametrize(
    ("section", "kind", "says"),
    [
        (spec("/bin/sh", mounts=(BAD_MOUNT,)), errors.SystemFailure, r"^mount nosuchfs on /x: "),
        (spec("/bin/sh", mounts=(MISSING,)), errors.SystemFailure, r"^bind /nonexistent/source on /x: .*no such file"),
        (spec("/bin/sh", mounts=(ON_FILE,)), errors.SystemFailure, r"^bind /usr on /etc/passwd: .*not a directory"),
        (spec("/bin/sh", mounts=(BELOW_FILE,)), errors.SystemFailure, r"^mount tmpfs on /etc/passwd/x: .*not a directory"),
        (sh("", hostname="x" * 70), errors.SystemFailure, r"^hostname: .*"),
        (sh("", rlimits=[{"type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1}]), errors.RlError, "NOSUCH"),
        (sh("", user={"username": "nobody-here"}), errors.InvalidArgument, "unable to find user nobody-here"),
        (sh("", user={"uid": 99_999_999, "gid": 0}), errors.InvalidArgument, "outside of the ids"),
        (sh("", cwd="/plain"), errors.SystemFailure, r"^working directory: /plain: not a directory"),
        (sh("", cwd="/closed", user={"uid": 33, "gid": 33}, capabilities={}), errors.CommandNotExecutable, "working directory"),
        (spec("/nonexistent"), errors.CommandNotFound, "/nonexistent: no such file or directory"),
        (spec("nonexistent"), errors.CommandNotFound, r"nonexistent: executable file not found in \$PATH"),
        (spec("/plain"), errors.CommandNotExecutable, "/plain: permission denied"),
        (spec("/etc"), errors.CommandNotExecutable, "/etc: "),
        (spec("/plain/x"), errors.CommandNotFound, "/plain/x: not a directory"),
    ],
)  # fmt: skip
def test_what_failed_is_told_with_its_step(run, section, kind, says):
    with pytest.raises(kind, match=says):
        run(section)


def test_an_unknown_sysctl(run):
    linux = {"namespaces": [{"type": kind} for kind in ALL], "sysctl": {"net.no.such": "1"}}
    with pytest.raises(errors.SystemFailure, match=r"^sysctl net\.no\.such=1: .*no such file"):
        run(sh("", linux=linux))


def test_a_missing_root(userns, tmp_path):
    with pytest.raises(errors.SystemFailure, match=r"^rootfs bind .*/missing: .*no such file"):
        userns.call(perform, userns.map, str(tmp_path / "missing"), sh(""), b"", None, False)


def test_silence_of_the_first_process_is_an_error(userns, root):
    def silenced() -> str:
        child = parent.start(sh("true"), plan.Rootfs(kind="bind", source=str(root)), str(root), stdio=(0, 1, 2))
        os.kill(child.pid, 9)
        try:
            child.wait_ready()
        except errors.SystemFailure as error:
            child.kill()
            return error.message
        return ""

    assert "ended without a word" in userns.call(silenced)


def test_a_first_process_whose_parent_goes_away_ends(userns, root):
    def abandon() -> bool:
        child = parent.start(sh("true"), plan.Rootfs(kind="bind", source=str(root)), str(root), stdio=(0, 1, 2))
        pidfd = os.pidfd_open(child.pid)
        child._channel.close()
        ended = process.wait_pidfd(pidfd, 10)
        os.waitpid(child.pid, 0)
        return ended

    assert userns.call(abandon)


def test_killing_it_half_way_leaves_nothing(userns, root):
    def half_way() -> int:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            child = parent.start(sh("true"), plan.Rootfs(kind="bind", source=str(root)), str(root), stdio=(0, 1, 2))
            idmap.write(child.pid, id_map.identity())
            child.mapped()
            child.kill()
            child.kill()
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return len(os.listdir("/proc/self/fd")) - before
        return -1

    id_map = userns.map
    assert userns.call(half_way) == 0
    assert str(root) not in Path("/proc/self/mountinfo").read_text()


def test_words_between_parent_and_child_are_bounded():
    ours, theirs = sockets.pair(sockets.SOCK_SEQPACKET)
    theirs.send(b'{"step":"exec","errno":2,"error":"x: no such file or directory"}')
    message, fd = sockets.receive(ours)
    assert fd == -1
    assert isinstance(parent.explain(message, "exec"), errors.CommandNotFound)
    assert isinstance(parent.explain(b'{"step":"mount","errno":28,"error":"x"}', ""), errors.NoSpace)
    ours.close()
    theirs.close()
