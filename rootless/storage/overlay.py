"""Native overlayfs in the user namespace (Linux 5.11 and later), with ``userxattr``.

Mount data is limited to a page, so layers have short names (``l/`` and 16 digits) relative
to the snapshot directory, and so have the writable directories: 200 layers fit.
"""

from __future__ import annotations

import os
import stat

from rootless.errors import NotFound, Unsupported
from rootless.linux import syscalls
from rootless.linux.trees import remove_tree
from rootless.oci import digests
from rootless.storage import workspace
from rootless.storage.faults import translated
from rootless.storage.snapshots import Mount, SnapshotDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rootless.storage.layout import Layout
    from rootless.storage.snapshots import UserSpace

_PAGE = 4095
_SHORT = 16  # hexadecimal digits


class Overlay(SnapshotDirectory):
    """Snapshots that hold one layer each."""

    name = "overlay"
    flavour = "overlay"

    def __init__(self, layout: Layout, userns: UserSpace | None = None, notes: tuple[str, ...] = ()) -> None:
        super().__init__(layout, layout.snapshots, userns, notes)

    def _announce(self, chain_id: str) -> None:
        # Before the snapshot: a link without a snapshot is nothing, the reverse would need a repair.
        self._link(chain_id)

    def _link(self, chain_id: str) -> None:
        digits = digests.encoded(chain_id)
        try:
            os.symlink(f"../sha256/{digits}/fs", f"{self.root}/l/{digits[:_SHORT]}")
        except FileExistsError:
            pass

    def remove(self, chain_id: str) -> None:
        """Move the snapshot to the trash; call it under the exclusive content lock."""
        super().remove(chain_id)
        with translated(f"cannot remove layer {chain_id}"):
            try:
                os.unlink(f"{self.root}/l/{digests.encoded(chain_id)[:_SHORT]}")
            except FileNotFoundError:
                pass

    def prepare_rw(self, rw_dir: str, chain_ids: Sequence[str]) -> None:
        """Make ``upper`` and ``work``; a work directory of an earlier run is replaced.

        A volatile mount leaves one that overlayfs refuses to use again, and nothing in it
        is of value.
        """
        with translated("cannot prepare a writable layer"):
            try:
                os.mkdir(rw_dir, 0o700)
            except FileExistsError:
                pass
            work = f"{rw_dir}/work"
            try:
                os.mkdir(work, 0o700)
            except FileExistsError:
                gone = workspace.new_name(self._layout.trash, "work")
                os.rename(work, gone)
                os.mkdir(work, 0o700)
                try:
                    remove_tree(gone)
                except OSError:
                    pass  # something of a subordinate id in it: left to gc
            upper = f"{rw_dir}/upper"
            if not os.path.exists(upper):
                self._make_upper(upper, chain_ids)

    def _make_upper(self, upper: str, chain_ids: Sequence[str]) -> None:
        """Make the upper directory; its attributes are those of the container's ``/``."""
        fresh = f"{upper}.new"
        try:
            os.mkdir(fresh)
        except FileExistsError:
            pass  # somebody was killed here
        mode = 0o755
        if chain_ids:
            try:
                status = os.stat(self.path(chain_ids[-1]))
            except FileNotFoundError:
                raise _missing(chain_ids[-1]) from None
            mode = stat.S_IMODE(status.st_mode)
            own = os.stat(fresh)
            if (status.st_uid, status.st_gid) != (own.st_uid, own.st_gid) and self._userns is not None:
                self._userns.call(copy_owner, self.path(chain_ids[-1]), fresh)
                os.rename(fresh, upper)
                return
        os.chmod(fresh, mode)
        os.rename(fresh, upper)

    def mounts(self, chain_ids: Sequence[str], rw_dir: str, *, volatile: bool = False) -> Mount:
        """Say how to mount; raises ``NotFound`` for a missing layer and ``Unsupported`` for too many."""
        data = self._options(chain_ids, rw_dir) + ",userxattr"
        if volatile:
            data += ",volatile"
        if len(data) > _PAGE:
            raise Unsupported(
                f"an image with {len(chain_ids)} layers is too much for overlayfs", hint="flatten the image"
            )
        return Mount(type="overlay", source="overlay", cwd=self.root, data=data)

    def _options(self, chain_ids: Sequence[str], rw_dir: str) -> str:
        lowers = []
        for chain_id in reversed(chain_ids):
            short = digests.encoded(digests.validate(chain_id))[:_SHORT]
            if not os.path.exists(f"{self.root}/l/{short}"):
                if not self.has(chain_id):
                    raise _missing(chain_id)
                with translated("cannot name a layer"):
                    self._link(chain_id)
            lowers.append(f"l/{short}")
        if not lowers:
            with translated("cannot make an empty layer"):
                os.makedirs(f"{self.root}/empty", mode=0o755, exist_ok=True)
            lowers = ["empty"]
        # Relative as well: neither its length nor a comma in the data root's path matters then.
        writable = _escape(os.path.relpath(rw_dir, self.root))
        return f"lowerdir={':'.join(lowers)},upperdir={writable}/upper,workdir={writable}/work"


