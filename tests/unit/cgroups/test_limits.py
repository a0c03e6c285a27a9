import os

import pytest

from rootless import jsonlite
from rootless.cgroups import detect, limits, weaker
from rootless.cgroups.placement import Placement
from rootless.cgroups.resources import DeviceRate, Resources
from rootless.errors import InvalidArgument, Unsupported

M = 1 << 20
OFFERED = ("cpuset", "cpu", "io", "memory", "pids")
HOST = detect.Host(version=2, service="/s", session=True, buses=("/b",), offered=OFFERED, granted=("memory", "pids"))
SYSTEMD = Placement(manager="systemd", base="/s/x.scope", controllers=("memory", "pids"))
NOTHING = Placement(manager="none")


def refusal(wanted, host=HOST, placement=SYSTEMD, **options):
    with pytest.raises(Unsupported) as caught:
        limits.plan(Resources(**wanted), host, placement, **options)
    return caught.value


def test_nothing_asked_for_is_nothing_done():
    found = limits.plan(Resources(memory_swap=-1, pids_limit=-1), detect.Host(version=1), NOTHING)
    assert (found.limits, found.warnings, bool(found.weaker)) == ((), (), False)


def test_what_controllers_keep_is_enforced():
    wanted = Resources(memory=100 * M, pids_limit=10)
    found = limits.plan(wanted, HOST, SYSTEMD)
    assert found.enforced == wanted
    assert [(limit.flag, limit.text) for limit in found.limits] == [
        ("--memory", "enforced"),
        ("--pids-limit", "enforced"),
    ]


def test_one_error_names_all_that_is_missing_and_the_drop_in_file():
    error = refusal({"memory": 100 * M, "nano_cpus": 10**9, "cpuset_cpus": "0"})
    assert error.message == (
        "cannot limit --cpus, --cpuset-cpus: the cpu and cpuset controllers are not delegated to this user"
    )
    for part in (
        "root creates /etc/systemd/system/user@.service.d/delegate.conf",
        "[Service]",
        "Delegate=cpu cpuset io memory pids",
        "daemon-reload",
        "log in again",
        "--limits best-effort",
    ):
        assert part in error.hint


def test_version_1_says_how_to_get_version_2():
    error = refusal({"memory": 100 * M}, detect.Host(version=1), NOTHING)
    assert "cgroup version 1" in error.message
    assert "systemd.unified_cgroup_hierarchy=1" in error.hint


def test_a_kernel_without_the_controller_is_not_a_matter_of_delegation():
    error = refusal({"nano_cpus": 10**9}, HOST.replace(offered=("memory", "pids")))
    assert "the kernel does not offer the cpu controller" in error.message


def test_no_session_and_no_delegation_are_told_apart():
    bare = detect.Host(version=2, offered=OFFERED)
    assert "no cgroup is delegated" in refusal({"memory": 100 * M}, bare, NOTHING).message
    undelegated = refusal({"memory": 100 * M}, bare.replace(session=True), NOTHING)
    assert "memory controller is not delegated" in undelegated.message
    assert limits.DROP_IN in undelegated.hint
    unreachable = refusal({"memory": 100 * M}, HOST.replace(buses=()), NOTHING)
    assert "cannot be reached" in unreachable.message
    chosen = refusal({"memory": 100 * M}, HOST, NOTHING.replace(chosen=True))
    assert "cgroup manager is none" in chosen.message


def test_a_delegated_directory_says_which_cgroup_lacks_what():
    error = refusal({"memory": 100 * M}, HOST, Placement(manager="cgroupfs", parent="/ci", controllers=("pids",)))
    assert "cgroup /ci does not have the memory controller" in error.message
    assert "+memory" in error.hint


def test_best_effort_takes_weaker_forms_and_says_so():
    wanted = Resources(
        memory=100 * M, memory_swap=200 * M, nano_cpus=1_500_000_000, cpu_shares=512, cpuset_cpus="0-3", pids_limit=7
    )
    found = limits.plan(wanted, HOST, NOTHING, best_effort=True, processors=(0, 1, 2, 3))
    assert found.enforced == Resources()
    assert found.weaker.memory == 100 * M
    assert found.weaker.memory_swap == 200 * M
    assert found.weaker.threads == 7
    assert found.weaker.nice == 3
    assert len(found.weaker.processors) == 2
    assert ("RLIMIT_DATA", 100 * M) in found.weaker.rlimits
    assert {limit.status for limit in found.limits} == {"weaker"}
    texts = {limit.flag: limit.text for limit in found.limits}
    assert texts["--memory"].startswith("weaker: ")
    assert "2 of 4 processors" in texts["--cpus"]
    assert texts["--cpu-shares"] == "weaker: nice 3"
    assert limits.Weaker.from_plain(jsonlite.loads(jsonlite.dumps(found.weaker.plain()))) == found.weaker


def test_best_effort_enforces_what_can_be_enforced():
    found = limits.plan(Resources(memory=100 * M, nano_cpus=10**9), HOST, SYSTEMD, best_effort=True, processors=(0, 1))
    assert found.enforced == Resources(memory=100 * M)
    assert [limit.status for limit in found.limits] == ["enforced", "weaker"]
    assert not found.weaker.watched


