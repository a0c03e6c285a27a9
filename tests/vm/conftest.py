"""Tests that need the virtual machine of scripts/vm: delegated cgroups, user sessions, users without.

``scripts/vm`` runs this directory once as each of its users. A test belongs to rl-user, to whom everything is
delegated, unless it is marked ``vm_user("rl-plain")`` (several names: it runs as each of them).
"""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rl import Rl

USERS = ("rl-user", "rl-part", "rl-nosub", "rl-plain")

if os.environ.get("RL_TEST_VM") != "1":
    collect_ignore_glob = ["test_*"]


def pytest_configure(config):
    config.addinivalue_line("markers", f"vm_user(name, ...): runs as these of {', '.join(USERS)}, instead of rl-user")


def pytest_collection_modifyitems(config, items):
    """Leave out the tests of other users; not by skipping, which would be a failure on CI."""
    me = getpass.getuser()
    here = Path(__file__).parent
    mine, others = [], []
    for item in items:
        marker = item.get_closest_marker("vm_user")
        names = marker.args if marker else ("rl-user",)
        assert set(names) <= set(USERS), f"{item.nodeid}: there is no {names} in the virtual machine"
        (mine if me in names or not item.path.is_relative_to(here) else others).append(item)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = mine


@pytest.fixture
def loaded(bare_rl: Rl, busybox_archive: Path) -> Rl:
    """Rl with busybox in a store of its own, from a file: no registry to start."""
    bare_rl.ok("load", "-q", "-i", busybox_archive)
    return bare_rl


@pytest.fixture(scope="module")
def store(busybox_archive: Path) -> Iterator[Rl]:
    """Rl with busybox, one for all tests of a file: loading takes seconds here."""
    shared = Rl(Path(tempfile.mkdtemp(prefix="rlt-")))
    shared.ok("load", "-q", "-i", busybox_archive)
    try:
        yield shared
    finally:
        complaints = shared.close()
    if complaints:
        pytest.fail("left over: " + "\n".join(complaints))
