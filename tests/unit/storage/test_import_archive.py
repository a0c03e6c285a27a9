import bz2
import gzip
import io
import lzma
import os

import pytest

from rootless.errors import Corrupt
from rootless.oci.digests import sha256_bytes
from rootless.storage.content import BlobStore
from rootless.storage.layers import import_archive
from rootless.storage.layout import Layout
from rootless.storage.leases import Lease, leased
from tests.support.layers import Archive

TAR = Archive().file("a", os.urandom(5000)).bytes()


@pytest.fixture
def layout(tmp_path):
    layout = Layout(str(tmp_path / "store"))
    layout.create()
    return layout


@pytest.mark.parametrize(
    ("squeeze", "media_type", "kept"),
    [
        (lambda data: data, "application/vnd.oci.image.layer.v1.tar", True),
        (gzip.compress, "application/vnd.oci.image.layer.v1.tar+gzip", True),
        (bz2.compress, "application/vnd.oci.image.layer.v1.tar", False),
        (lzma.compress, "application/vnd.oci.image.layer.v1.tar", False),
    ],
)
def test_archive_becomes_a_layer(layout, squeeze, media_type, kept):
    blobs = BlobStore(layout)
    data = squeeze(TAR)
    with Lease(layout) as lease:
        descriptor, diff_id = import_archive(io.BytesIO(data), blobs, lease)
        assert leased(layout) == {descriptor["digest"]}
    assert diff_id == sha256_bytes(TAR)
    assert descriptor["mediaType"] == media_type
    stored = blobs.read(descriptor["digest"])
    assert stored == (data if kept else TAR)
    assert descriptor["size"] == len(stored)


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 5000, gzip.compress(b"text" * 500), gzip.compress(TAR)[:-10]])
def test_what_is_no_archive_is_refused_and_not_kept(layout, data):
    with pytest.raises(Corrupt):
        import_archive(io.BytesIO(data), BlobStore(layout))
    assert BlobStore(layout).list() == os.listdir(layout.tmp) == []


def test_empty_tar_is_an_archive(layout):
    descriptor, diff_id = import_archive(io.BytesIO(bytes(10240)), BlobStore(layout))
    assert descriptor["digest"] == diff_id
