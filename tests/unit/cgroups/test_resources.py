import pytest

from rootless import jsonlite
from rootless.cgroups import resources
from rootless.cgroups.resources import DeviceRate, Resources
from rootless.errors import InvalidArgument, Unsupported

M = 1 << 20


def files(wanted, **options):
    return [(write.file, write.value) for write in resources.writes(wanted, **options)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, []),
        ({"memory": 500 * M}, [("memory.max", str(500 * M)), ("memory.swap.max", str(500 * M))]),
        ({"memory": 500 * M, "memory_swap": 500 * M}, [("memory.max", str(500 * M)), ("memory.swap.max", "0")]),
        (
            {"memory": 100 * M, "memory_swap": 300 * M},
            [("memory.max", str(100 * M)), ("memory.swap.max", str(200 * M))],
        ),
        ({"memory": 100 * M, "memory_swap": -1}, [("memory.max", str(100 * M)), ("memory.swap.max", "max")]),
        ({"memory_reservation": 50 * M}, [("memory.low", str(50 * M))]),
        ({"nano_cpus": 1_500_000_000}, [("cpu.max", "150000 100000")]),
        ({"nano_cpus": 10_000_000}, [("cpu.max", "1000 100000")]),
        ({"cpu_quota": 20_000}, [("cpu.max", "20000 100000")]),
        ({"cpu_quota": 20_000, "cpu_period": 50_000}, [("cpu.max", "20000 50000")]),
        ({"cpu_quota": -1, "cpu_period": 50_000}, [("cpu.max", "max 50000")]),
        ({"cpu_shares": 1024}, [("cpu.weight", "100")]),
        ({"cpuset_cpus": "0-1", "cpuset_mems": "0"}, [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]),
        ({"pids_limit": 20}, [("pids.max", "20")]),
        ({"pids_limit": -1}, [("pids.max", "max")]),
        ({"blkio_weight": 10}, [("io.bfq.weight", "10"), ("io.weight", "default 1")]),
        ({"blkio_weight": 1000}, [("io.bfq.weight", "1000"), ("io.weight", "default 10000")]),
    ],
)
def test_each_option_is_a_file(wanted, expected):
    assert files(Resources(**wanted)) == expected


@pytest.mark.parametrize(
    ("shares", "weight"), [(1, 1), (2, 1), (1024, 100), (512, 59), (2048, 174), (262_144, 10_000), (300_000, 10_000)]
)
def test_shares_become_weights_as_oci_runtimes_do_it(shares, weight):
    assert resources.weight_of_shares(shares) == weight


def test_weights_grow_with_shares():
    weights = [resources.weight_of_shares(2**exponent) for exponent in range(1, 19)]
    assert weights == sorted(weights)
    assert len(set(weights)) == len(weights)


def test_rates_have_a_line_for_each_limit_of_each_disk():
    wanted = Resources(
        read_bps=(DeviceRate(path="/dev/a", rate=M), DeviceRate(path="/dev/b", rate=2 * M)),
        write_iops=(DeviceRate(path="/data", rate=100),),
    )
    disks = {"/dev/a": "254:0", "/data": "254:0", "/dev/b": "254:16"}
    assert files(wanted, disk=disks.__getitem__) == [
        ("io.max", f"254:0 rbps={M}"),
        ("io.max", "254:0 wiops=100"),
        ("io.max", f"254:16 rbps={2 * M}"),
    ]


def test_an_update_lifts_what_no_longer_stands():
    old = Resources(
        memory=100 * M,
        memory_reservation=50 * M,
        cpu_shares=10,
        nano_cpus=10**9,
        cpuset_cpus="0",
        pids_limit=5,
        read_bps=(DeviceRate(path="/a", rate=1),),
    )
    assert files(Resources(pids_limit=-1), reset=old, disk=lambda path: "8:0") == [
        ("memory.max", "max"),
        ("memory.swap.max", "max"),
        ("memory.low", "0"),
        ("cpu.weight", "100"),
        ("cpu.max", "max 100000"),
        ("cpuset.cpus", "\n"),
        ("pids.max", "max"),
        ("io.max", "8:0 rbps=max"),
    ]


