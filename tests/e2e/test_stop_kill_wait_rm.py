"""``rl stop``, ``kill``, ``wait`` and ``rm``: how containers end."""

from __future__ import annotations

import time

import pytest

TRAP = "trap 'echo {0}; exit {1}' {0}; echo ready; while :; do sleep 0.05; done"
STUBBORN = "trap '' TERM INT; echo ready; while :; do sleep 0.05; done"


def start(box, name, script, *options):
    """Start a container in the background; returns when it has said "ready"."""
    box.ok("run", "-d", "--name", name, "--network", "none", *options, "busybox", "sh", "-c", script)
    follower = box.spawn("logs", "-f", name)
    assert follower.stdout.readline() == b"ready\n"
    return name


def status(box, name):
    return box.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name)


# -- stop --------------------------------------------------------------------------------


def test_stop_sends_sigterm_and_prints_the_name(box):
    start(box, "term", TRAP.format("TERM", 5))
    assert box.ok("stop", "term") == "term"
    assert status(box, "term") == "exited 5"
    assert box.ok("logs", "term") == "ready\nTERM"


def test_stop_signal_of_the_image_and_of_the_command_line(box, make_image):
    make_image("quits", "STOPSIGNAL SIGQUIT", "ENV x=1")
    box.ok("run", "-d", "--name", "image", "quits", "sh", "-c", TRAP.format("QUIT", 6))
    follower = box.spawn("logs", "-f", "image")
    assert follower.stdout.readline() == b"ready\n"
    box.ok("stop", "image")
    assert status(box, "image") == "exited 6"
    start(box, "line", TRAP.format("USR1", 7), "--stop-signal", "QUIT")
    box.ok("stop", "--signal", "USR1", "line")
    assert status(box, "line") == "exited 7"


def test_stop_kills_after_the_timeout(box):
    start(box, "stubborn", STUBBORN)
    before = time.monotonic()
    box.ok("stop", "-t", "1", "stubborn")
    assert 0.9 < time.monotonic() - before < 8
    assert status(box, "stubborn") == "exited 137"


def test_stop_timeout_0_kills_at_once_and_stop_timeout_of_run_is_the_default(box):
    start(box, "now", STUBBORN)
    before = time.monotonic()
    box.ok("stop", "--timeout", "0", "now")
    start(box, "default", STUBBORN, "--stop-timeout", "0")
    box.ok("stop", "default")
    start(box, "old", STUBBORN)
    box.ok("stop", "--time=0", "old")
    assert time.monotonic() - before < 8
    assert [status(box, name) for name in ("now", "default", "old")] == ["exited 137"] * 3


def test_stop_of_several_prints_each_and_goes_on_after_a_failure(box):
    start(box, "first", TRAP.format("TERM", 0))
    start(box, "second", TRAP.format("TERM", 0))
    result = box("stop", "first", "absent", "second")
    assert (result.status, result.lines) == (1, ["first", "second"])
    assert result.stderr == "rl: no such container: absent\n"


def test_stop_of_a_stopped_or_created_container_is_no_error(box):
    box.ok("run", "--name", "over", "busybox", "true")
    box.ok("create", "--name", "made", "busybox")
    assert box.ok("stop", "over", "made").split() == ["over", "made"]
    assert status(box, "made") == "created 0"


def test_a_stopped_container_starts_again(box):
    start(box, "again", TRAP.format("TERM", 0))
    box.ok("stop", "again")
    box.ok("start", "again")
    assert status(box, "again") == "running 0"


# -- kill --------------------------------------------------------------------------------


def test_kill_is_sigkill_and_prints_the_name(box):
    start(box, "killed", STUBBORN)
    assert box.ok("kill", "killed") == "killed"
    assert status(box, "killed") == "exited 137"


@pytest.mark.parametrize("spelling", ["USR1", "SIGUSR1", "usr1", "10"])
def test_kill_signal_takes_every_spelling(box, spelling):
    start(box, "target", TRAP.format("USR1", 8))
    box.ok("kill", "-s", spelling, "target")
    assert box.ok("wait", "target") == "8"


def test_a_signal_that_does_not_end_it_leaves_it_running(box):
    start(box, "hup", "trap 'echo hup' HUP; echo ready; while :; do sleep 0.05; done")
    follower = box.spawn("logs", "-f", "hup")
    assert follower.stdout.readline() == b"ready\n"
    box.ok("kill", "--signal", "HUP", "hup")
    assert follower.stdout.readline() == b"hup\n"
    assert status(box, "hup") == "running 0"


