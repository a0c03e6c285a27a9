"""``rl run``: what each option does to the container, seen from inside it."""

from __future__ import annotations

import json
import re
import signal

import pexpect
import pytest


def run(box, *options_and_image, command=("sh",), **options):
    """Run busybox without a network, which most tests do not need, and return its output."""
    return box.ok("run", "--rm", "--network", "none", *options_and_image, "busybox", *command, **options)


def shell(box, script, *options, **keywords):
    return run(box, *options, command=("sh", "-c", script), **keywords)


# -- streams, statuses, signals --------------------------------------------------------


def test_prints_what_the_payload_prints_and_keeps_the_streams_apart(box):
    result = box("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (result.status, result.stdout, result.stderr) == (0, "out\n", "err\n")


def test_output_arrives_byte_for_byte(box):
    result = box(
        "run", "--rm", "--network", "none", "busybox", "sh", "-c", r"printf 'a\0\377\r\n'; head -c 300000 /dev/zero"
    )
    assert result.raw == b"a\0\377\r\n" + bytes(300000)


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_the_payloads_exit_status_is_ours(box, status):
    assert box("run", "--rm", "--network", "none", "busybox", "sh", "-c", f"exit {status}").status == status


def test_death_by_a_signal_is_128_plus_its_number(box):
    assert box("run", "--rm", "--init", "busybox", "sh", "-c", "kill -9 $$").status == 137


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("no-such-program", 127, "no-such-program: executable file not found in $PATH"),
        ("/no/such/program", 127, "/no/such/program"),
        ("/etc", 126, "/etc"),
        ("/etc/passwd", 126, "/etc/passwd: permission denied"),
    ],
)
def test_a_command_that_cannot_be_executed_gives_dockers_status_and_leaves_nothing(box, command, status, words):
    assert words in box.fails(status, "run", "--rm", "busybox", command)
    assert box.containers() == []


def test_a_container_that_cannot_be_started_does_not_stay_even_without_rm(box, tmp_path):
    box.fails(127, "run", "--name", "gone", "--cidfile", tmp_path / "cid", "busybox", "no-such-program")
    box.fails(125, "run", "-d", "--name", "gone", "-u", "nope", "busybox", "true")
    assert box.containers() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--no-such-flag", "busybox"], "unknown flag: --no-such-flag"),
        (["-Z", "busybox"], "unknown shorthand flag: 'Z' in -Z"),
        ([], "requires at least 1 argument"),
        (["--name", "-x", "busybox"], "invalid container name (-x)"),
        (["BusyBox"], "must be lowercase"),
        (["--network", "nope", "busybox"], "network nope not found"),
        (["--user", "nope", "busybox"], "unable to find user nope: no matching entries in passwd file"),
        (["--user", "0:nope", "busybox"], "unable to find group nope: no matching entries in group file"),
        (["--workdir", "relative", "busybox"], "needs to be an absolute path"),
        (["--workdir", "/etc/passwd", "busybox"], "/etc/passwd"),
        (["--cap-add", "NOPE", "busybox"], 'unknown capability: "CAP_NOPE"'),
        (["--security-opt", "nope=1", "busybox"], 'invalid --security-opt: "nope=1"'),
        (["--security-opt", "seccomp=/nope.json", "busybox"], "opening seccomp profile (/nope.json) failed"),
        (["--ulimit", "nope=1", "busybox"], "invalid ulimit type: nope"),
        (["--ulimit", "nofile=9:1", "busybox"], "soft limit must be less than or equal to hard limit: 9 > 1"),
        (["--shm-size", "nope", "busybox"], "invalid size: 'nope'"),
        (["--stop-signal", "NOPE", "busybox"], "invalid signal: NOPE"),
        (["--restart", "nope", "busybox"], "unknown policy 'nope'"),
        (["--restart", "always", "--rm", "busybox"], "cannot specify both --restart and --rm"),
        (["--pull", "nope", "busybox"], "invalid pull option"),
        (["--platform", "linux/amd64/v8/x", "busybox"], "linux/amd64/v8/x"),
        (["--add-host", "nope", "busybox"], 'bad format for add-host: "nope"'),
        (["--dns", "nope", "busybox"], "nope"),
        (["--hostname", "a b", "busybox"], "invalid hostname: a b"),
        (["--env-file", "/nope", "busybox"], "/nope: no such file"),
        (["--label-file", "/nope", "busybox"], "/nope: no such file"),
        (["--tmpfs", "relative", "busybox"], "relative"),
        (["--tmpfs", "/x:nope", "busybox"], 'invalid tmpfs option "nope"'),
        (["-v", "/nope/nope:/x", "busybox"], "bind source path does not exist: /nope/nope"),
        (["-v", "/tmp:relative", "busybox"], "mount path must be absolute"),
        (["-v", "/tmp:/x:nope", "busybox"], "invalid mode: nope"),
        (["-v", "/tmp:/x", "--tmpfs", "/x", "busybox"], "duplicate mount point: /x"),
        (["-p", "nope", "busybox"], "nope"),
        (["-p", "99999:80", "busybox"], "99999"),
        (["-it", "busybox"], "the input device is not a terminal"),
        (["--cpus", "1", "busybox"], "--cpus"),
        (["--entrypoint=", "busybox"], "no command specified"),
        (["--pull", "never", "absent"], "no such image: absent"),
        (["absent"], "absent"),
    ],
)
def test_what_cannot_be_is_refused_with_125_and_one_line_and_leaves_nothing(box, arguments, words):
    result = box("run", "--rm", *arguments)
    assert result.status == 125, result
    assert words in result.stderr.splitlines()[-1], result
    assert result.stdout == ""
    assert list((box.data_root / "containers").iterdir()) == []


