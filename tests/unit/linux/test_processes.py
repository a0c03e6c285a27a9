"""Processes and helpers: identity, waiting, and programs run without a shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from rootless.errors import MissingHelper
from rootless.linux import commands, fds, process


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "300"]) as child:
        yield child
        child.kill()


def test_a_process_is_its_pid_and_its_start(sleeper):
    start = process.start_time(sleeper.pid)
    assert start > 0
    assert process.is_alive(sleeper.pid, start)
    assert not process.is_alive(sleeper.pid, start + 1), "another process with that pid"
    assert process.open_pidfd(sleeper.pid, start + 1) is None


def test_a_zombie_is_dead(sleeper):
    start = process.start_time(sleeper.pid)
    pidfd = process.open_pidfd(sleeper.pid, start)
    sleeper.kill()
    assert process.wait_pidfd(pidfd, 10)
    assert process.start_time(sleeper.pid) == start, "it is still in the table"
    assert not process.is_alive(sleeper.pid, start)
    sleeper.wait()
    assert process.start_time(sleeper.pid) == 0
    assert not process.send_signal(pidfd, 15)
    os.close(pidfd)
    assert process.open_pidfd(sleeper.pid) is None


def test_names_with_blanks_and_parentheses_do_not_confuse(tmp_path):
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "300"], executable=str(program)) as child:
        assert process.is_alive(child.pid, process.start_time(child.pid))
        child.kill()


def test_waiting_has_an_end(sleeper):
    pidfd = process.open_pidfd(sleeper.pid)
    before = time.monotonic()
    assert not process.wait_pidfd(pidfd, 0.05)
    assert 0.04 < time.monotonic() - before < 5
    os.close(pidfd)


@pytest.mark.parametrize(("code", "status"), [("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)])
def test_exit_statuses_are_the_shells(code, status):
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", code], {})
    assert process.exit_status(os.waitpid(pid, 0)[1]) == status


def test_terminating_is_kind_and_then_not():
    script = "trap '' TERM; echo ready; while :; do read x; done"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as deaf:
        assert deaf.stdout.readline() == b"ready\n"
        process.terminate(deaf.pid, 0.05)
        assert process.start_time(deaf.pid) == 0
        deaf.returncode = 0  # reaped behind its back


def status_of_signals() -> list[str]:
    script = "import os,_signal\nfrom rootless.linux import process\nprocess.reset_signals()\n"
    script += "os.execv('/bin/grep', ['grep', '-E', '^Sig(Blk|Ign)', '/proc/self/status'])"
    code = f"import sys; sys.path.insert(0, {os.getcwd()!r}); import _signal; {_IGNORE}; exec({script!r})"
    return subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()


_IGNORE = (
    "[_signal.signal(n, _signal.SIG_IGN) for n in (1, 2, 3, 10, 12, 13, 14, 15, 17, 20, 21, 22, 25, 28)]; "
    "_signal.pthread_sigmask(_signal.SIG_BLOCK, (1, 2, 15))"
)


def test_a_program_starts_without_our_ignored_and_blocked_signals():
    blocked, ignored = status_of_signals()[1::2]
    assert int(blocked, 16) == 0
    assert int(ignored, 16) & ~(1 << 9 | 1 << 11 | 1 << 13) == 0, "of those that rl or Python ever touch"


def test_output_status_and_input_of_a_program():
    result = commands.run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin=b"given")
    assert (result.status, result.stdout, result.stderr) == (3, b"given", b"oops\n")
    assert result.reason() == "oops"


def test_megabytes_of_input_and_output_do_not_block():
    data = os.urandom(1 << 20) * 4
    assert commands.run(["cat"], stdin=data).stdout == data
    assert commands.run(["true"], stdin=data).status == 0, "not reading its input is a program's right"


def test_a_program_that_takes_too_long_is_killed():
    with pytest.raises(TimeoutError, match=r"sleep did not end within 0\.05 seconds"):
        commands.run(["sleep", "300"], timeout=0.05)


def test_a_missing_program_names_its_package():
    with pytest.raises(MissingHelper) as caught:
        commands.run(["newuidmap-of-rl"])
    assert "newuidmap-of-rl is not installed" in str(caught.value)
    assert "apt install newuidmap-of-rl" in caught.value.hint
    with pytest.raises(MissingHelper):
        commands.spawn(["/nonexistent/program"])


def test_no_shell_no_inherited_descriptors_and_a_small_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("LD_PRELOAD", "/nonexistent.so")
    out = commands.run(["env"]).stdout.decode()
    assert "SECRET_TOKEN" not in out
    assert "LD_PRELOAD" not in out
    assert commands.run(["echo", "$HOME; `id`"]).stdout == b"$HOME; `id`\n"
    fd = os.open(tmp_path, os.O_RDONLY | os.O_CLOEXEC)
    assert str(tmp_path).encode() not in commands.run(["ls", "-l", "/proc/self/fd"]).stdout
    os.close(fd)


def test_running_leaks_no_descriptor():
    before = len(os.listdir("/proc/self/fd"))
    commands.run(["true"])
    with pytest.raises(MissingHelper):
        commands.run(["no-such-program-anywhere"])
    with pytest.raises(TimeoutError):
        commands.run(["sleep", "300"], timeout=0.01)
    assert len(os.listdir("/proc/self/fd")) == before


def test_programs_are_found_in_sbin_without_a_path(monkeypatch):
    monkeypatch.setenv("PATH", "relative:/nonexistent")
    assert commands.which("sh") is not None
    assert commands.which("nothing-of-the-kind") is None


def test_all_but_some_descriptors_are_closed():
    script = (
        "import os, sys; sys.path.insert(0, os.getcwd())\n"
        "from rootless.linux import fds\n"
        "kept = [os.dup(0) for _ in range(20)]\n"
        "fds.close_all_but([0, 1, 2, kept[3], kept[17]])\n"
        "names = sorted(os.listdir('/proc/self/fd'), key=int)\n"
        "open_now = [int(n) for n in names if os.path.lexists(f'/proc/self/fd/{n}')]\n"
        "print(open_now == sorted([0, 1, 2, kept[3], kept[17]]))\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout == "True\n"


def test_everything_is_written_even_to_a_narrow_pipe():
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        fds.write_all(write_end, b"x" * 1_000_000)
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as stream:
        assert len(stream.read()) == 1_000_000
    assert os.waitpid(pid, 0)[1] == 0


def test_the_boot_has_an_id():
    assert len(process.boot_id()) == 36
    assert signal.SIGKILL == 9
