"""A registry that lies, breaks off, refuses or fails: one line, and a store that the next pull can use."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import fake_registry as fake
from tests.support.faults import nothing_left, refused
from tests.support.rl import Rl

FETCHED = ("blobs/", "partial/")  # what a pull that failed may leave, for the next one to go on with


@pytest.fixture(scope="module")
def tars(rootfs: Path) -> list[bytes]:
    """Two layers: busybox, and a file of a few hundred kilobytes that does not compress."""
    return [gzip.decompress(rootfs.read_bytes()), fake.layer("noise", os.urandom(300_000))]


@pytest.fixture
def server() -> Iterator[fake.FakeRegistry]:
    with fake.FakeRegistry() as registry:
        yield registry


@pytest.fixture
def image(server, tars) -> fake.Image:
    return server.add(fake.make_image(tars))


@pytest.fixture
def store(bare_rl: Rl) -> Rl:
    """An empty store that does not try for long."""
    bare_rl.configure(max_download_attempts=2)
    bare_rl.ok("info")  # probes what it keeps
    return bare_rl


@pytest.fixture
def name(server) -> str:
    return f"{server.host}/library/app"


def works(rl: Rl, name: str) -> None:
    """The same store pulls the image once the registry behaves, and runs it."""
    rl.ok("pull", "-q", name)
    assert rl.ok("run", "--rm", "--network", "none", name, "echo", "fine") == "fine"
    assert list((rl.data_root / "partial").iterdir()) == []


def fails(rl: Rl, name: str, *says: str) -> None:
    """Neither pull nor run succeed; both say the same and leave nothing."""
    line = refused(rl, 1, "pull", "-q", name, says=says, beside=FETCHED)
    again = refused(rl, 125, "run", "--network", "none", name, "true", says=says, beside=FETCHED)
    assert rl.ok("images", "-q") == ""
    assert "; " in line or says
    assert again.count("rl:") == 1


def test_a_blob_that_does_not_match_its_digest(store, server, image, name):
    damaged = image.layers[1][:-100] + bytes(100)
    server.fault(image.layer_digests[1], fake.body(damaged))
    fails(store, name, image.layer_digests[1], "does not match")
    server.behave()
    works(store, name)


def test_a_blob_that_is_shorter_or_longer_than_announced(store, server, image, name):
    digest = image.layer_digests[1]
    server.fault(digest, fake.body(image.layers[1][:-100]), times=1)
    refused(store, 1, "pull", "-q", name, says=(digest, "bytes"), beside=FETCHED)
    server.fault(digest, fake.body(image.layers[1] + b"more"), times=1)
    refused(store, 1, "pull", "-q", name, says=(digest, "bytes"), beside=FETCHED)
    works(store, name)


def test_a_manifest_that_is_not_what_its_digest_says(store, server, image, name):
    other = server.add(fake.make_image([fake.layer("other", b"x")]), tag="other")
    server.fault("manifests/", fake.body(other.manifest, Content_Type="application/vnd.oci.image.manifest.v1+json"))
    refused(
        store, 1, "pull", "-q", f"{name}@{image.manifest_digest}", says=(image.manifest_digest, other.manifest_digest)
    )


def test_a_manifest_that_lies_about_the_size_of_a_layer(store, server, tars, name):
    honest = fake.make_image(tars)
    layers = json.loads(honest.manifest)["layers"]
    layers[1]["size"] += 1
    lying = server.add(fake.make_image(tars, layers=layers))
    fails(store, name, lying.layer_digests[1], "bytes")


def test_a_layer_whose_content_is_not_the_one_of_the_configuration(store, server, tars, name):
    """Digest and size are right, the diff ID is not: what was checked is not what the image is."""
    honest = fake.make_image(tars)
    other = fake.make_image([tars[0], fake.layer("noise", b"other")])
    swapped = json.loads(honest.manifest)
    swapped["layers"][1] = json.loads(other.manifest)["layers"][1]
    server.add(other)
    server.add(fake.make_image(tars, layers=swapped["layers"]))
    fails(store, name, "sha256:")


@pytest.mark.parametrize(
    "content", [b"no gzip at all" * 50, gzip.compress(b"no tar at all" * 500)], ids=["gzip", "tar"]
)
def test_a_layer_that_is_no_archive(store, server, content, name):
    layer = fake.descriptor(content, "application/vnd.oci.image.layer.v1.tar+gzip")
    server.add(fake.make_image([fake.layer("x", b"x")], layers=[layer]))
    server.blobs[layer["digest"]] = content
    fails(store, name, layer["digest"])


def test_a_layer_that_reaches_outside(store, server, tars, name, tmp_path):
    """The extraction's own tests have more of them; this one goes all the way."""
    target = tmp_path / "pwned"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path in (f"../../../../../../../..{target}", str(target)):
            member = tarfile.TarInfo(path)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
    server.add(fake.make_image([tars[0], stream.getvalue()]))
    store("pull", "-q", name)
    assert not target.exists()


