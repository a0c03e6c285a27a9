"""Reading images from archives: `docker save` and OCI layout in a tar, compressed or not.

::

    docker-archive                        OCI layout
    manifest.json                         oci-layout  index.json
    CONFIG.json                           blobs/sha256/HEX      manifests, configurations, layers
    LAYER/layer.tar  LAYER.tar …

The archive is read once from beginning to end, so that it may be a pipe. Members go
straight into the blob store; their names are keys to find them again and never become
paths. Current docker writes both forms into one archive; the OCI half is preferred,
since it keeps the image's digest. An image without a manifest of its own gets one that
describes its layers as they are stored.
"""

from __future__ import annotations

import posixpath

from rootless import jsonlite
from rootless.errors import Corrupt, InvalidArgument, RlError, Unsupported
from rootless.oci import digests, image, media_types, platforms, references
from rootless.record import Record
from rootless.registry import seams, streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.oci.image import Descriptor, Manifest
    from rootless.oci.platforms import Platform
    from rootless.registry.seams import BlobStore, BlobWriter, Progress
    from rootless.registry.streams import Source

_BLOBS = "blobs/sha256/"
_MAXIMUM_KEPT = 64 * 1024 * 1024
_MAXIMUM_LINKS = 16
_MAXIMUM_MEMBERS = 100_000
_CHUNK = 1024 * 1024
_LAYER_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd")
_REPORT_BYTES = 4 * 1024 * 1024
_LAYER_TYPES = {
    "": media_types.OCI_LAYER,
    "gzip": media_types.OCI_LAYER_GZIP,
    "zstd": media_types.OCI_LAYER_ZSTD,
}


class LoadedImage(Record):
    """An image of an archive; everything it names is in the blob store."""

    references: tuple[str, ...]  # canonical; empty for an image without a name
    manifest_digest: str
    manifest: bytes
    media_type: str
    config_digest: str
    config: bytes
    layers: tuple[Descriptor, ...]
    index_digest: str = ""
    index_media_type: str = ""


class _Layer(Record):
    """A member that was stored as a blob."""

    digest: str
    size: int
    compression: str


def load(
    stream: Source,
    blobs: BlobStore,
    progress: Progress | None = None,
    *,
    platform: str = "",
    lease: Callable[..., object] | None = None,
) -> list[LoadedImage]:
    """Bring the images of an archive into the blob store and return them in the archive's order.

    ``stream`` needs ``read`` only. ``platform`` chooses from indexes (empty: this machine's, else what
    the archive has). Blobs that were stored before a fault was found stay for the garbage
    collector. Raises ``Corrupt``, ``Unsupported``, ``InvalidArgument``, and what the blob store raises.
    """
    wanted = platforms.parse(platform) if platform else platforms.host()
    archive = _Archive(blobs, progress or seams.Silence(), lease or (lambda *_: None))
    archive.read(stream)
    if "index.json" in archive.kept:
        found = _load_oci(archive, wanted, explicit=bool(platform))
    elif "manifest.json" in archive.kept:
        found = _load_docker(archive)
    elif "repositories" in archive.kept:
        raise Unsupported("the archive has the format of docker before 1.10", hint="save the image again")
    else:
        raise InvalidArgument(
            "the archive holds no image: neither manifest.json nor index.json",
            hint="an archive of a file system is for `rl import`",
        )
    return _merge(found)


