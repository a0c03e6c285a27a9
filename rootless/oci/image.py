"""Manifests, indexes and image configurations.

The ``read_…`` functions turn bytes that somebody else wrote into typed JSON, having
checked everything that rl relies on: after them digests are safe as file names, sizes
are natural numbers and lists are lists. They name the place of a fault and raise
``Corrupt``. The accessors give a field with the default that the specification says.
"""

from __future__ import annotations

from rootless import jsonlite
from rootless.errors import Corrupt, Unsupported
from rootless.oci import digests, media_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NotRequired, TypedDict

    class PlatformFields(TypedDict, total=False):
        """``platform`` of a descriptor in an index."""

        architecture: str
        os: str
        variant: str

    class Descriptor(TypedDict):
        """A pointer to content."""

        mediaType: str
        digest: str
        size: int
        annotations: NotRequired[dict[str, str]]
        platform: NotRequired[PlatformFields]
        urls: NotRequired[list[str]]
        artifactType: NotRequired[str]
        data: NotRequired[str]

    class Manifest(TypedDict):
        """The manifest of one image."""

        schemaVersion: int
        mediaType: NotRequired[str]
        config: Descriptor
        layers: list[Descriptor]
        annotations: NotRequired[dict[str, str]]
        artifactType: NotRequired[str]

    class Index(TypedDict):
        """An OCI index or a Docker manifest list."""

        schemaVersion: int
        mediaType: NotRequired[str]
        manifests: list[Descriptor]
        annotations: NotRequired[dict[str, str]]

    class HealthConfig(TypedDict, total=False):
        """``Healthcheck`` of a configuration (Docker's extension); times in nanoseconds."""

        Test: list[str]
        Interval: int
        Timeout: int
        StartPeriod: int
        StartInterval: int
        Retries: int

    class ExecutionConfig(TypedDict, total=False):
        """``config``: the defaults for containers of the image."""

        User: str
        ExposedPorts: dict[str, dict[str, Any]]
        Env: list[str]
        Entrypoint: list[str] | None
        Cmd: list[str] | None
        Volumes: dict[str, dict[str, Any]]
        WorkingDir: str
        Labels: dict[str, str]
        StopSignal: str
        StopTimeout: int
        Shell: list[str]
        OnBuild: list[str]
        Healthcheck: HealthConfig
        ArgsEscaped: bool

    class RootFs(TypedDict):
        """``rootfs``: the layers by the digests of their uncompressed tars."""

        type: str
        diff_ids: list[str]

    class HistoryEntry(TypedDict, total=False):
        """One step of how the image was made."""

        created: str
        created_by: str
        author: str
        comment: str
        empty_layer: bool

    class ImageConfig(TypedDict, total=False):
        """The configuration of an image."""

        created: str
        author: str
        architecture: str
        os: str
        variant: str
        config: ExecutionConfig
        rootfs: RootFs
        history: list[HistoryEntry]


MAXIMUM_MANIFEST = 4 * 1024 * 1024
MAXIMUM_CONFIG = 8 * 1024 * 1024
_MAXIMUM_SIZE = 1 << 50

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


def read_json(data: bytes, what: str) -> Any:
    """Parse a JSON object; ``what`` names it in the error."""
    try:
        value = jsonlite.loads(data)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{what} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise Corrupt(f"{what} is not a JSON object")
    return value


def kind(document: dict[str, Any], content_type: str = "", *, what: str = "manifest") -> str:
    """Return the media type of a manifest or an index.

    What the document says of itself goes before ``content_type`` (the server's word). A
    document that could be read as both an index and a manifest is refused: two readers
    would see two images under one digest.
    """
    declared = document.get("mediaType", "")
    content_type = content_type.partition(";")[0].strip()
    if document.get("schemaVersion") == 1 or media_types.is_schema1(declared or content_type):
        raise Unsupported(
            f"{what} has the obsolete schema 1",
            hint="push the image again with a current tool, for example `skopeo copy --format v2s2`",
        )
    has_index, has_image = "manifests" in document, "layers" in document or "config" in document
    if has_index and has_image:
        raise Corrupt(f"{what} is ambiguous: it has both manifests and layers")
    if not isinstance(declared, str):
        raise Corrupt(f"{what}: $.mediaType is not a string")
    for name in (declared, content_type):
        if media_types.is_index(name) or media_types.is_manifest(name):
            if media_types.is_index(name) != has_index:
                raise Corrupt(f"{what} is not what its media type says: {name}")
            return name
    if declared:
        raise Unsupported(f"{what} has an unknown media type: {declared[:120]}")
    if has_index:
        return media_types.OCI_INDEX
    if has_image:
        return media_types.OCI_MANIFEST
    raise Corrupt(f"{what} is neither a manifest nor an index")