def test_a_connection_that_closes_half_way_is_continued(store, server, image, name):
    digest = image.layer_digests[1]
    server.fault(digest, fake.cut(100_000), times=1)
    store.ok("pull", "-q", name)
    ranges = [headers.get("range") for _, path, headers in server.requests if digest in path]
    assert ranges == [None, "bytes=100000-"]
    works(store, name)


def test_a_connection_that_always_closes_half_way(store, server, image, name):
    digest = image.layer_digests[1]
    server.fault(digest, fake.cut(50_000), times=2)
    refused(store, 1, "pull", "-q", name, says=(server.host,), beside=FETCHED)
    partial = store.data_root / "partial" / digest.removeprefix("sha256:")
    assert partial.stat().st_size == 100_000
    server.requests.clear()
    works(store, name)
    ranges = [headers.get("range") for _, path, headers in server.requests if digest in path]
    assert ranges == ["bytes=100000-"]


def test_a_partial_file_that_was_damaged_is_fetched_again(store, server, image, name):
    digest = image.layer_digests[1]
    partial = store.data_root / "partial" / digest.removeprefix("sha256:")
    partial.write_bytes(b"garbage" * 1000)
    works(store, name)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (401, ("denies access",)),
        (403, ("pull access denied",)),
        (404, ("not found",)),
        (429, ("too many requests", "try again")),
        (500, ("HTTP 500", "try again later")),
        (503, ("HTTP 503", "try again later")),
    ],
)
@pytest.mark.parametrize("what", ["manifests", "blobs"])
def test_http_errors(store, server, image, name, code, says, what):
    store.configure(max_download_attempts=1)
    server.fault(
        f"{what}/", fake.status(code, message="because", Retry_After="0") if code == 429 else fake.status(code)
    )
    if (what, code) == ("blobs", 404):
        says = ("does not have blob",)
    fails(store, name, *says, *(["app"] if code in (403, 404) else [server.host]))


def test_a_registry_that_asks_for_a_login(store, server, image, name):
    server.fault("v2/", fake.require_basic("somebody", "secret"))
    fails(store, name, server.host, "login")


def test_a_mirror_that_fails_is_named_with_the_origin(store, server, image):
    store.configure(registry_mirrors=[server.url])
    server.fault("manifests/", fake.status(500))
    # The origin is Docker Hub, which tests do not reach.
    refused(store, 1, "pull", "-q", "app", says=("registry-1.docker.io", f"{server.host} said", "HTTP 500"))


def test_a_registry_that_is_not_there(store):
    refused(store, 1, "pull", "-q", "127.0.0.1:9/app", says=("127.0.0.1:9", "connection refused"))
    refused(store, 125, "run", "127.0.0.1:9/app", says=("127.0.0.1:9", "connection refused"))


def test_something_that_is_no_registry(store, server, name):
    server.fault("manifests/", fake.body(b"<html>Welcome to your hotel</html>", Content_Type="text/html"))
    fails(store, name, "manifest")


def test_an_image_for_another_machine(store, server, tars, name):
    server.add_index({"linux/s390x": fake.make_image(tars, architecture="s390x")})
    fails(store, name, "linux/", "s390x")


def test_a_pull_that_is_interrupted_stops_at_once_and_leaves_only_what_can_be_continued(store, server, image, name):
    server.fault(image.layer_digests[1], fake.hang(120_000), times=1)
    with nothing_left(store, beside=FETCHED):
        pull = store.spawn("pull", "-q", name)
        assert server.hanging.wait(30)
        pull.send_signal(signal.SIGINT)
        assert pull.wait(10) == 130
        assert b"Traceback" not in pull.communicate()[1]
    assert store.ok("images", "-q") == ""
    server.released.set()
    works(store, name)
