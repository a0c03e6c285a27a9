import os
import threading

import pytest

from rootless.errors import Corrupt, InvalidArgument, NotFound
from rootless.oci.digests import sha256_bytes
from rootless.storage.content import BlobStore
from rootless.storage.layout import Layout

DATA = b"some content" * 1000
DIGEST = sha256_bytes(DATA)


@pytest.fixture
def layout(tmp_path):
    layout = Layout(str(tmp_path / "store"))
    layout.create()
    return layout


@pytest.fixture
def blobs(layout):
    return BlobStore(layout)


def leftovers(layout):
    return os.listdir(layout.tmp) + os.listdir(layout.partial)


def test_put_and_read(blobs, layout):
    assert blobs.put(DATA) == DIGEST
    assert blobs.put(DATA) == DIGEST
    assert blobs.has(DIGEST)
    assert blobs.size(DIGEST) == len(DATA)
    assert blobs.read(DIGEST) == DATA
    with blobs.open(DIGEST) as stream:
        assert stream.read() == DATA
    assert blobs.list() == [DIGEST]
    assert leftovers(layout) == []


def test_remove(blobs):
    blobs.put(DATA)
    assert blobs.remove(DIGEST) == len(DATA)
    assert not blobs.has(DIGEST)
    assert blobs.remove(DIGEST) == 0


def test_missing_blob(blobs):
    for method in (blobs.read, blobs.open, blobs.size):
        with pytest.raises(NotFound):
            method(DIGEST)


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:../../../etc/passwd", "sha256:" + "A" * 64, "md5:abc", "x" * 64]
)
def test_malformed_digests_never_become_paths(blobs, digest):
    for method in (blobs.has, blobs.read, blobs.open, blobs.size, blobs.remove):
        with pytest.raises(InvalidArgument):
            method(digest)
    if digest:
        with pytest.raises(InvalidArgument):
            blobs.writer(digest)


def test_damage_on_disk_is_noticed(blobs):
    blobs.put(DATA)
    with open(blobs.path(DIGEST), "r+b") as stream:
        stream.write(b"X")
    with pytest.raises(Corrupt, match="damaged"):
        blobs.read(DIGEST)


def test_blob_appears_only_on_commit(blobs):
    with blobs.writer(DIGEST, len(DATA)) as writer:
        writer.write(DATA)
        assert not blobs.has(DIGEST)
        assert writer.commit() == DIGEST
    assert blobs.has(DIGEST)


def test_interrupted_download_is_resumed(blobs, layout):
    with blobs.writer(DIGEST, len(DATA)) as writer:
        writer.write(DATA[:5000])
    assert len(leftovers(layout)) == 1
    with blobs.writer(DIGEST, len(DATA)) as writer:
        assert writer.offset == 5000
        writer.write(DATA[5000:])
        writer.commit()
    assert blobs.read(DIGEST) == DATA
    assert leftovers(layout) == []


def test_restart_forgets_what_was_there(blobs):
    with blobs.writer(DIGEST, len(DATA)) as writer:
        writer.write(b"garbage")
    with blobs.writer(DIGEST, len(DATA)) as writer:
        writer.restart()
        assert writer.offset == 0
        writer.write(DATA)
        writer.commit()
    assert blobs.read(DIGEST) == DATA


def test_wrong_content_is_refused_and_removed(blobs, layout):
    with blobs.writer(DIGEST, len(DATA)) as writer:
        writer.write(b"x" * len(DATA))
        with pytest.raises(Corrupt, match="does not match"):
            writer.commit()
    assert not blobs.has(DIGEST)
    assert leftovers(layout) == []


def test_wrong_size_is_refused_and_removed(blobs, layout):
    with blobs.writer(DIGEST, len(DATA) + 1) as writer:
        writer.write(DATA)
        with pytest.raises(Corrupt, match="instead of"):
            writer.commit()
    assert leftovers(layout) == []
    with blobs.writer(DIGEST, 10) as writer, pytest.raises(Corrupt, match="larger"):
        writer.write(DATA)
    assert leftovers(layout) == []


def test_partial_that_is_too_long_is_started_over(blobs):
    with blobs.writer(DIGEST) as writer:
        writer.write(DATA + b"more")
    with blobs.writer(DIGEST, len(DATA)) as writer:
        assert writer.offset == 0


def test_unknown_digest_is_found_and_nothing_is_kept_without_commit(blobs, layout):
    with blobs.writer() as writer:
        writer.write(DATA)
        assert writer.commit() == DIGEST
    with blobs.writer() as writer:
        writer.write(b"other")
    assert leftovers(layout) == []
    assert blobs.list() == [DIGEST]


def test_second_writer_waits_and_finds_the_blob_present(blobs):
    first = blobs.writer(DIGEST, len(DATA))
    found = []

    def second():
        with blobs.writer(DIGEST, len(DATA)) as writer:
            found.append((writer.present, writer.offset, writer.commit()))

    thread = threading.Thread(target=second)
    thread.start()
    first.write(DATA)
    first.commit()
    thread.join(10)
    assert found == [(True, len(DATA), DIGEST)]


def test_second_writer_goes_on_where_the_first_gave_up(blobs):
    first = blobs.writer(DIGEST, len(DATA))
    found = []

    def second():
        with blobs.writer(DIGEST, len(DATA)) as writer:
            found.append((writer.present, writer.offset))

    thread = threading.Thread(target=second)
    thread.start()
    first.write(DATA[:100])
    first.close()
    thread.join(10)
    assert found == [(False, 100)]


def test_empty_blob(blobs):
    digest = blobs.put(b"")
    assert blobs.read(digest) == b""
