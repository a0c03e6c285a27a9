"""Layers as directories, and how a container's root file system is mounted from them.

A snapshot is what one layer looks like on disk, named by its chain ID. Its life::

    stage(parent) ──> tmp/stage.*/fs ──extract──> commit(chain ID) ──> …/sha256/CHAIN-ID/{fs,layer.json}
                           │ discard()                                        │ remove()
                           └──────────────────> trash/ <──────────────────────┘

A committed snapshot never changes. ``prepare_rw`` makes the writable part of a container,
``mounts`` says how to mount it. Drivers: ``overlay`` and ``fuse-overlayfs`` share their
snapshots (one layer each), ``vfs`` has complete trees.
"""

from __future__ import annotations

import errno
import os

from rootless.errors import Corrupt, NotFound, SystemFailure, Unsupported, from_oserror
from rootless.linux import process
from rootless.oci import digests
from rootless.record import Record
from rootless.storage import records, workspace
from rootless.storage.faults import translated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from rootless.storage.layout import Layout

    class UserSpace(Protocol):
        """Where more than one id exists: ``linux.userns.UserNamespace`` and its ``Worker``."""

        def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
            """Run a function of a module inside the namespace."""
            ...

    class Snapshotter(Protocol):
        """A storage driver. All paths are absolute; ``OSError`` is translated."""

        name: str
        flavour: str  # of extraction: "overlay" or "vfs"
        notes: tuple[str, ...]  # why no better driver was chosen

        def has(self, chain_id: str) -> bool:
            """Say whether the snapshot is here."""
            ...

        def path(self, chain_id: str) -> str:
            """Return the directory with its files."""
            ...

        def list(self) -> list[str]:
            """Return the chain IDs of all snapshots, in no order."""
            ...

        def stage(self, parent: str, userns: UserSpace) -> Stage:
            """Make a directory to extract into, on top of ``parent`` (a chain ID or "")."""
            ...

        def commit(self, stage: Stage, chain_id: str, record: dict[str, Any], *, synced: bool = False) -> None:
            """Make a stage the snapshot ``chain_id``; if that exists already, drop the stage."""
            ...

        def info(self, chain_id: str) -> dict[str, Any]:
            """Return the record given to ``commit``: ``diff_id``, ``size``, …."""
            ...

        def usage(self, chain_id: str) -> int:
            """Return the bytes of one layer's files."""
            ...

        def remove(self, chain_id: str) -> None:
            """Move a snapshot to the trash; none is fine."""
            ...

        def prepare_rw(self, rw_dir: str, chain_ids: Sequence[str]) -> None:
            """Make the writable directory of a container, or make an old one usable again."""
            ...

        def mounts(self, chain_ids: Sequence[str], rw_dir: str, *, volatile: bool = False) -> Mount:
            """Say how to mount the layers (bottom first) below the writable directory."""
            ...


DRIVERS = ("overlay", "fuse-overlayfs", "vfs")


class Mount(Record):
    """How to mount a root file system: chdir to ``cwd``, then mount by ``type``.

    ``overlay`` is mount(2) with ``data``; ``fuse-overlayfs`` a program with ``-o data``;
    ``bind`` binds ``source``.
    """

    type: str
    source: str
    cwd: str = ""  # lowerdirs are short names relative to it: mount data is limited to a page
    data: str = ""


