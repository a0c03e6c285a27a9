"""Images: pulled, loaded, imported, tagged, removed.

Content comes first, names last: blobs are stored and layers unpacked under a lease, then
one rename of ``index.json`` makes the image exist. Whatever interrupts that leaves a store
in which the image is not there yet, and blobs that the next attempt finds.
"""

from __future__ import annotations

from rootless import events, log
from rootless.engine import names
from rootless.errors import Conflict, ImageInUse, InvalidArgument, NoSpace, NoSuchImage, NotFound, RlError
from rootless.oci import digests, references
from rootless.record import Record
from rootless.storage.leases import Lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, BinaryIO

    from rootless.engine.engine import Engine
    from rootless.oci.references import Reference
    from rootless.registry.http import Transport
    from rootless.registry.seams import Progress
    from rootless.registry.transfer import PulledImage
    from rootless.storage.images import ImageEntry
    from rootless.storage.layers import Unpacked

UNTAGGED, DELETED = "Untagged", "Deleted"


class Pulled(Record):
    """What a pull led to."""

    entry: ImageEntry
    reference: str  # canonical, as Docker prints it last
    digest: str  # by which the registry knows the image
    changed: bool  # the name means another image than before


class _Once:
    """A display that is not told twice that a layer is here already."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._here: set[str] = set()

    def layer(self, digest: str, status: str, current: int = 0, total: int = 0) -> None:
        """Pass a layer's state on."""
        if status == "Already exists":
            if digest in self._here:
                return
            self._here.add(digest)
        self._progress.layer(digest, status, current, total)

    def message(self, text: str) -> None:
        """Pass a line on."""
        self._progress.message(text)


class _Tidying:
    """Delete what the block, or a killed command before it, left half-made.

    Where it fails with ``kind``, delete all that it brought: nobody will go on with that. What a
    pull fetched before its connection broke stays, for the next one.
    """

    def __init__(self, engine: Engine, kind: type[RlError]) -> None:
        self._engine = engine
        self._kind = kind

    def __enter__(self) -> None:
        """Do nothing yet."""

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: object) -> None:
        """Collect garbage after such a failure, else only what is temporary."""
        from rootless.storage import gc

        try:
            if isinstance(value, self._kind):
                # Also what downloads that another's failure stopped have left for a resume.
                gc.collect(self._engine.layout, self._engine.userns, partials=isinstance(value, NoSpace))
            else:
                gc.tidy(self._engine.layout, self._engine.userns)
        except RlError:
            pass  # the next command does it


def _event(engine: Engine, action: str, identifier: str, name: str = "") -> None:
    events.write(engine.layout.events, "image", action, identifier, {"name": name or identifier})


# -- pulling ---------------------------------------------------------------------------


def transport(engine: Engine) -> Transport:
    """Return how registries are to be talked to, as configured."""
    from rootless import __version__
    from rootless.registry.http import Transport

    settings = engine.settings
    return Transport(
        mirrors=tuple(settings["registry-mirrors"]),
        insecure_registries=tuple(settings["insecure-registries"]),
        max_concurrent_downloads=settings["max-concurrent-downloads"],
        max_download_attempts=settings["max-download-attempts"],
        user_agent=f"rl/{__version__}",
    )


def pull(engine: Engine, text: str, *, platform: str = "", progress: Progress | None = None) -> Pulled:
    """Bring an image from its registry, unpack it and give it its name.

    Layers are unpacked while later ones are still on their way. Raises what
    ``registry.transfer.pull`` raises, and ``SystemFailure`` for what unpacking needs.
    """
    from contextlib import ExitStack

    from rootless.oci import image
    from rootless.registry import transfer
    from rootless.storage.layers import Unpacker

    engine.snapshotter.name  # noqa: B018 - chosen, which may take a fork, before there are threads
    reference = references.parse(text)
    known = _known(engine, reference)
    display = _Once(progress) if progress is not None else None
    with _Tidying(engine, NoSpace), ExitStack() as stack:
        lease = stack.enter_context(Lease(engine.layout))
        # Forked before the downloading threads exist.
        worker = stack.enter_context(engine.userns.worker())
        unpackers: list[Unpacker] = []

        def begin(found: PulledImage) -> None:
            diff_ids = image.diff_ids(image.read_config(found.config))
            made = Unpacker(engine.layout, engine.blobs, engine.snapshotter, worker, diff_ids, display)
            unpackers.append(stack.enter_context(made))

        found = transfer.pull(
            reference,
            blobs=engine.blobs,
            platform=platform,
            transport=transport(engine),
            progress=display,
            have_layer=engine.snapshotter.has,
            on_image=begin,
            on_blob=lambda _, descriptor: unpackers[0].add(dict(descriptor)),
            lease=lease.add,
            known_digest=(known.index_digest or known.manifest_digest) if known else "",
        )
        unpacked = unpackers[0].finish()
        entry = engine.images.describe(
            found.manifest_digest,
            reference="" if reference.digest else str(reference),
            repo_digest=f"{reference.name()}@{found.digest}",
            size=unpacked.size,
        )
        engine.images.add(entry)
    _event(engine, "pull", reference.familiar(), reference.familiar_name())
    _warn(engine, unpacked)
    changed = known is None or (known.image_id, known.repo_digest) != (entry.image_id, entry.repo_digest)
    if progress is not None:
        status = "Downloaded newer image for" if changed else "Image is up to date for"
        progress.message(f"Digest: {found.digest}")
        progress.message(f"Status: {status} {reference.familiar()}")
    return Pulled(entry=entry, reference=str(reference), digest=found.digest, changed=changed)


