"""From compressed layers in the blob store to snapshots.

::

    blob 1 complete ──> child: extract ──> sync(1) starts ─────────────> commit, in order
    blob 2 complete ─────────────────────> child: extract ──> sync …

Extraction (``extract``) runs in a child in the user namespace while the caller's threads
download the next blobs. A layer is committed only when its files are on the disk; that
happens beside the extraction of the next.
"""

from __future__ import annotations

import os

from rootless.errors import Corrupt, Unsupported
from rootless.oci import digests, media_types
from rootless.record import Record
from rootless.storage import decompress, extract
from rootless.storage.faults import translated
from rootless.storage.leases import Lease
from rootless.storage.locks import Lock
from rootless.storage.snapshots import finish_sync, start_sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Any, Protocol, Self

    from rootless.storage.content import BlobStore
    from rootless.storage.decompress import Source
    from rootless.storage.layout import Layout
    from rootless.storage.snapshots import Snapshotter, Stage, UserSpace

    class Progress(Protocol):
        """What a display is told; the registry's protocol has more."""

        def layer(self, digest: str, status: str, current: int = 0, total: int = 0) -> None:
            """Tell the state of one layer, in Docker's words."""
            ...


class Unpacked(Record):
    """What an image looks like on disk."""

    chain_ids: tuple[str, ...]  # bottom first
    size: int  # bytes of all layers' files
    squashed: int = 0  # files whose owner is outside of the user's ids, now owned by the overflow id
    devices: int = 0  # device nodes left out
    extracted: int = 0  # layers that were not here before


class _Pending:
    def __init__(self, chain_id: str, digest: str, stage: Stage, record: dict[str, Any], lock: Lock, pid: int) -> None:
        self.chain_id = chain_id
        self.digest = digest
        self.stage = stage
        self.record = record
        self.lock = lock
        self.pid = pid


