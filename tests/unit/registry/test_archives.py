"""Archives made by hand, most of them wrong, into the real blob store."""

import gzip
import io
import json
import os
import tarfile

import pytest
import zstandard

from rootless.errors import Corrupt, InvalidArgument, NotFound, Unsupported
from rootless.oci import digests, image, media_types
from rootless.registry.archives import load
from rootless.storage.content import BlobStore
from rootless.storage.layout import Layout
from tests.support.fake_registry import descriptor, layer, make_image


@pytest.fixture
def layout(tmp_path):
    layout = Layout(str(tmp_path))
    layout.create()
    return layout


@pytest.fixture
def blobs(layout):
    return BlobStore(layout)


def archive(members, links=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target, kind in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    return io.BytesIO(buffer.getvalue())


def docker(tars, *, tags=("app:1",), names=None, config=None, **changes):
    """Return the members of a `docker save` archive of one image."""
    names = names or [f"layer{number}/layer.tar" for number in range(len(tars))]
    config = config or make_image(tars).config
    entry = {"Config": "c.json", "RepoTags": list(tags), "Layers": names, **changes}
    return {"c.json": config, **dict(zip(names, tars, strict=True)), "manifest.json": json.dumps([entry]).encode()}


def oci(*images, names=(), index=None):
    """Return the members of an OCI layout."""
    members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    entries = []
    for number, one in enumerate(images):
        blobs = (one.manifest, one.config, *one.layers)
        members.update({f"blobs/sha256/{digests.sha256_bytes(data)[7:]}": data for data in blobs})
        annotations = {image.REF_NAME: names[number]} if number < len(names) and names[number] else {}
        entries.append(descriptor(one.manifest, media_types.OCI_MANIFEST, annotations=annotations))
    members["index.json"] = json.dumps(index or {"schemaVersion": 2, "manifests": entries}).encode()
    return members


TAR_A, TAR_B = layer("a", b"alpha" * 1000), layer("b", b"beta")


def leftovers(layout):
    return os.listdir(layout.tmp) + os.listdir(layout.partial)


def test_docker_archive_gets_a_manifest_of_its_layers_as_they_are(blobs, layout):
    (found,) = load(archive(docker([TAR_A, TAR_B])), blobs)
    assert found.references == ("docker.io/library/app:1",)
    assert [one["digest"] for one in found.layers] == [digests.sha256_bytes(TAR_A), digests.sha256_bytes(TAR_B)]
    assert {one["mediaType"] for one in found.layers} == {media_types.OCI_LAYER}
    assert blobs.read(found.layers[0]["digest"]) == TAR_A
    assert blobs.read(found.manifest_digest) == found.manifest
    assert blobs.read(found.config_digest) == found.config
    assert image.read_manifest(found.manifest)["config"]["digest"] == found.config_digest
    assert leftovers(layout) == []


def test_compressed_layers_stay_compressed(blobs):
    members = docker([TAR_A, TAR_B])
    members["layer0/layer.tar"] = gzip.compress(TAR_A)
    members["layer1/layer.tar"] = zstandard.compress(TAR_B)
    (found,) = load(archive(members), blobs)
    assert [one["mediaType"] for one in found.layers] == [media_types.OCI_LAYER_GZIP, media_types.OCI_LAYER_ZSTD]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_layers_by_link(blobs, kind):
    members = docker([TAR_A])
    entry = json.loads(members.pop("manifest.json"))
    entry[0]["Layers"] = ["second/layer.tar"]
    members["manifest.json"] = json.dumps(entry).encode()
    target = "../layer0/layer.tar" if kind == tarfile.SYMTYPE else "layer0/layer.tar"
    (found,) = load(archive(members, [("second/layer.tar", target, kind)]), blobs)
    assert found.layers[0]["digest"] == digests.sha256_bytes(TAR_A)


def test_links_lead_nowhere_outside(blobs):
    members = docker([TAR_A])
    del members["layer0/layer.tar"]
    for links in (
        [("layer0/layer.tar", "/etc/passwd", tarfile.SYMTYPE)],
        [("layer0/layer.tar", "../../../../etc/passwd", tarfile.SYMTYPE)],
        [("layer0/layer.tar", "layer0/layer.tar", tarfile.LNKTYPE)],
    ):
        with pytest.raises(Corrupt, match="lacks a layer"):
            load(archive(members, links), blobs)


def test_names_with_dots_and_slashes_are_keys_only(blobs, layout):
    name = "../../escape/layer.tar"
    load(archive(docker([TAR_A], names=[name])), blobs)
    assert not os.path.exists(os.path.join(layout.root, "../../escape"))


def test_several_names_and_none(blobs):
    (found,) = load(archive(docker([TAR_A], tags=["a:1", "ghcr.io/b/c:2", "not a reference"])), blobs)
    assert found.references == ("docker.io/library/a:1", "ghcr.io/b/c:2")
    (found,) = load(archive(docker([TAR_A], RepoTags=None)), blobs)
    assert found.references == ()


def test_several_images_keep_their_order(blobs):
    one, two = docker([TAR_A]), docker([TAR_B], tags=["b:2"], names=["x/layer.tar"])
    two["d.json"] = two.pop("c.json")
    entries = [*json.loads(one["manifest.json"]), {**json.loads(two["manifest.json"])[0], "Config": "d.json"}]
    found = load(archive({**two, **one, "manifest.json": json.dumps(entries).encode()}), blobs)
    assert [image.references for image in found] == [("docker.io/library/app:1",), ("docker.io/library/b:2",)]


def test_layer_that_is_not_what_the_configuration_says_is_corrupt(blobs):
    members = docker([TAR_A])
    members["layer0/layer.tar"] = TAR_B
    with pytest.raises(Corrupt, match=r"damaged: layer 'layer0/layer.tar' has digest"):
        load(archive(members), blobs)


@pytest.mark.parametrize(
    "change",
    [
        {"manifest.json": b"{}"},
        {"manifest.json": b"[]"},
        {"manifest.json": b"[1]"},
        {"manifest.json": b"[{"},
        {"manifest.json": b'[{"Config":5}]'},
        {"manifest.json": b'[{"Config":"c.json","Layers":[5]}]'},
        {"manifest.json": b'[{"Config":"c.json","Layers":[]}]'},
        {"manifest.json": b'[{"Config":"/etc/passwd","Layers":[]}]'},
        {"c.json": b"{}"},
        {"c.json": b"{"},
    ],
)
def test_malformed_docker_archives_are_corrupt(blobs, layout, change):
    with pytest.raises(Corrupt):
        load(archive({**docker([TAR_A]), **change}), blobs)
    assert leftovers(layout) == []


@pytest.mark.parametrize("missing", ["c.json", "layer0/layer.tar"])
def test_docker_archive_that_lacks_a_part_is_corrupt(blobs, missing):
    members = docker([TAR_A])
    del members[missing]
    with pytest.raises(Corrupt, match="lacks"):
        load(archive(members), blobs)


def test_oci_archive_keeps_the_manifest(blobs, layout):
    one = make_image([TAR_A, TAR_B])
    (found,) = load(archive(oci(one, names=["ghcr.io/a/b:1"])), blobs)
    assert (found.manifest, found.manifest_digest) == (one.manifest, one.manifest_digest)
    assert found.references == ("ghcr.io/a/b:1",)
    assert all(blobs.has(digest) for digest in one.layer_digests)
    assert leftovers(layout) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app", ("docker.io/library/app:latest",)),
        ("app:2", ("docker.io/library/app:2",)),
        ("latest", ()),
        ("v1.2", ()),
        ("1.0", ()),
        ("", ()),
        ("Not A Reference", ()),
    ],
)
def test_ref_names_are_names_unless_they_are_bare_tags(blobs, name, expected):
    (found,) = load(archive(oci(make_image([TAR_A]), names=[name])), blobs)
    assert found.references == expected


