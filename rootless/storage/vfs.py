"""Plain copies: needs nothing of the kernel, much of the disk (unless it can reflink)."""

from __future__ import annotations

import os

from rootless.errors import NotFound
from rootless.linux.trees import copy_tree, remove_tree
from rootless.storage import workspace
from rootless.storage.faults import translated
from rootless.storage.snapshots import Mount, SnapshotDirectory, Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rootless.storage.layout import Layout
    from rootless.storage.snapshots import UserSpace


class Vfs(SnapshotDirectory):
    """Snapshots that hold everything up to their layer; a container has a copy of the topmost."""

    name = "vfs"
    flavour = "vfs"

    def __init__(self, layout: Layout, userns: UserSpace | None = None, notes: tuple[str, ...] = ()) -> None:
        super().__init__(layout, layout.snapshots_vfs, userns, notes)

    def stage(self, parent: str, userns: UserSpace) -> Stage:
        """Make a copy of the parent to extract into."""
        with translated("cannot prepare a layer"):
            stage = Stage(self._layout)
        if parent:
            try:
                with translated(f"cannot copy layer {parent}"):
                    userns.call(copy_tree, self.path(parent), stage.path)
            except BaseException:
                stage.discard()
                raise
        return stage

    def prepare_rw(self, rw_dir: str, chain_ids: Sequence[str]) -> None:
        """Make ``fs``, a copy of the topmost layer; one that exists stays."""
        with translated("cannot copy the image for a container"):
            if os.path.exists(f"{rw_dir}/fs"):
                return
            try:
                os.mkdir(rw_dir, 0o700)
            except FileExistsError:
                pass
            fresh = f"{rw_dir}/fs.new"
            if os.path.lexists(fresh):  # somebody was killed here
                os.rename(fresh, workspace.new_name(self._layout.trash, "copy"))
            os.mkdir(fresh)
            os.chmod(fresh, 0o755)
            if chain_ids:
                if not self.has(chain_ids[-1]):
                    raise NotFound(f"layer {chain_ids[-1]} is not in the store", hint="pull the image again")
                assert self._userns is not None
                try:
                    self._userns.call(_copy, self.path(chain_ids[-1]), fresh, f"{rw_dir}/fs")
                except BaseException:
                    # The copy of an image that did not fit takes all the room there is.
                    try:
                        self._userns.call(remove_tree, fresh)
                    except Exception:
                        pass  # the first error is the one to tell
                    raise
            else:
                os.rename(fresh, f"{rw_dir}/fs")

    def mounts(self, chain_ids: Sequence[str], rw_dir: str, *, volatile: bool = False) -> Mount:  # noqa: ARG002
        """Bind the copy."""
        return Mount(type="bind", source=f"{rw_dir}/fs")


def _copy(source: str, fresh: str, final: str) -> None:
    copy_tree(source, fresh)
    os.rename(fresh, final)


def create(layout: Layout, userns: UserSpace | None, notes: tuple[str, ...]) -> Vfs:
    """Return the driver."""
    return Vfs(layout, userns, notes)


def conditions() -> str:
    """Return "": there are none."""
    return ""


def probe(layout: Layout, userns: UserSpace) -> str:  # noqa: ARG001
    """Return "": it always works."""
    return ""
