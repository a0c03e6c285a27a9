"""One cgroup on the kernel's own file system; controllers are not needed, so that any cgroup2 mount will do."""

import os
import select
import signal
import subprocess
import sys

import pytest

from rootless.cgroups import detect, manager, membership, placement
from rootless.cgroups.group import Cgroup, OomWatch
from rootless.cgroups.limits import Plan
from rootless.cgroups.resources import Resources, Write
from rootless.errors import InvalidArgument, SystemFailure, Unsupported

ROOTS = (detect.ROOT, f"{detect.ROOT}/unified")


def managed():
    """Return the mount and a directory below which this user may make cgroups, or None."""
    own = detect.own_cgroup()
    for root in ROOTS:
        directory = f"{root}{own}".rstrip("/")
        if own and os.path.exists(f"{root}/cgroup.controllers") and detect.is_managed(directory):
            return root, own
    return None


@pytest.fixture
def home():
    """A new cgroup, which we are not in."""
    found = managed()
    if found is None:
        pytest.skip("no cgroup of version 2 is delegated to this user")
    group = Cgroup(f"{found[0]}{found[1].rstrip('/')}/rl-unit-{os.getpid()}")
    os.mkdir(group.path)
    yield group
    group.remove()


needs_cgroup = pytest.mark.optional_on_ci(reason="the machine's own cgroups may be version 1, or not delegated")
SLEEP = "import time, sys; sys.stdout.write('x'); sys.stdout.flush(); time.sleep(60)"


def start(group=None):
    """Start a process, in ``group`` before it does anything."""
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", SLEEP],
        stdout=subprocess.PIPE,
        preexec_fn=(lambda: group.attach(0)) if group else None,
    )
    assert child.stdout.read(1) == b"x"
    child.stdout.close()
    return child


@needs_cgroup
def test_a_process_is_put_in_and_all_are_killed(home):
    inner = Cgroup(f"{home.path}/inner")
    inner.create()
    first, second = start(home), start()
    inner.attach(second.pid)
    assert sorted(home.pids()) == sorted([first.pid, second.pid])
    assert home.populated()
    home.kill()
    assert {child.wait() for child in (first, second)} == {-signal.SIGKILL}
    assert not home.populated()


@needs_cgroup
def test_without_cgroup_kill_all_are_killed_too(home, monkeypatch):
    from rootless.cgroups import group

    write = group.write

    def old_kernel(path, value):
        if path.endswith("/cgroup.kill"):
            raise FileNotFoundError(2, "no such file", path)
        write(path, value)

    monkeypatch.setattr(group, "write", old_kernel)
    children = [start(home) for _ in range(3)]
    home.kill()
    assert {child.wait() for child in children} == {-signal.SIGKILL}


@needs_cgroup
def test_freezing_waits_until_all_stand_still(home):
    child = start(home)
    home.freeze()
    assert home.frozen()
    home.thaw()
    assert not home.frozen()
    home.freeze()
    home.kill()  # a frozen process can be killed
    assert child.wait() == -signal.SIGKILL


@needs_cgroup
def test_removal_takes_leftovers_and_children_with_it(home):
    group = Cgroup(f"{home.path}/a")
    for path in ("a", "a/b", "a/b/c"):
        os.mkdir(f"{home.path}/{path}")
    child = start(Cgroup(f"{home.path}/a/b/c"))
    group.remove()
    assert not group.exists()
    assert child.wait() == -signal.SIGKILL
    group.remove()


@needs_cgroup
def test_an_old_cgroup_of_the_same_name_is_replaced(home):
    group = Cgroup(f"{home.path}/a")
    group.create()
    child = start(group)
    group.create()
    assert group.pids() == []
    assert child.wait() == -signal.SIGKILL


@needs_cgroup
def test_a_missing_controller_is_found_out_by_the_limit_that_needs_it(home):
    if home.has("memory.max"):
        pytest.skip("this machine delegates the memory controller")
    with pytest.raises(Unsupported, match=r"--memory: control group .* has no file memory\.max"):
        home.apply([Write(file="memory.max", value="1", flag="--memory")])
    home.apply([Write(file="memory.swap.max", value="1", flag="--memory-swap", optional=True)])
    assert home.watch_oom() is None
    assert home.oom_kills() == 0


@needs_cgroup
def test_values_that_the_kernel_refuses_name_their_flag(home):
    with pytest.raises(InvalidArgument, match=r"--x: the kernel refused nonsense in cgroup\.max\.depth"):
        home.apply([Write(file="cgroup.max.depth", value="nonsense", flag="--x")])