def create(layout: Layout, userns: UserSpace | None, notes: tuple[str, ...]) -> Overlay:
    """Return the driver."""
    return Overlay(layout, userns, notes)


def conditions() -> str:
    """Return what a negative result depends on that may change without a reboot."""
    values = []
    for path in ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "/proc/filesystems"):
        try:
            with open(path, encoding="ascii") as stream:
                values.append(str("overlay" in stream.read()) if path.endswith("s") else stream.read().strip())
        except OSError:
            values.append("")
    return "/".join(values)


def probe(layout: Layout, userns: UserSpace) -> str:
    """Mount one and do to it what containers do; return why it fails, "" if it works."""
    return probe_in_workspace(layout, userns, "overlay")


def probe_in_workspace(layout: Layout, userns: UserSpace, kind: str) -> str:
    """Run a probe in a directory of its own below the data root, whose file system matters."""
    with translated(f"cannot try storage driver {kind}"):
        directory, hold = workspace.make_directory(layout.tmp, "probe")
        try:
            for name in ("lower", "lower/replaced", "upper", "work", "merged"):
                os.mkdir(f"{directory}/{name}")
            for name in ("removed", "kept", "replaced/old"):
                os.close(os.open(f"{directory}/lower/{name}", os.O_CREAT | os.O_WRONLY, 0o644))
            return str(userns.call(try_mount, directory, kind))
        finally:
            try:
                try:
                    remove_tree(directory)
                except OSError:  # files of other ids, or a work directory
                    userns.call(remove_tree, directory)
            finally:
                os.close(hold)


def try_mount(directory: str, kind: str) -> str:
    """Mount and exercise a merged directory; runs in the user namespace."""
    os.chdir(directory)
    data = "lowerdir=lower,upperdir=upper,workdir=work"
    try:
        if kind == "overlay":
            syscalls.mount("overlay", "merged", "overlay", 0, data + ",userxattr")
        else:
            from rootless.linux import commands

            result = commands.run([kind, "-o", data, "merged"], timeout=20)
            if result.status:
                return result.reason()
    except (OSError, TimeoutError) as error:
        return (getattr(error, "strerror", None) or str(error)).lower()
    try:
        return _exercise()
    except OSError as error:
        return f"mounted, but: {error.strerror}: {error.filename}"
    finally:
        syscalls.umount("merged", syscalls.MNT_DETACH)


def _exercise() -> str:
    if not os.path.exists("merged/kept"):
        return "mounted, but the lower layer does not show"
    os.unlink("merged/removed")
    os.unlink("merged/replaced/old")
    os.rmdir("merged/replaced")
    os.mkdir("merged/replaced")
    os.chown("merged/kept", 0, 0)
    # What extraction writes must be understood: a whiteout and an opaque directory of our making.
    if os.path.exists("merged/removed") or os.listdir("merged/replaced"):
        return "mounted, but removed files show"
    return ""


def copy_owner(source: str, target: str) -> None:
    """Give ``target`` owner and mode of ``source``; runs in the user namespace."""
    status = os.stat(source)
    os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode))


def _missing(chain_id: str) -> NotFound:
    return NotFound(f"layer {chain_id} is not in the store", hint="pull the image again")


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(",", "\\,")