class Stage:
    """A directory below ``tmp/`` that becomes a snapshot or goes to the trash."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.directory, self._hold = workspace.make_directory(layout.tmp, "stage")
        self.path = f"{self.directory}/fs"
        os.mkdir(self.path)
        os.chmod(self.path, 0o755)

    def discard(self) -> None:
        """Move it to the trash, which needs no space and no namespace; never raises ``OSError``."""
        try:
            os.rename(self.directory, workspace.new_name(self._layout.trash, "stage"))
        except OSError:
            pass  # gc finds it in tmp/ once we are gone
        self.close()

    def close(self) -> None:
        """Give up the mark that it is in use; for ``commit``."""
        if self._hold >= 0:
            os.close(self._hold)
            self._hold = -1


class SnapshotDirectory:
    """What all drivers share: snapshots are ``ROOT/sha256/CHAIN-ID/{fs,layer.json}``."""

    name = ""
    flavour = ""

    def __init__(self, layout: Layout, root: str, userns: UserSpace | None = None, notes: tuple[str, ...] = ()) -> None:
        self._layout = layout
        self._userns = userns
        self.root = root
        self.notes = notes

    def _directory(self, chain_id: str) -> str:
        return f"{self.root}/sha256/{digests.encoded(digests.validate(chain_id))}"

    def path(self, chain_id: str) -> str:
        """Return the directory with the snapshot's files."""
        return self._directory(chain_id) + "/fs"

    def has(self, chain_id: str) -> bool:
        """Say whether the snapshot is here."""
        return os.path.exists(self._directory(chain_id))

    def list(self) -> list[str]:
        """Return the chain IDs of all snapshots."""
        with translated("cannot list layers"):
            try:
                return [f"sha256:{name}" for name in os.listdir(f"{self.root}/sha256") if len(name) == 64]
            except FileNotFoundError:
                return []

    def stage(self, parent: str, userns: UserSpace) -> Stage:  # noqa: ARG002 - drivers differ
        """Make an empty directory to extract into."""
        with translated("cannot prepare a layer"):
            return Stage(self._layout)

    def commit(self, stage: Stage, chain_id: str, record: dict[str, Any], *, synced: bool = False) -> None:
        """Make a stage the snapshot ``chain_id``; if that exists already, drop the stage.

        Unless ``synced``, waits until its files are on the disk. On failure the stage is dropped.
        """
        try:
            records.write(f"{stage.directory}/layer.json", record, durable=False)
            if not synced:
                sync_file_system(stage.directory)
            with translated(f"cannot store layer {chain_id}"):
                self._announce(chain_id)
                try:
                    os.rename(stage.directory, self._directory(chain_id))
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise
                    stage.discard()
                records.sync_directory(f"{self.root}/sha256")
        except BaseException:
            stage.discard()
            raise
        stage.close()

    def _announce(self, chain_id: str) -> None:
        """Prepare what must exist before the snapshot does."""

    def info(self, chain_id: str) -> dict[str, Any]:
        """Return the record given to ``commit``; raises ``NotFound``."""
        try:
            return records.read(f"{self._directory(chain_id)}/layer.json")
        except FileNotFoundError:
            raise NotFound(f"layer {chain_id} is not in the store", hint="pull the image again") from None

    def usage(self, chain_id: str) -> int:
        """Return the bytes of this layer's files."""
        size = self.info(chain_id).get("size", 0)
        return size if isinstance(size, int) else 0

    def remove(self, chain_id: str) -> None:
        """Move the snapshot to the trash; call it under the exclusive content lock."""
        with translated(f"cannot remove layer {chain_id}"):
            try:
                os.rename(self._directory(chain_id), workspace.new_name(self._layout.trash, "layer"))
            except FileNotFoundError:
                pass


def choose(layout: Layout, name: str, userns: UserSpace) -> Snapshotter:
    """Return the driver ``name``, or the best one that works here if that is "".

    Works means it was tried, once per boot. Raises ``Unsupported`` with the reason if the
    named driver does not work, and what ``userns.call`` raises.
    """
    path = f"{layout.cache}/probe-{process.boot_id()}.json"
    try:
        cached = records.read(path)
    except (OSError, Corrupt, Unsupported):
        cached = {}
    results: dict[str, str] = cached.get("results", {})
    candidates = (name,) if name else DRIVERS
    notes: list[str] = []
    for candidate in candidates:
        driver = _driver(candidate)
        conditions = driver.conditions()
        reason = results.get(candidate)
        if reason is None or (reason and cached.get("conditions", {}).get(candidate, "") != conditions):
            reason = driver.probe(layout, userns)
            results = {**results, candidate: reason}
            cached = {
                "results": results,
                "conditions": {**cached.get("conditions", {}), candidate: conditions},
            }
            try:
                _forget_other_boots(layout)
                records.write(path, cached, durable=False, staging=layout.tmp)
            except (OSError, SystemFailure) as error:
                # Found out again next time; a full disk must not keep a container from stopping.
                notes.append(str(error))
        if not reason:
            snapshotter: Snapshotter = driver.create(layout, userns, tuple(notes))
            return snapshotter
        notes.append(f"{candidate}: {reason}")
    raise Unsupported(
        f"storage driver {notes[-1]}",
        hint='leave "storage-driver" empty to let rl choose, or set it to vfs, which works everywhere',
    )


def _forget_other_boots(layout: Layout) -> None:
    for name in os.listdir(layout.cache):
        if name.startswith("probe-") and process.boot_id() not in name:
            os.unlink(f"{layout.cache}/{name}")


def _driver(name: str) -> Any:
    """Import the module of a driver."""
    if name == "overlay":
        from rootless.storage import overlay

        return overlay
    if name == "fuse-overlayfs":
        from rootless.storage import fuse_overlayfs

        return fuse_overlayfs
    if name == "vfs":
        from rootless.storage import vfs

        return vfs
    raise Unsupported(f"unknown storage driver: {name}", hint=f"one of {', '.join(DRIVERS)}")


def start_sync(path: str) -> int:
    """Start writing the file system of ``path`` to disk and return the pid that does it; 0 if none is needed."""
    from rootless.linux import commands

    if commands.which("sync") is None:
        os.sync()
        return 0
    return commands.spawn(["sync", "-f", path])


def finish_sync(pid: int, path: str) -> None:
    """Wait for what ``start_sync`` started; raises ``NoSpace`` or ``SystemFailure``."""
    if not pid:
        return
    _, status = os.waitpid(pid, 0)
    if status:
        # syncfs(2) reports what write-back met: most often a disk that filled up after all.
        free = os.statvfs(path).f_bavail
        number = errno.EIO if free else errno.ENOSPC
        raise from_oserror(OSError(number, os.strerror(number)), f"cannot write {path} to disk")


def sync_file_system(path: str) -> None:
    """Write the file system of ``path`` to disk."""
    finish_sync(start_sync(path), path)
