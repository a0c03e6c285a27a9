"""A disk that fills up: said so in one line, nothing left that fills it further, and room can be made again."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import fake_registry as fake
from tests.support.faults import Host, nothing_left, refused
from tests.support.hosts import sh
from tests.support.rl import Rl

FULL = ("no space left on device", "free some space")


def disk(rl: Rl, size: str) -> Host:
    """A machine whose data root is a file system of this size."""
    rl.data_root.mkdir(parents=True, exist_ok=True)
    return Host(rl, f"mount -t tmpfs -o mode=755,size={size} none {rl.data_root}")


def fill(rl: Rl) -> None:
    """Take what is left."""
    sh(f"cat /dev/zero >{rl.data_root}/filler 2>/dev/null || true", prefix=rl.prefix)


def make_room(rl: Rl) -> None:
    sh(f"rm {rl.data_root}/filler", prefix=rl.prefix)


def used(rl: Rl) -> int:
    """Return the bytes in use on the disk, and with them what files() does not see: the size of what is kept."""
    return int(sh(f"df --output=used -B1 {rl.data_root} | tail -1", prefix=rl.prefix))


@pytest.fixture
def host(bare_rl: Rl, busybox_archive: Path) -> Iterator[Rl]:
    """A small disk with busybox."""
    with disk(bare_rl, "8m") as rl:
        rl.ok("load", "-i", busybox_archive)
        rl.ok("run", "--rm", "busybox", "true")  # fills the caches
        yield rl
        left = rl.containers()
        if left:
            rl.ok("rm", "-f", *left)
        assert rl.containers() == []


# What fits: nothing, the blob but not its files, all but the last bytes.
@pytest.mark.parametrize("size", ["200k", "1200k", "2m", "2600k"])
def test_load_and_import(bare_rl, busybox_archive, rootfs, size):
    with disk(bare_rl, size) as rl:
        rl.ok("info")
        before = used(rl)
        for arguments in (("load", "-i", busybox_archive), ("import", rootfs, "imported")):
            result = rl(*arguments)
            if result.status == 0:
                rl.ok("rmi", "busybox" if arguments[0] == "load" else "imported")
            else:
                refused(rl, 1, *arguments, says=FULL)
            assert used(rl) <= before + 64 * 1024
            assert rl.ok("images", "-q") == ""


@pytest.mark.parametrize("size", ["300k", "1m", "1800k"])
def test_pull(bare_rl, rootfs, size):
    tars = [gzip.decompress(rootfs.read_bytes()), fake.layer("noise", bytes(range(256)) * 2000)]
    with fake.FakeRegistry() as server, disk(bare_rl, size) as rl:
        server.add(fake.make_image(tars))
        rl.ok("info")
        before = used(rl)
        refused(rl, 1, "pull", "-q", f"{server.host}/library/app", says=FULL)
        refused(rl, 125, "run", f"{server.host}/library/app", says=FULL)
        assert used(rl) <= before + 64 * 1024
        assert rl.ok("images", "-q") == ""


def test_run_and_create(host):
    host.ok("create", "--name", "earlier", "busybox", "echo", "hi")
    fill(host)
    for options in ((), ("-d",), ("--rm",), ("-v", "/data")):
        refused(host, 125, "run", "--network", "none", *options, "busybox", "true", says=FULL)
    refused(host, 1, "create", "busybox", says=FULL)
    refused(host, 1, "tag", "busybox", "other", says=FULL)
    # What only reads works, and so does what makes room.
    assert "earlier" in host.ok("ps", "-a")
    assert host.json("inspect", "earlier")[0]["State"]["Status"] == "created"
    host.ok("rm", "earlier")
    make_room(host)
    assert host.ok("run", "--rm", "busybox", "echo", "hi") == "hi"


def test_start(host):
    host.ok("create", "--name", "earlier", "--network", "none", "busybox", "echo", "hi")
    fill(host)
    with nothing_left(host, beside=("containers/",)):
        result = host("start", "-a", "earlier")
    assert result.status in (0, 1), result
    if result.status:
        assert "no space left on device" in result.stderr
        assert host.ok("ps", "-a", "--format", "{{.State}}") == "created"
    make_room(host)
    assert host.ok("start", "-a", "earlier") == "hi"


def test_images_can_be_removed(host):
    fill(host)
    host.ok("rmi", "busybox")
    make_room(host)
    assert used(host) < 512 * 1024


def test_a_container_outlives_a_full_disk_and_its_end_is_recorded(host):
    """Lines of its log get lost; its output, its files and its exit status do not."""
    script = "echo before; read line; echo after; exit 7"
    running = host.spawn("run", "-i", "--name", "tough", "--network", "none", "busybox", "sh", "-c", script)
    assert running.stdout.readline() == b"before\n"
    fill(host)
    out, err = running.communicate(b"go on\n", timeout=30)
    assert (running.returncode, out, err) == (7, b"after\n", b"")
    assert host.json("inspect", "tough")[0]["State"]["ExitCode"] == 7
    assert host.ok("ps", "-a", "--format", "{{.State}}") == "exited"
    assert host.ok("wait", "tough") == "7"
    assert host.ok("logs", "tough").startswith("before")
    host.ok("rm", "tough")


def test_stop_and_rm_of_running_containers(host):
    for name in ("one", "two", "three"):
        host.ok("run", "-d", "--name", name, "busybox", "sleep", "600")
    fill(host)
    host.ok("stop", "-t", "0", "one")
    assert host.json("inspect", "one")[0]["State"]["Status"] == "exited"
    host.ok("rm", "-f", "two")
    host.ok("kill", "three")
    host.ok("rm", "one", "three")
    assert host.ok("ps", "-aq") == ""


def test_a_payload_that_fills_the_disk_hears_of_it_and_can_be_removed(host):
    result = host("run", "--name", "greedy", "--network", "none", "busybox", "sh", "-c", "cat /dev/zero >/file")
    assert result.status == 1
    assert "No space left on device" in result.stderr
    host.ok("rm", "greedy")
    assert host.ok("run", "--rm", "busybox", "echo", "hi") == "hi"


def test_exec_on_a_full_disk(host):
    host.ok("run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "600")
    fill(host)
    with nothing_left(host):
        assert host.ok("exec", "box", "echo", "hi") == "hi"
    host.ok("rm", "-f", "box")