def ensure(
    engine: Engine, text: str, *, policy: str = "missing", platform: str = "", progress: Progress | None = None
) -> ImageEntry:
    """Return an image, pulled according to ``policy``: always, missing or never."""
    if policy not in ("always", "missing", "never", ""):
        raise InvalidArgument(f'invalid pull option: \'{policy}\': must be one of "always", "missing" or "never"')
    if policy != "always":
        try:
            entry = find(engine, text, platform=platform)
            ensure_unpacked(engine, entry, progress=progress)
            return entry
        except NoSuchImage as error:
            if policy == "never":
                raise NoSuchImage(error.message, hint=f"rl pull {text}, or another --pull") from None
        if progress is not None:
            progress.message(f"Unable to find image '{references.parse(text).familiar()}' locally")
    return pull(engine, text, platform=platform, progress=progress).entry


def find(engine: Engine, text: str, *, platform: str = "") -> ImageEntry:
    """Return the image that a user means, if it is of the wanted platform; raises ``NoSuchImage``."""
    entry = engine.images.lookup(text)
    if platform and entry.platform:
        from rootless.oci import platforms

        if not platforms.satisfies(platforms.parse(entry.platform), platforms.parse(platform)):
            raise NoSuchImage(f"no such image: {text} for platform {platform}")
    return entry


def ensure_unpacked(engine: Engine, entry: ImageEntry, *, progress: Progress | None = None) -> None:
    """Unpack the layers that the storage driver in use lacks; one look where it has them.

    So it is after another driver was chosen, and for images that other tools stored.
    """
    if not entry.chain_id or engine.snapshotter.has(entry.chain_id):
        return
    from rootless.storage.layers import unpack_image

    manifest, config = engine.images.manifest(entry), engine.images.config(entry)
    unpacked = unpack_image(engine.layout, engine.blobs, engine.snapshotter, engine.userns, manifest, config, progress)
    _warn(engine, unpacked)


def _warn(engine: Engine, unpacked: Unpacked) -> None:
    """Say what unpacking could not do as the image wanted it, and what it costs here."""
    if unpacked.squashed:
        log.warn(f"{unpacked.squashed} files belong to ids beyond your subordinate range; 65534 owns them now")
    if unpacked.extracted and not engine.settings["storage-driver"] and engine.snapshotter.name == "vfs":
        log.warn(
            "neither the kernel's overlay nor fuse-overlayfs works here: "
            "each container gets a full copy of its image (vfs); `rl info` says why"
        )


def _known(engine: Engine, reference: Reference) -> ImageEntry | None:
    try:
        entry = engine.images.lookup(str(reference))
    except NoSuchImage:
        return None
    return entry if entry.repo_digest.startswith(f"{reference.name()}@") else None


# -- names -----------------------------------------------------------------------------


def tag(engine: Engine, source: str, target: str) -> ImageEntry:
    """Give an image another name; raises ``NoSuchImage``, ``InvalidArgument``."""
    reference = references.parse(target)
    if reference.digest:
        raise InvalidArgument(f"refusing to create a tag with a digest reference: {target}")
    entry = engine.images.lookup(source)
    tagged = engine.images.tag(entry, str(reference))
    _event(engine, "tag", entry.image_id, reference.familiar())
    return tagged


