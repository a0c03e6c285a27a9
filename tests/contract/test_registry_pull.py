"""Pulling from a registry that misbehaves, into the real blob store."""

import base64
import json
import os
import random
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time

import pytest

from rootless.errors import (
    Corrupt,
    Denied,
    NoSuchImage,
    NotFound,
    RlError,
    TooManyRequests,
    Unavailable,
    Unsupported,
)
from rootless.oci import digests, media_types, references
from rootless.registry import endpoints
from rootless.registry.transfer import Transport, pull, resolve
from rootless.storage.content import BlobStore
from rootless.storage.layout import Layout
from tests.support import fake_registry as fake
from tests.support.fake_registry import FakeRegistry, make_image


class Recorder:
    def __init__(self):
        self.events = []
        self.lines = []

    def layer(self, digest, status, current=0, total=0):
        self.events.append((digest, status, current, total))

    def message(self, text):
        self.lines.append(text)

    def statuses(self, digest):
        return list(dict.fromkeys(status for one, status, *_ in self.events if one == digest))


class Site:
    """A registry, an empty store, and a pull between them."""

    def __init__(self, registry, tmp_path):
        self.registry = registry
        self.layout = Layout(str(tmp_path / "store"))
        self.layout.create()
        self.blobs = BlobStore(self.layout)
        self.home = tmp_path / "home"
        self.home.mkdir()
        self.progress = Recorder()

    def transport(self, **changes):
        environment = {"HOME": str(self.home)}
        return Transport(**{"backoff": 0.001, "read_timeout": 10.0, "environment": environment, **changes})

    def pull(self, name="library/app:latest", *, host="", transport=None, **options):
        reference = references.parse(f"{host or self.registry.host}/{name}")
        options.setdefault("platform", "linux/amd64")
        return pull(
            reference,
            blobs=self.blobs,
            transport=transport or self.transport(),
            progress=self.progress,
            **options,
        )

    def partials(self):
        return {name: os.path.getsize(f"{self.layout.partial}/{name}") for name in os.listdir(self.layout.partial)}

    def leftovers(self):
        return os.listdir(self.layout.partial) + os.listdir(self.layout.tmp)


@pytest.fixture
def registry():
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def site(registry, tmp_path):
    return Site(registry, tmp_path)


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def big_image(count=1, size=600_000):
    return make_image([fake.layer(f"f{n}", noise(size, n)) for n in range(count)])


# --- the good case ------------------------------------------------------------------------


@pytest.mark.parametrize("docker", [False, True])
def test_pull_brings_everything_and_verifies(site, docker):
    image = site.registry.add(make_image([fake.layer("a", b"a"), fake.layer("b", b"b")], docker=docker))
    seen = []
    found = site.pull(on_blob=lambda number, layer: seen.append((number, site.blobs.has(layer["digest"]))))
    assert seen == [(0, True), (1, True)]
    assert found.manifest == image.manifest
    assert found.digest == found.manifest_digest == image.manifest_digest
    assert found.media_type == (media_types.DOCKER_MANIFEST if docker else media_types.OCI_MANIFEST)
    assert (found.config, found.config_digest) == (image.config, image.config_digest)
    assert [layer["digest"] for layer in found.layers] == list(image.layer_digests)
    for digest, data in zip(image.layer_digests, image.layers, strict=True):
        assert site.blobs.read(digest) == data
    assert site.blobs.read(found.manifest_digest) == image.manifest
    assert found.source == site.registry.host
    assert site.leftovers() == []


def test_pull_again_fetches_no_blob(site):
    site.registry.add(big_image(2))
    site.pull()
    before = len(site.registry.paths("/blobs/"))
    site.pull()
    assert len(site.registry.paths("/blobs/")) == before == 3


def test_known_digest_saves_the_manifest_request(site):
    site.registry.add(big_image())
    found = site.pull()
    site.registry.requests.clear()
    again = site.pull(known_digest=found.digest)
    assert again == found
    assert {verb for verb, *_ in site.registry.requests} == {"HEAD"}


