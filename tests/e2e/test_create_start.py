"""``rl create`` and ``rl start``."""

from __future__ import annotations

import re


def test_create_prints_the_id_and_starts_nothing(box):
    identifier = box.ok("create", "--name", "made", "busybox", "touch", "/x")
    assert re.fullmatch("[0-9a-f]{64}", identifier)
    state = box.json("inspect", identifier)[0]["State"]
    assert (state["Status"], state["Running"], state["Pid"], state["ExitCode"]) == ("created", False, 0, 0)
    assert state["StartedAt"] == state["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert box.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}") == "made Created"
    assert box.ok("ps", "-q") == ""


def test_create_pulls_a_missing_image(rl):
    result = rl("create", "busybox")
    assert result.status == 0
    assert re.fullmatch("[0-9a-f]{64}\n", result.stdout)
    assert "Status: Downloaded newer image for busybox:latest" in result.stderr


def test_create_takes_the_options_of_run(box, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "env").write_text("FROM_FILE=1\n")
    cidfile = tmp_path / "cid"
    identifier = box.ok(
        *("create", "--name", "full", "--hostname", "h", "-e", "A=1", "--env-file", tmp_path / "env", "-w", "/w"),
        *("-u", "33:100", "-v", f"{tmp_path}:/data:ro", "--tmpfs", "/t:size=1m", "--entrypoint", "sh", "--read-only"),
        *("--cap-drop", "ALL", "--cap-add", "CHOWN", "--init", "--label", "k=v", "--ulimit", "nofile=10:20"),
        *("--shm-size", "1m", "--stop-signal", "INT", "--stop-timeout", "3", "--cidfile", cidfile, "--network", "none"),
        *("busybox", "-c", "echo $A$FROM_FILE $(pwd) $(id -u):$(id -g) $(hostname) $(ulimit -n); ls /data"),
    )
    assert cidfile.read_text() == identifier
    assert box.ok("start", "-a", "full").splitlines() == ["11 /w 33:100 h 10", "cid", "env"]


def test_create_fails_with_1_and_usage_with_125(box):
    assert "no such image" in box.fails(1, "create", "--pull", "never", "absent")
    assert "unknown flag: --nope" in box.fails(125, "create", "--nope", "busybox")
    assert "unknown flag: --detach" in box.fails(125, "create", "--detach", "busybox")


def test_start_prints_what_it_was_given(box):
    identifier = box.ok("create", "--name", "one", "busybox", "sleep", "1000")
    box.ok("create", "--name", "two", "busybox", "sleep", "1000")
    assert box.ok("start", identifier[:8], "two").splitlines() == [identifier[:8], "two"]
    assert sorted(box.ok("ps", "--format", "{{.Names}}").splitlines()) == ["one", "two"]


def test_start_of_a_running_container_is_no_error(box):
    box.ok("run", "-d", "--name", "runs", "busybox", "sleep", "1000")
    before = box.json("inspect", "runs")[0]["State"]["Pid"]
    result = box("start", "runs")
    assert (result.status, result.stdout, result.stderr) == (0, "runs\n", "")
    assert box.json("inspect", "runs")[0]["State"]["Pid"] == before


def test_start_goes_on_after_one_that_fails(box):
    box.ok("create", "--name", "good", "busybox", "true")
    result = box("start", "absent", "good")
    assert (result.status, result.stdout) == (1, "good\n")
    assert "no such container: absent" in result.stderr


def test_start_attach_gives_output_and_status(box):
    box.ok("create", "--name", "talks", "busybox", "sh", "-c", "echo out; echo err >&2; exit 9")
    result = box("start", "-a", "talks")
    assert (result.status, result.stdout, result.stderr) == (9, "out\n", "err\n")


def test_start_attach_of_a_running_container_attaches_to_it(box):
    box.ok("run", "-d", "-i", "--name", "runs", "busybox", "sh", "-c", "while read x; do echo got $x; done; exit 8")
    attached = box.spawn("start", "-ai", "runs")
    attached.stdin.write(b"one\n")
    attached.stdin.flush()
    assert attached.stdout.readline() == b"got one\n"
    box.ok("kill", "runs")
    assert attached.wait(20) == 137


def test_start_interactive_gives_stdin_to_a_container_made_for_it(box):
    box.ok("create", "-i", "--name", "reads", "busybox", "cat")
    assert box.ok("start", "-ai", "reads", input="hello") == "hello"
    box.ok("create", "--name", "deaf", "busybox", "cat")
    assert box.ok("start", "-ai", "deaf", input="hello") == ""


def test_start_attach_shows_a_terminal(box):
    box.ok("create", "-it", "--name", "screen", "busybox", "sh")
    terminal = box.terminal("start", "-ai", "screen", rows=20, columns=70)
    terminal.expect_exact("# ")
    terminal.sendline("stty size")
    terminal.expect_exact("20 70")


def test_a_second_start_sees_the_files_of_the_first(box):
    box.ok("run", "--name", "counts", "busybox", "sh", "-c", "echo x >>/tmp/n; wc -l </tmp/n")
    assert box.ok("start", "-a", "counts") == "2"
    assert box.ok("start", "-a", "counts") == "3"
    assert box.ok("logs", "counts") == "1\n2\n3"


def test_start_of_a_command_that_does_not_exist_is_127_when_attached(box):
    box.ok("create", "--name", "broken", "busybox", "nope")
    assert "nope: executable file not found" in box.fails(127, "start", "-a", "broken")
    assert "nope: executable file not found" in box.fails(1, "start", "broken")


def test_attaching_to_several_is_refused(box):
    box.ok("create", "--name", "one", "busybox")
    box.ok("create", "--name", "two", "busybox")
    assert "cannot start and attach multiple containers at once" in box.fails(1, "start", "-a", "one", "two")


def test_a_name_an_id_and_a_unique_prefix_mean_the_same(box):
    identifier = box.ok("create", "--name", "meant", "busybox")
    assert {box.ok("inspect", "-f", "{{.Id}}", text) for text in ("meant", "/meant", identifier, identifier[:4])} == {
        identifier
    }


def test_start_of_what_runs_in_the_foreground_does_not_wait_for_its_end(box, until):
    client = box.spawn("run", "-i", "--name", "front", "--network", "none", "busybox", "cat")
    until(lambda: "front" in box.ok("ps", "--format", "{{.Names}}"))
    assert box.ok("start", "front", timeout=20) == "front"
    assert client.communicate(b"through\n", timeout=20)[0] == b"through\n"
