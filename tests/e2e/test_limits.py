"""Limits, ``update``, ``pause`` and ``stats`` where no controller is delegated: refused with the remedy, or kept in a weaker form.

What cgroups enforce is tested in the virtual machine (tests/vm).
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pexpect
import pytest

from tests.support import processes

DELEGATED = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
pytestmark = [
    pytest.mark.skipif(DELEGATED, reason="this machine has cgroup version 2: tests/vm has these cases"),
    pytest.mark.optional_on_ci(reason="needs a machine without cgroup version 2"),
]

SLEEP = ("busybox", "sleep", "100000")
BEST = ("--limits", "best-effort")
# Five processes with 6 MB and more each; the `true` keeps the shells from becoming sleep.
HOG = "for i in 1 2 3 4 5; do sh -c 'x=$(head -c 6000000 /dev/zero | tr \"\\\\0\" x); sleep 1000; true' & done; wait"
FLAGS = {
    "--memory": "32m",
    "--memory-reservation": "32m",
    "--cpus": "0.5",
    "--cpu-shares": "512",
    "--cpu-quota": "50000",
    "--cpuset-cpus": "0",
    "--cpuset-mems": "0",
    "--pids-limit": "10",
    "--blkio-weight": "100",
    "--device-write-bps": "/:1mb",
}


def run(box, name, *options, command=SLEEP):
    return box("run", "-d", "--name", name, "--network", "none", *options, *command)


def start(box, name, *options, command=SLEEP):
    result = run(box, name, *options, command=command)
    assert result.status == 0, result
    return result


def inspect(box, name):
    return box.json("inspect", name)[0]


def proc(box, name, file):
    return Path(f"/proc/{inspect(box, name)['State']['Pid']}/{file}").read_text()


def state_of(box, name):
    return box.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}", name)


# -- refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("flag", FLAGS)
def test_a_limit_that_cannot_be_kept_is_refused_with_the_remedy(box, flag):
    line = box.fails(125, "run", "-d", "--name", "refused", flag, FLAGS[flag], *SLEEP)
    assert line.startswith(f"rl: cannot limit {flag}: this machine uses cgroup version 1")
    assert "as root: boot with systemd.unified_cgroup_hierarchy=1" in line
    assert "--limits best-effort" in line
    assert "no such container" in box.fails(1, "inspect", "--type", "container", "refused")


def test_one_line_names_all_limits_at_once(box):
    line = box.fails(1, "create", "-m", "32m", "--cpus", "1", "--pids-limit", "5", "busybox")
    assert "cannot limit --memory, --cpus, --pids-limit: " in line


def test_no_limit_is_nothing_to_refuse(box):
    start(box, "free", "--pids-limit", "-1", "--memory-swap", "-1")
    assert inspect(box, "free")["Rl"]["Limits"] == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-m", "1m"), "minimum memory limit allowed is 6MB"),
        (("--memory-swap", "1g"), "you should always set the memory limit when using memoryswap limit"),
        (("--cpus", "4096"), "range of CPUs is from 0.01 to"),
        (("--cpus", "1", "--cpu-period", "10000"), "conflicting options: nano CPUs and CPU period cannot both be set"),
        (("--cpuset-cpus", "4000"), "requested CPUs are not available - requested 4000"),
        (("--oom-kill-disable",), "--oom-kill-disable does not exist in cgroup version 2"),
        (("--blkio-weight", "5"), "range of blkio weight is from 10 to 1000"),
        (("--limits", "perhaps", "-m", "32m"), "invalid value for limits: perhaps"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_else(box, options, message):
    assert message in box.fails(125, "run", *options, *SLEEP)


@pytest.mark.parametrize("manager", ["systemd", "cgroupfs"])
def test_a_manager_that_is_named_but_absent_is_an_error(box, manager):
    line = box.fails(125, "--cgroup-manager", manager, "run", *SLEEP)
    assert f"cgroup manager {manager} needs cgroup version 2" in line
    assert box.ok("--cgroup-manager", "none", "run", "--rm", "--network", "none", "busybox", "echo", "ran") == "ran"
    assert "cgroup-manager must be one of" in box.fails(125, "--cgroup-manager", "docker", "run", *SLEEP)


def test_a_limit_without_a_weaker_form_is_refused_in_any_case(box):
    line = box.fails(125, "run", *BEST, "-m", "32m", "--device-read-iops", "/:100", *SLEEP)
    assert "cannot limit --device-read-iops" in line
    assert "there is no weaker form" in line


# -- weaker forms ------------------------------------------------------------------------


def test_memory_is_limited_for_each_process(box):
    result = start(box, "memory", *BEST, "-m", "32m")
    assert "--memory is kept in a weaker form: each process is limited" in result.stderr
    assert re.search(r"^Max data size +33554432 +33554432 ", proc(box, "memory", "limits"), re.M)
    shown = inspect(box, "memory")
    assert (shown["HostConfig"]["Memory"], shown["HostConfig"]["MemorySwap"]) == (32 << 20, 64 << 20)
    assert shown["Rl"]["Limits"]["--memory"].startswith("weaker: each process is limited (RLIMIT_DATA)")
    # Of an exec, too.
    assert "33554432" in box.ok("exec", "memory", "grep", "Max data size", "/proc/self/limits")
    greedy = box("exec", "memory", "sh", "-c", "x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo survived")
    assert "survived" not in greedy.stdout


def test_the_watchdog_ends_a_container_whose_processes_use_too_much_together(box):
    start(box, "hog", *BEST, "-m", "24m", command=("busybox", "sh", "-c", HOG))
    assert box.ok("wait", "hog", timeout=60) == "137"
    assert state_of(box, "hog") == "exited 137 true"
    assert "of memory are more than the limit of 25165824" in inspect(box, "hog")["State"]["Error"]
    assert "Exited (137)" in box.ok("ps", "-a", "--filter", "name=hog", "--format", "{{.Status}}")


def test_too_many_processes_do_not_become_more(box):
    bomb = "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done; wait"
    start(box, "bomb", *BEST, "--pids-limit", "10", command=("busybox", "sh", "-c", bomb))
    assert box.ok("wait", "bomb") in ("2", "137")  # sh gives up; where only the sum is watched, the watchdog ends it
    assert state_of(box, "bomb").endswith(" false")
    assert inspect(box, "bomb")["Rl"]["Limits"]["--pids-limit"].startswith("weaker: ")


def test_processors_and_priority(box):
    start(box, "bound", *BEST, "--cpuset-cpus", "0", "--cpu-shares", "512")
    status = proc(box, "bound", "status")
    assert re.search(r"^Cpus_allowed_list:\t0$", status, re.M)
    stat = proc(box, "bound", "stat").rpartition(")")[2].split()
    assert stat[16] == "3"  # nice
    inside = box.ok("exec", "bound", "sh", "-c", "grep Cpus_allowed_list /proc/self/status; cat /proc/self/stat")
    assert inside.splitlines()[0].split()[1] == "0"
    assert inside.splitlines()[1].rpartition(")")[2].split()[16] == "3"
    limits = inspect(box, "bound")["Rl"]["Limits"]
    assert limits["--cpuset-cpus"] == "weaker: bound with sched_setaffinity, which the container's processes may undo"
    assert limits["--cpu-shares"] == "weaker: nice 3"


def test_cpus_binds_to_as_many_processors(box):
    start(box, "cpus", *BEST, "--cpus", "0.5")
    (listed,) = re.findall(r"^Cpus_allowed_list:\t(.+)$", proc(box, "cpus", "status"), re.M)
    assert listed.isdecimal()
    assert inspect(box, "cpus")["HostConfig"]["NanoCpus"] == 500_000_000


def test_best_effort_may_be_configured_and_the_flag_overrides_it(box):
    env = {"RL_LIMITS": "best-effort"}
    assert box("run", "--rm", "-m", "32m", "--network", "none", "busybox", "true", env=env).status == 0
    assert "cannot limit --memory" in box.fails(125, "run", "--limits", "strict", "-m", "32m", *SLEEP, env=env)


def test_limits_hold_again_after_a_restart(box):
    start(box, "again", *BEST, "-m", "32m")
    box.ok("stop", "-t", "0", "again")
    box.ok("start", "again")
    assert re.search(r"^Max data size +33554432 ", proc(box, "again", "limits"), re.M)


# -- update ------------------------------------------------------------------------------


def test_update_of_what_cannot_be_kept_is_refused_and_changes_nothing(box):
    start(box, "plain")
    before = inspect(box, "plain")
    assert "cannot limit --memory: this machine uses cgroup version 1" in box.fails(1, "update", "-m", "32m", "plain")
    box.ok("stop", "-t", "0", "plain")
    assert "cannot limit --pids-limit" in box.fails(1, "update", "--pids-limit", "5", "plain")
    assert inspect(box, "plain")["HostConfig"] == before["HostConfig"]


def test_update_of_a_running_container_takes_effect_at_once_and_stays(box):
    start(box, "live")
    result = box("update", *BEST, "-m", "64m", "--cpuset-cpus", "0", "live")
    assert (result.status, result.stdout) == (0, "live\n")
    assert "--memory is kept in a weaker form" in result.stderr
    assert re.search(r"^Max data size +67108864 ", proc(box, "live", "limits"), re.M)
    assert re.search(r"^Cpus_allowed_list:\t0$", proc(box, "live", "status"), re.M)
    shown = inspect(box, "live")
    assert (shown["HostConfig"]["Memory"], shown["HostConfig"]["CpusetCpus"]) == (64 << 20, "0")
    assert set(shown["Rl"]["Limits"]) == {"--memory", "--cpuset-cpus"}
    assert "67108864" in box.ok("exec", "live", "grep", "Max data size", "/proc/self/limits")
    raised = box("update", "-m", "128m", "live")
    assert "the processes that run keep their RLIMIT_DATA" in raised.stderr
    box.ok("stop", "-t", "0", "live")
    box.ok("start", "live")
    assert re.search(r"^Max data size +134217728 ", proc(box, "live", "limits"), re.M)


def test_the_watchdog_keeps_an_updated_limit(box):
    start(box, "grown", command=("busybox", "sh", "-c", HOG))
    box.ok("update", *BEST, "-m", "24m", "grown")
    assert box.ok("wait", "grown") == "137"
    assert state_of(box, "grown") == "exited 137 true"


def test_update_of_a_stopped_container_holds_from_its_start(box):
    box.ok("create", "--name", "later", "--network", "none", *SLEEP)
    assert box.ok("container", "update", *BEST, "--pids-limit", "50", "--restart", "on-failure:3", "later") == "later"
    shown = inspect(box, "later")["HostConfig"]
    assert (shown["PidsLimit"], shown["RestartPolicy"]) == (50, {"Name": "on-failure", "MaximumRetryCount": 3})
    box.ok("start", "later")
    assert inspect(box, "later")["Rl"]["Limits"]["--pids-limit"].startswith("weaker: ")


def test_update_of_several_prints_each_and_goes_on(box):
    box.ok("create", "--name", "one", "busybox")
    box.ok("create", "--name", "two", "busybox")
    result = box("update", "--restart", "always", "one", "absent", "two")
    assert (result.status, result.lines) == (1, ["one", "two"])
    assert result.stderr == "rl: no such container: absent\n"


def test_mistakes_of_update(box):
    start(box, "mine", "--rm")
    assert "you must provide one or more flags" in box.fails(2, "update", "mine")
    assert "requires at least 1 argument" in box.fails(2, "update", "-m", "32m")
    assert "AutoRemove is enabled" in box.fails(1, "update", "--restart", "always", "mine")
    assert "minimum memory limit allowed is 6MB" in box.fails(1, "update", "-m", "1m", "mine")
    box.ok("update", *BEST, "--cpus", "1", "mine")
    assert "NanoCPUs has already been set" in box.fails(1, "update", "--cpu-quota", "20000", "mine")


# -- pause -------------------------------------------------------------------------------

COUNT = "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; done"


def states(box, name):
    """Return the states of all processes in a container."""
    namespace = os.stat(f"/proc/{inspect(box, name)['State']['Pid']}/ns/pid").st_ino
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}/ns/pid").st_ino == namespace:
                found.append(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
        except OSError:
            continue
    return found


def test_pause_stops_all_processes_and_unpause_lets_them_go_on(box):
    start(box, "busy", command=("busybox", "sh", "-c", f"sh -c '{COUNT}' & sleep 1000 & wait"))
    assert box.ok("pause", "busy") == "busy"
    assert states(box, "busy") == ["T"] * 3
    shown = inspect(box, "busy")
    assert (shown["State"]["Status"], shown["State"]["Paused"], shown["State"]["Running"]) == ("paused", True, True)
    assert shown["State"]["Pid"] > 0
    assert shown["Rl"]["PausedBy"] == "SIGSTOP to each process"
    assert re.fullmatch(r"Up .+ \(Paused\)", box.ok("ps", "--format", "{{.Status}}", "--filter", "status=paused"))
    assert json.loads(box.ok("info", "--format", "json"))["ContainersPaused"] == 1
    assert box.ok("container", "unpause", "busy") == "busy"
    assert "T" not in states(box, "busy")
    shown = inspect(box, "busy")
    assert (shown["State"]["Status"], shown["Rl"]["PausedBy"]) == ("running", "")
    assert box.ok("exec", "busy", "echo", "again") == "again"


def test_what_stopped_itself_stays_stopped(box, until):
    script = "sh -c 'kill -STOP $$; echo went on' & wait"
    start(box, "asleep", command=("busybox", "sh", "-c", script))
    until(lambda: "T" in states(box, "asleep"))
    box.ok("pause", "asleep")
    box.ok("unpause", "asleep")
    assert sorted(set(states(box, "asleep"))) == ["S", "T"]
    assert box.ok("logs", "asleep") == ""


def test_what_a_paused_container_refuses(box):
    start(box, "still")
    box.ok("pause", "still")
    assert "container still is already paused" in box.fails(1, "pause", "still")
    line = box.fails(1, "exec", "still", "true")
    assert "container still is paused, unpause the container before exec" in line
    assert "cannot start a paused container, try unpause instead" in box.fails(1, "start", "still")
    assert "container is paused and must be unpaused first" in box.fails(1, "rm", "still")
    box.ok("unpause", "still")
    assert "container still is not paused" in box.fails(1, "unpause", "still")
    box.ok("stop", "-t", "0", "still")
    assert "container still is not running" in box.fails(1, "pause", "still")
    assert "no such container: absent" in box.fails(1, "pause", "absent")


def test_paused_containers_can_be_ended_in_every_way(box):
    trap = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    for name in ("stopped", "killed", "signalled", "removed"):
        start(box, name, command=("busybox", "sh", "-c", trap))
        assert box.spawn("logs", "-f", name).stdout.readline() == b"ready\n"
    box.ok("pause", "stopped", "killed", "signalled", "removed")
    before = time.monotonic()
    box.ok("stop", "stopped")
    assert time.monotonic() - before < 8
    assert state_of(box, "stopped") == "exited 5 false"
    box.ok("kill", "killed")
    assert state_of(box, "killed") == "exited 137 false"
    box.ok("kill", "-s", "TERM", "signalled")
    assert box.ok("wait", "signalled") == "5"
    box.ok("rm", "-f", "removed")
    assert "removed" not in box.ok("ps", "-a", "--format", "{{.Names}}")


def test_a_paused_container_whose_monitor_was_killed_has_ended(box, until):
    start(box, "orphan")
    box.ok("pause", "orphan")
    state = json.loads((box.data_root / "containers" / inspect(box, "orphan")["Id"] / "state.json").read_text())
    os.kill(state["monitor_pid"], 9)
    assert not processes.wait_gone([state["pid"]], 5)
    assert state_of(box, "orphan") == "exited 137 false"


def test_a_foreground_client_waits_through_a_pause(box, until):
    client = box.spawn("run", "-i", "--name", "front", "--network", "none", "busybox", "cat")
    until(lambda: "front" in box.ok("ps", "--format", "{{.Names}}"))
    box.ok("pause", "front")
    client.stdin.write(b"kept\n")
    client.stdin.flush()
    box.ok("unpause", "front")
    assert client.communicate(timeout=20)[0] == b"kept\n"
    assert client.returncode == 0


# -- stats -------------------------------------------------------------------------------


def test_stats_without_a_cgroup_sums_up_processes(box):
    start(box, "spin", command=("busybox", "sh", "-c", "sleep 1000 & while :; do :; done"))
    start(box, "idle")
    header, *rows = box.ok("stats", "--no-stream").splitlines()
    assert re.split(r" {2,}", header) == [
        *("CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS")
    ]
    assert [row.split()[1] for row in rows] == ["idle", "spin"]
    spin = json.loads(box.ok("stats", "--no-stream", "--format", "json", "spin"))
    dockers = {"Container", "ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"}
    assert set(spin) == dockers | {"CPUPressure", "MemPressure", "IOPressure"}
    assert 30 < float(spin["CPUPerc"].rstrip("%")) < 115
    assert (spin["PIDs"], spin["NetIO"], spin["Container"]) == ("2", "0B / 0B", "spin")
    assert re.fullmatch(r"[\d.]+[KM]iB / [\d.]+[GT]iB", spin["MemUsage"])
    idle = box.ok("stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}} {{.PIDs}}", "idle")
    assert idle == "idle 0.00% 1"


def test_stats_counts_the_network_and_shows_a_weaker_limit(box):
    box.ok("run", "-d", "--name", "net", *BEST, "-m", "64m", "busybox", "sh", "-c", "ping -c 3 10.0.2.2; sleep 1000")
    text = box.ok("stats", "--no-stream", "--format", "{{.NetIO}};{{.MemUsage}}", "net")
    network, memory = text.split(";")
    assert network != "0B / 0B"
    assert memory.endswith(" / 64MiB")


def test_stats_of_what_does_not_run(box):
    identifier = box.ok("create", "--name", "made", "busybox")
    assert len(box.ok("stats", "--no-stream").splitlines()) == 1
    row = box.ok("stats", "-a", "--no-stream", "--no-trunc").splitlines()[1]
    assert row.split() == f"{identifier} made 0.00% 0B / 0B 0.00% 0B / 0B 0B / 0B 0".split()
    assert box.ok("stats", "--no-stream", "--format", "{{.PIDs}}", "made") == "0"
    assert "no such container: absent" in box.fails(1, "stats", "--no-stream", "absent")


def test_stats_goes_on_until_it_is_interrupted(box):
    start(box, "watched")
    terminal = box.terminal("stats")
    for _ in range(2):
        terminal.expect(r"\x1b\[2J\x1b\[H")
        terminal.expect("watched")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130


# -- info --------------------------------------------------------------------------------


def test_info_says_what_is_missing_and_who_can_grant_it(box):
    data = json.loads(box.ok("info", "--format", "json"))
    assert (data["CgroupVersion"], data["CgroupDriver"]) == ("1", "none")
    for name in ("MemoryLimit", "SwapLimit", "CpuCfsQuota", "CPUShares", "CPUSet", "PidsLimit", "OomKillDisable"):
        assert data[name] is False
    assert data["Rl"]["CgroupControllersMissing"] == ["cpu", "cpuset", "io", "memory", "pids"]
    result = box("info")
    (line,) = [line for line in result.stderr.splitlines() if "cgroup version 1" in line]
    assert line.startswith("WARNING: limits of cpu, cpuset, io, memory, pids cannot be enforced")
    assert "systemd.unified_cgroup_hierarchy=1" in line
    assert (
        " Cgroup Driver: none\n Cgroup Version: 1\n  Missing Controllers: cpu cpuset io memory pids\n" in result.stdout
    )