def test_signals_reach_the_payload(box, until):
    script = "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    process = box.spawn("run", "--rm", "--network", "none", "busybox", "sh", "-c", script)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 7
    assert process.stdout.read() == b"got\n"


def test_without_sig_proxy_a_signal_ends_the_client_and_not_the_container(box):
    arguments = ["--rm", "--name", "deaf", "--sig-proxy=false", "busybox", "sh", "-c", "echo ready; exec sleep 1000"]
    process = box.spawn("run", *arguments)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) != 0
    assert box.ok("ps", "--format", "{{.Names}}") == "deaf"


# -- stdin and terminals ---------------------------------------------------------------


def test_interactive_passes_stdin_and_its_end(box):
    assert run(box, "-i", command=("cat",), input=b"one\ntwo\n") == "one\ntwo"


def test_interactive_passes_megabytes_both_ways(box):
    data = bytes(range(256)) * 8192
    assert box("run", "--rm", "-i", "--network", "none", "busybox", "cat", input=data).raw == data


def test_without_interactive_stdin_is_empty(box):
    assert run(box, command=("cat",), input=b"ignored\n") == ""


def test_tty_is_a_terminal_with_our_size(box):
    terminal = box.terminal("run", "--rm", "-it", "--network", "none", "busybox", "sh", rows=33, columns=101)
    terminal.expect_exact("# ")
    terminal.sendline("tty; stty size; echo TERM=$TERM; ls -l /dev/console | cut -c1")
    terminal.expect_exact("/dev/pts/0")
    terminal.expect_exact("33 101")
    terminal.expect_exact("TERM=xterm")
    terminal.expect(r"\nc\r")
    terminal.sendline("exit 5")
    ended(terminal)
    assert terminal.exitstatus == 5


def ended(terminal):
    terminal.expect(pexpect.EOF)
    terminal.wait()


def test_tty_follows_a_resize(box):
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    terminal = box.terminal("run", "--rm", "-it", "--network", "none", "busybox", "sh", "-c", script)
    terminal.expect_exact("ready")
    terminal.setwinsize(44, 55)
    terminal.expect_exact("44 55")


def test_ctrl_c_interrupts_the_payload_in_a_terminal(box):
    terminal = box.terminal(
        "run", "--rm", "-it", "--network", "none", "busybox", "sh", "-c", "echo ready; sleep 1000; echo $?"
    )
    terminal.expect_exact("ready")
    terminal.sendintr()
    ended(terminal)
    assert terminal.exitstatus == 130


def test_tty_without_interactive_needs_no_terminal_of_ours(box):
    assert (
        box("run", "--rm", "-t", "--network", "none", "busybox", "sh", "-c", "tty; echo e >&2").raw
        == b"/dev/pts/0\r\ne\r\n"
    )


