import pytest

from rootless.cgroups import stats
from rootless.cgroups.stats import DeviceIo


@pytest.fixture
def counters(tmp_path):
    for name, content in {
        "cpu.stat": "usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\nnr_periods 5\nnr_throttled 2\nthrottled_usec 70",
        "memory.current": "1000000",
        "memory.peak": "2000000",
        "memory.max": "4000000",
        "memory.swap.current": "0",
        "memory.stat": "anon 600000\nfile 400000\ninactive_file 300000",
        "memory.events": "low 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0",
        "pids.current": "7",
        "pids.max": "max",
        "io.stat": "254:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 7:1 rbytes=5 wbytes=0 rios=1 wios=0\n7:0 \n",
        "memory.pressure": "some avg10=1.50 avg60=0.20 avg300=0.00 total=777\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5",
    }.items():
        (tmp_path / name).write_text(content + "\n")
    return str(tmp_path)


def test_counters_are_the_kernels(counters):
    found = stats.read(counters)
    assert (found.cpu_usage, found.cpu_user, found.cpu_system) == (3_000_000, 2_000_000, 1_000_000)
    assert (found.cpu_periods, found.cpu_throttled_periods, found.cpu_throttled) == (5, 2, 70)
    assert (found.memory_current, found.memory_peak, found.memory_limit, found.memory_swap) == (
        10**6,
        2 * 10**6,
        4 * 10**6,
        0,
    )
    assert found.oom_kills == 1
    assert (found.pids, found.pids_limit) == (7, None)
    assert found.pressure["memory"].some_avg10 == 1.5
    assert found.pressure["memory"].full_total == 5
    assert set(found.pressure) == {"memory"}


def test_memory_is_without_cache_that_can_be_dropped(counters):
    assert stats.read(counters).memory == 700_000
    assert stats.Stats(memory_current=10, memory_inactive_file=10).memory == 10
    assert stats.Stats().memory is None


def test_io_is_by_disk(counters):
    found = stats.read(counters)
    assert found.io == (
        DeviceIo(major=254, minor=0, read_bytes=10, write_bytes=20, read_operations=1, write_operations=2),
        DeviceIo(major=7, minor=1, read_bytes=5, read_operations=1),
    )
    assert (found.read_bytes, found.write_bytes) == (15, 20)


def test_without_controllers_there_is_nothing_rather_than_zero(tmp_path):
    (tmp_path / "cpu.stat").write_text("usage_usec 5\n")
    found = stats.read(str(tmp_path))
    assert (found.cpu_usage, found.memory, found.pids, found.io) == (5, None, None, None)


def test_a_cgroup_that_has_gone_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        stats.read(str(tmp_path / "gone"))


def test_cpu_percent_is_of_one_processor():
    assert stats.cpu_percent(1_000_000, 4_000_000, 2.0) == pytest.approx(150.0)
    assert stats.cpu_percent(1_000_000, 4_000_000, 0.0) == 0.0
    assert stats.cpu_percent(4_000_000, 1_000_000, 1.0) == 0.0  # a process has gone that nobody waited for


def test_the_network_of_a_process_is_all_but_the_loopback(tmp_path):
    (tmp_path / "7/net").mkdir(parents=True)
    (tmp_path / "7/net/dev").write_text(
        "Inter-|   Receive                            |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n"
        "    lo:    5000      10    0    0    0     0          0         0     5000      10    0\n"
        "  tap0:     100       1    0    0    0     0          0         0       20       1    0\n"
        "  eth1:11 1 0 0 0 0 0 0 7 1 0\n"
    )
    assert stats.network(7, proc=str(tmp_path)) == (111, 27)
    assert stats.network(8, proc=str(tmp_path)) is None
