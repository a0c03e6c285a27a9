import json
import shutil
import subprocess

import pytest

from rootless.errors import Corrupt, InvalidArgument, NoSuchImage
from rootless.oci.digests import chain_ids, sha256_bytes
from rootless.storage.content import BlobStore
from rootless.storage.images import ImageStore
from rootless.storage.layout import Layout

NGINX = "docker.io/library/nginx:latest"
OTHER = "docker.io/library/nginx:1"


@pytest.fixture
def layout(tmp_path):
    layout = Layout(str(tmp_path / "store"))
    layout.create()
    return layout


@pytest.fixture
def images(layout):
    return ImageStore(layout)


def make(layout, text="one", **more):
    """Put an image into the blob store and return its entry, not recorded yet."""
    blobs = BlobStore(layout)
    layer = blobs.put(f"layer {text}".encode())
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-02T03:04:05Z",
        "config": {"Cmd": [text]},
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    }
    data = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": blobs.put(data),
            "size": len(data),
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer,
                "size": blobs.size(layer),
            }
        ],
    }
    return ImageStore(layout).describe(blobs.put(json.dumps(manifest).encode()), **more)


def test_empty_store_has_no_images(images):
    assert images.list() == []
    with pytest.raises(NoSuchImage, match="no such image: nginx:latest"):
        images.lookup("nginx")


def test_entry_says_what_the_manifest_says(layout):
    entry = make(layout, reference=NGINX, size=7)
    assert entry.platform == "linux/amd64"
    assert entry.created == "2024-01-02T03:04:05Z"
    assert entry.chain_id == chain_ids([sha256_bytes(b"layer one")])[0]
    assert entry.size == 7


def test_entries_survive_the_index(layout, images):
    entry = make(layout, reference=NGINX, repo_digest="docker.io/library/nginx@sha256:" + "a" * 64, size=7)
    images.add(entry)
    assert images.list() == [entry]
    assert images.config(entry)["config"] == {"Cmd": ["one"]}
    assert images.manifest(entry)["schemaVersion"] == 2


def test_lookup_by_every_name(layout, images):
    entry = make(layout, reference=NGINX, repo_digest="docker.io/library/nginx@sha256:" + "a" * 64)
    images.add(entry)
    digits = entry.image_id[7:]
    for text in (
        "nginx",
        "nginx:latest",
        "docker.io/nginx",
        NGINX,
        digits,
        digits[:12],
        digits[:1],
        entry.image_id,
        entry.image_id[:20],
        "nginx@sha256:" + "a" * 64,
        "nginx:whatever@sha256:" + "a" * 64,
        f"nginx@{entry.manifest_digest}",
    ):
        assert images.lookup(text) == entry, text
    for text in ("nginx:1", "other", "sha256:", "f" * 64, "nginx@sha256:" + "b" * 64, "", "A B"):
        with pytest.raises(NoSuchImage):
            images.lookup(text)


def test_name_goes_before_id(layout, images):
    images.add(make(layout, "one", reference=NGINX))
    other = make(layout, "two", reference=f"docker.io/library/{images.list()[0].image_id[7:15]}:latest")
    images.add(other)
    assert images.lookup(images.list()[0].image_id[7:15]) == other


def test_ambiguous_prefix_is_refused(layout, images):
    seen = {}
    for number in range(40):
        entry = make(layout, str(number), reference=f"docker.io/library/i{number}:latest")
        images.add(entry)
        first = entry.image_id[7:8]
        if first in seen:
            with pytest.raises(InvalidArgument, match="ambiguous"):
                images.lookup(first)
            return
        seen[first] = entry
    raise AssertionError("pigeons without holes")


def test_a_name_moves_and_its_old_image_stays_without(layout, images):
    old, new = make(layout, "old", reference=NGINX), make(layout, "new", reference=NGINX)
    images.add(old)
    images.add(new)
    assert images.lookup("nginx") == new
    assert [entry.reference for entry in images.names(old.image_id)] == [""]


