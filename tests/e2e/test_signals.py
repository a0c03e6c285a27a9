"""Signals and exit status pass between the user and the payload."""

from __future__ import annotations

import re
import signal

import pytest

from tests.e2e.test_headline import wait_for

# Says when its handlers are in place; `wait` is what a signal interrupts at once.
HANDLER = "trap 'echo got {0}; exit 42' {0}; echo ready; sleep 300 & wait"


def follow(box, container: str, text: str) -> str:
    """Wait until the container's log has a text."""
    follower = box.spawn("logs", "-f", container)
    said = wait_for(follower.stdout, text)
    follower.kill()
    return said


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "QUIT", "ALRM"])
def test_a_signal_to_run_reaches_the_payload(box, name):
    process = box.spawn("run", "--network", "none", "busybox", "sh", "-c", HANDLER.format(name))
    wait_for(process.stdout, "ready")
    process.send_signal(getattr(signal, f"SIG{name}"))
    stdout, stderr = process.communicate(timeout=20)
    assert (stdout, stderr, process.returncode) == (f"got {name}\n".encode(), b"", 42)


def test_a_signal_before_the_start_is_delivered_after_it(box):
    process = box.spawn("run", "-i", "--init", "busybox", "sh", "-c", "echo ready; cat")
    # Nothing is known of the payload yet; whatever of rl runs by now, the signal must end it all.
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) in (143, -signal.SIGTERM)


def test_a_payload_that_asks_for_nothing_is_process_1_and_keeps_its_deafness(box):
    process = box.spawn("run", "-i", "--network", "none", "busybox", "sh", "-c", "echo ready; read x; echo $x")
    wait_for(process.stdout, "ready")
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(b"still here\n", timeout=20)
    assert (stdout, process.returncode) == (b"still here\n", 0)


def test_without_sig_proxy_the_client_ends_and_the_container_goes_on(box):
    script = HANDLER.format("TERM")
    process = box.spawn("run", "--sig-proxy=false", "--name", "box", "--network", "none", "busybox", "sh", "-c", script)
    wait_for(process.stdout, "ready")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert box.ok("ps", "--filter", "name=box", "--format", "{{.State}}") == "running"
    assert box.ok("kill", "-s", "TERM", "box") == "box"
    assert box.ok("wait", "box") == "42"


def test_a_killed_client_does_not_take_the_container_with_it(box):
    process = box.spawn("run", "-i", "--name", "box", "busybox", "sh", "-c", "echo ready; exec sleep 300")
    wait_for(process.stdout, "ready")
    process.kill()
    process.communicate(timeout=20)
    assert box.ok("inspect", "-f", "{{.State.Status}}", "box") == "running"


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137), ("kill -SEGV $$", 139)],
)
def test_the_exit_status_is_the_payloads(box, script, status):
    result = box("run", "--rm", "--init", "--network", "none", "busybox", "sh", "-c", script)
    assert result.status == status, result


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_payload_killed_by_a_signal_gives_128_and_its_number(box, number):
    box.ok("run", "-d", "--init", "--name", "box", "--network", "none", "busybox", "sleep", "300")
    box.ok("kill", "-s", number.name, "box")
    assert box.ok("wait", "box") == str(128 + number)


def test_stop_sends_the_images_signal(box, make_image):
    image = make_image("stops-with-usr2", "STOPSIGNAL SIGUSR2")
    box.ok("run", "-d", "--name", "box", "--network", "none", image, "sh", "-c", HANDLER.format("USR2"))
    follow(box, "box", "ready")
    box.ok("stop", "box")
    assert box.ok("logs", "box") == "ready\ngot USR2"
    assert box.ok("inspect", "-f", "{{.State.ExitCode}}", "box") == "42"


def test_stop_signal_of_the_command_line_wins(box, make_image):
    image = make_image("stops-with-usr2", "STOPSIGNAL SIGUSR2")
    options = ("--stop-signal", "USR1", "--name", "box", "--network", "none")
    box.ok("run", "-d", *options, image, "sh", "-c", HANDLER.format("USR1"))
    follow(box, "box", "ready")
    box.ok("stop", "box")
    assert box.ok("logs", "box") == "ready\ngot USR1"


def test_stop_kills_what_does_not_listen(box):
    box.ok("run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "300")
    box.ok("stop", "-t", "0", "box")
    assert box.ok("inspect", "-f", "{{.State.ExitCode}}", "box") == "137"


def test_init_is_process_1_and_the_payload_its_child(box):
    out = box.ok("run", "--rm", "--init", "--network", "none", "busybox", "sh", "-c", "echo $$ $(cat /proc/1/comm)")
    assert re.fullmatch(r"2 rl-init", out)


def test_init_forwards_signals_and_passes_the_status_on(box):
    process = box.spawn("run", "--init", "--network", "none", "busybox", "sh", "-c", HANDLER.format("USR1"))
    wait_for(process.stdout, "ready")
    process.send_signal(signal.SIGUSR1)
    stdout, _ = process.communicate(timeout=20)
    assert (stdout, process.returncode) == (b"got USR1\n", 42)


def test_init_gives_a_payload_without_handlers_the_default_actions(box):
    process = box.spawn("run", "-i", "--init", "--network", "none", "busybox", "sh", "-c", "echo ready; read x")
    wait_for(process.stdout, "ready")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143


# An orphan that ends becomes a zombie until process 1 reaps it; says whether that happens.
ORPHAN = """
sh -c 'while [ ! -e /go ]; do :; done & echo $! >/orphan'
pid=$(cat /orphan)
touch /go
for i in $(seq 1000); do
  [ -e /proc/$pid ] || { echo gone; exit; }
  state=$(cut -d' ' -f3 /proc/$pid/stat)
done
echo left in state $state
"""


def test_init_reaps_orphans(box):
    script = 'sh -c "$1" & exec sleep 300'
    process = box.spawn("run", "--rm", "--init", "--network", "none", "busybox", "sh", "-c", script, "sh", ORPHAN)
    assert wait_for(process.stdout, "\n") == "gone\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143


def test_without_init_orphans_are_the_payloads_own_business(box):
    script = 'sh -c "$1" & exec sleep 300'
    options = ("--name", "box", "--network", "none")
    process = box.spawn("run", *options, "busybox", "sh", "-c", script, "sh", ORPHAN)
    assert wait_for(process.stdout, "\n") == "left in state Z\n"


def test_no_signal_is_blocked_or_ignored_in_the_payload(box):
    out = box.ok("run", "--rm", "--network", "none", "busybox", "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    assert [line.split()[1] for line in out.splitlines()] == ["0" * 16, "0" * 16]
