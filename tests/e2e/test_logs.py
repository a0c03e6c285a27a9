"""``rl logs``."""

from __future__ import annotations

import re

import pytest

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"


@pytest.fixture(scope="module")
def ten(store):
    """A container that has printed 1 to 10."""
    store("run", "--name", "ten", "--network", "none", "busybox", "seq", "10")
    return "ten"


def times_of(box, name):
    text = box.ok("logs", "-t", name)
    return [line.split()[0] for line in text.splitlines()]


def test_keeps_the_streams_apart(box):
    box.ok("run", "--name", "both", "busybox", "sh", "-c", "echo out; echo err >&2; echo more")
    result = box("logs", "both")
    assert (result.status, result.stdout, result.stderr) == (0, "out\nmore\n", "err\n")
    stamped = box("logs", "-t", "both").stderr
    assert re.fullmatch(rf"{STAMP} err\n", stamped)


@pytest.mark.parametrize(
    ("tail", "lines"),
    [("0", []), ("1", [10]), ("3", [8, 9, 10]), ("all", range(1, 11)), ("99", range(1, 11)), ("-1", range(1, 11))],
)
def test_tail_is_the_last_lines(box, ten, tail, lines):
    expected = [str(number) for number in lines]
    for option in (["--tail", tail], ["-n", tail], [f"--tail={tail}"]):
        assert box.ok("logs", *option, ten).splitlines() == expected


def test_timestamps_are_rfc_3339_and_ascend(box, ten):
    result = box("logs", "-t", ten)
    assert len(result.lines) == 10
    assert all(re.fullmatch(rf"{STAMP} \d+", line) for line in result.lines), result
    assert times_of(box, ten) == sorted(times_of(box, ten))
    assert box("logs", "--timestamps", ten).stdout == result.stdout


def test_since_and_until_take_times_and_durations(box):
    box.ok("run", "-d", "--name", "spread", "busybox", "sh", "-c", "echo 1; sleep 0.02; echo 2; sleep 0.02; echo 3")
    box.ok("wait", "spread")
    second = times_of(box, "spread")[1]
    assert box.ok("logs", "--since", second, "spread") == "2\n3"
    assert box.ok("logs", "--until", second, "spread") == "1\n2"
    assert box.ok("logs", "--since", second, "--until", second, "spread") == "2"
    assert box.ok("logs", "--since", "1h", "spread") == "1\n2\n3"
    assert box.ok("logs", "--until", "1h", "spread") == ""
    assert box.ok("logs", "--since", "2030-01-01", "spread") == ""
    assert box.ok("logs", "--since", "1", "spread") == "1\n2\n3"
    assert "nope" in box.fails(1, "logs", "--since", "nope", "spread")


def test_follow_shows_what_comes_and_ends_with_the_container(box):
    box.ok(
        "run",
        "-d",
        "-i",
        "--name",
        "grows",
        "busybox",
        "sh",
        "-c",
        "echo early; mkfifo /gate; read x </gate; echo late; echo err >&2",
    )
    follower = box.spawn("logs", "-f", "grows")
    assert follower.stdout.readline() == b"early\n"
    box("exec", "grows", "sh", "-c", "echo go >/gate")
    assert follower.stdout.readline() == b"late\n"
    out, err = follower.communicate(timeout=20)
    assert (follower.returncode, out, err) == (0, b"", b"err\n")


def test_follow_of_a_stopped_container_returns(box, ten):
    assert box.ok("logs", "-f", "--tail", "2", ten) == "9\n10"


def test_follow_begins_with_the_tail(box, until):
    box.ok("run", "-d", "--name", "fresh", "busybox", "sh", "-c", "echo older; echo old; mkfifo /gate; cat /gate")
    until(lambda: "old\n" in box("logs", "fresh").stdout.removeprefix("older\n"))
    follower = box.spawn("logs", "-f", "--tail", "1", "fresh")
    assert follower.stdout.readline() == b"old\n"
    box("exec", "fresh", "sh", "-c", "echo new >/gate")
    assert follower.communicate(timeout=20)[0] == b"new\n"


def test_a_running_containers_log_is_readable(box, until):
    box.ok("run", "-d", "--name", "runs", "busybox", "sh", "-c", "echo here; exec sleep 1000")
    assert until(lambda: box.ok("logs", "runs")) == "here"


def test_lines_without_end_long_lines_and_odd_bytes_survive(box):
    script = r"printf 'no end'"
    box.ok("run", "--name", "partial", "busybox", "sh", "-c", script)
    assert box("logs", "partial").raw == b"no end"
    box.ok("run", "--name", "long", "busybox", "sh", "-c", "head -c 50000 /dev/zero | tr '\\0' x; echo; echo end")
    assert box("logs", "long").raw == b"x" * 50000 + b"\nend\n"
    assert box.ok("logs", "--tail", "2", "long") == "x" * 50000 + "\nend"
    assert box.ok("logs", "--tail", "1", "long") == "end"
    box.ok("run", "--name", "utf", "busybox", "echo", 'größe "quoted" \\ \t\x01')
    assert box.ok("logs", "utf") == 'größe "quoted" \\ \t\x01'


def test_terminal_output_is_logged_as_one_stream(box):
    box.ok("run", "-d", "-t", "--name", "screen", "busybox", "sh", "-c", "echo out; echo err >&2")
    box.ok("wait", "screen")
    result = box("logs", "screen")
    assert (result.raw, result.stderr) == (b"out\r\nerr\r\n", "")


def test_foreground_output_is_logged_too(box):
    box.ok("run", "--name", "seen", "busybox", "echo", "twice")
    assert box.ok("logs", "seen") == "twice"


def test_of_a_container_that_never_ran_are_empty(box):
    box.ok("create", "--name", "silent", "busybox")
    assert box.ok("logs", "silent") == ""
    assert box.ok("logs", "-f", "silent") == ""


def test_refusals(box, ten):
    assert "no such container: absent" in box.fails(1, "logs", "absent")
    assert "nope" in box.fails(1, "logs", "--tail", "nope", ten)
    assert "requires 1 argument" in box.fails(2, "logs")


def test_a_reader_that_leaves_is_no_error_message(box, ten):
    process = box.spawn("logs", ten)
    process.stdout.close()
    process.wait(20)
    assert process.stderr.read() == b""