def read_manifest(data: bytes, *, what: str = "manifest") -> Manifest:
    """Parse and check the manifest of one image."""
    document = read_json(data, what)
    if not media_types.is_manifest(kind(document, what=what)):
        raise Corrupt(f"{what} is an index, not the manifest of one image")
    if "config" not in document:
        raise Corrupt(f"{what}: $.config is missing")
    _descriptor(document["config"], f"{what}: $.config")
    layers = document.setdefault("layers", [])
    _descriptors(layers, f"{what}: $.layers")
    _annotations(document, what)
    manifest: Manifest = document
    return manifest


def read_index(data: bytes, *, what: str = "index") -> Index:
    """Parse and check an index."""
    document = read_json(data, what)
    if not media_types.is_index(kind(document, what=what)):
        raise Corrupt(f"{what} is a manifest, not an index")
    _descriptors(document["manifests"], f"{what}: $.manifests")
    for number, entry in enumerate(document["manifests"]):
        platform = entry.get("platform")
        if platform is None:
            continue
        if not isinstance(platform, dict) or not all(
            isinstance(platform.get(key, ""), str) for key in ("os", "architecture", "variant")
        ):
            raise Corrupt(f"{what}: $.manifests[{number}].platform is not a platform")
    _annotations(document, what)
    index: Index = document
    return index


def require_image(manifest: Manifest, *, what: str = "manifest") -> None:
    """Raise ``Unsupported`` unless the manifest describes a container image that rl can run."""
    config_type = manifest["config"]["mediaType"]
    if not media_types.is_config(config_type):
        kind_of = manifest.get("artifactType") or config_type
        raise Unsupported(f"{what} is not a container image but an artifact of type {kind_of[:120]}")
    for layer in manifest["layers"]:
        if not media_types.is_layer(layer["mediaType"]):
            raise Unsupported(f"{what} has a layer of unsupported media type {layer['mediaType'][:120]}")


def read_config(data: bytes, *, what: str = "image configuration") -> ImageConfig:
    """Parse and check the configuration of an image."""
    document = read_json(data, what)
    for key in ("architecture", "os", "variant", "created", "author"):
        _is(document, key, str, f"{what}: $.{key}")
    rootfs = document.get("rootfs")
    if not isinstance(rootfs, dict):
        raise Corrupt(f"{what}: $.rootfs is missing")
    diffs = rootfs.get("diff_ids")
    if diffs is None:
        diffs = rootfs["diff_ids"] = []
    if not isinstance(diffs, list):
        raise Corrupt(f"{what}: $.rootfs.diff_ids is not a list")
    for number, diff_id in enumerate(diffs):
        if not digests.is_valid(diff_id):
            raise Corrupt(f"{what}: $.rootfs.diff_ids[{number}] is not a sha256 digest")
    history_entries = document.get("history")
    if history_entries is not None and not (
        isinstance(history_entries, list) and all(isinstance(entry, dict) for entry in history_entries)
    ):
        raise Corrupt(f"{what}: $.history is not a list of objects")
    section = document.get("config")
    if section is not None:
        if not isinstance(section, dict):
            raise Corrupt(f"{what}: $.config is not an object")
        _check_execution(section, f"{what}: $.config")
    config: ImageConfig = document
    return config


def check_layers(manifest: Manifest, config: ImageConfig, *, what: str = "image") -> None:
    """Raise ``Corrupt`` unless manifest and configuration have the same number of layers."""
    have, want = len(manifest["layers"]), len(diff_ids(config))
    if have != want:
        raise Corrupt(f"{what} has {have} layers in its manifest and {want} in its configuration")


# --- accessors ---------------------------------------------------------------------------


def diff_ids(config: ImageConfig) -> list[str]:
    """Return the digests of the uncompressed layers, bottom first."""
    rootfs = config.get("rootfs")
    return list(rootfs["diff_ids"] or []) if rootfs else []


def chain_ids(config: ImageConfig) -> list[str]:
    """Return the chain IDs of the layers, bottom first."""
    return digests.chain_ids(diff_ids(config))


