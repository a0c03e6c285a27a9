"""What all tests share: strictness on CI, a limit on time, and the fixtures of tests/support."""

from __future__ import annotations

import os
import signal

import pytest

try:
    import hypothesis
except ImportError:  # without the development extras
    pass
else:
    # Reproducible, and nothing written beside the tests: the checkout may be read-only.
    hypothesis.settings.register_profile("rl", database=None, deadline=None, derandomize=True)
    hypothesis.settings.load_profile("rl")

pytest_plugins = [
    "tests.support.images",
    "tests.support.registry",
    "tests.support.rl",
    "tests.support.hosts",
    "tests.support.faults",
]

ON_CI = os.environ.get("CI") == "true"
SECONDS = 180


def pytest_configure(config):
    config.addinivalue_line("markers", f"limit(seconds): may take longer than {SECONDS} seconds")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    # xfail reports itself as skipped, too.
    if ON_CI and report.skipped and not hasattr(report, "wasxfail") and not item.get_closest_marker("optional_on_ci"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and CI=true makes that a failure: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    if ON_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped, and CI=true makes that a failure: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """End a test that hangs, with the stack of where it did; its fixtures still clean up."""
    marker = item.get_closest_marker("limit")
    seconds = marker.args[0] if marker else SECONDS

    def expire(signum, frame):
        raise TimeoutError(f"{item.nodeid} took longer than {seconds} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
