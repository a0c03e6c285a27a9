"""Volumes of containers: found or made at create, filled from the image at start."""

from __future__ import annotations

import os

from rootless.errors import NoSuchVolume
from rootless.linux import commands, paths
from rootless.runtime import plan
from rootless.storage import volumes as store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from rootless.engine.containers import Container
    from rootless.engine.engine import Engine
    from rootless.engine.specgen import VolumeRequest


def prepare(engine: Engine, requests: Iterable[VolumeRequest]) -> dict[str, dict[str, Any]]:
    """Return the volumes for ``requests`` by target, making those that are missing.

    On failure those that were made are removed again.
    """
    volumes = store.VolumeStore(engine.layout)
    prepared: dict[str, dict[str, Any]] = {}
    try:
        for request in requests:
            made = not request.name
            if request.name:
                try:
                    volume = volumes.get(request.name)
                except NoSuchVolume:
                    volume, made = volumes.create(request.name), True
            else:
                volume = volumes.create()
            prepared[request.target] = {
                "name": volume.name,
                "path": volume.mountpoint,
                "destination": request.target,
                "anonymous": not request.name,
                "copy": request.copy,
                "made": made,
            }
    except BaseException:
        discard(engine, [volume["name"] for volume in prepared.values() if volume["made"]])
        raise
    return prepared


def discard(engine: Engine, names: Iterable[str]) -> None:
    """Remove volumes; one that is gone already is fine."""
    volumes = store.VolumeStore(engine.layout)
    for name in names:
        try:
            volumes.remove(name, engine.userns)
        except NoSuchVolume:
            pass


def fill(engine: Engine, container: Container) -> None:
    """Copy what the image has below each volume into those that are still empty; after ``prepare_rw``."""
    empty = [
        (volume["path"], volume["destination"])
        for volume in container.record["volumes"]
        if volume["copy"] and _is_empty(volume["path"])
    ]
    if empty:
        # Not volatile: such a mount leaves a mark that the container's own would be refused for.
        mount = engine.snapshotter.mounts(container.record["chain_ids"], f"{container.directory}/rw")
        target = f"{container.directory}/rootfs"
        engine.userns.call(_fill, mount.type, mount.source, mount.data, mount.cwd, target, empty)


def _is_empty(path: str) -> bool:
    if os.path.lexists(f"{os.path.dirname(path)}/filling"):
        return True  # a copy that was not finished
    try:
        return not os.listdir(path)
    except PermissionError:  # it has an owner of its own, hence content
        return False


def _fill(kind: str, source: str, data: str, cwd: str, target: str, volumes: list[tuple[str, str]]) -> None:
    """Mount the image for a moment; runs in the user namespace, whose child takes the mount with it."""
    if kind == "fuse-overlayfs":
        os.chdir(cwd)
        commands.run(["fuse-overlayfs", "-o", data, target], timeout=30)
        kind = "mounted"
    root = plan.Root(target)
    plan.Rootfs(kind=kind, source=source, data=data, cwd=cwd).execute(root)
    for mountpoint, destination in volumes:
        try:
            fd = paths.open_beneath(root.fd, destination, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            continue
        store.copy_up(mountpoint, fd)
        os.close(fd)