def test_known_digest_that_is_out_of_date_is_replaced(site):
    site.registry.add(big_image())
    old = site.pull()
    new = site.registry.add(make_image([fake.layer("new", b"new")]))
    assert site.pull(known_digest=old.digest).digest == new.manifest_digest


def test_pull_by_digest_of_what_is_here_asks_nobody(site):
    image = site.registry.add(big_image())
    site.pull()
    site.registry.requests.clear()
    site.pull(f"library/app@{image.manifest_digest}")
    assert site.registry.requests == []


def test_index_leads_to_the_platform(site):
    images = {
        "linux/arm64": make_image([fake.layer("arm", b"1")], architecture="arm64"),
        "linux/amd64": make_image([fake.layer("amd", b"2")]),
    }
    index = site.registry.add_index(images)
    for platform, image in images.items():
        found = site.pull(platform=platform)
        assert found.manifest_digest == image.manifest_digest
        assert found.digest == found.index_digest == digests.sha256_bytes(index)
        assert site.blobs.read(found.index_digest) == index


def test_platform_that_is_not_there(site):
    site.registry.add_index({"linux/arm64": make_image([], architecture="arm64")})
    with pytest.raises(NotFound, match="no matching manifest for linux/amd64") as caught:
        site.pull()
    assert "linux/arm64" in caught.value.hint


def test_single_image_of_another_platform_than_asked_for(site):
    site.registry.add(make_image([], architecture="arm64"))
    with pytest.raises(NotFound, match=r"wanted linux/amd64, actual: linux/arm64"):
        site.pull()


def test_the_same_layer_twice_is_fetched_once_and_handed_over_twice(site):
    tar = fake.layer("a", noise(1000))
    image = site.registry.add(make_image([tar, tar]))
    seen = []
    site.pull(on_blob=lambda number, _: seen.append(number))
    assert seen == [0, 1]
    assert len(site.registry.paths(image.layer_digests[0])) == 1


def test_image_without_layers(site):
    site.registry.add(make_image([]))
    assert site.pull().layers == ()


def test_layers_are_fetched_at_most_so_many_at_a_time(site):
    image = site.registry.add(big_image(6, 1000))
    meeting, lock = threading.Barrier(2), threading.Lock()
    now, peak = 0, 0

    def watch(handler):
        nonlocal now, peak
        with lock:
            now += 1
            peak = max(peak, now)
        meeting.wait(10)  # two are under way at once
        with lock:
            now -= 1
        return False

    for digest in image.layer_digests:
        site.registry.fault(digest, watch)
    site.pull(transport=site.transport(max_concurrent_downloads=2))
    assert peak == 2


def test_progress_speaks_dockers_words(site):
    image = site.registry.add(big_image(2))
    site.pull(transport=site.transport(max_concurrent_downloads=1))
    assert site.progress.lines[0].startswith("latest: Pulling from ")
    words = ["Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete"]
    assert site.progress.statuses(image.layer_digests[0]) == words
    assert site.progress.statuses(image.layer_digests[1]) == [words[0], "Waiting", *words[1:]]


def test_layers_that_are_extracted_already_are_shown_so(site):
    image = site.registry.add(big_image(1))
    site.pull(have_layer=lambda _: True)
    assert site.progress.statuses(image.layer_digests[0])[0] == "Already exists"


def test_content_is_leased_before_it_is_looked_for(site):
    image = site.registry.add(big_image(2))
    leased = []
    site.pull(lease=lambda *wanted: leased.extend(wanted))
    assert {image.manifest_digest, image.config_digest, *image.layer_digests} <= set(leased)


def test_first_layer_is_handed_over_while_the_second_still_comes(site):
    image = site.registry.add(big_image(2))
    site.registry.fault(image.layer_digests[1], lambda _: not site.registry.released.wait(30))
    handed = []

    def on_blob(number, layer):
        handed.append(number)
        site.registry.released.set()

    site.pull(on_blob=on_blob)
    assert handed == [0, 1]