def test_the_same_image_under_two_names_is_one(blobs):
    one = make_image([TAR_A])
    (found,) = load(archive(oci(one, one, names=["a:1", "b:2"])), blobs)
    assert found.references == ("docker.io/library/a:1", "docker.io/library/b:2")


def index_of(images):
    entries = [
        descriptor(one.manifest, media_types.OCI_MANIFEST, platform={"os": "linux", "architecture": name})
        for name, one in images.items()
    ]
    body = json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": entries}).encode()
    top = {"schemaVersion": 2, "manifests": [descriptor(body, media_types.OCI_INDEX)]}
    return body, top


def test_index_leads_to_the_platform_that_is_there(blobs):
    images = {name: make_image([layer(name, b"")], architecture=name) for name in ("arm64", "s390x")}
    body, top = index_of(images)
    members = {**oci(images["arm64"], index=top), f"blobs/sha256/{digests.sha256_bytes(body)[7:]}": body}
    (found,) = load(archive(members), blobs)
    assert found.manifest_digest == images["arm64"].manifest_digest
    assert found.index_digest == digests.sha256_bytes(body)
    with pytest.raises(NotFound, match="linux/s390x"):
        load(archive(members), blobs, platform="linux/s390x")


def test_blob_that_does_not_match_its_name_is_corrupt_and_not_stored(blobs, layout):
    one = make_image([TAR_A])
    members = oci(one)
    members[f"blobs/sha256/{one.layer_digests[0][7:]}"] = b"something else"
    with pytest.raises(Corrupt, match="the archive is damaged"):
        load(archive(members), blobs)
    assert not blobs.has(one.layer_digests[0])
    assert leftovers(layout) == []


