"""Layers made for tests, and what a container would see of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile

from rootless.linux import commands, syscalls
from rootless.linux.trees import remove_tree
from rootless.storage import extract
from rootless.storage.content import BlobStore
from rootless.storage.layers import Unpacker
from rootless.storage.layout import Layout

MTIME = 1_600_000_000


class Archive:
    """A tar archive built member by member; keeps the order and checks nothing."""

    def __init__(self, format=tarfile.PAX_FORMAT):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=format)

    def add(
        self,
        name,
        kind=tarfile.REGTYPE,
        data=b"",
        mode=None,
        uid=0,
        gid=0,
        link="",
        pax=None,
        mtime=MTIME,
        device=(0, 0),
    ):
        info = tarfile.TarInfo(name)
        info.type = kind
        info.mode = mode if mode is not None else (0o755 if kind == tarfile.DIRTYPE else 0o644)
        info.uid, info.gid, info.linkname, info.mtime, info.size = uid, gid, link, mtime, len(data)
        info.pax_headers = pax or {}
        info.devmajor, info.devminor = device
        self.tar.addfile(info, io.BytesIO(data) if data else None)
        return self

    def file(self, name, data=b"", **more):
        return self.add(name, data=data, **more)

    def dir(self, name, **more):
        return self.add(name, tarfile.DIRTYPE, **more)

    def symlink(self, name, link, **more):
        return self.add(name, tarfile.SYMTYPE, link=link, **more)

    def link(self, name, link, **more):
        return self.add(name, tarfile.LNKTYPE, link=link, **more)

    def raw(self, data):
        """Append bytes as they are."""
        self.tar.fileobj.write(data)
        self.tar.offset += len(data)
        return self

    def bytes(self):
        self.tar.close()
        return self.buffer.getvalue()


class Store:
    """A data root with a driver; ``build`` makes an image of tar archives, bottom first."""

    def __init__(self, root, userns, driver):
        self.layout = Layout(str(root))
        self.layout.create()
        self.blobs = BlobStore(self.layout)
        self.userns = userns
        self.driver = make_driver(driver, self.layout, userns)
        self.last = None

    def build(self, *archives):
        contents = [archive.bytes() if isinstance(archive, Archive) else archive for archive in archives]
        diff_ids = ["sha256:" + hashlib.sha256(content).hexdigest() for content in contents]
        with Unpacker(self.layout, self.blobs, self.driver, self.userns, diff_ids) as unpacker:
            for content in contents:
                unpacker.add({"digest": self.blobs.put(gzip.compress(content, 1, mtime=0))})
            self.last = unpacker.finish()
        return list(self.last.chain_ids)

    def tree(self, chains, name="c1", act=None, *arguments, volatile=False):
        """Mount a container's root and return {path: facts}, after ``act(mountpoint, …)`` inside of the namespace."""
        rw = f"{self.layout.containers}/{name}"
        self.driver.prepare_rw(rw, chains)
        mount = self.driver.mounts(chains, rw, volatile=volatile)
        target = f"{self.layout.containers}/{name}.mnt"
        os.makedirs(target, exist_ok=True)
        described = (mount.type, mount.source, mount.cwd, mount.data)
        return self.userns.call(look, described, target, act, arguments)

    def leftovers(self):
        return os.listdir(self.layout.tmp) + os.listdir(self.layout.trash)


def make_driver(name, layout, userns):
    from rootless.storage.snapshots import _driver

    return _driver(name).create(layout, userns, ())


def look(described, target, act, arguments):
    kind, source, cwd, data = described
    if kind == "overlay":
        os.chdir(cwd)
        syscalls.mount(source, target, kind, 0, data)
    elif kind == "bind":
        syscalls.mount(source, target, None, syscalls.MS_BIND)
    else:
        os.chdir(cwd)
        result = commands.run([kind, "-o", data, target], timeout=20)
        assert result.status == 0, result.stderr
    try:
        if act is not None:
            act(target, *arguments)
        return facts(target)
    finally:
        os.chdir("/")
        syscalls.umount(target, syscalls.MNT_DETACH)


def facts(root):
    """Return {path: {type, mode, uid, gid, mtime, data, link, nlink, xattrs}} of everything below root and root itself."""
    found = {"": describe(root)}
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, root)] = describe(path)
    return found


def describe(path):
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    xattrs = {}
    try:
        for name in os.listxattr(path, follow_symlinks=False):
            xattrs[name] = os.getxattr(path, name, follow_symlinks=False)
    except OSError:
        pass
    fact = {
        "type": {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p", stat.S_IFCHR: "c"}.get(
            kind, "?"
        ),
        "mode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
        "mtime": status.st_mtime_ns // 10**9,
        "nlink": status.st_nlink,
        "size": status.st_size,
        "blocks": status.st_blocks,
        "xattrs": xattrs,
    }
    if fact["type"] == "f" and status.st_size < 1 << 20:
        with open(path, "rb") as stream:
            fact["data"] = stream.read()
    if fact["type"] == "l":
        fact["link"] = os.readlink(path)
    return fact


def make_userspace(directory):
    from rootless.linux.userns import UserNamespace

    os.makedirs(directory, mode=0o700, exist_ok=True)
    return UserNamespace(str(directory))


def clear(userns, path):
    userns.call(remove_tree, str(path))


__all__ = ["MTIME", "Archive", "Store", "clear", "describe", "extract", "facts", "make_driver", "make_userspace"]
