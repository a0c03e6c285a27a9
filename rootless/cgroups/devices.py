"""From a path to the disk whose rate the io controller can limit."""

from __future__ import annotations

import os
import stat

from rootless.errors import InvalidArgument, NoSuchFile, Unsupported

# Whose dirty pages are charged to the cgroup that wrote them (SB_I_CGROUPWB): only there a rate of writing
# holds for more than O_DIRECT.
WRITEBACK = frozenset(("ext2", "ext3", "ext4", "btrfs", "f2fs", "xfs", "bcachefs"))


def disk_of(path: str, *, sysfs: str = "/sys", mountinfo: str = "/proc/self/mountinfo") -> str:
    """Return "MAJOR:MINOR" of the whole disk that ``path`` is (a block device) or lies on.

    Raises ``NoSuchFile``, ``InvalidArgument``, or ``Unsupported`` for a file system without a disk.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise NoSuchFile(f"no such device: {path}") from None
    except OSError as error:
        raise InvalidArgument(f"cannot look at {path}: {(error.strerror or '').lower()}") from error
    if stat.S_ISBLK(status.st_mode):
        return whole_disk(status.st_rdev, sysfs=sysfs)
    if stat.S_ISCHR(status.st_mode):
        raise InvalidArgument(f"{path} is not a block device")
    device = status.st_dev
    if os.major(device) == 0:
        # btrfs numbers its subvolumes itself; its mount names the device.
        kind, source = mount_of(path, mountinfo=mountinfo)
        try:
            found = os.stat(source)
        except OSError:
            found = None
        if found is None or not stat.S_ISBLK(found.st_mode):
            raise Unsupported(
                f"{path} is on a file system without a disk of its own ({kind or 'unknown'}): "
                "its rate cannot be limited",
                hint="name a block device, or a path on a local disk",
            )
        device = found.st_rdev
    return whole_disk(device, sysfs=sysfs)


def whole_disk(device: int, *, sysfs: str = "/sys") -> str:
    """Return "MAJOR:MINOR" of the disk that a partition is part of; a disk is its own."""
    number = f"{os.major(device)}:{os.minor(device)}"
    directory = f"{sysfs}/dev/block/{number}"
    if not os.path.exists(f"{directory}/partition"):
        return number
    try:
        # /sys/devices/…/vda/vda1: the directory above is the disk.
        with open(f"{os.path.realpath(directory)}/../dev", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return number


def writeback_warning(path: str, *, mountinfo: str = "/proc/self/mountinfo") -> str:
    """Return why a limit of writing below ``path`` holds for direct I/O only; "" if it holds for all."""
    try:
        if stat.S_ISBLK(os.stat(path).st_mode):
            return ""
    except OSError:
        return ""
    kind, _ = mount_of(path, mountinfo=mountinfo)
    if kind in WRITEBACK or not kind:
        return ""
    return f"{path} is on {kind}, which does not say who wrote what: the rate of writing is limited for O_DIRECT only"


def has_bfq(*, sysfs: str = "/sys") -> bool:
    """Say whether any disk uses the I/O scheduler that knows weights."""
    try:
        disks = os.listdir(f"{sysfs}/block")
    except OSError:
        return False
    for disk in disks:
        try:
            with open(f"{sysfs}/block/{disk}/queue/scheduler", encoding="ascii") as stream:
                if "[bfq]" in stream.read():
                    return True
        except OSError:
            continue
    return False


def mount_of(path: str, *, mountinfo: str = "/proc/self/mountinfo") -> tuple[str, str]:
    """Return type and source of the file system that ``path`` is on; ("", "") if unknown."""
    real = os.path.realpath(path)
    best, result = -1, ("", "")
    try:
        with open(mountinfo, "rb") as stream:
            lines = stream.read().decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        return result
    for line in lines:
        before, _, after = line.partition(" - ")
        target = _unescape(before.split(" ")[4])
        # The last of equally long targets is on top.
        if (real == target or real.startswith(f"{target.rstrip('/')}/")) and len(target) >= best:
            kind, source = after.split(" ")[:2]
            best, result = len(target), (kind, _unescape(source))
    return result


def _unescape(text: str) -> str:
    r"""Undo the kernel's escapes of blanks and backslashes, as \040."""
    if "\\" not in text:
        return text
    first, *rest = text.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)