def test_detach_keys_leave_the_container_running(box):
    terminal = box.terminal("run", "-it", "--name", "left", "--detach-keys", "ctrl-x,x", "busybox", "sh")
    terminal.expect_exact("# ")
    terminal.send("\x18x")
    ended(terminal)
    assert terminal.exitstatus == 0
    assert box.ok("ps", "--format", "{{.Names}} {{.State}}") == "left running"


# -- life --------------------------------------------------------------------------------


def test_detach_prints_the_full_id_and_returns_while_it_runs(box):
    identifier = box.ok("run", "-d", "--network", "none", "busybox", "sleep", "1000")
    assert re.fullmatch("[0-9a-f]{64}", identifier)
    assert box.ok("ps", "-q", "--no-trunc") == identifier


def test_detached_output_goes_to_the_log(box):
    box.ok("run", "-d", "--name", "quiet", "busybox", "echo", "hello")
    box.ok("wait", "quiet")
    assert box.ok("logs", "quiet") == "hello"


def test_rm_removes_the_container_and_without_it_stays(box):
    box.ok("run", "--rm", "--name", "goes", "busybox", "true")
    box.ok("run", "--name", "stays", "busybox", "true")
    assert box.ok("ps", "-a", "--format", "{{.Names}}") == "stays"


def test_rm_works_detached_too(box):
    box.ok("run", "-d", "--rm", "--name", "goes", "busybox", "sleep", "1000")
    box.ok("stop", "-t", "0", "goes")
    assert box.containers() == []


def test_name_is_unique_and_the_error_says_who_has_it(box):
    identifier = box.ok("run", "-d", "--name", "taken", "busybox", "true")
    message = box.fails(125, "run", "--name", "taken", "busybox", "true")
    assert f'the container name "/taken" is already in use by container "{identifier[:12]}"' in message


def test_without_name_one_is_made_up(box):
    box.ok("run", "busybox", "true")
    assert re.fullmatch("[a-z]+_[a-z]+", box.ok("ps", "-a", "--format", "{{.Names}}"))


def test_cidfile_holds_the_id_and_must_not_exist(box, tmp_path):
    path = tmp_path / "cid"
    box.ok("run", "--cidfile", path, "--name", "written", "busybox", "true")
    assert path.read_text() == box.ok("inspect", "-f", "{{.Id}}", "written")
    assert str(path) in box.fails(125, "run", "--cidfile", path, "busybox", "true")


def test_restart_policy_is_stored(box):
    box.ok("create", "--name", "again", "--restart", "on-failure:3", "busybox")
    policy = box.json("inspect", "-f", "{{json .HostConfig.RestartPolicy}}", "again")
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 3}


def test_stop_signal_is_what_stop_sends(box):
    script = "trap 'echo usr1; exit 3' USR1; trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done"
    process = box.spawn("run", "--name", "polite", "--stop-signal", "SIGUSR1", "busybox", "sh", "-c", script)
    assert process.stdout.readline() == b"ready\n"
    box.ok("stop", "polite")
    assert process.wait(20) == 3


def test_init_reaps_orphans_and_passes_signals_on(box):
    assert shell(box, "ps -o pid,args | awk '$1==1'; echo $$", "--init").splitlines()[-1] != "1"
    # The orphan's entry in /proc goes only when it is reaped.
    orphan = (
        "(sleep 0.01 & echo $! >/tmp/orphan); while [ -d /proc/$(cat /tmp/orphan) ]; do sleep 0.01; done; echo gone"
    )
    assert shell(box, orphan, "--init", timeout=20) == "gone"
    process = box.spawn(
        "run", "--rm", "--init", "busybox", "sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    )
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 9


def test_without_init_the_payload_is_process_1(box):
    assert shell(box, "echo $$") == "1"


# -- process: environment, directory, user, command ----------------------------------------


def test_env_sets_passes_and_overrides(box):
    text = run(
        box,
        "-e",
        "A=1",
        "-e",
        "B=two words",
        "-e",
        "FROM_US",
        "-e",
        "UNSET_HERE",
        "-e",
        "A=3",
        command=("env",),
        env={"FROM_US": "x=y"},
    )
    lines = text.splitlines()
    assert {"A=3", "B=two words", "FROM_US=x=y"} <= set(lines)
    assert not any(line.startswith("UNSET_HERE") for line in lines)


def test_env_is_dockers_and_nothing_of_ours(box):
    text = run(box, "-h", "box", command=("env",), env={"SECRET": "1"})
    names = sorted(line.split("=")[0] for line in text.splitlines())
    assert names == ["HOME", "HOSTNAME", "PATH"]
    assert {"HOME=/root", "HOSTNAME=box"} <= set(text.splitlines())


def test_env_file_is_read_and_env_wins_over_it(box, tmp_path):
    path = tmp_path / "env"
    path.write_text("# comment\nA=file\nB=kept = as is\n\nFROM_US\n")
    lines = run(box, "--env-file", path, "-e", "A=flag", command=("env",), env={"FROM_US": "yes"}).splitlines()
    assert {"A=flag", "B=kept = as is", "FROM_US=yes"} <= set(lines)


def test_workdir_is_made_if_need_be(box):
    assert run(box, "-w", "/new/dir", command=("pwd",)) == "/new/dir"
    assert shell(box, "stat -c '%u %a' /new/dir", "-w", "/new/dir") == "0 755"


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("", "0 0 0"),
        ("1000", "1000 0 0"),
        ("1000:2000", "1000 2000 2000"),
        ("www-data", "33 33 33"),
        ("www-data:users", "33 100 100"),
        ("33", "33 33 33"),
        (":100", "0 100 100"),
    ],
)
def test_user_is_looked_up_in_the_images_own_files(box, user, ids):
    assert shell(box, "echo $(id -u) $(id -g) $(id -G)", "-u", user) == ids


