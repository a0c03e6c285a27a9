"""kill -9 of anything at any moment: the next commands go on as if nothing had been, and nothing stays behind."""

from __future__ import annotations

import gzip
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.support import fake_registry as fake
from tests.support import processes
from tests.support.faults import complaint, living, mounts
from tests.support.rl import Rl

ENDLESS = ("busybox", "sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 600 & wait; done")


def state(rl: Rl, name: str) -> dict:
    return rl.json("inspect", name)[0]["State"]


def monitor_of(rl: Rl, name: str) -> int:
    """Return the pid of the monitor: the parent of the first process of the container."""
    pid = state(rl, name)["Pid"]
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def slirp_of(rl: Rl) -> list[int]:
    return [pid for pid in living(rl) if Path(f"/proc/{pid}/comm").read_text() == "slirp4netns\n"]


def kill(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)
    assert processes.wait_gone([pid], 10) == []


def wait_for_end(rl: Rl) -> None:
    """Whatever lived for containers ends with their monitor."""
    assert [processes.describe(pid) for pid in processes.wait_gone(sorted(living(rl)), 10)] == []
    assert mounts(rl) == []


def empty(directory: Path) -> bool:
    return not directory.exists() or [name for name in os.listdir(directory) if name != ".lock"] == []


# --- commands ----------------------------------------------------------------------------


def test_a_foreground_client_that_is_killed_leaves_its_container_running(box):
    client = box.spawn("run", "--name", "web", *ENDLESS)
    assert client.stdout.readline() == b"ready\n"
    kill(client.pid)
    assert state(box, "web")["Running"]
    assert box.ok("logs", "web") == "ready"
    assert box.ok("exec", "web", "echo", "alive") == "alive"
    assert box.ok("stop", "web") == "web"
    assert state(box, "web")["ExitCode"] == 0
    assert box.ok("rm", "web") == "web"


def test_a_client_that_is_killed_ends_the_input_of_its_container(box):
    client = box.spawn("run", "-i", "--rm", "--network", "none", "busybox", "sh", "-c", "echo ready; cat; echo over")
    assert client.stdout.readline() == b"ready\n"
    kill(client.pid)
    wait_for_end(box)
    assert box.containers() == []


def test_clients_that_wait_and_follow_may_be_killed(box):
    box.ok("run", "-d", "--name", "web", "--network", "none", *ENDLESS)
    follower = box.spawn("logs", "-f", "web")
    assert follower.stdout.readline() == b"ready\n"
    shell = box.spawn("exec", "-i", "web", "sh", "-c", "echo inside; cat")
    assert shell.stdout.readline() == b"inside\n"
    waiter = box.spawn("wait", "web")
    for client in (follower, shell, waiter):
        kill(client.pid)
    assert state(box, "web")["Running"]
    assert box.ok("rm", "-f", "web") == "web"
    wait_for_end(box)


# --- monitors and helpers ----------------------------------------------------------------


@pytest.mark.parametrize("network", ["default", "none"])
def test_the_container_of_a_killed_monitor_is_gone_and_can_be_started_again(box, network, free_port):
    options = ["-p", f"127.0.0.1:{free_port}:80"] if network == "default" else ["--network", "none"]
    box.ok("run", "-d", "--name", "web", *options, *ENDLESS)
    kill(monitor_of(box, "web"))
    wait_for_end(box)
    assert box.ok("ps", "-q") == ""
    assert box.ok("ps", "-a", "--format", "{{.Names}} {{.State}}") == "web exited"
    assert state(box, "web")["ExitCode"] == 137
    assert state(box, "web")["Pid"] == 0
    assert "monitor" in state(box, "web")["Error"]
    assert "not running" in box.fails(1, "exec", "web", "true")
    assert "not running" in box.fails(1, "kill", "web")
    assert box.ok("wait", "web") == "137"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port))
    assert box.ok("start", "web") == "web"
    assert state(box, "web")["Running"]
    assert box.ok("stop", "web") == "web"
    assert box.ok("rm", "web") == "web"
    assert box.ok("run", "--rm", "--name", "web", "busybox", "echo", "again") == "again"
    assert empty(box.runtime_dir / "containers")


def test_the_client_of_a_killed_monitor_is_told(box):
    client = box.spawn("run", "--name", "web", "--network", "none", *ENDLESS)
    assert client.stdout.readline() == b"ready\n"
    kill(monitor_of(box, "web"))
    _, err = client.communicate(timeout=10)
    assert client.returncode == 125
    assert err.decode().splitlines()[-1].startswith("rl: the monitor of the container was killed")
    assert state(box, "web")["ExitCode"] == 137
    assert box.ok("rm", "web") == "web"


