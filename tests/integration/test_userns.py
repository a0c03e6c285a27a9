"""rl's user namespace: made once, shared, replaced when it dies, and what runs in it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rootless import errors
from rootless.linux import process, syscalls
from rootless.linux.userns import UserNamespace
from tests.support.hosts import nested
from tests.support.images import ROOT


@pytest.fixture
def place(tmp_path):
    """A runtime directory; its pause process is ended afterwards."""
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)
    yield directory
    if (directory / "pause.pid").exists():
        end(pause(directory))


def pause(directory: Path) -> int:
    return int((directory / "pause.pid").read_text().split()[0])


def end(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    assert select.select([pidfd], [], [], 10)[0]
    os.close(pidfd)
    if pid in children():
        os.waitpid(pid, 0)


def children() -> set[int]:
    return {int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def identity() -> str:
    return os.readlink("/proc/self/ns/user")


def credentials() -> list:
    with open("/proc/self/status") as stream:
        caps = next(int(line.split()[1], 16) for line in stream if line.startswith("CapEff"))
    with open("/proc/self/uid_map") as stream:
        rows = [list(map(int, line.split())) for line in stream]
    return [os.getresuid(), os.getresgid(), caps, rows]


def test_inside_we_are_root_of_all_our_ids(place):
    namespace = UserNamespace(str(place))
    users, groups, caps, rows = namespace.call(credentials)
    assert (users, groups) == ((0, 0, 0), (0, 0, 0))
    assert caps == (1 << int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1) - 1
    assert rows == [list(row) for row in namespace.map.uids]
    assert rows[0] == [0, os.getuid(), 1]
    assert rows[1][0] == 1
    assert namespace.map.size > 65536
    assert os.getuid() != 0, "the caller is who it was"


def test_all_users_of_a_directory_share_one_namespace(place):
    first, second = UserNamespace(str(place)), UserNamespace(str(place))
    assert first.call(identity) == first.call(identity) == second.call(identity) != identity()
    assert process.is_alive(pause(place), process.start_time(pause(place)))


def test_several_at_once_make_one(place):
    code = "import os, sys; sys.path.insert(0, sys.argv[1]); from rootless.linux.userns import UserNamespace as U\n"
    code += "n = U(sys.argv[2]); n.open(); print(n.call(os.readlink, '/proc/self/ns/user'))"
    running = [
        subprocess.Popen([sys.executable, "-I", "-c", code, str(ROOT), str(place)], stdout=subprocess.PIPE)
        for _ in range(8)
    ]
    answers = {child.communicate(timeout=60)[0] for child in running}
    assert len(answers) == 1
    assert [child.returncode for child in running] == [0] * 8
    assert sorted(os.listdir(place)) == ["pause.fifo", "pause.lock", "pause.pid"]


def test_a_killed_pause_process_is_replaced(place):
    namespace = UserNamespace(str(place))
    namespace.open()
    first = pause(place)
    end(first)
    assert namespace.call(os.getuid) == 0, "who holds the namespace keeps it"
    fresh = UserNamespace(str(place))
    assert fresh.call(os.getuid) == 0
    assert pause(place) != first


@pytest.mark.parametrize("record", ["1 1 x", "", "nonsense", "999999999 5 ((0, 1, 1),)"])
def test_a_record_of_something_else_is_not_believed(place, record):
    (place / "pause.pid").write_text(record)
    assert UserNamespace(str(place)).call(os.getuid) == 0
    assert pause(place) > 1


def test_other_ranges_make_another_namespace(place):
    UserNamespace(str(place)).open()
    before = pause(place)
    record = (place / "pause.pid").read_text()
    (place / "pause.pid").write_text(record.replace("65536", "65535"))
    UserNamespace(str(place)).open()
    assert pause(place) != before
    end(before)


def test_the_pause_process_holds_on_to_nothing(place, tmp_path):
    (tmp_path / "cwd").mkdir()
    code = "import sys; sys.path.insert(0, sys.argv[1]); from rootless.linux.userns import UserNamespace as U; U(sys.argv[2]).open()"
    leaked = os.open(tmp_path, os.O_RDONLY)
    result = subprocess.run(
        [sys.executable, "-I", "-c", code, str(ROOT), str(place)],
        cwd=tmp_path / "cwd",
        pass_fds=(leaked,),
        capture_output=True,
        timeout=60,
        env={"SECRET": "x"},
    )
    os.close(leaked)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b""), "our pipes were let go too"
    # Visible to root of its namespace only: it is not dumpable for others once it has become that.
    script = 'ls -l "/proc/$1/fd"; readlink "/proc/$1/cwd"; tr "\\0" " " <"/proc/$1/environ"; cat "/proc/$1/comm"'
    seen = UserNamespace(str(place)).call(_shell, script, str(pause(place)))
    assert str(tmp_path / "cwd") not in seen
    assert "SECRET" not in seen
    assert seen.count(" -> ") == 3, seen
    assert seen.count("/dev/null") == 2


def _shell(script: str, *arguments: str) -> str:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(write_end, 1)
        os.execv("/bin/sh", ["sh", "-c", script, "sh", *arguments])
    os.close(write_end)
    with open(read_end) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return text


@pytest.mark.parametrize("value", [None, 5, "text", b"bytes", [1, (2, {"three": 4.0})], {"a": None}])
def test_results_come_back(place, value):
    assert UserNamespace(str(place)).call(lambda: value) == value


def test_errors_come_back_as_what_they_were(place):
    namespace = UserNamespace(str(place))

    def ours():
        raise errors.NoSuchImage("no such image: x", hint="pull it")

    with pytest.raises(errors.NoSuchImage, match="no such image: x") as caught:
        namespace.call(ours)
    assert caught.value.hint == "pull it"
    with pytest.raises(FileNotFoundError) as missing:
        namespace.call(os.stat, "/nonexistent")
    assert missing.value.filename == "/nonexistent"
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        namespace.call(lambda: 1 // 0)


def test_silence_is_an_error_too(place):
    with pytest.raises(errors.SystemFailure, match=r"ended without an answer \(status 137\)"):
        UserNamespace(str(place)).call(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_calls_leave_no_process_and_no_descriptor(place):
    before = children()
    namespace = UserNamespace(str(place))
    namespace.open()
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        namespace.call(os.getpid)
        with pytest.raises(FileNotFoundError):
            namespace.call(os.stat, "/nonexistent")
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert children() - before == {pause(place)}


def test_mounts_made_inside_stay_inside(place, tmp_path):
    target = tmp_path / "target"
    target.mkdir()

    def mount() -> int:
        syscalls.mount("tmpfs", str(target), "tmpfs")
        (target / "file").touch()
        return len(os.listdir(target))

    assert UserNamespace(str(place)).call(mount) == 1
    assert os.listdir(target) == []
    assert str(target) not in Path("/proc/self/mountinfo").read_text()


def test_files_of_subordinate_ids_can_be_made_and_removed(place, tmp_path):
    namespace = UserNamespace(str(place))
    directory = tmp_path / "theirs"

    def make() -> None:
        directory.mkdir(mode=0o700)
        (directory / "file").touch()
        os.chown(directory / "file", 33, 33)
        os.chown(directory, 33, 33)

    namespace.call(make)
    assert directory.stat().st_uid == namespace.map.uids[1][1] + 32
    with pytest.raises(PermissionError):
        os.listdir(directory)
    assert namespace.call(os.listdir, str(directory)) == ["file"]
    namespace.call(os.unlink, str(directory / "file"))
    namespace.call(os.rmdir, str(directory))


def test_a_worker_serves_many_calls_and_ends(place):
    before = children()
    namespace = UserNamespace(str(place))
    with namespace.worker() as worker:
        assert worker.call(os.getuid) == 0
        assert len({worker.call(os.getpid) for _ in range(3)}) == 3, "a child for each"
        with pytest.raises(FileNotFoundError):
            worker.call(os.stat, "/nonexistent")
        assert worker.call(os.path.join, "a", "b" * 200_000) == "a/" + "b" * 200_000
    assert children() - before == {pause(place)}


def test_an_interrupted_worker_is_killed(place):
    before = children()
    namespace = UserNamespace(str(place))
    with pytest.raises(KeyboardInterrupt), namespace.worker():
        raise KeyboardInterrupt
    assert children() - before == {pause(place)}


def test_root_of_a_container_needs_no_newuidmap(tmp_path):
    """rl inside of another container, as its root: the ids that there are, written directly."""
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from rootless.linux.userns import UserNamespace as U\n"
        "n = U(sys.argv[2]); print(n.call(os.getuid), n.map.size > 60000, n.map.direct)\n"
        "os.kill(int(open(sys.argv[2] + '/pause.pid').read().split()[0]), 9)"
    )
    result = subprocess.run(
        [*nested(), sys.executable, "-I", "-c", code, str(ROOT), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stdout == "0 True True\n", result.stderr
