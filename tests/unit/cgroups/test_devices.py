import os

import pytest

from rootless.cgroups import devices
from rootless.errors import InvalidArgument, NoSuchFile, Unsupported


@pytest.fixture
def sysfs(tmp_path):
    """A disk 254:0 with a partition 254:1, and a second disk."""
    disk = tmp_path / "sys/devices/pci/block/vda"
    (disk / "vda1").mkdir(parents=True)
    (disk / "dev").write_text("254:0\n")
    (disk / "vda1/dev").write_text("254:1\n")
    (disk / "vda1/partition").write_text("1\n")
    links = tmp_path / "sys/dev/block"
    links.mkdir(parents=True)
    (links / "254:0").symlink_to(disk)
    (links / "254:1").symlink_to(disk / "vda1")
    return str(tmp_path / "sys")


def test_a_partition_is_limited_as_its_disk(sysfs):
    assert devices.whole_disk(os.makedev(254, 1), sysfs=sysfs) == "254:0"
    assert devices.whole_disk(os.makedev(254, 0), sysfs=sysfs) == "254:0"
    assert devices.whole_disk(os.makedev(253, 7), sysfs=sysfs) == "253:7"


def test_what_has_no_disk_is_refused(tmp_path):
    with pytest.raises(NoSuchFile, match="no such device: /dev/nothing"):
        devices.disk_of("/dev/nothing")
    with pytest.raises(InvalidArgument, match="not a block device"):
        devices.disk_of("/dev/null")
    with pytest.raises(Unsupported, match="without a disk"):
        devices.disk_of("/proc/self")


def test_the_deepest_and_last_mount_counts(tmp_path):
    info = tmp_path / "mountinfo"
    info.write_text(
        "1 0 254:1 / / rw - ext4 /dev/vda1 rw\n"
        "2 1 0:30 / /home rw shared:1 - tmpfs tmpfs rw\n"
        "3 1 0:31 /@home /home rw shared:2 - btrfs /dev/vdb rw\n"
        "4 1 0:32 / /home/a\\040b rw - nfs4 server:/x rw\n"
        "5 1 0:33 / /homes rw - xfs /dev/vdc rw\n"
    )
    found = [devices.mount_of(path, mountinfo=str(info)) for path in ("/etc", "/home/u", "/home/a b/c", "/homes")]
    assert found == [("ext4", "/dev/vda1"), ("btrfs", "/dev/vdb"), ("nfs4", "server:/x"), ("xfs", "/dev/vdc")]


def test_file_systems_that_do_not_say_who_wrote_are_warned_of(tmp_path):
    info = tmp_path / "mountinfo"
    for kind, warned in (("ext4", False), ("xfs", False), ("vfat", True), ("fuse.sshfs", True)):
        info.write_text(f"1 0 254:1 / / rw - {kind} /dev/vda1 rw\n")
        assert bool(devices.writeback_warning(str(tmp_path), mountinfo=str(info))) is warned


def test_bfq_is_looked_for_on_all_disks(tmp_path):
    assert not devices.has_bfq(sysfs=str(tmp_path))
    for disk, schedulers in (("vda", "[none] bfq"), ("vdb", "none [bfq]")):
        queue = tmp_path / "block" / disk / "queue"
        queue.mkdir(parents=True)
        assert not devices.has_bfq(sysfs=str(tmp_path))
        (queue / "scheduler").write_text(f"{schedulers}\n")
    assert devices.has_bfq(sysfs=str(tmp_path))