@pytest.mark.parametrize(
    "next_command", [("ps", "-a"), ("run", "--rm", "--network", "none", "busybox", "true"), ("rm", "web")]
)
def test_a_container_with_rm_goes_with_its_killed_monitor(box, next_command):
    box.ok("run", "-d", "--rm", "--name", "web", "-v", "/data", *ENDLESS)
    kill(monitor_of(box, "web"))
    wait_for_end(box)
    assert box(*next_command).status == 0
    assert "web" not in box.ok("ps", "-a", "--format", "{{.Names}}").split()
    assert box.ok("run", "--rm", "--name", "web", "--network", "none", "busybox", "echo", "again") == "again"
    assert empty(box.data_root / "volumes")


def test_monitor_and_client_killed_together(box):
    client = box.spawn("run", "--name", "web", *ENDLESS)
    assert client.stdout.readline() == b"ready\n"
    monitor = monitor_of(box, "web")
    os.kill(client.pid, signal.SIGKILL)
    kill(monitor)
    client.wait(10)
    wait_for_end(box)
    assert box.ok("rm", "web") == "web"


def test_the_first_process_killed_from_outside(box):
    box.ok("run", "-d", "--name", "web", *ENDLESS)
    pid = state(box, "web")["Pid"]
    kill(pid)
    assert box.ok("wait", "web") == "137"
    assert state(box, "web")["Error"] == ""
    wait_for_end(box)


def test_a_container_outlives_its_slirp4netns(box, free_port):
    box.ok("run", "-d", "--name", "web", "-p", f"127.0.0.1:{free_port}:80", *ENDLESS)
    (helper,) = slirp_of(box)
    kill(helper)
    assert box.ok("exec", "web", "echo", "alive") == "alive"
    assert box.ok("stop", "web") == "web"
    assert state(box, "web")["ExitCode"] == 0
    box.ok("start", "web")
    assert len(slirp_of(box)) == 1
    assert box.ok("rm", "-f", "web") == "web"
    wait_for_end(box)


def test_the_pause_process_may_be_killed(box):
    box.ok("run", "-d", "--name", "web", "--network", "none", *ENDLESS)
    processes.kill(box.pause_processes())
    assert box.ok("exec", "web", "echo", "alive") == "alive"
    assert box.ok("run", "--rm", "busybox", "echo", "hi") == "hi"
    processes.kill(box.pause_processes())
    assert box.ok("stop", "web") == "web"
    assert box.ok("rm", "web") == "web"


def tidy(rl: Rl) -> None:
    """A removal takes with it what killed commands left in the trash."""
    rl.ok("create", "--name", "last", "busybox")
    rl.ok("rm", "last")
    wait_for_end(rl)
    assert rl.leftovers() == []


# --- at each step ------------------------------------------------------------------------


def steps(first: int, stride: int) -> range:
    """Return the steps to die at. All of them (a stride of 1) take three minutes."""
    return range(first, 400, stride)


@pytest.mark.parametrize("options", [("-d",), ("-d", "--rm", "-v", "/data")], ids=["kept", "rm"])
def test_run_killed_at_each_step(box, mortal, options):
    """Either there is no container, or one that can be seen, started and removed."""
    deaths = 0
    for step in steps(1, 2):
        command = box.using(mortal("main", step))
        result = command("run", *options, "--name", "mortal", "--network", "none", *ENDLESS)
        if result.status == 0:
            break
        assert result.status == -signal.SIGKILL, result
        deaths += 1
        listed = box.ok("ps", "-a", "--format", "{{.Names}}").split()
        assert listed in ([], ["mortal"])
        # The name is free or is the container's.
        again = box("run", "-d", "--name", "mortal", "--network", "none", *ENDLESS)
        assert again.status == (125 if listed else 0), again
        assert box("rm", "-f", "-v", "mortal").status == 0
        assert box.containers() == []
    else:
        raise AssertionError("it never ended by itself")
    assert deaths > 3
    box.ok("rm", "-f", "-v", "mortal")
    wait_for_end(box)
    assert box.leftovers() == []


@pytest.mark.parametrize(("options", "stride"), [(("-d",), 2), (("--rm",), 3)], ids=["detached", "foreground"])
def test_a_monitor_killed_at_each_step(box, mortal, options, stride):
    """The command says that the container did not start, or that it ended."""
    deaths = 0
    for step in steps(1, stride):
        result = box.using(mortal("monitor", step))(
            "run", *options, "--name", "mortal", "busybox", "sh", "-c", "echo it ran"
        )
        killed = result.status != 0
        if killed:
            deaths += 1
            assert result.status in (125, 137), result
            assert "monitor" in complaint(result)
        wait_for_end(box)
        listed = box.ok("ps", "-a", "--format", "{{.Names}} {{.State}}")
        assert listed in ("", "mortal exited"), listed
        died_later = "137" in box.ok("ps", "-a", "--format", "{{.Status}}")
        box.ok("rm", "-f", "-v", "mortal")
        assert box.ok("run", "--rm", "--name", "mortal", "--network", "none", "busybox", "echo", "again") == "again"
        if not killed and not died_later:
            break
    else:
        raise AssertionError("it never ended by itself")
    assert deaths > 3
    tidy(box)