def test_best_effort_refuses_what_has_no_weaker_form():
    error = refusal({"memory_reservation": 10 * M}, best_effort=True, placement=NOTHING)
    assert "there is no weaker form" in error.message
    assert "best-effort" not in error.hint
    refusal({"write_bps": (DeviceRate(path="/", rate=1),)}, best_effort=True)
    refusal({"cpuset_mems": "0"}, best_effort=True)


def test_containers_are_spread_over_processors():
    chosen = {
        limits.plan(
            Resources(nano_cpus=10**9), HOST, NOTHING, best_effort=True, seed=seed, processors=(0, 1, 2, 3)
        ).weaker.processors
        for seed in ("a", "b", "c", "d")
    }
    assert len(chosen) == 4


@pytest.mark.parametrize(("shares", "nice"), [(1024, 0), (4096, 0), (512, 3), (100, 10), (2, 19)])
def test_shares_become_nice_values(shares, nice):
    assert limits.nice_of_shares(shares) == nice


def test_modes_are_closed():
    assert limits.check_mode("best-effort") == "best-effort"
    with pytest.raises(InvalidArgument):
        limits.check_mode("maybe")


# --- what is left without controllers ------------------------------------------------------


def process(proc, pid, namespace, *, pss=0, swap=0, threads=1):
    directory = proc / str(pid)
    (directory / "ns").mkdir(parents=True)
    (directory / "ns/pid").hardlink_to(namespace)
    (directory / "smaps_rollup").write_text(f"00-ff ---p 0 00:00 0 [rollup]\nPss: {pss} kB\nSwapPss: {swap} kB\n")
    (directory / "stat").write_text(f"{pid} (a) b) S {' '.join(['0'] * 16)} {threads} 0 5\n")


@pytest.fixture
def proc(tmp_path):
    """Two processes of a container, one of somebody else."""
    for name in ("inside", "outside"):
        (tmp_path / name).write_text("")
    made = tmp_path / "proc"
    process(made, 10, tmp_path / "inside", pss=1000, swap=500, threads=2)
    process(made, 11, tmp_path / "inside", pss=24, threads=3)
    process(made, 99, tmp_path / "outside", pss=10**6, threads=100)
    (made / "meminfo").write_text("")
    return str(made)


def test_the_watchdog_sums_over_the_containers_processes_only(proc):
    assert sorted(weaker.members(10, proc=proc)) == [10, 11]
    assert weaker.memory([10, 11], proc=proc) == (1024 * 1024, 500 * 1024)

    def check(**values):
        return weaker.Watchdog(limits.Weaker(**values), 10, proc=proc).check()

    assert check(memory=1024 * 1024, memory_swap=1524 * 1024, threads=5) == ""
    assert "memory" in check(memory=1024 * 1024 - 1)
    assert "swap" in check(memory_swap=1524 * 1024 - 1)
    assert "5 threads" in check(threads=4)


def test_processes_are_summed_up_with_the_children_they_waited_for(proc, tmp_path):
    fields = ["0"] * 11 + ["10", "20", "30", "40"] + ["0"] * 2
    (tmp_path / "proc/10/stat").write_text(f"10 (a) b) S {' '.join(fields[1:])} 2 0 5\n")
    (tmp_path / "proc/10/io").write_text("rchar: 9\nread_bytes: 4096\nwrite_bytes: 512\n")
    found = weaker.usage(weaker.members(10, proc=proc), proc=proc)
    assert found.cpu == 100 * 1_000_000 // os.sysconf("SC_CLK_TCK")
    assert (found.memory, found.pids, found.read_bytes, found.write_bytes) == (1024 * 1024, 5, 4096, 512)


def test_pid_namespaces_are_told_apart(proc):
    found = sorted(sorted(pids) for pids in weaker.namespaces(proc=proc).values())
    assert found == [[10, 11], [99]]


def test_the_watchdog_of_a_container_that_ended_is_silent(proc):
    assert weaker.Watchdog(limits.Weaker(memory=1), 12345, proc=proc).check() == ""


def test_a_tighter_ulimit_of_the_users_stays():
    wanted = limits.Weaker(rlimits=(("RLIMIT_DATA", 100), ("RLIMIT_NPROC", 5)))
    existing = [
        {"type": "RLIMIT_NPROC", "soft": 3, "hard": -1},
        {"type": "RLIMIT_NOFILE", "soft": 9, "hard": 9},
    ]
    assert weaker.rlimits(wanted, existing) == [
        {"type": "RLIMIT_NPROC", "soft": 3, "hard": 5},
        {"type": "RLIMIT_NOFILE", "soft": 9, "hard": 9},
        {"type": "RLIMIT_DATA", "soft": 100, "hard": 100},
    ]


def test_affinity_and_nice_are_applied_to_a_process():
    import os
    import subprocess
    import sys

    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        last = max(os.sched_getaffinity(0))
        assert weaker.apply(limits.Weaker(processors=(last,), nice=5), child.pid) == []
        assert os.sched_getaffinity(child.pid) == {last}
        assert os.getpriority(os.PRIO_PROCESS, child.pid) >= 5
        assert "cannot bind" in weaker.apply(limits.Weaker(processors=(1023,)), child.pid)[0]
    finally:
        child.communicate(b"\n")
