"""What people mistype or do not have: one line with object and remedy, the right status, nothing left."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import complaint, nothing_left, refused
from tests.support.rl import Rl


@pytest.fixture(scope="module")
def empty() -> Iterator[Rl]:
    """A store without images."""
    store = Rl(Path(tempfile.mkdtemp(prefix="rlt-", dir=os.environ.get("RL_TEST_TMPDIR"))))
    store.ok("ps", "-a")
    yield store
    assert store.close() == []


USAGE = [
    (("run", "--bogus", "busybox"), ("unknown flag: --bogus", "rl run --help")),
    (("run",), ("requires at least 1 argument", "rl run --help")),
    (("run", "--gpus", "all", "busybox"), ("--gpus is not supported yet",)),
    (("run", "--pull", "perhaps", "busybox"), ("'perhaps'", '"always", "missing" or "never"')),
    (("run", "--restart", "x", "busybox"), ("unknown policy 'x'", "unless-stopped")),
    (("run", "--ulimit", "foo=1", "busybox"), ("invalid ulimit type: foo", "nofile")),
    (("run", "--cap-add", "FOO", "busybox"), ("FOO", "did you mean")),
    (("run", "--security-opt", "foo", "busybox"), ('"foo"', "KEY=VALUE")),
    (("run", "--security-opt", "seccomp=/nope.json", "busybox"), ("/nope.json", "no such file")),
    (("run", "--env-file", "/nope", "busybox"), ("--env-file", "/nope", "no such file")),
    (("run", "--stop-signal", "SIGFOO", "busybox"), ("invalid signal: SIGFOO",)),
    (("run", "--shm-size", "much", "busybox"), ("invalid size: 'much'",)),
    (("run", "--add-host", "foo", "busybox"), ('"foo"', "NAME:ADDRESS")),
    (("run", "--dns", "foo", "busybox"), ("IP address", "foo")),
    (("run", "--tmpfs", "relative", "busybox"), ("relative", "must be absolute")),
    (("run", "-v", "/x:relative", "busybox"), ("/x:relative", "must be absolute")),
    (("run", "-e", "=x", "busybox"), ("environment variable", "=x")),
    (("run", "--platform", "a/b/c/d", "busybox"), ("a/b/c/d", "os/architecture")),
    (("run", "--name", "bad name", "busybox"), ("bad name", "[a-zA-Z0-9]")),
    (("run", "--hostname", "under_score!", "busybox"), ("under_score!", "letters, digits")),
    (("run", "-it", "busybox"), ("not a terminal", "leave out -t")),
    (("run", "--cidfile", "/nope/x", "busybox"), ("/nope/x", "no such file")),
    (("run", "-p", "abc", "busybox"), ("invalid containerPort: abc",)),
    (("run", "-p", "99999:80", "busybox"), ("invalid hostPort: 99999",)),
    (("run", "-p", "203.0.113.9:8080:80", "busybox"), ("203.0.113.9", "not an address of this machine")),
    (("run", "Upper//Case"), ("invalid reference format: Upper//Case",)),
]


@pytest.mark.parametrize(("arguments", "says"), USAGE, ids=lambda value: " ".join(value[1:3]) or "none")
def test_run_refuses_bad_values(box, arguments, says):
    refused(box, 125, *arguments, says=says)


@pytest.mark.parametrize(
    ("status", "arguments", "says"),
    [
        (2, ("ps", "--bogus"), ("unknown flag: --bogus", "rl ps --help")),
        (2, ("pull",), ("requires 1 argument", "rl pull --help")),
        (2, ("rum",), ("rl rum", "did you mean")),
        (2, ("logs", "--tail"), ("--tail", "rl logs --help")),
        (2, ("stop", "-t", "soon", "x"), ("soon",)),
        (1, ("ps", "--filter", "foo=bar"), ("invalid filter 'foo'", "known filters")),
        (1, ("info", "--format", "{{.Foo}}"), ("field Foo", "fields:")),
        (1, ("info", "--format", "{{"), ("template parsing error",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_other_verbs_refuse_bad_usage_with_2_and_bad_values_with_1(box, status, arguments, says):
    refused(box, status, *arguments, says=says)


@pytest.mark.parametrize(
    "verb",
    ["rm", "stop", "kill", "start", "logs", "wait", "inspect", "exec", "rmi", "tag", "load", "import", "restart"],
)
def test_verbs_name_the_object_that_does_not_exist(box, verb):
    if verb == "restart":
        refused(box, 2, "restart", "ghost", says=("restart",))
    elif verb in ("load", "import"):
        refused(box, 1, verb, *(["-i"] if verb == "load" else []), "/ghost", says=("/ghost", "no such file"))
    else:
        more = {"exec": ["true"], "tag": ["other"]}.get(verb, [])
        refused(box, 1, verb, "ghost", *more, says=("no such", "ghost"))


def test_unknown_image_names_it_and_where_it_was_looked_for(box, registry):
    # There is no way to Docker Hub from here; what the mirror said is told too.
    line = refused(box, 125, "run", "nosuchimage", says=("registry-1.docker.io", registry.address, "nosuchimage"))
    assert "not found" in line
    refused(
        box, 1, "pull", "-q", f"{registry.address}/library/busybox:nosuchtag", says=("busybox:nosuchtag", "not found")
    )
    refused(box, 1, "pull", "-q", f"{registry.address}/library/ghost", says=("ghost", "not found"))
    refused(box, 125, "run", "--pull", "never", "nosuchimage", says=("no such image", "nosuchimage"))


def test_unknown_user_group_and_id(box):
    refused(box, 125, "run", "-u", "ghost", "busybox", "true", says=("unable to find user ghost", "passwd"))
    refused(box, 125, "run", "-u", "root:ghost", "busybox", "true", says=("unable to find group ghost", "group"))
    refused(box, 125, "run", "-u", "4000000", "busybox", "true", says=("id", "/etc/subuid"))


def test_unknown_network(box):
    refused(box, 125, "run", "--network", "ghost", "busybox", says=("network ghost not found", "none"))


def test_port_in_use(box, free_port):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", free_port))
        taken.listen()
        for options in ([], ["-d"], ["--rm"]):
            line = refused(
                box,
                125,
                "run",
                *options,
                "-p",
                f"{free_port}:80",
                "busybox",
                says=(f"port {free_port}", "already in use"),
            )
            assert "ss -" in line


def test_port_that_another_container_has(box, free_port):
    box.ok("run", "-d", "--name", "first", "-p", f"127.0.0.1:{free_port}:80", "busybox", "sleep", "600")
    mapping = f"127.0.0.1:{free_port}:80"
    refused(box, 125, "run", "-p", mapping, "busybox", says=(f"port {free_port} on 127.0.0.1", "already in use"))
    box.ok("create", "--name", "second", "-p", mapping, "busybox")
    refused(box, 1, "start", "second", says=(f"port {free_port}", "already in use"))
    assert box.ok("ps", "-a", "--filter", "name=second", "--format", "{{.State}}") == "created"


def test_port_below_the_unprivileged_limit_names_the_sysctl(box):
    limit = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if limit <= 80:
        pytest.skip(f"ordinary users may bind port 80 here (net.ipv4.ip_unprivileged_port_start is {limit})")
    remedy = "sysctl net.ipv4.ip_unprivileged_port_start=80"
    refused(box, 125, "run", "-p", "80:80", "busybox", says=("port 80", f"{limit} or above", remedy))


def test_name_taken(box):
    identifier = box.ok("create", "--name", "mine", "busybox")
    says = ('"/mine" is already in use', identifier[:12], "rl rm -f mine")
    refused(box, 125, "run", "--name", "mine", "busybox", says=says)
    refused(box, 1, "create", "--name", "mine", "busybox", says=says)


def test_bind_sources_that_are_missing_or_unreadable(box, tmp_path):
    missing = tmp_path / "missing"
    refused(box, 125, "run", "-v", f"{missing}:/x", "busybox", says=(f"not exist: {missing}", f"mkdir -p {missing}"))
    assert not missing.exists()
    locked = tmp_path / "locked"
    (locked / "inside").mkdir(parents=True)
    locked.chmod(0)
    try:
        refused(box, 125, "run", "-v", f"{locked}:/x", "busybox", says=(f"not readable: {locked}", "permission"))
        refused(box, 125, "run", "-v", f"{locked}/inside:/x", "busybox", says=(f"{locked}/inside", "permission"))
    finally:
        locked.chmod(0o700)
    refused(box, 125, "run", "-v", "/root/.ssh:/x", "busybox", says=("/root/.ssh", "permission"))


@pytest.mark.parametrize(
    "options", [(), ("-d",), ("--rm",), ("--init",), ("-u", "1000")], ids=lambda value: " ".join(value)
)
def test_commands_that_do_not_exist_or_may_not_be_executed(box, options):
    run = ("run", "--network", "none", *options, "busybox")
    refused(box, 127, *run, "/no/such", "argument", says=("/no/such", "no such file"))
    refused(box, 127, *run, "nosuch", says=("nosuch", "not found"))
    refused(box, 126, *run, "/etc/passwd", says=("/etc/passwd", "permission denied", "execute"))
    refused(box, 126, *run, "/etc", says=("/etc", "execute"))


def test_create_keeps_what_start_cannot_start(box):
    box.ok("create", "--name", "lame", "--network", "none", "busybox", "/no/such")
    with nothing_left(box, beside=("containers/",)):
        result = box("start", "lame")
    assert result.status == 1
    assert "/no/such" in complaint(result)
    assert box.ok("ps", "-a", "--filter", "name=lame", "--format", "{{.State}}") == "created"
    assert box.json("inspect", "lame")[0]["State"]["ExitCode"] == 127


def test_a_container_that_could_not_start_takes_its_volumes_and_its_cidfile_along(box, tmp_path):
    cidfile = tmp_path / "cid"
    run = ("run", "--network", "none", "--cidfile", cidfile, "-v", "/data", "--name", "gone")
    refused(box, 127, *run, "busybox", "/no/such", says=("/no/such",))
    assert not cidfile.exists()
    refused(box, 127, *run, "busybox", "/no/such", says=("/no/such",))


def test_a_container_that_ran_stays_whatever_its_status(box):
    assert box("run", "--network", "none", "--name", "ran", "busybox", "sh", "-c", "exit 125").status == 125
    assert box.ok("ps", "-a", "--filter", "name=ran", "--format", "{{.State}}") == "exited"


@pytest.mark.parametrize("state", ["created", "exited"])
def test_verbs_that_need_a_running_container_say_so(box, state):
    box.ok("create", "--name", "idle", "--network", "none", "busybox", "true")
    if state == "exited":
        box.ok("start", "-a", "idle")
    refused(box, 1, "kill", "idle", says=("idle", "not running"))
    refused(box, 1, "exec", "idle", "true", says=("idle", "not running"))
    assert box.ok("stop", "idle") == "idle"


def test_exec_of_what_cannot_be_executed(box):
    box.ok("run", "-d", "--name", "host", "--network", "none", "busybox", "sleep", "600")
    refused(box, 127, "exec", "host", "/no/such", says=("/no/such", "no such file"))
    refused(box, 126, "exec", "host", "/etc/passwd", says=("/etc/passwd", "permission denied"))
    refused(box, 126, "exec", "-w", "/no/where", "host", "true", says=("/no/where",))
    refused(box, 1, "exec", "-u", "ghost", "host", "true", says=("unable to find user ghost",))
    refused(box, 125, "exec", "--bogus", "host", "true", says=("--bogus", "rl exec --help"))


def test_working_directory_that_is_a_file(box):
    refused(box, 125, "run", "-w", "/etc/passwd", "busybox", "true", says=("/etc/passwd", "not a directory"))


def test_image_in_use_names_the_container(box):
    identifier = box.ok("create", "--network", "none", "busybox")
    refused(box, 1, "rmi", "busybox", says=("busybox", identifier[:12], "rl rm"))


@pytest.mark.parametrize("damage", ["truncated", "corrupt", "text", "empty", "flipped"])
@pytest.mark.parametrize("verb", ["load", "load-stdin", "import"])
def test_damaged_archives(empty, rootfs, busybox_archive, tmp_path, damage, verb):
    source = rootfs if verb == "import" else busybox_archive
    data = source.read_bytes()
    if damage == "truncated":
        data = data[: len(data) * 2 // 3]
    elif damage == "corrupt":
        data = data[:512] + bytes(4096) + b"\xff" * 512 + data[5120:]
    elif damage == "flipped":
        middle = len(data) // 2
        data = data[:middle] + bytes([data[middle] ^ 0x40]) + data[middle + 1 :]
    else:
        data = b"" if damage == "empty" else b"this is not an archive, whatever its name says\n" * 100
    path = tmp_path / "damaged.tar"
    path.write_bytes(data)
    if verb == "load":
        refused(empty, 1, "load", "-i", path, says=())
    elif verb == "load-stdin":
        refused(empty, 1, "load", input=data, says=())
    else:
        refused(empty, 1, "import", path, "damaged", says=())
    assert "damaged" not in empty.ok("images")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"storage-drivers": "vfs"}', ("config.json", "unknown key: storage-drivers", "did you mean storage-driver?")),
        ('{"init": "yes"}', ("config.json", "init must be true or false")),
        ('{"storage-driver": "zfs"}', ("config.json", "overlay, fuse-overlayfs, vfs")),
        ('{"init": true', ("config.json", "not valid JSON")),
    ],
    ids=["key", "type", "value", "json"],
)
def test_a_configuration_file_with_a_mistake(bare_rl, content, says):
    (bare_rl.home / ".config/rl/config.json").write_text(content)
    try:
        refused(bare_rl, 1, "ps", says=says)
        refused(bare_rl, 125, "run", "busybox", says=says)
    finally:
        (bare_rl.home / ".config/rl/config.json").write_text("{}")
