"""Terminals and pipes: what `-i` and `-t` give a payload, and what they leave of ours."""

from __future__ import annotations

import hashlib
import os
import re
import select
import signal
import subprocess

import pexpect
import pytest

from tests.e2e.test_headline import wait_for

NET = ("--network", "none")


def shell(box, *options: str, script: str, **more):
    """Run a script with -it; returns the pexpect child."""
    return box.terminal("run", "--rm", "-it", *NET, *options, "busybox", "sh", "-c", script, **more)


def status_of(child) -> int:
    child.expect(pexpect.EOF)
    child.wait()
    assert child.signalstatus is None
    return child.exitstatus


# -- with a terminal ---------------------------------------------------------------------


def test_the_payload_has_a_real_terminal_of_its_own(box):
    child = shell(box, script="tty; test -t 0 && test -t 1 && test -t 2 && echo all three; ls -l /dev/console; exit 3")
    child.expect("/dev/pts/0\r\n")
    child.expect("all three\r\n")
    child.expect("crw--w---- +1 root +tty +136, +0 .*/dev/console")
    assert status_of(child) == 3


def test_its_size_is_ours_and_follows_it(box):
    script = "trap 'echo now $(stty size)' WINCH; echo first $(stty size); while ! read x; do :; done"
    child = shell(box, script=script, rows=31, columns=97)
    child.expect("first 31 97\r\n")
    child.setwinsize(40, 120)
    child.expect("now 40 120\r\n")
    child.setwinsize(10, 50)
    child.expect("now 10 50\r\n")
    child.send("\r")
    assert status_of(child) == 0


def test_ctrl_c_interrupts_the_payload_and_not_rl(box):
    child = shell(box, script="trap 'echo interrupted; exit 7' INT; echo ready; while ! read x; do :; done")
    child.expect("ready\r\n")
    child.send("\x03")
    child.expect("interrupted\r\n")
    assert status_of(child) == 7


def test_ctrl_c_ends_a_program_that_does_nothing_about_it(box):
    child = shell(box, "--init", script="echo ready; exec cat")
    child.expect("ready\r\n")
    child.send("\x03")
    assert status_of(child) == 130


def test_job_control_works_in_a_shell(box):
    child = box.terminal("run", "--rm", "-it", *NET, "busybox")
    child.expect("/ # ")
    child.send("cat\r")
    child.send("\x1a")
    child.expect("Stopped")
    child.send("fg\r")
    child.send("echoed\r")
    child.expect("echoed\r\nechoed\r\n")
    child.send("\x04")
    child.expect("/ # ")
    child.send("exit 5\r")
    assert status_of(child) == 5


def test_the_detach_keys_leave_and_the_container_goes_on(box):
    script = "echo ready; read x; echo got $x >/said; exec sleep 300"
    child = box.terminal("run", "-it", "--name", "box", *NET, "busybox", "sh", "-c", script)
    child.expect("ready\r\n")
    child.send("\x10")
    child.send("\x11")
    assert status_of(child) == 0
    assert box.ok("inspect", "-f", "{{.State.Status}}", "box") == "running"
    # Its terminal is still there.
    assert box.ok("exec", "box", "test", "-c", "/dev/pts/0") == ""
    assert box("exec", "box", "test", "-e", "/said").status == 1, "neither key went to the payload"


def test_other_detach_keys(box):
    child = box.terminal("run", "-it", "--name", "box", "--detach-keys", "ctrl-a,d", *NET, "busybox", "cat")
    child.send("\x10\x11")
    child.expect(r"\^P")  # the terminal's echo
    child.send("\x01d")
    assert status_of(child) == 0
    assert box.ok("inspect", "-f", "{{.State.Status}}", "box") == "running"


def test_the_first_detach_key_alone_arrives_after_a_moment(box):
    script = "stty raw -echo; echo ready; dd bs=1 count=2 2>/dev/null | od -An -tx1"
    child = shell(box, script=script)
    child.expect("ready")
    child.send("\x10")
    child.send("x")  # at once: it is no detach sequence any more
    child.expect("10 78")
    assert status_of(child) == 0
    child = shell(box, script=script.replace("count=2", "count=1"))
    child.expect("ready")
    child.send("\x10")  # and nothing else
    child.expect("10")
    assert status_of(child) == 0


