"""What nobody needs any more: found under a lock, moved to ``trash/``, deleted at leisure.

Roots are the entries of ``index.json``, the records of containers, and leases. Marking and
sweeping are one short critical section; deleting files is not part of it. None of this
writes anything, so that it works on a full disk.
"""

from __future__ import annotations

import fcntl
import os

from rootless.errors import RlError
from rootless.linux.trees import remove_tree
from rootless.oci import digests, media_types
from rootless.record import Record
from rootless.storage import records, workspace
from rootless.storage.content import BlobStore
from rootless.storage.faults import translated
from rootless.storage.images import ImageStore
from rootless.storage.leases import content_lock, leased
from rootless.storage.locks import Lock
from rootless.storage.overlay import Overlay
from rootless.storage.vfs import Vfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.storage.layout import Layout
    from rootless.storage.snapshots import UserSpace


class Collected(Record):
    """What ``collect`` removed."""

    blobs: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()  # chain IDs
    partials: int = 0
    bytes: int = 0  # of blobs, partials and layers' files


def discard(layout: Layout, path: str) -> str:
    """Move a file or directory to the trash and return its path there; "" if there is none."""
    target = workspace.new_name(layout.trash, os.path.basename(path).partition(".")[0] or "entry")
    with translated(f"cannot remove {path}"):
        try:
            os.rename(path, target)
        except FileNotFoundError:
            return ""
    return target


def delete(layout: Layout, path: str, userns: UserSpace | None) -> None:
    """Discard ``path`` and delete it at once, in the user namespace if that is needed.

    What cannot be deleted now stays in the trash for ``empty_trash``.
    """
    gone = discard(layout, path)
    if gone:
        _delete([gone], userns)


def empty_trash(layout: Layout, userns: UserSpace | None) -> None:
    """Delete what is in the trash; without ``userns`` only what is the user's own."""
    try:
        names = os.listdir(layout.trash)
    except FileNotFoundError:
        return
    _delete([f"{layout.trash}/{name}" for name in names], userns)


def _delete(paths: list[str], userns: UserSpace | None) -> None:
    left = []
    for path in paths:
        try:
            remove_tree(path)
        except OSError:
            # Files of subordinate ids; or somebody else is at it, or still writes into it.
            if os.path.lexists(path):
                left.append(path)
    if left and userns is not None:
        userns.call(remove_trees, left)


def remove_trees(paths: list[str]) -> None:
    """Remove trees as far as possible; for ``UserSpace.call``."""
    for path in paths:
        try:
            remove_tree(path)
        except OSError:
            pass


def tidy(layout: Layout, userns: UserSpace | None) -> None:
    """Remove what dead processes left in ``tmp/``, the trash and among the names; quick when there is nothing."""
    with translated("cannot tidy up"):
        try:
            names = os.listdir(layout.tmp)
        except FileNotFoundError:
            return
        _remove_lost_names(layout)
        for name in names:
            path = f"{layout.tmp}/{name}"
            if workspace.is_stale(path):
                discard(layout, path)
    empty_trash(layout, userns)


def collect(
    layout: Layout, userns: UserSpace | None, *, partials: bool = False, keep: frozenset[str] = frozenset()
) -> Collected:
    """Remove blobs and layers that no image, container or lease refers to; then empty the trash.

    ``partials`` are interrupted downloads, which are otherwise kept for a resume. ``keep``
    are further digests and chain IDs. Raises ``SystemFailure`` if a record cannot be read.
    """
    blobs = BlobStore(layout)
    removed_blobs: list[str] = []
    removed_layers: list[str] = []
    size = count = 0
    with translated("cannot collect garbage"), content_lock(layout, exclusive=True):
        wanted = references(layout, blobs) | keep | leased(layout)
        for digest in blobs.list():
            if digest not in wanted:
                size += blobs.remove(digest)
                removed_blobs.append(digest)
        for driver in (Overlay(layout), Vfs(layout)):
            for chain_id in driver.list():
                if chain_id not in wanted:
                    try:
                        size += driver.usage(chain_id)
                    except RlError:
                        pass
                    driver.remove(chain_id)
                    removed_layers.append(chain_id)
        _remove_dangling_links(f"{layout.snapshots}/l")
    if partials:
        count, freed = _remove_partials(layout)
        size += freed
    tidy(layout, userns)
    return Collected(
        blobs=tuple(removed_blobs), layers=tuple(dict.fromkeys(removed_layers)), partials=count, bytes=size
    )


def references(layout: Layout, blobs: BlobStore | None = None) -> set[str]:
    """Return all digests and chain IDs that images and containers refer to."""
    blobs = blobs or BlobStore(layout)
    images = ImageStore(layout, blobs)
    wanted: set[str] = set()
    for manifest_digest in images.roots():
        _mark(images, manifest_digest, wanted)
    for name in os.listdir(layout.containers):
        try:
            record = records.read(f"{layout.containers}/{name}/container.json")
        except (FileNotFoundError, NotADirectoryError):
            continue
        wanted.update(record.get("chain_ids") or ())
        manifest_digest = record.get("manifest_digest") or ""
        if manifest_digest and manifest_digest not in wanted:
            _mark(images, manifest_digest, wanted)
    return wanted


def _mark(images: ImageStore, digest: str, wanted: set[str], depth: int = 0) -> None:
    """Mark a manifest or index and what it refers to; what is missing or damaged refers to nothing."""
    wanted.add(digest)
    try:
        document = images.document(digest)
        for child in document.get("manifests") or ():
            if depth < 4 and digests.is_valid(child.get("digest")) and child["digest"] not in wanted:
                _mark(images, child["digest"], wanted, depth + 1)
        config = document.get("config")
        if not isinstance(config, dict) or not digests.is_valid(config.get("digest")):
            return
        wanted.add(config["digest"])
        wanted.update(str(layer.get("digest")) for layer in document.get("layers") or ())
        if not media_types.is_config(str(config.get("mediaType", media_types.OCI_CONFIG))):
            return
        diff_ids = images.document(config["digest"])["rootfs"]["diff_ids"]
        wanted.update(digests.chain_ids(diff_ids))
    except (RlError, LookupError, TypeError, AttributeError):
        pass


def _remove_lost_names(layout: Layout) -> None:
    """Remove names of containers that are no more, or never were since their maker was killed."""
    lost = [name for name in os.listdir(layout.names) if not os.path.exists(f"{layout.names}/{name}")]
    if lost:
        with Lock(f"{layout.locks}/names"):  # a container appears after its name
            for name in lost:
                path = f"{layout.names}/{name}"
                if os.path.islink(path) and not os.path.exists(path):
                    os.unlink(path)


def _remove_dangling_links(directory: str) -> None:
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        if not os.path.exists(path):
            os.unlink(path)


def _remove_partials(layout: Layout) -> tuple[int, int]:
    count = size = 0
    with translated("cannot remove interrupted downloads"):
        for name in os.listdir(layout.partial):
            path = f"{layout.partial}/{name}"
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                size += os.fstat(fd).st_size
                os.unlink(path)
                count += 1
            except (BlockingIOError, FileNotFoundError):
                pass  # somebody downloads it
            finally:
                os.close(fd)
    return count, size