def test_a_user_gets_the_home_of_the_passwd_file_and_no_capabilities(box):
    lines = shell(box, "echo $HOME; grep CapEff /proc/self/status", "-u", "www-data").splitlines()
    assert lines == ["/var/www", "CapEff:\t0000000000000000"]


def test_entrypoint_replaces_the_images_and_its_command(box, make_image):
    make_image("entry", 'ENTRYPOINT ["echo", "image"]', 'CMD ["default"]')
    start = ("run", "--rm", "--network", "none")
    assert box.ok(*start, "entry") == "image default"
    assert box.ok(*start, "entry", "mine") == "image mine"
    assert box.ok(*start, "--entrypoint", "/bin/echo", "entry", "only", "this") == "only this"
    assert box.ok(*start, "--entrypoint", "", "entry", "echo", "plain") == "plain"
    assert "no command specified" in box.fails(125, *start, "--entrypoint", "", "entry")


def test_the_images_configuration_is_the_default_and_options_override_it(box, make_image):
    make_image(
        "configured",
        "ENV A=image B=image",
        "WORKDIR /srv/app",
        "USER www-data",
        "LABEL from=image other=image",
        "STOPSIGNAL SIGUSR2",
        'CMD ["sh", "-c", "echo $A $B $(pwd) $(id -u)"]',
    )
    assert box.ok("run", "--rm", "configured") == "image image /srv/app 33"
    options = ["-e", "A=mine", "-w", "/tmp", "-u", "5", "-l", "from=me", "--stop-signal", "15", "--name", "over"]
    assert box.ok("run", *options, "configured") == "mine image /tmp 5"
    config = box.json("inspect", "over")[0]["Config"]
    assert config["Labels"] == {"from": "me", "other": "image"}
    assert (config["StopSignal"], config["User"], config["WorkingDir"]) == ("15", "5", "/tmp")


def test_options_after_the_image_belong_to_the_command(box):
    assert run(box, command=("echo", "--rm", "-it", "--", "x")) == "--rm -it -- x"


def test_label_and_label_file_are_kept(box, tmp_path):
    path = tmp_path / "labels"
    path.write_text("a=file\nb=file\n")
    box.ok("create", "--name", "labelled", "--label-file", path, "-l", "a=flag", "--label", "empty", "busybox")
    assert box.json("inspect", "labelled")[0]["Config"]["Labels"] == {"a": "flag", "b": "file", "empty": ""}


# -- names and addresses -----------------------------------------------------------------


def test_hostname_is_in_the_kernel_the_files_and_the_environment(box):
    script = "hostname; cat /etc/hostname; echo $HOSTNAME; awk '/web1/{print $2}' /etc/hosts"
    assert box.ok("run", "--rm", "-h", "web1.lan", "busybox", "sh", "-c", script).splitlines() == ["web1.lan"] * 4


def test_without_hostname_it_is_the_short_id(box):
    identifier = box.ok("create", "--name", "named", "busybox", "hostname")
    assert box.ok("start", "-a", "named") == identifier[:12]