def remove(engine: Engine, text: str, *, force: bool = False) -> list[tuple[str, str]]:
    """Remove a name, and the image with its last one, by Docker's rules.

    Returns what Docker prints, as (``Untagged`` or ``Deleted``, what).
    Raises ``ImageInUse`` and ``Conflict`` in Docker's words, ``NoSuchImage``.
    """
    entry = engine.images.lookup(text)
    users = _users(engine, entry.image_id)
    entries = engine.images.names(entry.image_id)
    tagged = [one for one in entries if one.reference]
    short = names.short_id(entry.image_id)
    removals: list[tuple[str, str]] = []
    if not _is_id(entry.image_id, text):
        reference = references.parse(text)
        if users and len(tagged) <= 1 and not force:
            raise ImageInUse(
                f'conflict: unable to remove repository reference "{text}" (must force) - container'
                f" {names.short_id(users[0].id)} is using its referenced image {short}",
                hint=f"remove that container first: rl rm {names.short_id(users[0].id)}",
            )
        removals += _untag(engine, entry, reference, tagged)
        if any(one.reference for one in engine.images.names(entry.image_id)):
            return removals
        busy = [user for user in users if user.running or not force]
        if busy:
            return removals
    else:
        if len(tagged) > 1 and not force:
            raise Conflict(
                f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories",
                hint=f"rl rmi -f {short}, or remove its names one by one",
            )
        for user in users:
            if user.running or not force:
                state, remedy = ("running", "cannot") if user.running else ("stopped", "must")
                raise ImageInUse(
                    f"conflict: unable to delete {short} ({remedy} be forced) - image is being used by"
                    f" {state} container {names.short_id(user.id)}",
                    hint=f"remove that container first: rl rm {'-f ' if user.running else ''}{names.short_id(user.id)}",
                )
        for one in tagged:
            removals.append((UNTAGGED, references.parse(one.reference).familiar()))
        removals += _digests_of(entries)
    removals += _delete(engine, entry)
    for one in tagged if _is_id(entry.image_id, text) else ():
        _event(engine, "untag", entry.image_id, references.parse(one.reference).familiar())
    _event(engine, "delete", entry.image_id)
    return removals


def _untag(
    engine: Engine, entry: ImageEntry, reference: Reference, tagged: Sequence[ImageEntry]
) -> list[tuple[str, str]]:
    """Take a name away; with the last tag of a repository its digests go too."""
    if reference.digest:
        for one in tagged:
            if one.repo_digest:
                engine.images.add(one.replace(repo_digest=""))
        return [(UNTAGGED, reference.familiar())]
    engine.images.untag(str(reference))
    _event(engine, "untag", entry.image_id, reference.familiar())
    removals = [(UNTAGGED, reference.familiar())]
    repository = reference.name()
    rest = [one for one in tagged if one.reference != str(reference)]
    if entry.repo_digest and not any(references.parse(one.reference).name() == repository for one in rest):
        removals += _digests_of([entry])
    return removals


def _digests_of(entries: Iterable[ImageEntry]) -> list[tuple[str, str]]:
    found = dict.fromkeys(entry.repo_digest for entry in entries if entry.repo_digest)
    return [(UNTAGGED, references.parse(text).familiar()) for text in found]


def _delete(engine: Engine, entry: ImageEntry) -> list[tuple[str, str]]:
    """Forget an image and delete what nothing else needs; layers are named topmost first."""
    mine = _chains(engine, entry)
    engine.images.remove(entry.image_id)
    others = {chain for other in engine.images.list() for chain in _chains(engine, other)}
    _collect(engine)
    gone = [chain for chain in reversed(mine) if chain not in others]
    return [(DELETED, what) for what in (entry.image_id, *gone)]


def _collect(engine: Engine) -> int:
    """Delete what nothing refers to any more; return the bytes freed."""
    from rootless.storage import gc

    return gc.collect(engine.layout, engine.userns).bytes


def _chains(engine: Engine, entry: ImageEntry) -> list[str]:
    try:
        config = engine.images.config(entry)
    except NotFound:
        return []
    return digests.chain_ids((config.get("rootfs") or {}).get("diff_ids") or [])


def _is_id(image_id: str, text: str) -> bool:
    return image_id.startswith(text) or image_id.removeprefix("sha256:").startswith(text)


def _users(engine: Engine, image_id: str) -> list[Any]:
    """Return the containers of an image, running ones first."""
    from rootless.engine import containers

    found = [one for one in containers.list_all(engine) if one.record.get("image_id") == image_id]
    return sorted(found, key=lambda one: not one.running)