# `stty -g` prints all modes as one word, before and after.
MODES = "stty -g; {}; echo status $?; stty -g"


@pytest.mark.parametrize(
    ("script", "typed", "status"),
    [
        ("echo ready; read x", "\r", 0),
        ("stty raw -echo; echo ready; exit 4", "", 4),
        ("echo ready; read x; sleep 300", "\x10\x11", 0),
        ("echo ready; kill -9 $$; read x", "\x04", 1),
    ],
    ids=["normal end", "payload changed its own", "detached", "odd end"],
)
def test_our_terminal_is_afterwards_as_it_was_before(box, script, typed, status):
    command = box._argv(("run", "-it", *NET, "busybox", "sh", "-c", script))
    child = box_shell(box, MODES.format('"$@"'), command)
    child.expect(r"([0-9a-f]+(:[0-9a-f]+)+)\r\n")
    before = child.match[1]
    child.expect("ready")
    if typed:
        child.send(typed)
    child.expect(rf"status {status}\r\n")
    child.expect(r"([0-9a-f]+(:[0-9a-f]+)+)\r\n")
    assert child.match[1] == before


def test_our_terminal_is_restored_when_the_monitor_is_killed(box):
    command = box._argv(("run", "-it", "--name", "box", *NET, "busybox", "sh", "-c", "echo ready; sleep 300"))
    child = box_shell(box, MODES.format('"$@"'), command)
    child.expect(r"([0-9a-f]+(:[0-9a-f]+)+)\r\n")
    before = child.match[1]
    child.expect("ready")
    state = box.data_root / "containers" / box.ok("inspect", "-f", "{{.Id}}", "box") / "state.json"
    os.kill(int(re.search(r'"monitor_pid": ?(\d+)', state.read_text())[1]), signal.SIGKILL)
    child.expect("the monitor of the container was killed")
    child.expect("status 125\r\n")
    child.expect(r"([0-9a-f]+(:[0-9a-f]+)+)\r\n")
    assert child.match[1] == before


def box_shell(box, script: str, command: list[str]):
    """Run a script of ours on a terminal, with a command as its arguments."""
    child = pexpect.spawn(
        "/bin/sh", ["-c", script, "sh", *command], env=box._environment(None), cwd=str(box.home), timeout=30
    )
    box._terminals.append(child)
    return child


def test_the_terminal_translates_and_echoes_as_terminals_do(box):
    child = shell(box, script="echo ready; read x; echo got $x")
    child.expect("ready\r\n")
    child.send("typed\r")
    child.expect("typed\r\ngot typed\r\n")
    assert status_of(child) == 0


def test_megabytes_through_a_terminal(box):
    child = shell(box, script="seq 200000; echo end of it", timeout=60)
    child.expect("end of it\r\n")
    assert hashlib.sha256(child.before).digest() == hashlib.sha256(numbers(b"\r\n")).digest()
    assert status_of(child) == 0


def numbers(end: bytes) -> bytes:
    return b"".join(b"%d%s" % (number, end) for number in range(1, 200001))


def test_exec_has_a_terminal_too(box):
    box.ok("run", "-d", "--name", "box", *NET, "busybox", "sleep", "300")
    script = "tty; trap 'echo now $(stty size)' WINCH; echo $(stty size); while ! read x; do :; done; exit 6"
    child = box.terminal("exec", "-it", "box", "sh", "-c", script, rows=33, columns=99)
    child.expect("/dev/pts/0\r\n33 99\r\n")
    child.setwinsize(44, 111)
    child.expect("now 44 111\r\n")
    child.send("\r")
    assert status_of(child) == 6


# -- without ------------------------------------------------------------------------------


def test_stdout_and_stderr_stay_apart(box):
    result = box("run", "--rm", *NET, "busybox", "sh", "-c", "echo out; echo err >&2; tty")
    assert (result.status, result.stdout, result.stderr) == (1, "out\nnot a tty\n", "err\n")


