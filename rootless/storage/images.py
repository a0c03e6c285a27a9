"""Images and their names: ``index.json`` of the OCI layout.

Each name is one descriptor of a manifest, with its name in the standard annotation, so
that ``skopeo inspect oci:ROOT:docker.io/library/nginx:latest`` works in place. What rl
wants to know without opening blobs is in annotations of its own; descriptors that other
tools wrote lack them and are completed from the manifest when they are read.

An image *is* its configuration's digest (Docker's image ID). It has one entry per name;
one entry without a name when it has none.
"""

from __future__ import annotations

import os

from rootless import jsonlite
from rootless.errors import Corrupt, InvalidArgument, NoSpace, NoSuchImage, NotFound, RlError
from rootless.oci import digests, references
from rootless.record import Record
from rootless.storage import records
from rootless.storage.content import BlobStore
from rootless.storage.faults import translated
from rootless.storage.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.storage.layout import Layout

    Entries = list["ImageEntry"]
    Strings = list[str]
    Parsed = list[tuple["ImageEntry", dict[str, Any]]]

REF_NAME = "org.opencontainers.image.ref.name"
_OWN = "io.rootless."
_EMPTY_INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [],
}
_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class ImageEntry(Record):
    """One name of one image."""

    reference: str = ""  # canonical, "docker.io/library/nginx:latest"; "" for an image without a name
    manifest_digest: str
    manifest_size: int  # bytes of the manifest, for its descriptor
    media_type: str = _OCI_MANIFEST
    config_digest: str  # Docker's image ID
    chain_id: str = ""  # of the topmost layer; "" for an image without layers
    repo_digest: str = ""  # "docker.io/library/nginx@sha256:…" as pulled: of the index, if there was one
    size: int = 0  # bytes of all layers, unpacked
    created: str = ""  # as the configuration says, RFC 3339
    tagged_at: str = ""  # when this name was given
    platform: str = ""  # "linux/amd64", "linux/arm64/v8"

    @property
    def image_id(self) -> str:
        """Return Docker's image ID: ``sha256:`` and the hexadecimal digest of the configuration."""
        return self.config_digest

    @property
    def index_digest(self) -> str:
        """Return the digest in ``repo_digest``, or ""."""
        return self.repo_digest.partition("@")[2]


