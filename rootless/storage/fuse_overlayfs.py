"""fuse-overlayfs: the same layers through a program and /dev/fuse, for older or stricter kernels."""

from __future__ import annotations

import os

from rootless.storage.overlay import Overlay, probe_in_workspace
from rootless.storage.snapshots import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rootless.storage.layout import Layout
    from rootless.storage.snapshots import UserSpace

_PROGRAM = "fuse-overlayfs"


class FuseOverlayfs(Overlay):
    """Snapshots of the overlay driver, mounted by a program that serves them."""

    name = _PROGRAM

    def mounts(self, chain_ids: Sequence[str], rw_dir: str, *, volatile: bool = False) -> Mount:
        """Say how to start the program: in ``cwd``, as root of the user namespace."""
        data = self._options(chain_ids, rw_dir)
        if volatile:
            data += ",volatile"
        return Mount(type=_PROGRAM, source=_PROGRAM, cwd=self.root, data=data)


def create(layout: Layout, userns: UserSpace | None, notes: tuple[str, ...]) -> FuseOverlayfs:
    """Return the driver."""
    return FuseOverlayfs(layout, userns, notes)


def conditions() -> str:
    """Return what a negative result depends on that may change without a reboot."""
    from rootless.linux import commands

    return f"{commands.which(_PROGRAM)}/{os.access('/dev/fuse', os.R_OK | os.W_OK)}"


def probe(layout: Layout, userns: UserSpace) -> str:
    """Mount one and do to it what containers do; return why it fails, "" if it works."""
    from rootless.linux import commands

    if commands.which(_PROGRAM) is None:
        return "the program fuse-overlayfs is not installed"
    if not os.path.exists("/dev/fuse"):
        return "/dev/fuse is missing"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse is not accessible"
    return probe_in_workspace(layout, userns, _PROGRAM)