def test_with_t_they_are_one(box):
    result = box("run", "--rm", "-t", *NET, "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (result.status, result.stdout, result.stderr) == (0, "out\r\nerr\r\n", "")


def test_without_i_the_input_is_empty_and_ours_is_not_touched(box):
    command = box._argv(("run", "--rm", *NET, "busybox", "cat"))
    script = '"$@"; cat'  # what rl leaves, the next program gets
    result = subprocess.run(
        ["sh", "-c", script, "sh", *command],
        input=b"for somebody else\n",
        env=box._environment(None),
        stdout=subprocess.PIPE,
        timeout=30,
    )
    assert result.stdout == b"for somebody else\n"


def test_megabytes_in_both_directions_at_once_and_the_end_of_input(box):
    data = os.urandom(1 << 20) * 16
    process = box.spawn("run", "--rm", "-i", *NET, "busybox", "sh", "-c", "cat; echo closed >&2")
    stdout, stderr = process.communicate(data, timeout=60)
    assert (process.returncode, stderr) == (0, b"closed\n")
    assert hashlib.sha256(stdout).digest() == hashlib.sha256(data).digest()


def test_megabytes_of_output_to_a_slow_reader_arrive_whole(box):
    process = box.spawn(
        "run", "--rm", *NET, "busybox", "sh", "-c", "seq 200000; seq 200000 >&2", stderr=subprocess.STDOUT
    )
    received = b""
    while chunk := os.read(process.stdout.fileno(), 1000):
        received += chunk
    assert process.wait(20) == 0
    assert len(received) == 2 * len(numbers(b"\n"))


def test_input_that_nobody_reads_waits_outside_of_the_monitor(box):
    process = box.spawn("run", "-i", "--name", "box", *NET, "busybox", "sh", "-c", "echo ready; exec sleep 300")
    wait_for(process.stdout, "ready")
    os.set_blocking(process.stdin.fileno(), False)
    taken = 0
    poll = select.poll()
    poll.register(process.stdin, select.POLLOUT)
    while poll.poll(500):
        taken += os.write(process.stdin.fileno(), bytes(65536))
        assert taken < 4_000_000, "somebody hoards it"
    assert taken > 100_000


def test_output_after_the_end_of_input_still_comes(box):
    process = box.spawn("run", "--rm", "-i", *NET, "busybox", "sh", "-c", "wc -c; echo more; echo err >&2")
    stdout, stderr = process.communicate(b"x" * 3_000_000, timeout=60)
    assert (stdout.split(), stderr) == ([b"3000000", b"more"], b"err\n")


def test_a_payload_that_does_not_read_its_input_ends_all_the_same(box):
    process = box.spawn("run", "--rm", "-i", *NET, "busybox", "sh", "-c", "echo done; exit 9")
    try:
        stdout, _ = process.communicate(b"x" * 8_000_000, timeout=60)
    except BrokenPipeError:
        stdout = process.stdout.read()
    assert (stdout, process.wait(20)) == (b"done\n", 9)


def test_a_conversation_through_pipes_is_not_held_back(box):
    process = box.spawn("run", "--rm", "-i", *NET, "busybox", "sh", "-c", "while read x; do echo you said $x; done")
    for word in ("one", "two"):
        process.stdin.write(f"{word}\n".encode())
        process.stdin.flush()
        assert wait_for(process.stdout, "\n") == f"you said {word}\n"
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_reader_that_goes_away_ends_rl_like_any_program(box):
    command = box._argv(("run", "--name", "box", *NET, "busybox", "sh", "-c", "yes"))
    script = '"$@" | head -n 2; echo status ${PIPESTATUS[0]}'
    result = subprocess.run(
        ["bash", "-c", script, "bash", *command], env=box._environment(None), capture_output=True, text=True, timeout=30
    )
    assert (result.stdout, result.stderr) == ("y\ny\nstatus 141\n", "")


def test_exec_passes_streams_and_status(box):
    box.ok("run", "-d", "--name", "box", *NET, "busybox", "sleep", "300")
    data = os.urandom(1 << 20) * 8
    process = box.spawn("exec", "-i", "box", "sh", "-c", "cat; echo err >&2; exit 11")
    stdout, stderr = process.communicate(data, timeout=60)
    assert (process.returncode, stderr) == (11, b"err\n")
    assert hashlib.sha256(stdout).digest() == hashlib.sha256(data).digest()


def test_it_refuses_when_our_input_is_no_terminal(box):
    message = box.fails(125, "run", "--rm", "-it", "busybox", "true")
    assert message.startswith("rl: the input device is not a terminal")