class ImageStore:
    """Names of images under one data root. Readers take no lock; a change is one rename."""

    def __init__(self, layout: Layout, blobs: BlobStore | None = None) -> None:
        self._layout = layout
        self._blobs = blobs or BlobStore(layout)

    def list(self) -> Entries:
        """Return all entries, oldest name first."""
        return [entry for entry, _ in self._parse(self._read())]

    def lookup(self, text: str) -> ImageEntry:
        """Return the image that a user names: reference, digest reference, image ID or its prefix.

        Raises ``NoSuchImage``, and ``InvalidArgument`` for an ambiguous prefix. A name
        goes before an ID, as in Docker.
        """
        entries = self.list()
        try:
            reference = references.parse(text)
        except RlError:
            reference = None
        if reference is not None:
            if reference.digest:
                for entry in entries:
                    if _has_digest(entry, reference.name(), reference.digest):
                        return entry
            else:
                name = str(reference)
                for entry in entries:
                    if entry.reference == name:
                        return entry
        prefix = text.removeprefix("sha256:")
        if prefix and len(prefix) <= 64 and digests.is_hex(prefix):
            found = {entry.image_id: entry for entry in reversed(entries) if entry.image_id[7:].startswith(prefix)}
            if len(found) > 1:
                raise InvalidArgument(f"image ID prefix {text} is ambiguous: it fits {len(found)} images")
            if found:
                return next(iter(found.values()))
        shown = reference.familiar() if reference is not None else text
        raise NoSuchImage(f"no such image: {shown}")

    def find(self, reference: str) -> ImageEntry | None:
        """Return the entry of a canonical reference, ``docker.io/library/nginx:latest``."""
        for entry in self.list():
            if entry.reference == reference:
                return entry
        return None

    def names(self, image_id: str) -> Entries:
        """Return all entries of one image."""
        return [entry for entry in self.list() if entry.image_id == image_id]

    def manifest(self, entry: ImageEntry) -> dict[str, Any]:
        """Return the manifest; raises ``NotFound`` or ``Corrupt``."""
        return self.document(entry.manifest_digest, "manifest")

    def config(self, entry: ImageEntry) -> dict[str, Any]:
        """Return the image configuration; raises ``NotFound`` or ``Corrupt``."""
        return self.document(entry.config_digest, "configuration")

    def add(self, entry: ImageEntry) -> None:
        """Record an image under ``entry.reference``; an image that had this name loses it, not more.

        Without a reference it is recorded only if the image has no entry with this
        ``repo_digest`` yet. The manifest must be in the blob store.
        """

        def change(entries: Entries) -> Entries:
            if not entry.reference:
                same = [known for known in entries if known.image_id == entry.image_id]
                if any(entry.repo_digest in ("", known.repo_digest) for known in same):
                    return entries
            return [*_without_name(entries, entry), entry]

        self._update(change)

    def tag(self, entry: ImageEntry, reference: str) -> ImageEntry:
        """Give the image another (canonical) name and return the new entry."""
        repository = str(references.parse(reference).name())
        repo_digest = entry.repo_digest if entry.repo_digest.startswith(f"{repository}@") else ""
        tagged = entry.replace(reference=reference, repo_digest=repo_digest, tagged_at=_now())
        self._update(lambda entries: [*_without_name(entries, tagged), tagged])
        return tagged

    def untag(self, reference: str) -> ImageEntry | None:
        """Take a canonical name away; return the entry without a name if it was the image's last.

        Raises ``NoSuchImage`` if nothing has this name.
        """
        left: Entries = []

        def change(entries: Entries) -> Entries:
            gone = next((entry for entry in entries if entry.reference == reference), None)
            if gone is None:
                raise NoSuchImage(f"no such image: {references.parse(reference).familiar()}")
            rest = [entry for entry in entries if entry is not gone]
            if any(entry.image_id == gone.image_id for entry in rest):
                return rest
            left.append(gone.replace(reference=""))
            return [*rest, left[0]]

        self._update(change)
        return left[0] if left else None

    def remove(self, image_id: str) -> Entries:
        """Forget an image with all its names and return what was forgotten; gc removes its content."""
        gone: Entries = []

        def change(entries: Entries) -> Entries:
            gone.extend(entry for entry in entries if entry.image_id == image_id)
            return [entry for entry in entries if entry.image_id != image_id]

        self._update(change)
        return gone

    def describe(
        self, manifest_digest: str, *, reference: str = "", repo_digest: str = "", size: int = 0
    ) -> ImageEntry:
        """Return an entry made from a manifest and a configuration in the blob store; records nothing.

        Raises ``NotFound`` or ``Corrupt``.
        """
        manifest = self.document(manifest_digest, "manifest")
        config_digest = _field(manifest, "config", "digest")
        config = self.document(config_digest, "configuration")
        rootfs = config.get("rootfs")
        diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        if not isinstance(diff_ids, list) or not all(map(digests.is_valid, diff_ids)):
            raise Corrupt(f"image configuration {config_digest} has no valid rootfs.diff_ids")
        chains = digests.chain_ids(diff_ids)
        parts = [config.get(key) for key in ("os", "architecture", "variant")]
        return ImageEntry(
            reference=reference,
            manifest_digest=manifest_digest,
            manifest_size=self._blobs.size(manifest_digest),
            media_type=str(manifest.get("mediaType") or _OCI_MANIFEST),
            config_digest=config_digest,
            chain_id=chains[-1] if chains else "",
            repo_digest=repo_digest,
            size=size,
            created=str(config.get("created") or ""),
            tagged_at=_now(),
            platform="/".join(part for part in parts if isinstance(part, str) and part),
        )

    def roots(self) -> Strings:
        """Return the digests of all manifests and indexes that ``index.json`` refers to."""
        found = []
        for descriptor in self._read().get("manifests") or []:
            found.append(str(descriptor.get("digest")))
            pulled = (descriptor.get("annotations") or {}).get(_OWN + "repo-digest", "")
            if pulled:
                found.append(pulled.partition("@")[2])
        return list(dict.fromkeys(found))

    def document(self, digest: str, what: str = "blob") -> dict[str, Any]:
        """Return a blob that is a JSON object; raises ``NotFound`` or ``Corrupt``."""
        try:
            value = jsonlite.loads(self._blobs.read(digest))
        except ValueError as error:
            raise Corrupt(f"{what} {digest} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise Corrupt(f"{what} {digest} is not a JSON object")
        return value

    def _read(self) -> dict[str, Any]:
        with translated("cannot read the index of images"):
            try:
                index = jsonlite.load_file(self._layout.index)
            except FileNotFoundError:
                return dict(_EMPTY_INDEX)
            except ValueError as error:
                raise Corrupt(f"{self._layout.index} is not JSON: {error}") from error
        if not isinstance(index, dict) or not isinstance(index.get("manifests", []), list):
            raise Corrupt(f"{self._layout.index} is not an OCI image index")
        return index

    def _parse(self, index: dict[str, Any]) -> Parsed:
        found = []
        for descriptor in index.get("manifests") or []:
            try:
                entry = self._entry(descriptor)
            except (Corrupt, NotFound, InvalidArgument):
                continue  # an artefact, a foreign architecture's index, or a damaged image: not ours to run
            found.append((entry, descriptor))
        return found

    def _entry(self, descriptor: dict[str, Any]) -> ImageEntry:
        notes = descriptor.get("annotations") or {}
        config_digest = notes.get(_OWN + "config")
        if not config_digest:
            return self._foreign(descriptor)
        return ImageEntry(
            reference=notes.get(REF_NAME, ""),
            manifest_digest=descriptor["digest"],
            manifest_size=descriptor["size"],
            media_type=descriptor["mediaType"],
            config_digest=config_digest,
            chain_id=notes.get(_OWN + "chain", ""),
            repo_digest=notes.get(_OWN + "repo-digest", ""),
            size=int(notes.get(_OWN + "size", 0)),
            created=notes.get("org.opencontainers.image.created", ""),
            tagged_at=notes.get(_OWN + "tagged-at", ""),
            platform=notes.get(_OWN + "platform", ""),
        )

    def _foreign(self, descriptor: dict[str, Any]) -> ImageEntry:
        """Complete a descriptor that another tool wrote."""
        name = (descriptor.get("annotations") or {}).get(REF_NAME, "")
        entry = self.describe(_field(descriptor, "digest"), reference=str(references.parse(name)) if name else "")
        return entry.replace(media_type=descriptor.get("mediaType") or entry.media_type, tagged_at="")

    def _update(self, change: Callable[[Entries], Entries]) -> None:
        with translated("cannot change the index of images"), Lock(f"{self._layout.locks}/index"):
            index = self._read()
            parsed = self._parse(index)
            before = [entry for entry, _ in parsed]
            after = change(before)
            if after == before:
                return
            kept = {id(descriptor) for _, descriptor in parsed}
            unread = [descriptor for descriptor in index.get("manifests") or [] if id(descriptor) not in kept]
            index["manifests"] = unread + [_descriptor(entry) for entry in after]
            content = jsonlite.dumps(index).encode("ascii")
            try:
                records.replace(self._layout.index, content, staging=self._layout.tmp)
            except NoSpace:
                # On a full disk a removal must succeed: it is how room is made.
                if len(after) > len(before) or not self._empty_cache():
                    raise
                records.replace(self._layout.index, content, staging=self._layout.tmp)

    def _empty_cache(self) -> bool:
        """Make a little room; says whether there was anything. All of it can be computed again."""
        found = False
        for entry in os.scandir(self._layout.cache):
            if entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)
                found = True
        return found


