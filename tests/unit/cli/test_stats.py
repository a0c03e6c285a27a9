"""What ``stats`` makes of numbers."""

from __future__ import annotations

from rootless.cli.commands import stats
from rootless.engine.stats import Reading, Sample

FULL = Sample(
    at=1.0, cpu=5, memory=1 << 20, memory_limit=64 << 20, received=788, sent=6480, read=3_568_000, written=0, pids=2
)


def reading(sample, *, running=True, percent=0.074):
    return Reading(id="ab" * 32, name="web", asked="w", running=running, sample=sample, cpu_percent=percent)


def test_numbers_are_dockers():
    assert stats.row(reading(FULL)) == {
        "Container": "w",
        "ID": "ab" * 6,
        "Name": "web",
        "CPUPerc": "0.07%",
        "MemUsage": "1MiB / 64MiB",
        "MemPerc": "1.56%",
        "NetIO": "788B / 6.48kB",
        "BlockIO": "3.57MB / 0B",
        "PIDs": "2",
        "CPUPressure": "--",
        "MemPressure": "--",
        "IOPressure": "--",
    }
    assert stats.row(reading(FULL), truncate=False)["ID"] == "ab" * 32


def test_pressure_is_there_for_formats():
    found = stats.row(reading(FULL.replace(pressure={"cpu": 12.5, "io": 0.0})))
    assert (found["CPUPressure"], found["MemPressure"], found["IOPressure"]) == ("12.50%", "--", "0.00%")


def test_what_is_not_known_is_two_dashes():
    found = stats.row(reading(Sample(at=1.0, memory_limit=1 << 30), percent=None))
    assert [found[name] for name in stats.COLUMNS[2:]] == ["--", "-- / 1GiB", "--", "--", "--", "--"]


def test_what_does_not_run_uses_nothing():
    found = stats.row(reading(Sample(at=0.0), running=False, percent=0.0))
    assert [found[name] for name in stats.COLUMNS[2:]] == ["0.00%", "0B / 0B", "0.00%", "0B / 0B", "0B / 0B", "0"]
