"""A store survives what happens to it: death at any step, a disk that is full at any step."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys

import pytest

from rootless.errors import NoSpace, RlError
from rootless.linux import syscalls
from rootless.linux.userns import _run_forked
from rootless.oci import digests
from rootless.storage import gc
from rootless.storage.images import ImageStore
from rootless.storage.layers import unpack_image
from rootless.storage.volumes import VolumeStore
from tests.support.layers import Archive, Store, clear, make_userspace

pytestmark = [
    pytest.mark.skipif(os.geteuid() == 0, reason="runs as an ordinary user"),
    pytest.mark.limit(600),
]
NAME = "docker.io/library/test:latest"


@pytest.fixture(scope="module")
def userns(tmp_path_factory):
    return make_userspace(tmp_path_factory.mktemp("run"))


LAYERS = [
    Archive().file("etc/passwd", b"root", uid=5).file("data", b"x" * 300_000).bytes(),
    Archive().file("etc/.wh.passwd").file("more", b"y" * 200_000, uid=7).bytes(),
]


def whole_life(root, userns, driver):
    """Do what pull, run and rm do to a store; return what the container saw."""
    store = Store(root, userns, driver)
    gc.tidy(store.layout, userns)
    images = ImageStore(store.layout, store.blobs)
    blobs = []
    for content in LAYERS:
        digest = digests.sha256_bytes(content)
        with store.blobs.writer(digest, len(content)) as writer:
            if not writer.present:
                writer.write(content[writer.offset :])
            writer.commit()
        blobs.append({"digest": digest, "size": len(content)})
    config = {"rootfs": {"diff_ids": [blob["digest"] for blob in blobs]}}
    manifest = {"config": {"digest": store.blobs.put(json.dumps(config).encode())}, "layers": blobs}
    digest = store.blobs.put(json.dumps(manifest).encode())
    unpacked = unpack_image(store.layout, store.blobs, store.driver, userns, manifest, config)
    images.add(images.describe(digest, reference=NAME, size=unpacked.size))
    VolumeStore(store.layout).create("data")
    rw = f"{store.layout.containers}/c1"
    store.driver.prepare_rw(rw, unpacked.chain_ids)
    store.driver.mounts(unpacked.chain_ids, rw)
    gc.delete(store.layout, rw, userns)
    images.remove(images.lookup("test").image_id)
    gc.collect(store.layout, userns)
    return unpacked.chain_ids


def check_whole(root, userns, driver):
    """The next command uses the store, and cleans up what the last one left."""
    store = Store(root, userns, driver)
    images = ImageStore(store.layout, store.blobs)
    for entry in images.list():
        manifest = images.manifest(entry)
        for layer in manifest["layers"]:
            assert store.blobs.read(layer["digest"])
    whole_life(root, userns, driver)
    gc.collect(store.layout, userns, partials=True)
    layout = store.layout
    for directory in (layout.tmp, layout.trash, layout.partial, layout.blobs, layout.containers):
        assert os.listdir(directory) == []
    for directory in (f"{layout.snapshots}/sha256", f"{layout.snapshots}/l", f"{layout.snapshots_vfs}/sha256"):
        assert os.listdir(directory) == []
    assert not [name for name in os.listdir(root) if name.endswith(".new")]


WATCHED = ("open", "os.", "fcntl.")


def die_at(step, victim, root, userns, driver):
    """Run a life until its ``step``-th system call of note kills it; false if it ended before.

    ``victim`` is the process itself, one of its children in the namespace, or the process
    while a child is at work.
    """
    pid = os.fork()
    if pid == 0:
        try:
            main = os.getpid()
            count = 0

            def hook(event, arguments):
                nonlocal count
                if event.startswith(WATCHED) and (os.getpid() == main) == (victim == "main"):
                    count += 1
                    if count == step:
                        os.kill(main if victim == "parent" else os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            whole_life(root, userns, driver)
            os._exit(0)
        except RlError:
            os._exit(3)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) in (0, 3), status
    return status != 0


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
@pytest.mark.parametrize("victim", ["main", "child", "parent"])
def test_killed_at_any_step(tmp_path, userns, driver, victim):
    userns.open()
    root = tmp_path / "store"
    step, deaths = 1, 0
    while die_at(step, victim, root, userns, driver):
        deaths += 1
        if deaths % 3 == 0:
            check_whole(root, userns, driver)
        step += 3 if victim == "main" else 2
    assert deaths > 5
    check_whole(root, userns, driver)


class Inside:
    """The user namespace, for a process that is in it already."""

    def call(self, function, *arguments):
        return _run_forked(lambda: None, function, arguments)


def fill(mountpoint, driver, kib):
    """Live on a disk of ``kib`` KiB; returns "full" or "fine" and fails for anything else."""
    root = f"{mountpoint}/store"
    os.makedirs(root, exist_ok=True)
    syscalls.mount("tmpfs", mountpoint, "tmpfs", 0, "size=64m,mode=0755")
    store = Store(root, Inside(), driver)
    gc.tidy(store.layout, Inside())
    ballast = f"{mountpoint}/ballast"
    with open(ballast, "wb") as stream:
        free = os.statvfs(mountpoint)
        os.posix_fallocate(stream.fileno(), 0, free.f_bavail * free.f_frsize - kib * 1024)
    try:
        whole_life(root, Inside(), driver)
        result = "fine"
    except NoSpace:
        result = "full"
        gc.collect(store.layout, Inside(), partials=True)
        assert os.listdir(store.layout.tmp) == []
        assert os.listdir(store.layout.trash) == []
        assert os.listdir(store.layout.partial) == []
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise AssertionError("not translated") from error
        raise
    os.unlink(ballast)
    check_whole(root, Inside(), driver)
    return result


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_disk_full_at_any_step(tmp_path, userns, driver):
    results = []
    for kib in (*range(0, 200, 8), *range(200, 4000, 70)):
        results.append(userns.call(fill, str(tmp_path), driver, kib))
        if results[-3:] == ["fine"] * 3:
            break
    assert results[0] == "full"
    assert results[-1] == "fine"
    assert results == sorted(results, reverse=True)
    clear(userns, tmp_path / "store")