def test_add_host_goes_to_etc_hosts(box):
    hosts = box.ok(
        "run",
        "--rm",
        "--add-host",
        "db:10.9.8.7",
        "--add-host",
        "v6=::5",
        "--add-host",
        "me:host-gateway",
        "busybox",
        "cat",
        "/etc/hosts",
    )
    assert "10.9.8.7\tdb" in hosts.splitlines()
    assert "::5\tv6" in hosts.splitlines()
    assert "10.0.2.2\tme" in hosts.splitlines()
    assert "127.0.0.1\tlocalhost" in hosts.splitlines()


def test_dns_options_go_to_resolv_conf(box):
    options = ["--dns", "9.9.9.9", "--dns", "8.8.8.8", "--dns-search", "example.org", "--dns-option", "ndots:3"]
    text = box.ok("run", "--rm", *options, "busybox", "cat", "/etc/resolv.conf")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if line.startswith("nameserver")] == ["nameserver 9.9.9.9", "nameserver 8.8.8.8"]
    assert "search example.org" in lines
    assert "options ndots:3" in lines


# -- files -------------------------------------------------------------------------------


def test_volume_binds_a_directory_read_write(box, tmp_path):
    (tmp_path / "in").write_text("from outside")
    assert shell(box, "cat /data/in; echo inside >/data/out", "-v", f"{tmp_path}:/data") == "from outside"
    assert (tmp_path / "out").read_text() == "inside\n"
    assert (tmp_path / "out").stat().st_uid == tmp_path.stat().st_uid


def test_volume_ro_cannot_be_written_below_either(box, tmp_path):
    (tmp_path / "sub").mkdir()
    script = "echo x >/data/f || echo x >/data/sub/f || mount -o remount,rw /data || echo refused"
    result = box("run", "--rm", "--cap-add", "SYS_ADMIN", "-v", f"{tmp_path}:/data:ro", "busybox", "sh", "-c", script)
    assert result.stdout == "refused\n", result
    assert list(tmp_path.iterdir()) == [tmp_path / "sub"]


def test_volume_source_may_be_relative_and_a_file(box, tmp_path):
    (tmp_path / "file").write_text("content")
    assert run(box, "-v", "./file:/etc/deep/file", command=("cat", "/etc/deep/file"), cwd=tmp_path) == "content"


def test_an_unreadable_bind_source_is_refused(box, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir(mode=0)
    assert f"bind source is not readable: {secret}" in box.fails(125, "run", "--rm", "-v", f"{secret}:/x", "busybox")
    assert "/root" in box.fails(125, "run", "--rm", "-v", "/root/.ssh:/x", "busybox")


def test_tmpfs_is_one_with_its_options(box):
    mounts = run(
        box, "--tmpfs", "/scratch:size=64k,mode=700", "--tmpfs", "/plain", command=("cat", "/proc/mounts")
    ).splitlines()
    scratch = next(line.split() for line in mounts if " /scratch " in line)
    assert scratch[2] == "tmpfs"
    assert {"size=64k", "mode=700", "nosuid", "nodev", "noexec"} <= set(scratch[3].split(","))
    assert any(" /plain tmpfs " in line for line in mounts)


def test_read_only_leaves_only_what_must_be_writable(box):
    script = "for d in / /etc /tmp /dev/shm /run /var; do touch $d/x 2>/dev/null && echo $d; done; true"
    assert shell(box, script, "--read-only") == "/dev/shm"
    assert shell(box, script, "--read-only", "--tmpfs", "/run") == "/dev/shm\n/run"


def test_shm_size(box):
    assert shell(box, "df -k /dev/shm | awk 'NR==2{print $2}'") == "65536"
    assert shell(box, "df -k /dev/shm | awk 'NR==2{print $2}'", "--shm-size", "1m") == "1024"


# -- privileges --------------------------------------------------------------------------


def capabilities(box, *options):
    return int(shell(box, "awk '/CapEff/{print $2}' /proc/self/status", *options), 16)


def test_default_capabilities_are_dockers(box):
    assert capabilities(box) == 0xA80425FB


def test_cap_drop_and_cap_add(box):
    assert capabilities(box, "--cap-drop", "CHOWN") == 0xA80425FB & ~1
    assert capabilities(box, "--cap-add", "SYS_ADMIN") == 0xA80425FB | 1 << 21
    assert capabilities(box, "--cap-drop", "ALL") == 0
    assert capabilities(box, "--cap-drop", "all", "--cap-add", "net_bind_service") == 1 << 10
    assert capabilities(box, "--cap-drop", "ALL", "--cap-add", "CAP_CHOWN") == 1
    result = box("run", "--rm", "--cap-drop", "CHOWN", "busybox", "chown", "5", "/tmp")
    assert result.status == 1
    assert "Operation not permitted" in result.stderr


def test_privileged_has_all_capabilities_no_seccomp_and_no_masks(box):
    script = """awk '/CapEff|Seccomp:/{print $2}' /proc/self/status
        mkdir -p /mnt; mount -t tmpfs none /mnt && echo mounted
        awk '$2 ~ "^/proc/"' /proc/mounts | wc -l"""
    text = shell(box, script, "--privileged").splitlines()
    assert bin(int(text[0], 16)).count("1") >= 38
    assert text[1:] == ["0", "mounted", "0"]


def test_seccomp_is_on_and_can_be_turned_off(box):
    mode = "awk '/Seccomp:/{print $2}' /proc/self/status; unshare -r true 2>/dev/null && echo unshared"
    assert shell(box, mode + "; true") == "2"
    assert shell(box, mode, "--security-opt", "seccomp=unconfined") == "0\nunshared"


def test_a_seccomp_profile_from_a_file_is_enforced(box, tmp_path):
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    }
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile))
    result = box("run", "--rm", "--security-opt", f"seccomp={path}", "busybox", "mkdir", "/x")
    assert "Operation not permitted" in result.stderr
    assert result.status == 1