@needs_cgroup
def test_an_exec_joins_the_first_process_where_the_payload_has_moved_it(home):
    inner = Cgroup(f"{home.path}/inner")
    inner.create()
    child = start(inner)
    assert home._of(child.pid) == inner.path
    assert inner._of(child.pid) == inner.path
    child.kill()
    child.wait()


@needs_cgroup
def test_a_delegated_directory_serves_as_manager(home, monkeypatch):
    """The whole way of a monitor, in a process of its own."""
    root, own = managed()
    path = f"{own.rstrip('/')}/{os.path.basename(home.path)}"
    place = placement.Placement(manager="cgroupfs", mount=root, parent=path, base=f"{home.path}/rl-0")
    record = membership.record(place, Plan(enforced=Resources()), "c1")
    member = membership.Membership(record)
    member.enter()
    assert member.path == f"{home.path}/rl-0/c1"
    assert os.path.isdir(f"/proc/self/fd/{member.fd}/")
    child = start(member.group)
    assert member.limit(child.pid) == []
    assert member.interval is None
    assert member.group.stats().cpu_usage > 0
    assert manager.find(member.path).pids() == [child.pid]
    member.close()
    assert child.wait() == -signal.SIGKILL
    assert os.listdir(root + path) == [
        name for name in os.listdir(root + path) if not os.path.isdir(f"{home.path}/{name}")
    ]
    member.close()


@needs_cgroup
def test_what_a_killed_monitor_left_is_forgotten(home):
    os.makedirs(f"{home.path}/rl-0/c1/nested")
    child = start(Cgroup(f"{home.path}/rl-0/c1"))
    manager.forget(f"{home.path}/rl-0/c1")
    assert not os.path.exists(f"{home.path}/rl-0")
    assert child.wait() == -signal.SIGKILL
    manager.forget(f"{home.path}/rl-0/c1")
    manager.forget("")


@needs_cgroup
def test_events_wake_a_poll(home):
    poller = select.poll()
    fd = os.open(f"{home.path}/cgroup.events", os.O_RDONLY)
    os.pread(fd, 100, 0)
    poller.register(fd, select.POLLPRI)
    child = start(home)
    assert poller.poll(5000)
    os.close(fd)
    child.kill()
    child.wait()


# --- without a kernel ----------------------------------------------------------------------


def test_oom_kills_are_counted_once(tmp_path):
    events = tmp_path / "memory.events"
    events.write_text("oom 1\noom_kill 1\n")
    watch = OomWatch(str(events))
    assert watch.kills() == 0
    events.write_text("oom 4\noom_kill 3\n")
    assert watch.kills() == 2
    assert watch.kills() == 0
    watch.close()
    watch.close()
    assert Cgroup(str(tmp_path)).oom_kills() == 3


def test_controllers_are_passed_on_only_if_they_are_not_yet(tmp_path):
    control = tmp_path / "cgroup.subtree_control"
    control.write_text("memory pids\n")
    assert Cgroup(str(tmp_path)).enable(["pids"]) == ()
    assert control.read_text() == "memory pids\n"
    Cgroup(str(tmp_path)).enable(["cpu", "pids", "io"])
    assert control.read_text().startswith("+cpu +io")


def test_what_cannot_be_made_says_where(tmp_path):
    with pytest.raises(SystemFailure, match="cannot make the container's control group"):
        Cgroup(str(tmp_path / "a/b")).create()


def test_a_container_without_limits_starts_where_no_cgroup_can_be_had(tmp_path):
    place = placement.Placement(manager="systemd", base=str(tmp_path / "x.scope"))
    member = membership.Membership(membership.record(place, Plan(enforced=Resources()), "c1"))
    member.enter()
    assert (member.path, member.fd) == ("", -1)
    assert member.limit(os.getpid()) == []
    member.close()
    assert membership.record(placement.Placement(manager="none"), Plan(enforced=Resources()), "c1") is None
    nothing = membership.Membership(None)
    nothing.enter()
    nothing.close()


def test_a_limited_container_does_not_start_where_no_cgroup_can_be_had(tmp_path):
    place = placement.Placement(manager="cgroupfs", mount="/proc/nowhere", base="/proc/nowhere/x")
    member = membership.Membership(membership.record(place, Plan(enforced=Resources(pids_limit=5)), "c1"))
    with pytest.raises(SystemFailure):
        member.enter()


def test_asking_for_no_limit_is_not_a_limit():
    place = placement.Placement(manager="systemd", base="/nowhere")
    record = membership.record(place, Plan(enforced=Resources(pids_limit=-1, memory_swap=-1)), "c1")
    assert record["resources"] == {}
    assert membership.record(place, None, "c1") == record