def test_kill_of_what_does_not_run_is_refused(box):
    box.ok("create", "--name", "made", "busybox")
    assert "is not running" in box.fails(1, "kill", "made")
    assert "no such container: absent" in box.fails(1, "kill", "absent")
    assert "invalid signal: NOPE" in box.fails(1, "kill", "-s", "NOPE", "made")


def test_the_payloads_children_die_with_it(box, until):
    start(box, "family", "(while :; do sleep 1000; done) & echo ready; wait")
    box.ok("kill", "family")
    until(lambda: not [line for line in box.leftovers(seconds=0) if line.startswith("process")])


# -- wait --------------------------------------------------------------------------------


def test_wait_blocks_until_the_end_and_prints_the_status(box):
    start(box, "waited", TRAP.format("TERM", 9))
    waiter = box.spawn("wait", "waited")
    box.ok("stop", "waited")
    assert waiter.communicate(timeout=20)[0] == b"9\n"
    assert waiter.returncode == 0


def test_wait_for_several_prints_their_statuses_in_the_order_given(box):
    box.ok("run", "-d", "--name", "one", "busybox", "sh", "-c", "exit 1")
    box.ok("run", "-d", "--name", "two", "busybox", "sh", "-c", "exit 2")
    assert box.ok("wait", "two", "one").split() == ["2", "1"]


def test_wait_for_what_has_ended_returns_at_once(box):
    box("run", "--name", "over", "busybox", "sh", "-c", "exit 4")
    assert box.ok("wait", "over") == "4"
    assert "no such container: absent" in box.fails(1, "wait", "absent")


def test_wait_for_a_container_that_removes_itself(box):
    start(box, "goes", TRAP.format("TERM", 3), "--rm")
    waiter = box.spawn("wait", "goes")
    box.ok("kill", "-s", "TERM", "goes")
    assert waiter.communicate(timeout=20)[0] == b"3\n"


# -- rm ----------------------------------------------------------------------------------


def test_rm_prints_the_name_and_removes_files_and_name(box):
    identifier = box.ok("create", "--name", "gone", "busybox")
    assert box.ok("rm", "gone") == "gone"
    assert not (box.data_root / "containers" / identifier).exists()
    box.ok("create", "--name", "gone", "busybox")


def test_rm_of_a_running_container_is_a_conflict_and_force_kills_it(box):
    start(box, "runs", STUBBORN)
    message = box.fails(1, "rm", "runs")
    assert 'cannot remove container "/runs": container is running' in message
    assert "rl rm -f runs" in message
    assert box.ok("rm", "-f", "runs") == "runs"
    assert box.containers() == []


def test_rm_of_several_goes_on_after_a_failure(box):
    box.ok("create", "--name", "first", "busybox")
    box.ok("create", "--name", "second", "busybox")
    result = box("rm", "first", "absent", "second")
    assert (result.status, result.lines) == (1, ["first", "second"])
    assert result.stderr == "rl: no such container: absent\n"


def test_rm_force_of_what_does_not_exist_is_no_error(box):
    result = box("rm", "-f", "absent")
    assert (result.status, result.stdout) == (0, "")


def test_rm_removes_files_of_every_owner(box):
    script = "mkdir -m 700 /srv/deep; touch /srv/deep/f; chown -R 1000:2000 /srv; chmod 0 /srv/deep; mkdir -m 0 /locked"
    box.ok("run", "--name", "owned", "busybox", "sh", "-c", f"mkdir -p /srv; {script}")
    box.ok("rm", "owned")
    assert box.leftovers() == []


def test_rm_volumes_takes_anonymous_ones_only(box, make_image):
    make_image("volumed", "VOLUME /anonymous", "ENV y=1")
    volumes = box.data_root / "volumes"
    box.ok("run", "--name", "first", "-v", "named:/named", "volumed", "touch", "/anonymous/x")
    box.ok("run", "--name", "second", "-v", "named:/named", "volumed", "true")
    assert len(list(volumes.iterdir())) == 3
    box.ok("rm", "-v", "first")
    assert len(list(volumes.iterdir())) == 2
    box.ok("rm", "second")
    left = sorted(path.name for path in volumes.iterdir())
    assert len(left) == 2
    assert "named" in left
