"""Debian's docker-registry and skopeo: images and archives that are not ours."""

import io
import json
import os
import shutil
import subprocess

import pytest

from rootless.errors import Corrupt, InvalidArgument, NoSuchImage
from rootless.oci import digests, image, media_types, references
from rootless.registry.archives import load
from rootless.registry.transfer import Transport, pull, resolve
from rootless.storage.content import BlobStore
from rootless.storage.layout import Layout
from tests.support.fake_registry import layer, make_image

pytestmark = pytest.mark.skipif(
    not (shutil.which("docker-registry") and shutil.which("skopeo")),
    reason="docker-registry or skopeo is not installed",
)
TARS = [layer("etc/first", b"1" * 100_000), layer("etc/second", os.urandom(300_000))]


@pytest.fixture
def blobs(tmp_path):
    layout = Layout(str(tmp_path / "store"))
    layout.create()
    return BlobStore(layout)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """An OCI layout on disk that skopeo copies from, and the image in it."""
    directory = tmp_path_factory.mktemp("oci")
    one = make_image(TARS)
    (directory / "blobs/sha256").mkdir(parents=True)
    for data in (one.manifest, one.config, *one.layers):
        (directory / "blobs/sha256" / digests.sha256_bytes(data)[7:]).write_bytes(data)
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry = {"mediaType": media_types.OCI_MANIFEST, "digest": one.manifest_digest, "size": len(one.manifest)}
    entry["annotations"] = {image.REF_NAME: "latest"}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return f"oci:{directory}:latest", one


def skopeo(directory, *arguments):
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "TMPDIR": str(directory)}
    command = ["skopeo", "--insecure-policy", *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def transport(**changes):
    return Transport(environment={"HOME": "/nonexistent"}, backoff=0.001, **changes)


@pytest.mark.parametrize(("format", "compression"), [("oci", "gzip"), ("oci", "zstd"), ("v2s2", "gzip")])
def test_pulls_what_skopeo_pushed(empty_registry, source, blobs, tmp_path, format, compression):
    name = f"{empty_registry.address}/pushed/{format}:{compression}"
    skopeo(
        tmp_path, "copy", "--dest-tls-verify=false", "--format", format,
        "--dest-compress-format", compression, source[0], f"docker://{name}",
    )  # fmt: skip
    found = pull(references.parse(name), blobs=blobs, platform="linux/amd64", transport=transport())
    assert image.diff_ids(image.read_config(found.config)) == [digests.sha256_bytes(tar) for tar in TARS]
    assert all(blobs.has(one["digest"]) for one in found.layers)
    assert (found.media_type == media_types.DOCKER_MANIFEST) == (format == "v2s2")
    assert resolve(references.parse(name), transport=transport()) == found.digest


def test_serves_as_a_mirror(empty_registry, source, blobs, tmp_path):
    skopeo(
        tmp_path, "copy", "--dest-tls-verify=false", source[0], f"docker://{empty_registry.address}/library/mirrored:1"
    )
    settings = transport(mirrors=(f"http://{empty_registry.address}",))
    found = pull(references.parse("mirrored:1"), blobs=blobs, platform="linux/amd64", transport=settings)
    assert found.source == empty_registry.address
    assert found.manifest_digest == source[1].manifest_digest


def test_continues_a_partial_download(empty_registry, source, blobs, tmp_path):
    name = f"{empty_registry.address}/partial:1"
    skopeo(tmp_path, "copy", "--dest-tls-verify=false", source[0], f"docker://{name}")
    digest, data = source[1].layer_digests[1], source[1].layers[1]
    with blobs.writer(digest, len(data)) as writer:
        writer.write(data[:1234])
    pull(references.parse(name), blobs=blobs, platform="linux/amd64", transport=transport())
    assert blobs.read(digest) == data


def test_unknown_tag_and_repository(empty_registry, source, blobs, tmp_path):
    skopeo(tmp_path, "copy", "--dest-tls-verify=false", source[0], f"docker://{empty_registry.address}/known:1")
    for name in ("known:2", "unknown:1"):
        with pytest.raises(NoSuchImage, match="not found"):
            pull(references.parse(f"{empty_registry.address}/{name}"), blobs=blobs, transport=transport())


@pytest.mark.parametrize("name", ["docker-archive", "oci-archive"])
@pytest.mark.parametrize("compress", [None, "gzip", "zstd"])
def test_loads_archives_written_by_skopeo(source, blobs, tmp_path, name, compress):
    path = tmp_path / "image.tar"
    skopeo(tmp_path, "copy", source[0], f"{name}:{path}:docker.io/library/app:3")
    if compress:
        if shutil.which(compress) is None:
            pytest.skip(f"{compress} is not installed")
        subprocess.run(
            [compress, "-q", "-f", str(path), "-o", f"{path}.z"]
            if compress == "zstd"
            else ["gzip", "-S", ".z", str(path)],
            check=True,
        )
        path = tmp_path / "image.tar.z"
    with open(path, "rb") as stream:
        (found,) = load(stream, blobs, platform="linux/amd64")
    assert found.references == ("docker.io/library/app:3",)
    assert image.diff_ids(image.read_config(found.config)) == [digests.sha256_bytes(tar) for tar in TARS]
    assert all(blobs.has(one["digest"]) for one in found.layers)
    if name == "oci-archive":
        assert found.manifest_digest == source[1].manifest_digest


def test_loads_from_a_pipe(source, blobs, tmp_path):
    path = tmp_path / "image.tar"
    skopeo(tmp_path, "copy", source[0], f"docker-archive:{path}:app:1")
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as process:
        assert len(load(process.stdout, blobs)) == 1


def test_truncated_archives_of_skopeo_are_refused(source, blobs, tmp_path):
    path = tmp_path / "image.tar"
    skopeo(tmp_path, "copy", source[0], f"docker-archive:{path}:app:1")
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        with pytest.raises((Corrupt, InvalidArgument)):
            load(io.BytesIO(whole[: int(len(whole) * share)]), blobs)