class _Archive:
    """What the members of an archive became."""

    def __init__(self, blobs: BlobStore, progress: Progress, lease: Callable[..., object]) -> None:
        self.blobs = blobs
        self.progress = progress
        self.lease = lease
        self.kept: dict[str, bytes] = {}  # small JSON documents
        self.layers: dict[str, _Layer] = {}
        self._links: dict[str, str] = {}
        self._kept_bytes = 0

    def read(self, stream: Source) -> None:
        """Read the archive to its end."""
        tar = streams.TarReader(streams.decompressed(stream))
        for count, member in enumerate(tar):
            if count >= _MAXIMUM_MEMBERS:
                raise InvalidArgument(
                    f"the archive has more than {_MAXIMUM_MEMBERS} members: it is not an archive of images",
                    hint="an archive of a file system is for `rl import`",
                )
            name = _key(member.name)
            if member.kind == streams.SYMLINK:
                self._links[name] = _key(posixpath.join(posixpath.dirname(name), member.link))
            elif member.kind == streams.HARDLINK:
                self._links[name] = _key(member.link)
            elif member.kind == streams.FILE:
                self._file(tar, name, member.size)
        tar.finish()

    def find(self, name: str) -> str:
        """Return the key of the member that ``name`` leads to, through links."""
        key = _key(name)
        for _ in range(_MAXIMUM_LINKS):
            if key in self.layers or key in self.kept or key not in self._links:
                break
            key = self._links[key]
        return key

    def document(self, name: str, what: str) -> bytes:
        """Return a small JSON member, or raise ``Corrupt``."""
        key = self.find(name)
        if key in self.kept:
            return self.kept[key]
        if key in self.layers and self.layers[key].size <= image.MAXIMUM_CONFIG:
            return self.blobs.read(self.layers[key].digest)
        raise Corrupt(f"the archive lacks its {what}: {name[:200]!r}")

    def _file(self, tar: streams.TarReader, name: str, size: int) -> None:
        digest = "sha256:" + posixpath.basename(name)
        if name.startswith(_BLOBS) and digests.is_valid(digest):
            self._store(tar, name, digest, size)
        elif name.endswith(_LAYER_ENDINGS):
            self._store(tar, name, "", size)
        elif size <= image.MAXIMUM_CONFIG:
            # Configurations have all kinds of names; they are what begins like JSON.
            head = tar.read(1)
            if head in (b"{", b"["):
                self._keep(tar, name, head)

    def _keep(self, tar: streams.TarReader, name: str, head: bytes) -> None:
        parts = [head]
        while data := tar.read(_CHUNK):
            parts.append(data)
        content = b"".join(parts)
        self._kept_bytes += len(content)
        if self._kept_bytes > _MAXIMUM_KEPT:
            raise Corrupt(f"the archive has more than {_MAXIMUM_KEPT} bytes of JSON")
        self.kept[name] = content

    def _store(self, tar: streams.TarReader, name: str, digest: str, size: int) -> None:
        if digest:
            self.lease(digest)
        writer = self.blobs.writer(digest, size)
        shown = digest or name
        try:
            head, done, reported = b"", 0, 0
            skip = writer.offset  # an interrupted download of the same blob left these
            while data := tar.read(_CHUNK):
                if len(head) < 6:
                    head += data[:6]
                done += len(data)
                if skip:
                    skipped = min(skip, len(data))
                    skip -= skipped
                    data = data[skipped:]
                if data and not writer.present:
                    writer.write(data)
                if done - reported >= _REPORT_BYTES:
                    reported = done
                    self.progress.layer(shown, seams.LOADING, done, size)
            if writer.present and writer.offset != size:
                raise Corrupt(f"blob {digest} has {size} bytes in the archive and {writer.offset} in the store")
            stored = self._commit(writer, digest)
        except BaseException:
            writer.discard()
            raise
        if size >= _REPORT_BYTES:
            self.progress.layer(shown, seams.LOADING, size, size)
        self.layers[name] = _Layer(digest=stored, size=size, compression=streams.sniff(head))

    def _commit(self, writer: BlobWriter, digest: str) -> str:
        try:
            stored = writer.commit()
        except Corrupt as error:
            if digest:
                raise Corrupt(f"the archive is damaged: {error}") from error
            raise
        self.lease(stored)
        return stored


def _key(name: str) -> str:
    """Return a member's name in one spelling."""
    return posixpath.normpath("/" + name).lstrip("/")


# --- OCI layout ----------------------------------------------------------------------------


def _load_oci(archive: _Archive, wanted: Platform, *, explicit: bool) -> list[LoadedImage]:
    index = image.read_index(_as_index(archive.kept["index.json"]), what="index.json")
    found = []
    for descriptor in index["manifests"]:
        kind = descriptor["mediaType"]
        if media_types.is_index(kind) or media_types.is_manifest(kind):
            found.append(_from_descriptor(archive, descriptor, wanted, explicit=explicit))
    if not found:
        raise Corrupt("the archive's index.json names no image")
    return found


def _as_index(data: bytes) -> bytes:
    """Give index.json the schema version that some writers forget."""
    document = image.read_json(data, "index.json")
    document.setdefault("manifests", [])
    return jsonlite.dumps(document).encode()


def _from_descriptor(archive: _Archive, descriptor: Descriptor, wanted: Platform, *, explicit: bool) -> LoadedImage:
    top = descriptor
    index_digest = index_type = ""
    for _ in range(3):
        body = _blob(archive, descriptor, image.MAXIMUM_MANIFEST, "manifest")
        kind = image.kind(image.read_json(body, "manifest"), descriptor["mediaType"])
        if media_types.is_manifest(kind):
            break
        if not index_digest:
            index_digest, index_type = descriptor["digest"], kind
        descriptor = _choose(archive, image.read_index(body), wanted, explicit=explicit)
    else:
        raise Corrupt("the archive has indexes within indexes")
    manifest = image.read_manifest(body)
    image.require_image(manifest, what="the archive's manifest")
    config_bytes = _blob(archive, manifest["config"], image.MAXIMUM_CONFIG, "image configuration")
    config = image.read_config(config_bytes)
    image.check_layers(manifest, config, what="the archive's image")
    for layer in manifest["layers"]:
        _require(archive, layer, "layer")
    return LoadedImage(
        references=_names(top.get("annotations") or {}),
        manifest_digest=descriptor["digest"],
        manifest=body,
        media_type=kind,
        config_digest=manifest["config"]["digest"],
        config=config_bytes,
        layers=tuple(manifest["layers"]),
        index_digest=index_digest,
        index_media_type=index_type,
    )