def test_swap_is_left_alone_where_the_kernel_does_not_count_it():
    without = {"has": lambda name: name != "memory.swap.max"}
    assert files(Resources(memory=100 * M), **without) == [("memory.max", str(100 * M))]
    # Asked for explicitly, it must not be dropped silently.
    (_, swap) = resources.writes(Resources(memory=100 * M, memory_swap=200 * M), **without)
    assert not swap.optional


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"memory": 6 * M - 1}, "minimum memory limit allowed is 6MB"),
        ({"memory": 100 * M, "memory_swap": 50 * M}, "minimum memoryswap limit should be larger than memory limit"),
        ({"memory_swap": 50 * M}, "you should always set the memory limit when using memoryswap limit"),
        ({"memory_swap": -2}, "invalid memory swap"),
        ({"memory_reservation": 1}, "minimum memory reservation allowed is 6MB"),
        ({"memory": 50 * M, "memory_reservation": 60 * M}, "can not be less than memory reservation limit"),
        ({"nano_cpus": 5 * 10**9}, r"range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
        ({"nano_cpus": 5_000_000}, "range of CPUs is from 0.01"),
        ({"nano_cpus": 10**9, "cpu_period": 1000}, "nano CPUs and CPU period cannot both be set"),
        ({"nano_cpus": 10**9, "cpu_quota": 1000}, "nano CPUs and CPU quota cannot both be set"),
        ({"cpu_period": 999}, "CPU cfs period can not be less than 1ms"),
        ({"cpu_period": 1_000_001}, "larger than 1s"),
        ({"cpu_quota": 999}, "CPU cfs quota can not be less than 1ms"),
        ({"cpu_shares": -1}, "invalid CPU shares"),
        ({"cpuset_cpus": "0-x"}, "invalid value 0-x for cpuset cpus"),
        ({"cpuset_cpus": "3-1"}, "invalid value 3-1 for cpuset cpus"),
        ({"cpuset_cpus": "0,7"}, "requested CPUs are not available - requested 0,7, available: 0-3"),
        ({"cpuset_mems": "1"}, "requested memory nodes are not available - requested 1, available: 0"),
        ({"pids_limit": -2}, "invalid pids limit"),
        ({"blkio_weight": 9}, "range of blkio weight is from 10 to 1000"),
        ({"blkio_weight": 1001}, "range of blkio weight is from 10 to 1000"),
    ],
)
def test_nonsense_is_refused_in_dockers_words(tmp_path, wanted, message):
    for name, value in (("cpu", "0-3"), ("node", "0")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "online").write_text(f"{value}\n")
    with pytest.raises(InvalidArgument, match=message):
        resources.validate(Resources(**wanted), processors=4, sysfs=str(tmp_path))


def test_what_docker_accepts_is_accepted():
    for wanted in (
        {"memory": 6 * M},
        {"memory": 6 * M, "memory_swap": 6 * M},
        {"memory_swap": -1},
        {"nano_cpus": 10_000_000},
        {"cpu_quota": -1},
        {"pids_limit": -1},
        {"cpu_shares": 1},
        {"cpuset_cpus": "0"},
    ):
        resources.validate(Resources(**wanted), processors=4)


def test_disabling_the_oom_killer_is_refused():
    with pytest.raises(Unsupported, match="does not exist in cgroup version 2"):
        resources.validate(Resources(oom_kill_disable=True))


@pytest.mark.parametrize(("text", "nano"), [("1", 10**9), ("1.5", 1_500_000_000), (".5", 500_000_000), ("0.01", 10**7)])
def test_cpus_are_decimal(text, nano):
    assert resources.parse_cpus(text) == nano


@pytest.mark.parametrize("text", ["", ".", "x", "-1", "1e3", "1.0000000001", "\u0661"])
def test_other_cpus_are_refused(text):
    with pytest.raises(InvalidArgument):
        resources.parse_cpus(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("/dev/sda:1mb", M), ("/dev/sda:1M", M), ("/data:with:colon:10", 10), ("/dev/sda:0", 0), ("/x:2kb", 2048)],
)
def test_rates_have_units(text, rate):
    found = resources.parse_device_rate(text, size=True)
    assert (found.path, found.rate) == (text.rpartition(":")[0], rate)


@pytest.mark.parametrize("text", ["/dev/sda", "sda:1", "/dev/sda:", "/dev/sda:x", "/dev/sda:-1", "/dev/sda:1zb", ":1"])
def test_other_rates_are_refused(text):
    with pytest.raises(InvalidArgument):
        resources.parse_device_rate(text, size=True)


def test_operations_have_no_unit():
    assert resources.parse_device_rate("/dev/sda:100", size=False).rate == 100
    with pytest.raises(InvalidArgument):
        resources.parse_device_rate("/dev/sda:100k", size=False)


def test_update_merges_and_finds_conflicts():
    old = Resources(memory=100 * M, memory_swap=200 * M, nano_cpus=10**9)
    assert resources.merge(old, {"memory": 150 * M}).memory_swap == 200 * M
    with pytest.raises(InvalidArgument, match="update the memoryswap at the same time"):
        resources.merge(old, {"memory": 300 * M})
    assert resources.merge(old, {"memory": 300 * M, "memory_swap": -1}).memory == 300 * M
    with pytest.raises(InvalidArgument, match="NanoCPUs has already been set"):
        resources.merge(old, {"cpu_quota": 5000})
    with pytest.raises(InvalidArgument, match="CPU quota has already been set"):
        resources.merge(Resources(cpu_quota=5000), {"nano_cpus": 10**9})


def test_only_what_limits_is_asked_for():
    assert resources.asked(Resources(memory_swap=-1, cpu_quota=-1, pids_limit=-1)) == {}
    assert resources.asked(Resources(memory=M, pids_limit=3, write_bps=(DeviceRate(path="/", rate=1),))) == {
        "memory": "memory",
        "pids_limit": "pids",
        "write_bps": "io",
    }


def test_resources_travel_as_json():
    wanted = Resources(memory=M, cpuset_cpus="0", read_bps=(DeviceRate(path="/dev/sda", rate=5),))
    plain = jsonlite.loads(jsonlite.dumps(wanted.plain()))
    assert set(plain) == {"memory", "cpuset_cpus", "read_bps"}
    assert Resources.from_plain({**plain, "unknown": 1}) == wanted
