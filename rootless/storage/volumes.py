"""Volumes: ``volumes/NAME/{volume.json,_data}``; ``_data`` belongs to the namespace's root, 0755.

A volume appears complete, by rename. The first container that mounts an empty one gets
the image's files copied into it (``copy_up``); ``filling`` marks a copy that was not
finished, so that the next container starts it over.
"""

from __future__ import annotations

import errno
import fcntl
import os

from rootless import events
from rootless.errors import Corrupt, InvalidArgument, NoSuchVolume
from rootless.linux.trees import copy_tree, remove_tree
from rootless.record import Record
from rootless.storage import gc, records, workspace
from rootless.storage.faults import translated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.storage.layout import Layout
    from rootless.storage.snapshots import UserSpace

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")


class Volume(Record):
    """One volume as recorded."""

    name: str
    mountpoint: str
    created: str  # RFC 3339
    anonymous: bool = False
    labels: dict[str, str] = {}
    options: dict[str, str] = {}


class VolumeStore:
    """The volumes of one data root."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def create(
        self, name: str = "", *, labels: dict[str, str] | None = None, options: dict[str, str] | None = None
    ) -> Volume:
        """Make a volume, or return the one of that name; "" makes an anonymous one.

        Raises ``InvalidArgument`` for a malformed name, ``NoSpace``.
        """
        anonymous = not name
        if anonymous:
            name = os.urandom(32).hex()
        check_name(name)
        try:
            return self.get(name)
        except NoSuchVolume:
            pass
        record = {
            "name": name,
            "created": _now(),
            "anonymous": anonymous,
            "labels": labels or {},
            "options": options or {},
        }
        with translated(f"cannot create volume {name}"):
            directory, hold = workspace.make_directory(self._layout.tmp, "volume")
            try:
                os.mkdir(f"{directory}/_data")
                os.chmod(f"{directory}/_data", 0o755)
                records.write(f"{directory}/volume.json", record)
                try:
                    os.rename(directory, f"{self._layout.volumes}/{name}")
                    records.sync_directory(self._layout.volumes)
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise
                    remove_tree(directory)  # somebody else was faster
            except BaseException:
                remove_tree(directory)
                raise
            finally:
                os.close(hold)
        events.write(self._layout.events, "volume", "create", name, {"driver": "local"})
        return self.get(name)

    def get(self, name: str) -> Volume:
        """Return a volume; raises ``NoSuchVolume``."""
        try:
            check_name(name)
            record = records.read(f"{self._layout.volumes}/{name}/volume.json")
        except (InvalidArgument, FileNotFoundError, NotADirectoryError):
            raise NoSuchVolume(f"no such volume: {name}") from None
        return self._volume(name, record)

    def list(self) -> list[Volume]:
        """Return all volumes by name; damaged ones are shown with what is known."""
        found = []
        with translated("cannot list volumes"):
            names = sorted(os.listdir(self._layout.volumes))
        for name in names:
            try:
                found.append(self._volume(name, records.read(f"{self._layout.volumes}/{name}/volume.json")))
            except Corrupt:
                found.append(self._volume(name, {}))
            except (FileNotFoundError, NotADirectoryError):
                continue
        return found

    def remove(self, name: str, userns: UserSpace | None) -> None:
        """Remove a volume with its data; whether a container uses it is the caller's question.

        Raises ``NoSuchVolume``.
        """
        path = self.get(name).mountpoint
        gc.delete(self._layout, os.path.dirname(path), userns)
        events.write(self._layout.events, "volume", "destroy", name, {"driver": "local"})

    def _volume(self, name: str, record: dict[str, Any]) -> Volume:
        return Volume(
            name=name,
            mountpoint=f"{self._layout.volumes}/{name}/_data",
            created=str(record.get("created", "")),
            anonymous=bool(record.get("anonymous")),
            labels=record.get("labels") or {},
            options=record.get("options") or {},
        )


def check_name(name: str) -> None:
    """Raise ``InvalidArgument``, in Docker's words, for what cannot be a volume's name."""
    if len(name) < 2 or len(name) > 255 or name[0] not in _FIRST or not _REST.issuperset(name):
        raise InvalidArgument(
            f'"{name}" includes invalid characters for a local volume name, '
            'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed',
            hint="if you intended to pass a host directory, use an absolute path",
        )


def copy_up(mountpoint: str, source: int) -> bool:
    """Fill an empty volume with the image's directory ``source`` (open); runs in the user namespace.

    Owner and mode of the volume become the directory's. Two containers that start at once
    wait for each other. Returns false if the volume had content. Raises ``OSError``.
    """
    volume = os.path.dirname(mountpoint)
    fd = os.open(volume, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    marker = f"{volume}/filling"
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.path.lexists(marker):
            for name in os.listdir(mountpoint):
                remove_tree(f"{mountpoint}/{name}")
        elif os.listdir(mountpoint):
            return False
        os.close(os.open(marker, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        copy_tree(source, mountpoint)
        os.unlink(marker)
        return True
    finally:
        os.close(fd)


def _now() -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