def _choose(archive: _Archive, index: image.Index, wanted: Platform, *, explicit: bool) -> Descriptor:
    """Choose among the manifests that the archive has: it may hold one platform of many."""
    there = [one for one in index["manifests"] if archive.blobs.has(one["digest"])]
    if not there:
        raise Corrupt("the archive lacks every manifest that its index names")
    try:
        return platforms.select({**index, "manifests": there}, wanted)
    except RlError:
        images = [one for one in there if (one.get("platform") or {}).get("os") != "unknown"]
        if explicit or len(images) != 1:
            raise
        return images[0]


def _require(archive: _Archive, descriptor: Descriptor, what: str) -> None:
    digest, size = descriptor["digest"], descriptor["size"]
    archive.lease(digest)
    if not archive.blobs.has(digest):
        raise Corrupt(f"the archive lacks {what} {digest}")
    if archive.blobs.size(digest) != size:
        raise Corrupt(f"{what} {digest} has {archive.blobs.size(digest)} bytes, its descriptor says {size}")


def _blob(archive: _Archive, descriptor: Descriptor, limit: int, what: str) -> bytes:
    _require(archive, descriptor, what)
    if descriptor["size"] > limit:
        raise Corrupt(f"the archive's {what} has more than {limit} bytes")
    return archive.blobs.read(descriptor["digest"])


def _names(annotations: dict[str, str]) -> tuple[str, ...]:
    for text in (annotations.get(image.CONTAINERD_NAME, ""), annotations.get(image.REF_NAME, "")):
        if text and not _is_bare_tag(text):
            return _references([text])
    return ()


def _is_bare_tag(text: str) -> bool:
    """Tell whether a ref.name is a tag alone (``v1.2``, ``latest``) rather than an image's name."""
    if not set("/:@").isdisjoint(text):
        return False
    return text == references.DEFAULT_TAG or text.removeprefix("v")[:1].isdigit()


def _references(texts: list[str]) -> tuple[str, ...]:
    """Return what can be read as references, in canonical form."""
    found: list[str] = []
    for text in texts:
        try:
            found.append(str(references.parse(text)))
        except RlError:
            continue  # a name that Docker could not have given
    return tuple(dict.fromkeys(found))


# --- docker save ---------------------------------------------------------------------------


def _load_docker(archive: _Archive) -> list[LoadedImage]:
    try:
        entries = jsonlite.loads(archive.kept["manifest.json"])
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"the archive's manifest.json is not valid JSON: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise Corrupt("the archive's manifest.json names no image")
    return [_from_entry(archive, entry, f"manifest.json: $[{number}]") for number, entry in enumerate(entries)]


def _from_entry(archive: _Archive, entry: Any, where: str) -> LoadedImage:
    if not isinstance(entry, dict) or not isinstance(entry.get("Config"), str):
        raise Corrupt(f"{where}.Config is not a name")
    names, tags = _texts(entry, "Layers", where), _texts(entry, "RepoTags", where)
    config_bytes = archive.document(entry["Config"], "image configuration")
    config = image.read_config(config_bytes)
    diff_ids = image.diff_ids(config)
    if len(diff_ids) != len(names):
        raise Corrupt(f"{where} has {len(names)} layers, its configuration {len(diff_ids)}")
    layers = [_layer(archive, name, diff_id) for name, diff_id in zip(names, diff_ids, strict=True)]
    config_digest = digests.sha256_bytes(config_bytes)
    manifest: Manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": {"mediaType": media_types.OCI_CONFIG, "digest": config_digest, "size": len(config_bytes)},
        "layers": layers,
    }
    body = jsonlite.dumps(manifest).encode()
    digest = digests.sha256_bytes(body)
    archive.lease(config_digest, digest)
    archive.blobs.put(config_bytes)
    archive.blobs.put(body)
    return LoadedImage(
        references=_references(tags),
        manifest_digest=digest,
        manifest=body,
        media_type=media_types.OCI_MANIFEST,
        config_digest=config_digest,
        config=config_bytes,
        layers=tuple(layers),
    )


def _layer(archive: _Archive, name: str, diff_id: str) -> Descriptor:
    stored = archive.layers.get(archive.find(name))
    if stored is None:
        raise Corrupt(f"the archive lacks a layer that it names: {name[:200]!r}")
    if stored.compression not in _LAYER_TYPES:
        raise Unsupported(f"the archive's layer {name[:200]!r} is compressed with {stored.compression}")
    if not stored.compression and stored.digest != diff_id:
        raise Corrupt(f"the archive is damaged: layer {name[:200]!r} has digest {stored.digest} instead of {diff_id}")
    return {"mediaType": _LAYER_TYPES[stored.compression], "digest": stored.digest, "size": stored.size}


def _texts(entry: dict[str, Any], key: str, where: str) -> list[str]:
    value = entry.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Corrupt(f"{where}.{key} is not a list of names")
    return value


def _merge(found: list[LoadedImage]) -> list[LoadedImage]:
    """Make one of images that differ in their names only."""
    merged: dict[tuple[str, str], LoadedImage] = {}
    for one in found:
        key = (one.index_digest, one.manifest_digest)
        names = merged[key].references if key in merged else ()
        merged[key] = one.replace(references=tuple(dict.fromkeys((*names, *one.references))))
    return list(merged.values())