def _without_name(entries: Entries, new: ImageEntry) -> Entries:
    """Take ``new``'s name from whoever has it, and drop the nameless entry of its image."""
    rest = []
    for entry in entries:
        if entry.reference == new.reference:
            if entry.image_id == new.image_id:
                continue
            named = [other for other in entries if other is not entry and other.image_id == entry.image_id]
            if named:
                continue
            entry = entry.replace(reference="")
        elif not entry.reference and entry.image_id == new.image_id and entry.repo_digest in ("", new.repo_digest):
            continue
        rest.append(entry)
    return rest


def _descriptor(entry: ImageEntry) -> dict[str, Any]:
    notes = {
        REF_NAME: entry.reference,
        "org.opencontainers.image.created": entry.created,
        _OWN + "config": entry.config_digest,
        _OWN + "chain": entry.chain_id,
        _OWN + "repo-digest": entry.repo_digest,
        _OWN + "size": str(entry.size),
        _OWN + "tagged-at": entry.tagged_at,
        _OWN + "platform": entry.platform,
    }
    descriptor: dict[str, Any] = {
        "mediaType": entry.media_type,
        "digest": entry.manifest_digest,
        "size": entry.manifest_size,
        "annotations": {name: value for name, value in notes.items() if value},
    }
    parts = entry.platform.split("/")
    if len(parts) >= 2:
        descriptor["platform"] = {"os": parts[0], "architecture": parts[1]}
        if len(parts) > 2:
            descriptor["platform"]["variant"] = parts[2]
    return descriptor


def _has_digest(entry: ImageEntry, name: str, digest: str) -> bool:
    if entry.repo_digest == f"{name}@{digest}":
        return True
    repository = entry.repo_digest.partition("@")[0] or entry.reference.rpartition(":")[0]
    return entry.manifest_digest == digest and repository == name


def _field(document: dict[str, Any], *path: str) -> str:
    value: Any = document
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise Corrupt(f"manifest lacks $.{'.'.join(path)}")
    return digests.validate(value)


def _now() -> str:
    import time

    now = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
    return f"{seconds}.{now % 10**9:09d}Z"
