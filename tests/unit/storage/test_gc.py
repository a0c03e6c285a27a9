import json
import os
import signal

import pytest

from rootless.storage import gc, records, workspace
from rootless.storage.content import BlobStore
from rootless.storage.images import ImageStore
from rootless.storage.layout import Layout
from rootless.storage.leases import Lease, leased
from tests.unit.storage.test_images import NGINX, make


@pytest.fixture
def layout(tmp_path):
    layout = Layout(str(tmp_path / "store"))
    layout.create()
    return layout


def snapshot(layout, chain_id, size=5):
    directory = f"{layout.snapshots}/sha256/{chain_id[7:]}"
    os.makedirs(f"{directory}/fs")
    records.write(f"{directory}/layer.json", {"size": size})


def chains(layout):
    return {f"sha256:{name}" for name in os.listdir(f"{layout.snapshots}/sha256")}


def test_images_keep_their_content_and_nothing_else_stays(layout):
    images, blobs = ImageStore(layout), BlobStore(layout)
    kept = make(layout, "kept", reference=NGINX)
    images.add(kept)
    gone = make(layout, "gone", reference="docker.io/library/gone:latest")
    images.add(gone)
    for entry in (kept, gone):
        snapshot(layout, entry.chain_id)
    assert gc.collect(layout, None).blobs == ()
    images.remove(gone.image_id)
    collected = gc.collect(layout, None)
    assert len(collected.blobs) == 3
    assert collected.layers == (gone.chain_id,)
    assert collected.bytes > 5
    assert chains(layout) == {kept.chain_id}
    assert images.config(kept)
    assert len(blobs.list()) == 3
    assert os.listdir(layout.trash) == []


def test_containers_keep_their_image(layout):
    images = ImageStore(layout)
    entry = make(layout)
    snapshot(layout, entry.chain_id)
    os.mkdir(f"{layout.containers}/c1")
    records.write(
        f"{layout.containers}/c1/container.json",
        {"manifest_digest": entry.manifest_digest, "chain_ids": [entry.chain_id]},
    )
    assert gc.collect(layout, None) == gc.Collected()
    assert images.config(entry)


def test_pulled_index_is_kept(layout):
    blobs = BlobStore(layout)
    index = blobs.put(json.dumps({"manifests": []}).encode())
    ImageStore(layout).add(make(layout, reference=NGINX, repo_digest=f"docker.io/library/nginx@{index}"))
    gc.collect(layout, None)
    assert blobs.has(index)


def test_lease_keeps_what_is_in_use(layout):
    blobs = BlobStore(layout)
    with Lease(layout) as lease:
        digest = blobs.put(b"in use")
        lease.add(digest)
        assert gc.collect(layout, None).blobs == ()
    assert gc.collect(layout, None).blobs == (digest,)
    assert os.listdir(layout.tmp) == []


def test_lease_of_a_killed_process_counts_for_nothing(layout):
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        Lease(layout).add("sha256:" + "a" * 64)
        os.write(ready_write, b"1")
        signal.pause()
    os.read(ready_read, 1)
    assert leased(layout) == {"sha256:" + "a" * 64}
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert leased(layout) == set()
    gc.tidy(layout, None)
    assert os.listdir(layout.tmp) == []
    os.close(ready_read)
    os.close(ready_write)


def test_work_in_progress_is_left_alone(layout):
    path, fd = workspace.make_directory(layout.tmp, "stage")
    with BlobStore(layout).writer("sha256:" + "b" * 64) as writer:
        writer.write(b"x")
        assert gc.collect(layout, None, partials=True).partials == 0
    assert os.path.exists(path)
    os.close(fd)
    assert gc.collect(layout, None).partials == 0
    assert gc.collect(layout, None, partials=True).partials == 1
    assert os.listdir(layout.partial) == []


def test_stage_of_a_dead_parent_lives_as_long_as_its_child(layout):
    path = f"{layout.tmp}/stage.999999999.1.1"
    os.mkdir(path)
    child = workspace.hold(path)
    gc.tidy(layout, None)
    assert os.path.exists(path)
    os.close(child)
    gc.tidy(layout, None)
    assert not os.path.exists(path)


def test_foreign_entries_in_tmp_are_removed(layout):
    os.symlink("/", f"{layout.tmp}/link")
    os.mkfifo(f"{layout.tmp}/fifo")
    os.mkdir(f"{layout.tmp}/whatever")
    gc.tidy(layout, None)
    assert os.listdir(layout.tmp) == []


def test_delete(layout):
    path = f"{layout.containers}/c1"
    os.makedirs(f"{path}/rw/upper")
    gc.delete(layout, path, None)
    gc.delete(layout, path, None)
    assert os.listdir(layout.trash) == os.listdir(layout.containers) == []


def test_image_with_lost_manifest_does_not_stop_collection(layout):
    entry = make(layout, reference=NGINX)
    ImageStore(layout).add(entry)
    BlobStore(layout).remove(entry.manifest_digest)
    assert len(gc.collect(layout, None).blobs) == 2
