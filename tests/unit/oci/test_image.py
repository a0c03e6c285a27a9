import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import Corrupt, Unsupported
from rootless.oci import image, media_types

D = "sha256:" + "0" * 64
DESCRIPTOR = {"mediaType": media_types.OCI_LAYER_GZIP, "digest": D, "size": 3}
CONFIG = {"mediaType": media_types.OCI_CONFIG, "digest": D, "size": 3}
MANIFEST = {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, "config": CONFIG, "layers": [DESCRIPTOR]}
INDEX = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [DESCRIPTOR]}


def encoded(document, **changes):
    return json.dumps({**document, **changes}).encode()


def test_reads_a_manifest_and_keeps_unknown_fields():
    assert image.read_manifest(encoded(MANIFEST, future=1))["future"] == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": [{**DESCRIPTOR, "digest": "sha256:../../etc/passwd"}]},
        {"layers": [{**DESCRIPTOR, "digest": 7}]},
        {"layers": [{**DESCRIPTOR, "size": -1}]},
        {"layers": [{**DESCRIPTOR, "size": 1.5}]},
        {"layers": [{**DESCRIPTOR, "size": True}]},
        {"layers": [{**DESCRIPTOR, "size": 1 << 60}]},
        {"layers": [{"digest": D, "size": 1}]},
        {"layers": {}},
        {"layers": ["x"]},
        {"config": None},
        {"config": []},
        {"annotations": {"a": 1}},
        {"mediaType": 5},
        {"manifests": []},
        {"mediaType": media_types.OCI_INDEX},
    ],
)
def test_refuses_malformed_manifests(changes):
    with pytest.raises(Corrupt):
        image.read_manifest(encoded(MANIFEST, **changes))


def test_names_the_place_of_a_fault():
    with pytest.raises(Corrupt, match=r"x: \$\.layers\[1\]\.size"):
        image.read_manifest(encoded(MANIFEST, layers=[DESCRIPTOR, {**DESCRIPTOR, "size": "9"}]), what="x")


def test_what_could_be_index_and_manifest_is_refused():
    with pytest.raises(Corrupt, match="ambiguous"):
        image.kind({**MANIFEST, "manifests": []}, media_types.OCI_INDEX)


def test_the_document_goes_before_the_content_type():
    assert image.kind(MANIFEST, "application/json") == media_types.OCI_MANIFEST
    untyped = {key: value for key, value in MANIFEST.items() if key != "mediaType"}
    assert image.kind(untyped, f"{media_types.DOCKER_MANIFEST}; charset=utf-8") == media_types.DOCKER_MANIFEST
    assert image.kind(untyped) == media_types.OCI_MANIFEST
    with pytest.raises(Corrupt):
        image.kind(untyped, media_types.OCI_INDEX)


def test_schema_1_is_unsupported():
    with pytest.raises(Unsupported, match="schema 1"):
        image.kind({"schemaVersion": 1, "fsLayers": []})


def test_artifacts_are_not_images():
    chart = "application/vnd.cncf.helm.config.v1+json"
    manifest = image.read_manifest(encoded(MANIFEST, config={**CONFIG, "mediaType": chart}))
    with pytest.raises(Unsupported, match="helm"):
        image.require_image(manifest)


@pytest.mark.parametrize("platform", ["linux", {"os": 1}, []])
def test_refuses_malformed_platforms_in_an_index(platform):
    with pytest.raises(Corrupt, match="platform"):
        image.read_index(encoded(INDEX, manifests=[{**DESCRIPTOR, "platform": platform}]))


@pytest.mark.parametrize(
    "changes",
    [
        {"rootfs": None},
        {"rootfs": {"diff_ids": ["x"]}},
        {"rootfs": {"diff_ids": "x"}},
        {"config": []},
        {"config": {"Env": "A=b"}},
        {"config": {"Cmd": [1]}},
        {"config": {"User": 0}},
        {"config": {"Volumes": []}},
        {"config": {"Labels": {"a": 1}}},
        {"history": [1]},
        {"os": 1},
    ],
)
def test_refuses_malformed_configurations(changes):
    with pytest.raises(Corrupt):
        image.read_config(encoded({"os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}, **changes))


def test_accessors_give_defaults_for_null_and_absent():
    null = dict.fromkeys(("Env", "Cmd", "Entrypoint", "Volumes", "ExposedPorts", "Labels", "User", "WorkingDir"))
    for section in ({}, {"config": None}, {"config": null}):
        config = image.read_config(encoded({"rootfs": {"type": "layers", "diff_ids": None}, **section}))
        assert image.config_env(config) == image.config_cmd(config) == image.config_entrypoint(config) == []
        assert image.config_volumes(config) == image.config_exposed_ports(config) == image.diff_ids(config) == []
        assert image.config_labels(config) == {}
        assert image.config_user(config) == image.config_workdir(config) == image.config_stop_signal(config) == ""


def test_layer_counts_must_agree():
    config = image.read_config(encoded({"rootfs": {"type": "layers", "diff_ids": []}}))
    with pytest.raises(Corrupt, match="1 layers in its manifest and 0"):
        image.check_layers(image.read_manifest(encoded(MANIFEST)), config)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*MANIFEST, *INDEX, "rootfs", "diff_ids", "digest", "size", "os"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_readers_raise_nothing_but_corrupt_and_unsupported(value):
    data = json.dumps(value).encode()
    for read in (image.read_manifest, image.read_index, image.read_config):
        try:
            read(data)
        except (Corrupt, Unsupported):
            pass


def test_deeply_nested_json_is_corrupt():
    with pytest.raises(Corrupt):
        image.read_manifest(b'{"a":' + b"[" * 100_000)


@pytest.mark.parametrize(
    ("media_type", "name"),
    [
        (media_types.OCI_LAYER, ""),
        (media_types.OCI_LAYER_GZIP, "gzip"),
        (media_types.OCI_LAYER_ZSTD, "zstd"),
        (media_types.DOCKER_LAYER_GZIP, "gzip"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "zstd"),
    ],
)
def test_layer_media_types(media_type, name):
    assert media_types.is_layer(media_type)
    assert media_types.compression(media_type) == name