def test_no_new_privileges(box):
    query = "awk '/NoNewPrivs/{print $2}' /proc/self/status"
    assert shell(box, query) == "0"
    assert shell(box, query, "--security-opt", "no-new-privileges") == "1"
    assert shell(box, query, "--security-opt", "no-new-privileges:true") == "1"


def test_systempaths_unconfined_unmasks_proc(box):
    query = "grep -c ' /proc/' /proc/mounts"
    assert int(shell(box, query)) > 5
    assert box("run", "--rm", "--security-opt", "systempaths=unconfined", "busybox", "sh", "-c", query).stdout == "0\n"


def test_ulimit_sets_soft_and_hard(box):
    text = shell(box, "ulimit -Sn; ulimit -Hn; ulimit -c", "--ulimit", "nofile=123:456", "--ulimit", "core=0")
    assert text.splitlines() == ["123", "456", "0"]


# -- images ------------------------------------------------------------------------------


def test_a_missing_image_is_pulled_and_said_so(rl):
    result = rl("run", "--rm", "busybox", "echo", "there")
    assert (result.status, result.stdout) == (0, "there\n")
    assert result.stderr.splitlines()[0] == "Unable to find image 'busybox:latest' locally"
    assert "Status: Downloaded newer image for busybox:latest" in result.stderr.splitlines()


def test_pull_policies(rl):
    assert "no such image: busybox" in rl.fails(125, "run", "--rm", "--pull", "never", "busybox", "true")
    result = rl("run", "--rm", "-q", "--pull", "missing", "busybox", "echo", "ok")
    assert (result.stdout, result.stderr) == ("ok\n", "")
    assert rl("run", "--rm", "--pull", "missing", "busybox", "true").stderr == ""
    again = rl("run", "--rm", "--pull", "always", "busybox", "true")
    assert "Status: Image is up to date for busybox:latest" in again.stderr.splitlines()


def test_platform_that_the_image_does_not_have_is_refused(box):
    assert run(box, "--platform", "linux/amd64", command=("echo", "ok")) == "ok"
    result = box("run", "--rm", "--platform", "linux/s390x", "busybox", "true")
    assert result.status == 125
    assert "linux/s390x" in result.stderr.splitlines()[-1]


def test_an_image_may_be_named_by_digest_and_by_id(box):
    digest = box.ok("inspect", "-f", "{{index .RepoDigests 0}}", "busybox")
    identifier = box.ok("images", "-q", "busybox")
    assert box.ok("run", "--rm", "--network", "none", digest, "echo", "digest") == "digest"
    assert box.ok("run", "--rm", "--network", "none", identifier, "echo", "id") == "id"
