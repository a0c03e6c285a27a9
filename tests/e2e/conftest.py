"""Stores that a file's tests share: pulling once for all of them is what keeps this directory fast."""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.registry import Registry
from tests.support.rl import Rl


@pytest.fixture(scope="module")
def store(registry: Registry) -> Iterator[Rl]:
    """Rl with busybox, one for all tests of a file; nothing may be left over after the last of them."""
    shared = Rl(Path(tempfile.mkdtemp(prefix="rlt-", dir=os.environ.get("RL_TEST_TMPDIR"))))
    shared.configure(registry_mirrors=[registry.url])
    shared.ok("pull", "-q", "busybox")
    try:
        yield shared
    finally:
        complaints = shared.close()
    if complaints:
        pytest.fail("left over: " + "\n".join(complaints))


def containers_of(store: Rl) -> set[str]:
    """Return the ids of all containers without asking rl, which would cost as much as many a test."""
    directory = store.data_root / "containers"
    return set(os.listdir(directory)) if directory.is_dir() else set()


@pytest.fixture
def box(store: Rl) -> Iterator[Rl]:
    """The file's store; containers that the test made are removed after it, and nothing else may remain of them."""
    before = containers_of(store)
    started, terminals = len(store._running), len(store._terminals)
    yield store
    for terminal in store._terminals[terminals:]:
        terminal.close(force=True)
    for process in store._running[started:]:
        if process.poll() is None:
            process.kill()
        process.communicate()
    made = containers_of(store) - before
    if made:
        # By force: with --rm one may go meanwhile.
        store.ok("rm", "-f", "-v", *made)
    assert containers_of(store) == before
    if not before:
        assert store.leftovers() == []


@pytest.fixture(scope="session")
def rootfs(busybox_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file system of busybox as a compressed tar, for `rl import`."""
    path = tmp_path_factory.mktemp("rootfs") / "busybox.tar.gz"
    with tarfile.open(busybox_archive) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        layer = archive.extractfile(json.load(manifest)[0]["Layers"][0])
        assert layer is not None
        path.write_bytes(layer.read())
    return path


@pytest.fixture(scope="module")
def make_image(store: Rl, rootfs: Path) -> Callable[..., str]:
    """Make an image of busybox's files with Dockerfile instructions: ``make_image("mine", "USER 1000")``."""

    def make(name: str, *changes: str) -> str:
        store.ok("import", *(word for change in changes for word in ("--change", change)), rootfs, name)
        return name

    return make


def _until(question: Callable[[], Any], *, seconds: float = 20) -> Any:
    """Ask until the answer is true, and return it; for what nobody announces."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """Poll with a deadline."""
    return _until