def test_resolve_asks_without_fetching(site):
    image = site.registry.add(big_image())
    reference = references.parse(f"{site.registry.host}/library/app")
    assert resolve(reference, transport=site.transport()) == image.manifest_digest
    assert site.registry.paths(method="GET") == []


# --- lies ---------------------------------------------------------------------------------


def test_blob_with_other_content_is_corrupt_and_leaves_nothing(site):
    image = site.registry.add(big_image())
    digest = image.layer_digests[0]
    site.registry.blobs[digest] = bytes(len(image.layers[0]))
    with pytest.raises(Corrupt, match=digest):
        site.pull()
    assert not site.blobs.has(digest)
    assert site.leftovers() == []


@pytest.mark.parametrize("change", [lambda data: data + b"x", lambda data: data[:-1]])
def test_blob_of_another_size_is_corrupt(site, change):
    image = site.registry.add(big_image())
    digest = image.layer_digests[0]
    site.registry.blobs[digest] = change(image.layers[0])
    with pytest.raises(Corrupt, match="bytes"):
        site.pull()
    assert not site.blobs.has(digest)


def test_blob_without_end_is_cut_off(site):
    image = site.registry.add(big_image())

    def endless(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while True:
            handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    site.registry.fault(image.layer_digests[0], endless)
    with pytest.raises(Corrupt, match="larger"):
        site.pull()
    assert site.leftovers() == []


def test_manifest_by_digest_with_other_content_is_corrupt(site):
    image = site.registry.add(big_image())
    site.registry.fault("/manifests/", fake.body(make_image([]).manifest, Content_Type=media_types.OCI_MANIFEST))
    with pytest.raises(Corrupt, match="instead of"):
        site.pull(f"library/app@{image.manifest_digest}")


def test_manifest_that_contradicts_its_header_is_corrupt(site):
    headers = {"Docker_Content_Digest": "sha256:" + "1" * 64, "Content_Type": media_types.OCI_MANIFEST}
    site.registry.fault("/manifests/", fake.body(big_image().manifest, **headers))
    with pytest.raises(Corrupt, match="instead of"):
        site.pull()


def test_index_that_lies_about_a_manifests_size_is_corrupt(site):
    image = make_image([])
    site.registry.add(image)
    entry = {**fake.descriptor(image.manifest, media_types.OCI_MANIFEST), "size": 5}
    index = json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [entry]}).encode()
    site.registry.manifests["library/app:latest"] = (index, media_types.OCI_INDEX)
    with pytest.raises(Corrupt, match="its index says 5"):
        site.pull()


def test_manifest_that_lies_about_a_blob_that_is_here_is_corrupt(site):
    image = site.registry.add(big_image())
    site.pull()
    layer = {**json.loads(image.manifest)["layers"][0], "size": 7}
    lying = json.dumps({**json.loads(image.manifest), "layers": [layer]}).encode()
    site.registry.manifests["library/app:latest"] = (lying, media_types.OCI_MANIFEST)
    with pytest.raises(Corrupt, match="the manifest says 7"):
        site.pull()


def test_layers_and_diff_ids_must_agree_in_number(site):
    image = big_image(2)
    site.registry.add(image)
    fewer = json.loads(image.manifest)
    del fewer["layers"][1]
    site.registry.manifests["library/app:latest"] = (json.dumps(fewer).encode(), media_types.OCI_MANIFEST)
    with pytest.raises(Corrupt, match="1 layers in its manifest and 2"):
        site.pull()


@pytest.mark.parametrize("data", [b"", b"<html>welcome to our hotel</html>", b"[]", b"{}", b"\xff\xfe", b"[" * 100000])
def test_manifest_that_is_none_is_corrupt(site, data):
    site.registry.fault("/manifests/", fake.body(data, Content_Type="text/html"))
    with pytest.raises(Corrupt):
        site.pull()


def test_manifest_of_unreasonable_size_is_corrupt(site):
    site.registry.fault("/manifests/", fake.body(b" " * (5 << 20), Content_Type=media_types.OCI_MANIFEST))
    with pytest.raises(Corrupt, match="more than"):
        site.pull()