def test_rm_killed_at_each_step(box, mortal):
    for step in steps(1, 3):
        if "mortal" not in box.ok("ps", "-a", "--format", "{{.Names}}").split():
            box.ok("run", "-d", "--name", "mortal", "--network", "none", "-v", "/data", *ENDLESS)
        result = box.using(mortal("main", step))("rm", "-f", "-v", "mortal")
        if result.status == 0:
            break
        assert result.status == -signal.SIGKILL, result
    else:
        raise AssertionError("it never ended by itself")
    assert step > 3
    box.ok("run", "--rm", "--name", "mortal", "--network", "none", "busybox", "true")
    tidy(box)


@pytest.fixture
def server(rootfs):
    with fake.FakeRegistry() as registry:
        noise = [fake.layer(f"noise{number}", os.urandom(200_000)) for number in range(2)]
        registry.image = registry.add(fake.make_image([gzip.decompress(rootfs.read_bytes()), *noise]))
        yield registry


@pytest.mark.parametrize(("role", "stride"), [("main", 5), ("child", 15)])
def test_pull_killed_at_each_step(bare_rl, mortal, server, role, stride):
    """The store is intact after each, and each goes on where the last one was."""
    name = f"{server.host}/library/app"
    deaths = 0
    for step in steps(3, stride):
        result = bare_rl.using(mortal(role, step))("pull", "-q", name)
        if result.status == 0:
            break
        deaths += 1
        if role == "main":
            assert result.status == -signal.SIGKILL, result
        else:
            assert result.status == 1, result
            complaint(result)
        if bare_rl.ok("images", "-q"):  # it had all but said so
            bare_rl.ok("rmi", name)
        assert bare_rl.ok("ps", "-aq") == ""
        if deaths % 4 == 0:  # from the start again: what comes late must not be met by few only
            bare_rl.ok("image", "prune", "-f")
    else:
        raise AssertionError("it never ended by itself")
    assert deaths >= 2
    bare_rl.ok("pull", "-q", name)
    assert bare_rl.ok("run", "--rm", "--network", "none", name, "echo", "fine") == "fine"
    assert empty(bare_rl.data_root / "partial")
    assert bare_rl.leftovers() == []
    wait_for_end(bare_rl)
    # Nothing but the image: removed, it leaves an empty store.
    bare_rl.ok("rmi", name)
    for place in ("blobs/sha256", "snapshots/sha256", "snapshots/l"):
        assert empty(bare_rl.data_root / place), place


def test_pull_killed_in_the_middle_of_a_download_is_continued(bare_rl, server):
    name, digest = f"{server.host}/library/app", server.image.layer_digests[1]
    server.fault(digest, fake.hang(120_000), times=1)
    pull = bare_rl.spawn("pull", "-q", name)
    assert server.hanging.wait(30)
    partial = bare_rl.data_root / "partial" / digest.removeprefix("sha256:")
    while not partial.exists() or partial.stat().st_size < 120_000:
        assert pull.poll() is None
        os.sched_yield()
    kill(pull.pid)
    server.released.set()
    wait_for_end(bare_rl)
    server.requests.clear()
    bare_rl.ok("pull", "-q", name)
    ranges = [headers.get("range") for _, path, headers in server.requests if digest in path]
    assert ranges == ["bytes=120000-"]
    fetched = [path for path in server.paths("blobs/") if server.image.layer_digests[0] in path]
    assert len(fetched) <= 1


def test_load_killed_at_each_step(bare_rl, mortal, busybox_archive):
    for step in steps(2, 4):
        result = bare_rl.using(mortal("main", step))("load", "-i", busybox_archive)
        if result.status == 0:
            break
        assert result.status == -signal.SIGKILL, result
        if bare_rl.ok("images", "-q"):  # it had all but said so
            bare_rl.ok("rmi", "busybox")
    else:
        raise AssertionError("it never ended by itself")
    assert step > 3
    bare_rl.ok("rmi", "busybox")
    wait_for_end(bare_rl)
    assert bare_rl.leftovers() == []
    assert empty(bare_rl.data_root / "blobs/sha256")
    assert empty(bare_rl.data_root / "snapshots/sha256")