def execution(config: ImageConfig) -> ExecutionConfig:
    """Return the ``config`` section, empty if there is none."""
    return config.get("config") or {}


def config_env(config: ImageConfig) -> list[str]:
    """Return ``NAME=value`` strings."""
    return list(execution(config).get("Env") or [])


def config_entrypoint(config: ImageConfig) -> list[str]:
    """Return the entrypoint, empty if there is none."""
    return list(execution(config).get("Entrypoint") or [])


def config_cmd(config: ImageConfig) -> list[str]:
    """Return the default command (or arguments), empty if there is none."""
    return list(execution(config).get("Cmd") or [])


def config_user(config: ImageConfig) -> str:
    """Return ``user[:group]``, empty for root."""
    return execution(config).get("User") or ""


def config_workdir(config: ImageConfig) -> str:
    """Return the working directory, empty for ``/``."""
    return execution(config).get("WorkingDir") or ""


def config_labels(config: ImageConfig) -> dict[str, str]:
    """Return the labels."""
    return dict(execution(config).get("Labels") or {})


def config_volumes(config: ImageConfig) -> list[str]:
    """Return the paths that the image declares as volumes, sorted."""
    return sorted(execution(config).get("Volumes") or {})


def config_exposed_ports(config: ImageConfig) -> list[str]:
    """Return ``80/tcp`` strings as the image wrote them, sorted."""
    return sorted(execution(config).get("ExposedPorts") or {})


def config_stop_signal(config: ImageConfig) -> str:
    """Return the signal that stops the container, empty for SIGTERM."""
    return execution(config).get("StopSignal") or ""


def config_healthcheck(config: ImageConfig) -> HealthConfig | None:
    """Return Docker's health check, if there is one."""
    return execution(config).get("Healthcheck")


def config_shell(config: ImageConfig) -> list[str]:
    """Return the shell of the Dockerfile's shell form, empty for the default."""
    return list(execution(config).get("Shell") or [])


def created(config: ImageConfig) -> str:
    """Return when the image was made (RFC 3339), or ``""``."""
    return config.get("created") or ""


def history(config: ImageConfig) -> list[HistoryEntry]:
    """Return how the image was made, the oldest step first."""
    return list(config.get("history") or [])


# --- checks ------------------------------------------------------------------------------


def _descriptors(value: object, where: str) -> None:
    if not isinstance(value, list):
        raise Corrupt(f"{where} is not a list")
    for number, one in enumerate(value):
        _descriptor(one, f"{where}[{number}]")


def _descriptor(value: object, where: str) -> None:
    if not isinstance(value, dict):
        raise Corrupt(f"{where} is not a descriptor")
    if not isinstance(value.get("mediaType"), str):
        raise Corrupt(f"{where}.mediaType is not a string")
    digest = value.get("digest")
    if not digests.is_valid(digest):
        text = digest if isinstance(digest, str) else ""
        if text.startswith(("sha512:", "sha384:")):
            raise Unsupported(f"{where}.digest uses {text[:6]}", hint="rl stores content by sha256")
        raise Corrupt(f"{where}.digest is not a sha256 digest: {text[:100]!r}")
    size = value.get("size")
    if type(size) is not int or not 0 <= size < _MAXIMUM_SIZE:
        raise Corrupt(f"{where}.size is not a size")
    _annotations(value, where)


def _annotations(document: dict[str, Any], where: str) -> None:
    value = document.get("annotations")
    if value is not None and not _is_text_map(value):
        raise Corrupt(f"{where}: annotations are not strings")


def _check_execution(section: dict[str, Any], where: str) -> None:
    for key in ("User", "WorkingDir", "StopSignal"):
        _is(section, key, str, f"{where}.{key}")
    for key in ("Env", "Entrypoint", "Cmd", "Shell", "OnBuild"):
        value = section.get(key)
        if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise Corrupt(f"{where}.{key} is not a list of strings")
    for key in ("ExposedPorts", "Volumes", "Healthcheck"):
        _is(section, key, dict, f"{where}.{key}")
    if section.get("Labels") is not None and not _is_text_map(section["Labels"]):
        raise Corrupt(f"{where}.Labels is not an object of strings")


def _is(document: dict[str, Any], key: str, wanted: type, where: str) -> None:
    value = document.get(key)
    if value is not None and not isinstance(value, wanted):
        raise Corrupt(f"{where} is not {'a string' if wanted is str else 'an object'}")


def _is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