class Unpacker:
    """Extracts the layers of one image, given bottom first as their blobs become complete.

    ``userns`` is a ``Worker`` where the caller has threads. A context manager: leaving it
    by an exception drops what is not committed yet; layers that are stay, for the next try.
    """

    def __init__(
        self,
        layout: Layout,
        blobs: BlobStore,
        snapshotter: Snapshotter,
        userns: UserSpace,
        diff_ids: Sequence[str],
        progress: Progress | None = None,
    ) -> None:
        self._layout = layout
        self._blobs = blobs
        self._snapshotter = snapshotter
        self._userns = userns
        self._progress = progress
        for diff_id in diff_ids:
            digests.validate(diff_id)
        self._diff_ids = tuple(diff_ids)
        self._chains = tuple(digests.chain_ids(diff_ids))
        self._pending: list[_Pending] = []
        self._done = 0
        self._extracted = self._squashed = self._devices = 0
        decompress.prepare()
        self._lease = Lease(layout)
        self._lease.add(*self._chains)

    def missing(self, index: int) -> bool:
        """Say whether layer ``index`` has to be extracted (so that its blob is needed)."""
        return not self._snapshotter.has(self._chains[index])

    def add(self, descriptor: dict[str, Any]) -> None:
        """Extract the next layer unless it is here; its blob must be in the store.

        Raises ``Corrupt``, ``NoSpace``, ``Unsupported``.
        """
        index = self._done
        if index >= len(self._chains):
            raise Corrupt(f"manifest has more layers than the configuration has diff IDs ({len(self._chains)})")
        chain_id, digest = self._chains[index], str(descriptor.get("digest"))
        media_type = str(descriptor.get("mediaType", ""))
        if media_type and not media_types.is_layer(media_type):
            raise Unsupported(f"layer {digest} is no file-system layer but {media_type[:100]}")
        if self._snapshotter.has(chain_id):
            self._tell(digest, "Already exists")
        else:
            self._extract(index, chain_id, digest)
        self._done += 1
        self._settle(wait=False)

    def _extract(self, index: int, chain_id: str, digest: str) -> None:
        # One byte per chain ID. Who waits for a layer holds only layers below it, so that
        # waiting can make no circle.
        name = f"{self._layout.locks}/unpack-{self._snapshotter.flavour}"
        lock = Lock(name, key=int(digests.encoded(chain_id)[:15], 16))
        with translated(f"cannot extract layer {digest}"):
            lock.acquire()
        stage = None
        try:
            if self._snapshotter.has(chain_id):
                self._tell(digest, "Already exists")
                lock.release()
                return
            parent = self._chains[index - 1] if index else ""
            if self._snapshotter.flavour != "overlay":
                self._settle(wait=True)  # the stage begins as a copy of the parent
            self._tell(digest, "Extracting")
            stage = self._snapshotter.stage(parent, self._userns)
            self._blobs.size(digest)  # NotFound rather than a failure in the child
            with translated(f"cannot extract layer {digest}"):
                try:
                    record = self._userns.call(
                        extract.apply,
                        self._blobs.path(digest),
                        stage.path,
                        self._snapshotter.flavour,
                        self._lowers(index) if self._snapshotter.flavour == "overlay" else (),
                        self._diff_ids[index],
                    )
                except Corrupt as error:
                    raise Corrupt(f"layer {digest}: {error.message}", hint=error.hint) from error
            pid = start_sync(stage.directory)
        except BaseException:
            if stage is not None:
                stage.discard()
            lock.release()
            raise
        self._extracted += 1
        self._squashed += record["squashed"]
        self._devices += record["devices"]
        self._pending.append(_Pending(chain_id, digest, stage, record, lock, pid))

    def _lowers(self, index: int) -> tuple[str, ...]:
        staged = {pending.chain_id: pending.stage.path for pending in self._pending}
        return tuple(
            staged.get(chain_id) or self._snapshotter.path(chain_id) for chain_id in reversed(self._chains[:index])
        )

    def _settle(self, *, wait: bool) -> None:
        """Commit, in order, the layers that are on the disk; all of them if ``wait``."""
        while self._pending:
            first = self._pending[0]
            if first.pid and not wait and not _has_ended(first.pid):
                return
            pid, first.pid = first.pid, 0
            finish_sync(pid, first.stage.directory)
            self._snapshotter.commit(first.stage, first.chain_id, first.record, synced=True)
            self._pending.pop(0)
            first.lock.release()
            self._tell(first.digest, "Pull complete")

    def finish(self) -> Unpacked:
        """Commit what is left and say what was done; raises ``Corrupt`` if layers are missing."""
        if self._done < len(self._chains):
            raise Corrupt(f"manifest has {self._done} layers, the configuration {len(self._chains)} diff IDs")
        self._settle(wait=True)
        return Unpacked(
            chain_ids=self._chains,
            size=sum(self._snapshotter.usage(chain_id) for chain_id in self._chains),
            squashed=self._squashed,
            devices=self._devices,
            extracted=self._extracted,
        )

    def close(self) -> None:
        """Drop what is not committed, and the lease."""
        while self._pending:
            pending = self._pending.pop()
            if pending.pid:
                try:
                    os.waitpid(pending.pid, 0)
                except ChildProcessError:
                    pass
            pending.stage.discard()
            pending.lock.release()
        self._lease.close()

    def _tell(self, digest: str, status: str) -> None:
        if self._progress is not None:
            self._progress.layer(digest, status)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close; after a failure, also make room again.

        After an interrupt the namespace's helper may be in the middle of a call: what is in
        the trash then waits for the next ``gc.tidy``.
        """
        dropped = bool(self._pending)
        self.close()
        if isinstance(value, Exception) or (value is None and dropped):
            from rootless.storage import gc

            try:
                gc.empty_trash(self._layout, self._userns)
            except Exception as error:
                if value is None:
                    raise
                value.add_note(f"the trash could not be emptied: {error}")


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def unpack_image(
    layout: Layout,
    blobs: BlobStore,
    snapshotter: Snapshotter,
    userns: UserSpace,
    manifest: dict[str, Any],
    config: dict[str, Any],
    progress: Progress | None = None,
) -> Unpacked:
    """Extract all layers of an image whose blobs are in the store; cheap if they are extracted."""
    diff_ids = config["rootfs"]["diff_ids"]
    with Unpacker(layout, blobs, snapshotter, userns, diff_ids, progress) as unpacker:
        for descriptor in manifest["layers"]:
            unpacker.add(descriptor)
        return unpacker.finish()


def import_archive(source: Source, blobs: BlobStore, lease: Lease | None = None) -> tuple[dict[str, Any], str]:
    """Store a tar archive from a file or pipe as a layer; return its descriptor and its diff ID.

    gzip and zstd stay as they are; other compressions are undone. The blob is under
    ``lease`` before it appears. Raises ``Corrupt`` for what is no tar archive.
    """
    head = _read_head(source)
    name = decompress.sniff(head)
    keep = name in ("gzip", "zstd")
    hasher = digests.Hasher()
    with blobs.writer() as writer:
        stream = _Tee(head, source, writer if keep else None)
        first = b""
        for piece in decompress.pieces(stream):
            if len(first) < 512:
                first += piece[: 512 - len(first)]
                if len(first) == 512 and not _looks_like_tar(first):
                    raise Corrupt("not a tar archive")
            hasher.update(piece)
            if not keep:
                writer.write(piece)
        if len(first) < 512:
            raise Corrupt("not a tar archive" if first else "the archive is empty")
        size = writer.offset
        if lease is not None:
            lease.add(writer.content_digest)
        digest = writer.commit()
    media_type = {"gzip": media_types.OCI_LAYER_GZIP, "zstd": media_types.OCI_LAYER_ZSTD}.get(
        name, media_types.OCI_LAYER
    )
    return {"mediaType": media_type, "digest": digest, "size": size}, hasher.digest


class _Tee:
    """A source whose raw bytes are stored as they pass."""

    def __init__(self, head: bytes, source: Source, writer: Any) -> None:
        self._head = head
        self._source = source
        self._writer = writer

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
        else:
            data = self._source.read(size)
        if self._writer is not None and data:
            self._writer.write(data)
        return data


def _read_head(source: Source) -> bytes:
    head = b""
    while len(head) < 512 and (data := source.read(512 - len(head))):
        head += data
    return head


def _looks_like_tar(block: bytes) -> bool:
    from rootless.storage.tarstream import TarReader

    try:
        TarReader(iter([block])).next()
    except Corrupt as error:
        return "header checksum" not in error.message and "number" not in error.message
    return True