def test_a_name_moves_off_an_image_that_has_others(layout, images):
    old, new = make(layout, "old", reference=NGINX), make(layout, "new", reference=NGINX)
    images.add(old)
    images.tag(old, OTHER)
    images.add(new)
    assert [entry.reference for entry in images.names(old.image_id)] == [OTHER]


def test_same_image_under_the_same_name_is_one_entry(layout, images):
    images.add(make(layout, reference=NGINX))
    images.add(make(layout, reference=NGINX))
    assert len(images.list()) == 1


def test_naming_a_nameless_image_keeps_one_entry(layout, images):
    entry = make(layout)
    images.add(entry)
    images.add(entry)
    assert [known.reference for known in images.list()] == [""]
    images.tag(entry, NGINX)
    assert [known.reference for known in images.list()] == [NGINX]


def test_tag_in_another_repository_has_no_repo_digest(layout, images):
    entry = make(layout, reference=NGINX, repo_digest="docker.io/library/nginx@sha256:" + "a" * 64)
    images.add(entry)
    assert images.tag(entry, OTHER).repo_digest == entry.repo_digest
    assert images.tag(entry, "localhost:5000/mine:latest").repo_digest == ""


def test_pull_by_digest_is_found_by_digest(layout, images):
    digest = "docker.io/library/nginx@sha256:" + "a" * 64
    images.add(make(layout, repo_digest=digest))
    images.add(make(layout, repo_digest=digest))
    assert images.lookup("nginx@sha256:" + "a" * 64).repo_digest == digest
    assert len(images.list()) == 1


def test_untag(layout, images):
    entry = make(layout, reference=NGINX)
    images.add(entry)
    images.tag(entry, OTHER)
    assert images.untag(OTHER) is None
    left = images.untag(NGINX)
    assert left is not None
    assert left.reference == ""
    assert images.list() == [left]
    with pytest.raises(NoSuchImage, match="nginx:latest"):
        images.untag(NGINX)


def test_remove_forgets_all_names(layout, images):
    entry = make(layout, reference=NGINX)
    images.add(entry)
    images.tag(entry, OTHER)
    assert {gone.reference for gone in images.remove(entry.image_id)} == {NGINX, OTHER}
    assert images.list() == []
    assert images.remove(entry.image_id) == []


def test_descriptors_of_other_tools_are_completed_and_kept(layout, images):
    entry = make(layout)
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": entry.media_type,
                "digest": entry.manifest_digest,
                "size": entry.manifest_size,
                "annotations": {"org.opencontainers.image.ref.name": "nginx", "com.example": "x"},
            },
            {"mediaType": "application/x", "digest": "sha256:" + "e" * 64, "size": 3},
            {"nonsense": True},
        ],
    }
    with open(layout.index, "w") as stream:
        json.dump(index, stream)
    assert images.lookup("nginx").image_id == entry.image_id
    images.tag(images.lookup("nginx"), OTHER)
    with open(layout.index) as stream:
        kept = json.load(stream)["manifests"]
    assert {"nonsense": True} in kept
    assert len(kept) == 4


def test_broken_index_is_an_error_that_names_the_file(layout, images):
    for text in ("{", "[]", '{"manifests": 3}'):
        with open(layout.index, "w") as stream:
            stream.write(text)
        with pytest.raises(Corrupt, match=r"index\.json"):
            images.list()


def test_manifest_without_config_is_corrupt(layout, images):
    blobs = BlobStore(layout)
    for text in (b"{}", b"[]", b"x", b'{"config": {"digest": 3}}'):
        with pytest.raises(Corrupt):
            images.describe(blobs.put(text))


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_reads_the_store_in_place(layout, images):
    images.add(make(layout, reference=NGINX))
    result = subprocess.run(
        ["skopeo", "inspect", "--config", f"oci:{layout.root}:{NGINX}"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["config"] == {"Cmd": ["one"]}


@pytest.mark.skipif(shutil.which("umoci") is None, reason="umoci is not installed")
def test_umoci_reads_the_store_in_place(layout, images):
    images.add(make(layout, reference=NGINX))
    result = subprocess.run(["umoci", "ls", "--layout", layout.root], capture_output=True, text=True, check=False)
    assert result.stdout.split() == [NGINX], result.stderr