def prune(
    engine: Engine,
    *,
    all: bool = False,
    filters: Iterable[str] = (),
) -> tuple[list[tuple[str, str]], int]:
    """Remove images without a name, or with ``all`` all that no container uses.

    ``filters`` are ``NAME=VALUE`` with until, label, label! and dangling. Returns lines as
    ``remove`` does, and the bytes that became free.
    """
    from rootless.engine import containers, listing, times
    from rootless.engine import filters as filtering

    chosen = filtering.parse(filters, filtering.PRUNE)
    every = all or filtering.boolean(chosen, "dangling") is False
    limit = min((times.parse_moment(value) for value in chosen.get("until", ())), default=None)
    used = {one.record.get("image_id") for one in containers.list_all(engine)}
    removals: list[tuple[str, str]] = []
    for summary in listing.images(engine.images, with_labels="label" in chosen or "label!" in chosen):
        entry = engine.images.lookup(summary["Id"])
        if summary["Id"] in used or (summary["RepoTags"] and not every):
            continue
        labels: Mapping[str, str] = summary["Labels"] or {}
        if limit is not None and times.from_text(entry.created) >= limit:
            continue
        if not filtering.has_labels(chosen.get("label", ()), labels):
            continue
        if any(filtering.has_labels([item], labels) for item in chosen.get("label!", ())):
            continue
        removals += [(UNTAGGED, what) for what in summary["RepoTags"]]
        engine.images.remove(entry.image_id)
        removals.append((DELETED, entry.image_id))
        for what in summary["RepoTags"]:
            _event(engine, "untag", entry.image_id, what)
        _event(engine, "delete", entry.image_id)
    return removals, _collect(engine)


# -- archives --------------------------------------------------------------------------


def load(engine: Engine, stream: BinaryIO, *, platform: str = "", progress: Progress | None = None) -> list[str]:
    """Load the images of an archive; return their names in short form, IDs of those without."""
    from rootless.oci import image
    from rootless.registry import archives
    from rootless.storage.layers import Unpacker

    loaded = []
    with _Tidying(engine, RlError), Lease(engine.layout) as lease, engine.userns.worker() as worker:
        for one in archives.load(stream, engine.blobs, progress, platform=platform, lease=lease.add):
            diff_ids = image.diff_ids(image.read_config(one.config))
            with Unpacker(engine.layout, engine.blobs, engine.snapshotter, worker, diff_ids, progress) as unpacker:
                for descriptor in one.layers:
                    unpacker.add(dict(descriptor))
                unpacked = unpacker.finish()
            _warn(engine, unpacked)
            entry = engine.images.describe(one.manifest_digest, size=unpacked.size)
            for reference in one.references:
                old = engine.images.find(reference)
                familiar = references.parse(reference).familiar()
                if old is not None and old.image_id != entry.image_id and progress is not None:
                    progress.message(
                        f"The image {familiar} already exists, renaming the old one with ID {old.image_id}"
                        " to empty string"
                    )
                engine.images.add(entry.replace(reference=reference))
                loaded.append(familiar)
            if not one.references:
                engine.images.add(entry)
                loaded.append(entry.image_id)
            _event(engine, "load", entry.image_id)
    return loaded


def import_(
    engine: Engine,
    stream: BinaryIO,
    reference: str = "",
    *,
    changes: Iterable[str] = (),
    message: str = "",
    platform: str = "",
    progress: Progress | None = None,
) -> str:
    """Make an image of one layer from an archive of a file system; return its ID."""
    import time

    from rootless import jsonlite
    from rootless.engine import changes as instructions
    from rootless.engine import times
    from rootless.oci import media_types, platforms
    from rootless.storage import layers

    name = references.parse(reference) if reference else None
    if name is not None and name.digest:
        raise InvalidArgument(f"cannot import digest reference: {reference}")
    wanted = platforms.parse(platform) if platform else platforms.host()
    inner: dict[str, Any] = {}
    instructions.apply(inner, changes)
    with _Tidying(engine, RlError), Lease(engine.layout) as lease:
        descriptor, diff_id = layers.import_archive(stream, engine.blobs, lease)
        created = times.to_text(time.time_ns())
        config: dict[str, Any] = {
            "created": created,
            "architecture": wanted.architecture,
            "os": wanted.os,
            "config": inner,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": created, "comment": message or "Imported from -"}],
        }
        if wanted.variant:
            config["variant"] = wanted.variant
        config_data = jsonlite.dumps(config).encode()
        config_digest = digests.sha256_bytes(config_data)
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": {
                "mediaType": media_types.OCI_CONFIG,
                "digest": config_digest,
                "size": len(config_data),
            },
            "layers": [descriptor],
        }
        manifest_data = jsonlite.dumps(manifest).encode()
        manifest_digest = digests.sha256_bytes(manifest_data)
        lease.add(config_digest, manifest_digest)
        unpacked = layers.unpack_image(
            engine.layout, engine.blobs, engine.snapshotter, engine.userns, manifest, config, progress
        )
        engine.blobs.put(config_data)
        engine.blobs.put(manifest_data)
        entry = engine.images.describe(
            manifest_digest, reference=str(name) if name is not None else "", size=unpacked.size
        )
        engine.images.add(entry)
    _event(engine, "import", entry.image_id, name.familiar() if name is not None else "")
    return entry.image_id