def test_oci_archive_that_lacks_a_blob_is_corrupt(blobs):
    one = make_image([TAR_A])
    for digest in (one.manifest_digest, one.config_digest, one.layer_digests[0]):
        members = oci(one)
        del members[f"blobs/sha256/{digest[7:]}"]
        store = BlobStore(blobs._layout)
        for stored in store.list():
            store.remove(stored)
        with pytest.raises(Corrupt, match=f"lacks .* {digest}"):
            load(archive(members), store)


def test_sizes_must_be_true(blobs):
    one = make_image([TAR_A])
    lying = json.loads(one.manifest)
    lying["layers"][0]["size"] += 1
    body = json.dumps(lying).encode()
    members = oci(one, index={"schemaVersion": 2, "manifests": [descriptor(body, media_types.OCI_MANIFEST)]})
    members[f"blobs/sha256/{digests.sha256_bytes(body)[7:]}"] = body
    with pytest.raises(Corrupt, match="its descriptor says"):
        load(archive(members), blobs)


def test_oci_half_goes_before_the_docker_half(blobs):
    one = make_image([TAR_A])
    (found,) = load(archive({**docker([TAR_A]), **oci(one, names=["app:1"])}), blobs)
    assert found.manifest == one.manifest


def test_every_truncation_is_an_error_and_leaves_no_temporary_file(blobs, layout):
    whole = archive(oci(make_image([TAR_A]))).getvalue()
    end = len(whole.rstrip(b"\0"))
    for length in range(1, end, 509):
        with pytest.raises((Corrupt, InvalidArgument)):
            load(io.BytesIO(whole[:length]), BlobStore(layout))
        assert leftovers(layout) == []
        for stored in blobs.list():
            blobs.remove(stored)


@pytest.mark.parametrize("data", [b"", bytes(1024), archive({"etc/passwd": b"root:x:0:0"}).getvalue()])
def test_archives_without_images_are_told_from_damaged_ones(blobs, data):
    with pytest.raises(InvalidArgument, match="holds no image") as caught:
        load(io.BytesIO(data), blobs)
    assert "rl import" in caught.value.hint


def test_the_format_before_docker_1_10_is_unsupported(blobs):
    with pytest.raises(Unsupported):
        load(archive({"repositories": b"{}"}), blobs)


def test_interrupted_download_of_the_same_blob_is_completed_from_the_archive(blobs, layout):
    one = make_image([TAR_A])
    with blobs.writer(one.layer_digests[0], len(one.layers[0])) as writer:
        writer.write(one.layers[0][:10])
    assert leftovers(layout)
    load(archive(oci(one)), blobs)
    assert blobs.read(one.layer_digests[0]) == one.layers[0]
    assert leftovers(layout) == []


def test_content_is_leased(blobs):
    one = make_image([TAR_A])
    leased = []
    load(archive(oci(one)), blobs, lease=lambda *wanted: leased.extend(wanted))
    assert {one.manifest_digest, one.config_digest, *one.layer_digests} <= set(leased)