def test_schema_1_and_artifacts_are_unsupported(site):
    site.registry.manifests["library/app:old"] = (b'{"schemaVersion":1}', media_types.DOCKER_SCHEMA1_SIGNED)
    with pytest.raises(Unsupported, match="schema 1"):
        site.pull("library/app:old")
    config = fake.descriptor(b"{}", "application/vnd.cncf.helm.config.v1+json")
    site.registry.add(make_image([], config=config), tag="chart")
    with pytest.raises(Unsupported, match="helm"):
        site.pull("library/app:chart")


def test_index_that_contains_itself_ends(site):
    # Not itself, which no digest allows, but deeper than any sane one.
    body, media_type = make_image([]).manifest, media_types.OCI_MANIFEST
    for _ in range(5):
        entry = fake.descriptor(body, media_type)
        site.registry.manifests[f"library/app:{entry['digest']}"] = (body, media_type)
        media_type = media_types.OCI_INDEX
        body = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]}).encode()
    site.registry.manifests["library/app:latest"] = (body, media_type)
    with pytest.raises(Corrupt, match="indexes within indexes"):
        site.pull()


# --- broken connections -------------------------------------------------------------------


def test_download_that_breaks_off_is_continued(site):
    image = site.registry.add(big_image())
    digest, size = image.layer_digests[0], len(image.layers[0])
    site.registry.fault(digest, fake.cut(size // 3), times=2)
    site.pull()
    ranges = [headers.get("range", "") for _, path, headers in site.registry.requests if digest in path]
    assert ranges == ["", f"bytes={size // 3}-", f"bytes={size // 3 * 2}-"]
    assert site.leftovers() == []


def test_next_pull_continues_where_this_one_gave_up(site):
    image = site.registry.add(big_image())
    digest, size = image.layer_digests[0], len(image.layers[0])
    site.registry.fault(digest, fake.cut(1000), times=3)
    with pytest.raises(Unavailable):
        site.pull(transport=site.transport(max_download_attempts=3))
    assert list(site.partials().values()) == [3000]
    site.registry.requests.clear()
    site.pull()
    (headers,) = [headers for _, path, headers in site.registry.requests if digest in path]
    assert headers["range"] == "bytes=3000-"
    assert site.blobs.size(digest) == size
    assert site.leftovers() == []


def test_server_that_ignores_ranges_sends_all_again(site):
    image = site.registry.add(big_image())
    digest = image.layer_digests[0]
    site.registry.fault(digest, fake.cut(1000), times=1)
    site.registry.fault(digest, fake.ignore_range)
    site.pull()
    assert site.blobs.read(digest) == image.layers[0]


def test_answer_to_another_range_is_not_written(site):
    image = site.registry.add(big_image())
    digest, data = image.layer_digests[0], image.layers[0]

    def wrong(handler):
        handler.reply(206, data[5:], {"Content-Range": f"bytes 5-{len(data) - 1}/{len(data)}"})
        return True

    site.registry.fault(digest, fake.cut(1000), times=1)
    site.registry.fault(digest, wrong)
    with pytest.raises(Corrupt, match="range"):
        site.pull()
    assert not site.blobs.has(digest)


def test_damaged_partial_of_an_earlier_pull_is_dropped_and_fetched_again(site):
    image = site.registry.add(big_image())
    digest = image.layer_digests[0]
    with open(f"{site.layout.partial}/{digest[7:]}", "wb") as stream:
        stream.write(bytes(1000))
    site.pull()
    assert site.blobs.read(digest) == image.layers[0]


def test_gives_up_after_so_many_attempts(site):
    image = site.registry.add(big_image())
    site.registry.fault(image.layer_digests[0], fake.cut(0))
    with pytest.raises(Unavailable, match="broke off"):
        site.pull(transport=site.transport(max_download_attempts=4))
    assert len(site.registry.paths(image.layer_digests[0])) == 4


def test_silence_is_not_waited_for_forever(site):
    image = site.registry.add(big_image())
    site.registry.fault(image.layer_digests[0], fake.hang(1000), times=1)
    site.pull(transport=site.transport(read_timeout=0.2))
    assert site.blobs.has(image.layer_digests[0])


def test_headers_that_are_none_are_a_broken_connection(site):
    def garbage(handler):
        handler.wfile.write(b"\x00\x01garbage\r\n\r\n")
        handler.close_connection = True
        return True

    site.registry.fault("/manifests/", garbage)
    with pytest.raises(Unavailable):
        site.pull(transport=site.transport(max_download_attempts=2))


# --- statuses -----------------------------------------------------------------------------


def test_unknown_tag(site):
    with pytest.raises(NoSuchImage, match=r"manifest for \S+/library/app:nope not found"):
        site.pull("library/app:nope")


def test_unknown_repository(site):
    site.registry.fault("/manifests/", fake.status(404, name="NAME_UNKNOWN"))
    with pytest.raises(NoSuchImage, match=r"repository .* not found"):
        site.pull()


def test_missing_blob_is_reported_with_its_digest(site):
    image = site.registry.add(big_image())
    del site.registry.blobs[image.layer_digests[0]]
    with pytest.raises(NoSuchImage, match=image.layer_digests[0]):
        site.pull()


def test_server_failure_is_tried_again(site):
    image = site.registry.add(big_image())
    for path in ("/manifests/", image.config_digest, image.layer_digests[0]):
        site.registry.fault(path, fake.status(500), times=2)
    site.pull()


def test_lasting_server_failure_says_what_the_server_said(site):
    site.registry.fault("/manifests/", fake.status(503, message="out to \x1b[31mlunch"))
    with pytest.raises(Unavailable, match=r"HTTP 503: out to \[31mlunch"):
        site.pull(transport=site.transport(max_download_attempts=2))
    assert len(site.registry.paths("/manifests/")) == 2


def test_too_many_requests_waits_as_long_as_told(site):
    site.registry.add(big_image())
    site.registry.fault("/manifests/", fake.status(429, Retry_After="0"), times=2)
    site.pull()


def test_too_many_requests_for_long_is_reported_at_once(site):
    site.registry.fault("/manifests/", fake.status(429, Retry_After="3600", message="slow down"))
    with pytest.raises(TooManyRequests, match=r"too many requests to .*: slow down") as caught:
        site.pull()
    assert "3600 seconds" in caught.value.hint
    assert "rl login" in caught.value.hint
    assert len(site.registry.paths("/manifests/")) == 1


def test_exhausted_quota_is_reported_at_once(site):
    site.registry.fault("/manifests/", fake.status(429, message="You have reached your pull rate limit."))
    with pytest.raises(TooManyRequests):
        site.pull()
    assert len(site.registry.paths("/manifests/")) == 1


def test_forbidden_mentions_login(site):
    site.registry.fault("/manifests/", fake.status(403, name="DENIED"))
    with pytest.raises(Denied, match=r"pull access denied for .*, repository does not exist or may require 'rl login'"):
        site.pull()


def test_nobody_at_the_port(site, registry):
    host = "127.0.0.1:1"
    with pytest.raises(Unavailable, match=f"cannot connect to {host}: connection refused"):
        site.pull(host=host)


def test_name_that_does_not_resolve(site):
    with pytest.raises(Unavailable, match=r"cannot resolve the name of registry.invalid"):
        site.pull(host="registry.invalid")


# --- redirects ----------------------------------------------------------------------------


def test_blobs_are_followed_to_another_host_without_the_token(site):
    image = site.registry.add(big_image())
    with FakeRegistry() as storage:
        storage.add(image)
        site.registry.fault("/token", fake.token())
        site.registry.fault("/blobs/", fake.redirect(storage.url))
        site.registry.fault("/manifests/", fake.require_token(f"{site.registry.url}/token"))
        site.pull()
        assert storage.paths(image.layer_digests[0])
        assert all("authorization" not in headers for _, _, headers in storage.requests)


def test_redirects_without_end_are_given_up(site):
    site.registry.fault("/manifests/", fake.redirect(site.registry.url))
    with pytest.raises(Unavailable, match="redirects without end"):
        site.pull()


@pytest.mark.parametrize("target", ["file:///etc/passwd?", "ftp://127.0.0.1", "gopher://x"])
def test_redirects_to_other_schemes_are_refused(site, target):
    site.registry.fault("/manifests/", fake.redirect(target))
    with pytest.raises(Denied, match="redirects to a place that rl does not trust"):
        site.pull()


# --- authentication -----------------------------------------------------------------------


def test_anonymous_token(site):
    site.registry.add(big_image(3))
    site.registry.fault("/token", fake.token())
    site.registry.fault("/v2/", fake.require_token(f"{site.registry.url}/token"))
    site.pull()
    (asked,) = site.registry.paths("/token")
    assert asked == "/token?service=fake&scope=repository%3Alibrary%2Fapp%3Apull"


def test_token_that_expires_is_replaced_in_the_middle(site):
    image = site.registry.add(big_image(3))
    site.registry.fault("/token", fake.token("first"), times=1)
    site.registry.fault("/token", fake.token("second"))
    site.registry.fault("/blobs/", fake.require_token(f"{site.registry.url}/token", token="second"))
    site.registry.fault("/v2/", fake.require_token(f"{site.registry.url}/token", token="first"))
    site.pull()
    assert all(site.blobs.has(digest) for digest in image.layer_digests)
    assert len(site.registry.paths("/token")) == 2


def login(site, **entry):
    directory = site.home / ".docker"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({"auths": {site.registry.host: entry}}))
    return directory / "config.json"


def test_basic_authentication_from_dockers_configuration(site):
    site.registry.add(big_image(2))
    login(site, auth=base64.b64encode(b"user:pass:word").decode())
    site.registry.fault("/v2/", fake.require_basic("user", "pass:word"))
    site.pull()


def test_credentials_are_given_to_the_token_server(site):
    site.registry.add(big_image())
    login(site, auth=base64.b64encode(b"me:secret").decode())
    guard, give = fake.require_basic("me", "secret"), fake.token()
    site.registry.fault("/token", lambda handler: guard(handler) or give(handler))
    site.registry.fault("/v2/", fake.require_token(f"{site.registry.url}/token"))
    site.pull()
    assert "account=me" in site.registry.paths("/token")[0]


def test_identity_token_is_exchanged(site):
    site.registry.add(big_image())
    login(site, identitytoken="long-lived")
    bodies = []

    def exchange(handler):
        bodies.append(handler.body.decode())
        return fake.body(b'{"access_token":"sesame"}')(handler)

    site.registry.fault("/token", exchange)
    site.registry.fault("/v2/", fake.require_token(f"{site.registry.url}/token"))
    site.pull()
    assert "grant_type=refresh_token" in bodies[0]
    assert "refresh_token=long-lived" in bodies[0]


def test_refused_credentials_name_their_source(site):
    path = login(site, auth=base64.b64encode(b"me:wrong").decode())
    site.registry.fault("/v2/", fake.require_basic("me", "right"))
    with pytest.raises(Denied) as caught:
        site.pull()
    assert str(path) in caught.value.hint


def test_login_is_asked_for_where_there_are_no_credentials(site):
    site.registry.fault("/v2/", fake.require_basic("me", "right"))
    with pytest.raises(Denied, match="requires a login") as caught:
        site.pull()
    assert f"rl login {site.registry.host}" in caught.value.hint


def test_credential_helper(site, monkeypatch):
    site.registry.add(big_image())
    programs = site.home / "bin"
    programs.mkdir()
    helper = programs / "docker-credential-test"
    helper.write_text(
        '#!/bin/sh\nread host\necho "{\\"ServerURL\\":\\"$host\\",\\"Username\\":\\"u\\",\\"Secret\\":\\"$host\\"}"\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    (site.home / ".docker").mkdir()
    (site.home / ".docker/config.json").write_text(json.dumps({"credHelpers": {site.registry.host: "test"}}))
    site.registry.fault("/v2/", fake.require_basic("u", site.registry.host))
    site.pull()


def test_tokens_are_not_fetched_over_plain_http_from_elsewhere(site):
    site.registry.fault("/v2/", fake.require_token("http://tokens.example.com/token"))
    # The registry is on loopback, where plain HTTP is allowed; a remote one may not send us there.
    from rootless.registry import auth, credentials
    from rootless.registry.endpoints import Base, Endpoint
    from rootless.registry.http import HttpClient

    remote = Endpoint(host="r.example.com", bases=(Base(url="https://r.example.com"),))
    challenges = auth.parse_challenges('Bearer realm="http://tokens.example.com/token",service="s"')
    with HttpClient(site.transport()) as http, pytest.raises(Denied, match="does not trust"):
        auth.answer(http, remote, challenges, credentials.Credentials(), scope="x")


@pytest.mark.parametrize("answer", [b"", b"{}", b"[]", b'{"token":""}', b'{"token":"a\\r\\nX: y"}', b'{"token":5}'])
def test_token_server_that_gives_no_token(site, answer):
    site.registry.fault("/token", fake.body(answer))
    site.registry.fault("/v2/", fake.require_token(f"{site.registry.url}/token"))
    with pytest.raises(Unavailable, match="sent no token"):
        site.pull()


# --- mirrors ------------------------------------------------------------------------------


def hub(site, mirrors, **options):
    reference = references.parse("app")
    # .invalid never resolves: Docker Hub itself is out of reach whatever the machine.
    return pull(
        reference,
        blobs=site.blobs,
        platform="linux/amd64",
        transport=site.transport(mirrors=tuple(mirrors), **options),
        progress=site.progress,
    )


def test_mirror_serves_short_names(site):
    site.registry.add(big_image())
    assert hub(site, [site.registry.url]).source == site.registry.host


@pytest.mark.parametrize(
    "fault", [fake.status(404), fake.status(500), fake.status(429), fake.status(401), fake.body(b"")]
)
def test_mirror_that_fails_is_passed_over(site, fault):
    image = site.registry.add(big_image())
    with FakeRegistry() as broken:
        broken.fault("/v2/", fault)
        found = hub(site, [broken.url, site.registry.url], max_download_attempts=1)
    assert found.source == site.registry.host
    assert found.manifest_digest == image.manifest_digest


def test_mirror_that_is_down_is_passed_over(site):
    site.registry.add(big_image())
    hub(site, ["http://127.0.0.1:1", site.registry.url])


def test_mirror_without_a_blob_is_passed_over_for_it(site):
    image = site.registry.add(big_image(2))
    with FakeRegistry() as poor:
        poor.add(image)
        del poor.blobs[image.layer_digests[1]]
        hub(site, [poor.url, site.registry.url])
    assert site.blobs.has(image.layer_digests[1])
    assert not site.registry.paths(image.layer_digests[0])


def test_mirror_with_a_false_blob_is_passed_over_for_it(site):
    image = site.registry.add(big_image())
    with FakeRegistry() as liar:
        liar.add(image)
        liar.blobs[image.layer_digests[0]] = bytes(len(image.layers[0]))
        hub(site, [liar.url, site.registry.url])
    assert site.blobs.read(image.layer_digests[0]) == image.layers[0]


def test_failure_of_all_says_what_the_mirrors_said(site, monkeypatch):
    with FakeRegistry() as other:
        # Stands in for Docker Hub, which is within reach of some machines only.
        monkeypatch.setattr(endpoints, "HUB", other.host)
        with pytest.raises(NoSuchImage) as caught:
            hub(site, [site.registry.url])
    assert f"{site.registry.host} said: manifest for app:latest not found" in caught.value.hint


def test_mirrors_are_for_docker_hub_only(site):
    site.registry.add(big_image())
    with FakeRegistry() as mirror:
        site.pull(transport=site.transport(mirrors=(mirror.url,)))
        assert mirror.requests == []


# --- TLS ----------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=registry",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def test_loopback_needs_no_certificate_and_prefers_tls(site, tls):
    with FakeRegistry(tls=tls[0]) as secure:
        secure.add(big_image(2))
        site.pull(host=secure.host)


def test_unknown_certificate_of_a_mirror_is_refused(site, tls, monkeypatch):
    monkeypatch.setattr(endpoints, "is_loopback", lambda _: False)
    with FakeRegistry(tls=tls[0]) as secure:
        secure.add(big_image())
        with pytest.raises(Unavailable, match=r"certificate of .* cannot be verified") as caught:
            site.pull(host=secure.host)
        assert "insecure-registries" in caught.value.hint
        site.pull(host=secure.host, transport=site.transport(insecure_registries=(secure.host,)))


def test_certificates_of_the_system_are_trusted(site, tls, monkeypatch):
    monkeypatch.setattr(endpoints, "is_loopback", lambda _: False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    with FakeRegistry(tls=tls[0]) as secure:
        secure.add(big_image())
        site.pull(host=secure.host)


def test_plain_http_is_for_loopback_and_insecure_registries_only(site, registry, monkeypatch):
    monkeypatch.setattr(endpoints, "is_loopback", lambda _: False)
    registry.add(big_image())
    with pytest.raises(Unavailable, match="TLS with"):
        site.pull()
    assert registry.requests == []
    site.pull(transport=site.transport(insecure_registries=("127.0.0.0/8",)))


# --- cancelling ---------------------------------------------------------------------------


def test_error_in_on_blob_stops_the_downloads(site):
    image = site.registry.add(big_image(3))
    site.registry.fault(image.layer_digests[2], fake.hang(1000))

    def fail(number, layer):
        site.registry.hanging.wait(10)
        raise RlError("extraction failed")

    started = time.monotonic()
    with pytest.raises(RlError, match="extraction failed"):
        site.pull(on_blob=fail)
    assert time.monotonic() - started < 5
    assert not [one for one in threading.enumerate() if one.name.startswith("pull-")]


def test_failure_of_one_layer_stops_the_others(site):
    image = site.registry.add(big_image(3))
    site.registry.fault(image.layer_digests[0], fake.hang(1000))

    def refuse(handler):
        site.registry.hanging.wait(10)
        return fake.status(404)(handler)

    site.registry.fault(image.layer_digests[1], refuse)
    with pytest.raises(NoSuchImage):
        site.pull()
    assert not [one for one in threading.enumerate() if one.name.startswith("pull-")]


PULLER = """
import sys
from rootless.oci import references
from rootless.registry.transfer import Transport, pull
from rootless.storage.content import BlobStore
from rootless.storage.layout import Layout

class Telling(BlobStore):
    def writer(self, *arguments):
        writer = super().writer(*arguments)
        write = writer.write
        def tell(data):
            write(data)
            sys.stdout.write(f"{len(data)}\\n")
            sys.stdout.flush()
        writer.write = tell
        return writer

root, name = sys.argv[1:]
try:
    transport = Transport(environment={"HOME": "/"})
    pull(references.parse(name), platform="linux/amd64", blobs=Telling(Layout(root)), transport=transport)
except KeyboardInterrupt:
    sys.exit(130)
"""
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_pull_ends_at_once_and_the_next_continues(site, number):
    image = site.registry.add(big_image(2, 3_000_000))
    half = len(image.layers[0]) // 2
    for digest in image.layer_digests:
        site.registry.fault(digest, fake.hang(half), times=1)
    command = [sys.executable, "-c", PULLER, site.layout.root, f"{site.registry.host}/library/app"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        received = 0
        for line in process.stdout:
            received += int(line)
            if received >= 2 * half:
                break
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == (130 if number == signal.SIGINT else -number)
    assert time.monotonic() - started < 3
    assert len(site.partials()) == 2
    assert not any(site.blobs.has(digest) for digest in image.layer_digests)
    site.registry.requests.clear()
    site.pull()
    assert all("range" in headers for _, path, headers in site.registry.requests if "/blobs/" in path)
    assert site.leftovers() == []


def test_two_pulls_at_once_share_the_work(site):
    site.registry.add(big_image(3))
    failures = []

    def run():
        try:
            site.pull()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(site.registry.paths("/blobs/")) == 4
    assert site.leftovers() == []
