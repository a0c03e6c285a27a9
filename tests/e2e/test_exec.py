"""``rl exec``."""

from __future__ import annotations

import pexpect
import pytest


@pytest.fixture(scope="module")
def target(store):
    """A container that runs for all tests of this file."""
    options = ["-d", "--name", "target", "-e", "FROM_RUN=1", "-w", "/tmp", "-h", "inside", "--network", "none"]
    store.ok("run", *options, "busybox", "sleep", "100000")
    return "target"


def inside(box, target, *arguments, **options):
    return box.ok("exec", *arguments[:-1], target, "sh", "-c", arguments[-1], **options)


def end(box, target, until, command):
    """Kill the one process inside that was started as ``command``, as soon as it is there."""

    def found():
        rows = [line.split(None, 1) for line in box.ok("exec", target, "ps", "-o", "pid,args").splitlines()]
        return [pid for pid, arguments in rows if arguments == command]

    (pid,) = until(found)
    box.ok("exec", target, "kill", "-9", pid)


def test_runs_in_the_containers_world(box, target):
    assert inside(
        box, target, "hostname; cat /proc/1/cmdline | tr '\\0' ' '; echo; pwd; echo $FROM_RUN"
    ).splitlines() == [
        "inside",
        "sleep 100000 ",
        "/tmp",
        "1",
    ]
    own = inside(
        box,
        target,
        "for n in mnt pid net ipc uts cgroup user; do readlink /proc/self/ns/$n; readlink /proc/1/ns/$n; done",
    )
    links = own.splitlines()
    assert links[::2] == links[1::2]


def test_keeps_streams_apart_and_passes_the_status(box, target):
    result = box("exec", target, "sh", "-c", "echo out; echo err >&2; exit 33")
    assert (result.status, result.stdout, result.stderr) == (33, "out\n", "err\n")
    assert box("exec", target, "sh", "-c", "kill -TERM $$").status == 143


def test_interactive_passes_stdin(box, target):
    assert box.ok("exec", "-i", target, "cat", input="to stdin\n") == "to stdin"
    assert box.ok("exec", target, "cat", input="ignored\n") == ""
    data = bytes(range(256)) * 4096
    assert box("exec", "-i", target, "cat", input=data).raw == data


def test_env_and_env_file_add_to_the_containers(box, target, tmp_path):
    (tmp_path / "env").write_text("A=file\nB=file\n")
    text = inside(
        box,
        target,
        "-e",
        "A=flag",
        "--env-file",
        tmp_path / "env",
        "-e",
        "OURS",
        "echo $FROM_RUN $A $B $OURS",
        env={"OURS": "o"},
    )
    assert text == "1 flag file o"


def test_workdir(box, target):
    assert inside(box, target, "-w", "/etc", "pwd") == "/etc"
    assert "absolute path" in box.fails(1, "exec", "-w", "etc", target, "pwd")
    assert "working directory: /nope: no such file" in box.fails(126, "exec", "-w", "/nope", target, "pwd")
    assert box("exec", target, "test", "-e", "/nope").status == 1


@pytest.mark.parametrize(
    ("user", "ids"), [("1000", "1000 0"), ("www-data", "33 33"), ("www-data:users", "33 100"), ("0", "0 0")]
)
def test_user(box, target, user, ids):
    assert inside(box, target, "-u", user, "echo $(id -u) $(id -g)") == ids


def test_a_user_has_its_home_and_no_capabilities(box, target):
    text = inside(box, target, "-u", "www-data", "echo $HOME; awk '/CapEff/{print $2}' /proc/self/status")
    assert text.splitlines() == ["/var/www", "0" * 16]


def test_privileges_are_the_containers_unless_privileged(box, target):
    query = "awk '/CapEff|Seccomp:|NoNewPrivs/{print $2}' /proc/self/status"
    assert inside(box, target, query).splitlines() == ["00000000a80425fb", "0", "2"]
    assert inside(box, target, "--privileged", query).splitlines()[1:] == ["0", "0"]
    assert bin(int(inside(box, target, "--privileged", query).splitlines()[0], 16)).count("1") >= 38


def test_detach_returns_at_once_and_the_command_goes_on(box, target, until):
    result = box("exec", "-d", target, "sh", "-c", "mkfifo /tmp/gate; echo opened >/tmp/gate")
    assert (result.status, result.stdout, result.stderr) == (0, "", "")
    until(lambda: box("exec", target, "test", "-p", "/tmp/gate").status == 0)
    assert box.ok("exec", target, "cat", "/tmp/gate") == "opened"


def test_detach_reports_a_command_that_does_not_exist(box, target):
    assert "nope" in box.fails(127, "exec", "-d", target, "nope")


def test_tty_is_a_terminal_of_the_container_with_our_size(box, target):
    terminal = box.terminal("exec", "-it", target, "sh", rows=31, columns=91)
    terminal.expect_exact("# ")
    terminal.sendline("tty; stty size; echo TERM=$TERM")
    terminal.expect(r"/dev/pts/\d")
    terminal.expect_exact("31 91")
    terminal.expect_exact("TERM=xterm")
    terminal.setwinsize(41, 61)
    terminal.sendline("stty size")
    terminal.expect_exact("41 61")
    terminal.sendline("exit 6")
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 6


def test_ctrl_c_in_a_terminal_interrupts_the_command_only(box, target):
    terminal = box.terminal("exec", "-it", target, "sh", "-c", "echo ready; sleep 1000")
    terminal.expect_exact("ready")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 130
    assert box.ok("ps", "--format", "{{.Names}}") == target


def test_tty_with_a_pipe_as_stdin_is_refused(box, target):
    assert "the input device is not a terminal" in box.fails(1, "exec", "-it", target, "sh")


def test_detach_keys_leave_the_command_running(box, target, until):
    terminal = box.terminal(
        "exec", "-it", "--detach-keys", "ctrl-x,x", target, "sh", "-c", "echo ready; exec sleep 5555"
    )
    terminal.expect_exact("ready")
    terminal.send("\x18x")
    terminal.expect(pexpect.EOF)
    end(box, target, until, "sleep 5555")


@pytest.mark.parametrize(("command", "status"), [("nope", 127), ("/no/such", 127), ("/etc", 126), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be_executed(box, target, command, status):
    assert command in box.fails(status, "exec", target, command)


def test_background_processes_of_the_command_do_not_keep_us(box, target, until):
    assert inside(box, target, "sleep 7777 & echo done") == "done"
    end(box, target, until, "sleep 7777")


def test_options_after_the_container_belong_to_the_command(box, target):
    assert box.ok("exec", target, "echo", "-it", "--user", "x") == "-it --user x"


def test_what_cannot_be_is_refused(box, target):
    assert "unable to find user nope" in box.fails(1, "exec", "-u", "nope", target, "true")
    assert "no such container: absent" in box.fails(1, "exec", "absent", "true")
    assert "requires at least 2 arguments" in box.fails(125, "exec", target)
    box.ok("create", "--name", "idle", "busybox")
    assert "is not running" in box.fails(1, "exec", "idle", "true")


def test_the_end_of_the_container_ends_its_commands(box):
    box.ok("run", "-d", "--name", "short", "busybox", "sleep", "1000")
    process = box.spawn("exec", "short", "sh", "-c", "echo ready; sleep 1000")
    process.stdout.readline()
    box.ok("kill", "short")
    assert process.wait(20) == 137
