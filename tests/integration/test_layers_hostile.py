"""Archives that attack, err, or merely use every freedom of the format.

Each runs through real extraction in a chroot and user namespace, for both flavours, and is
looked at through a real mount. A canary beside the store shows whether anything got out.
"""

from __future__ import annotations

import io
import os
import resource
import struct
import tarfile

import pytest

from rootless.errors import Corrupt
from rootless.oci import digests
from rootless.storage.layers import Unpacker
from tests.support.layers import MTIME, Archive, Store, clear, make_userspace

pytestmark = pytest.mark.skipif(os.geteuid() == 0, reason="runs as an ordinary user")


@pytest.fixture(scope="module")
def userns(tmp_path_factory):
    return make_userspace(tmp_path_factory.mktemp("run"))


@pytest.fixture(params=["overlay", "vfs"])
def store(request, tmp_path, userns):
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "secret").write_text("untouched")
    before = sorted(os.listdir(tmp_path))
    made = Store(tmp_path / "store", userns, request.param)
    yield made
    assert made.leftovers() == []
    assert (canary / "secret").read_text() == "untouched"
    assert os.listdir(canary) == ["secret"]
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "store"])
    clear(userns, tmp_path / "store")


def paths(tree):
    return sorted(path for path in tree if path)


# Names that lead elsewhere


@pytest.mark.parametrize(
    "name", ["../../canary/x", "/../../canary/x", "a/../../../canary/x", "./.././canary/x", "..//..//canary/x"]
)
def test_dot_dot_stays_inside(store, name):
    assert paths(store.tree(store.build(Archive().file(name, b"x")))) == ["canary", "canary/x"]


def test_absolute_path_is_below_the_root(store, tmp_path):
    name = f"{tmp_path}/canary/secret"
    tree = store.tree(store.build(Archive().file(name, b"inside")))
    assert tree[name[1:]]["data"] == b"inside"


def test_absolute_symlink_as_parent_stays_inside(store, tmp_path):
    archive = Archive().symlink("out", f"{tmp_path}/canary").file("out/secret", b"inside")
    tree = store.tree(store.build(archive))
    assert tree["out"]["link"] == f"{tmp_path}/canary"
    assert tree[f"{tmp_path}/canary/secret"[1:]]["data"] == b"inside"


def test_relative_symlink_as_parent_stays_inside(store):
    archive = Archive().symlink("out", "../../../../canary").file("out/secret", b"inside")
    assert store.tree(store.build(archive))["canary/secret"]["data"] == b"inside"


def test_chain_of_symlinks_as_parent_stays_inside(store):
    archive = Archive().symlink("a", "b").symlink("b", "../..").dir("d").symlink("d/up", "../a").file("d/up/f", b"f")
    assert store.tree(store.build(archive))["f"]["data"] == b"f"


def test_member_below_a_symlink_to_a_missing_directory(store):
    archive = Archive().symlink("var/run", "/run/deep/er").file("var/run/pid", b"1")
    tree = store.tree(store.build(archive))
    assert tree["run/deep/er/pid"]["data"] == b"1"
    assert tree["var/run"]["type"] == "l"


def test_loop_of_symlinks_as_parent_is_refused(store):
    with pytest.raises(Corrupt):
        store.build(Archive().symlink("a", "b").symlink("b", "a").file("a/x"))


def test_writing_to_a_symlink_replaces_it(store, tmp_path):
    archive = Archive().symlink("x", f"{tmp_path}/canary/secret").file("x", b"new").symlink("y", "x").file("y", b"y")
    tree = store.tree(store.build(archive))
    assert (tree["x"]["type"], tree["x"]["data"]) == ("f", b"new")
    assert (tree["y"]["type"], tree["y"]["data"]) == ("f", b"y")
    assert paths(tree) == ["x", "y"]


def test_writing_to_a_hard_link_leaves_the_other_name_alone(store):
    tree = store.tree(store.build(Archive().file("a", b"a").link("b", "a").file("b", b"b")))
    assert (tree["a"]["data"], tree["b"]["data"]) == (b"a", b"b")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("name", ["./", "/", "a/.."])
def test_root_cannot_be_replaced(store, kind, name):
    with pytest.raises(Corrupt, match="root directory"):
        store.build(Archive().add(name.rstrip("/") or "/" if kind != tarfile.REGTYPE else "./.", kind, link="/tmp"))


@pytest.mark.parametrize("name", ["a" * 300, "d/" * 2100 + "f"])
def test_name_that_no_file_system_takes_is_the_archives_fault(store, name):
    with pytest.raises(Corrupt, match="too long"):
        store.build(Archive().file(name))


def test_nul_in_a_pax_path_is_refused(store):
    with pytest.raises(Corrupt, match="NUL"):
        store.build(Archive().file("x", pax={"path": "a\0b"}))


def test_control_characters_do_not_reach_the_message(store):
    with pytest.raises(Corrupt) as caught:
        store.build(Archive().link("\x1b[2Jx", "missing"))
    assert "\x1b" not in caught.value.message


# Hard links


def test_hard_links_of_one_layer_share_an_inode(store):
    tree = store.tree(store.build(Archive().file("d/a", b"a").link("b", "d/a").link("c", "./b").link("e", "/d/a")))
    assert [tree[name]["nlink"] for name in ("d/a", "b", "c", "e")] == [4] * 4


def test_hard_link_to_the_host_is_refused(store, tmp_path):
    for target in (f"{tmp_path}/canary/secret", "../../../canary/secret", "/etc/passwd"):
        with pytest.raises(Corrupt, match="missing"):
            store.build(Archive().link("x", target))


def test_hard_link_through_a_symlink_stays_inside(store, tmp_path):
    archive = Archive().symlink("out", f"{tmp_path}/canary").link("x", "out/secret")
    with pytest.raises(Corrupt):
        store.build(archive)


def test_hard_link_to_a_symlink_links_the_symlink(store):
    tree = store.tree(store.build(Archive().symlink("s", "/etc/shadow").link("t", "s")))
    assert (tree["t"]["type"], tree["t"]["link"]) == ("l", "/etc/shadow")


def test_hard_link_across_layers_has_the_content(store):
    first = Archive().file("d/a", b"content", uid=3, mode=0o4711)
    tree = store.tree(store.build(first, Archive().link("b", "d/a")))
    assert (tree["b"]["data"], tree["b"]["uid"], tree["b"]["mode"]) == (b"content", 3, 0o4711)
    assert tree["d/a"]["data"] == b"content"


def test_hard_link_to_what_a_layer_removed_is_refused(store):
    with pytest.raises(Corrupt):
        store.build(Archive().file("d/a"), Archive().file("d/.wh.a"), Archive().link("b", "d/a"))
    with pytest.raises(Corrupt):
        store.build(Archive().file("d/a"), Archive().file("d/.wh.a").link("b", "d/a"))


def test_hard_link_to_a_directory_is_refused(store):
    with pytest.raises(Corrupt, match="directory"):
        store.build(Archive().dir("d").link("x", "d"))


def test_hard_link_to_itself_is_harmless(store):
    assert (
        store.tree(store.build(Archive().file("a", b"a").link("a", "./a").link("b", "a").link("a", "b")))["a"]["data"]
        == b"a"
    )


# Whiteouts


def test_whiteout_hides_only_what_is_below_in_either_order(store):
    below = Archive().dir("d").file("d/old").file("f", b"old")
    before = Archive().file(".wh.d").file(".wh.f").dir("d").file("d/new").file("f", b"new")
    after = Archive().dir("d").file("d/new").file("f", b"new").file(".wh.d").file(".wh.f")
    for number, upper in enumerate((before, after)):
        tree = store.tree(store.build(below.bytes() if number else below, upper), f"c{number}")
        assert paths(tree) == ["d", "d/new", "f"]
        assert tree["f"]["data"] == b"new"
        below = Archive().dir("d").file("d/old").file("f", b"old")


def test_opaque_marker_after_content_keeps_the_content(store):
    below = Archive().file("d/old").file("d/sub/old")
    upper = Archive().file("d/sub/new").file("d/.wh..wh..opq")
    assert paths(store.tree(store.build(below, upper))) == ["d", "d/sub", "d/sub/new"]


def test_opaque_root(store):
    assert paths(
        store.tree(store.build(Archive().file("a").file("d/b"), Archive().file(".wh..wh..opq").file("c")))
    ) == ["c"]


def test_whiteout_of_nothing_makes_nothing(store):
    upper = Archive().file(".wh.no").file("no/such/.wh.x").file("no/such/.wh..wh..opq")
    assert paths(store.tree(store.build(Archive().file("a"), upper))) == ["a"]
    assert paths(store.tree(store.build(Archive().file(".wh.no").file("no/such/.wh.x").file("b")), "c2")) == ["b"]


def test_whiteout_below_a_whiteout_makes_nothing(store):
    upper = Archive().file(".wh.d").file("d/.wh.x")
    assert paths(store.tree(store.build(Archive().file("d/x").file("e"), upper))) == ["e"]


def test_member_below_a_whiteout_is_in_a_new_directory(store):
    upper = Archive().file(".wh.d").file("d/new")
    assert paths(store.tree(store.build(Archive().file("d/old"), upper))) == ["d", "d/new"]


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh..."])
def test_whiteout_of_the_directory_itself_is_refused(store, name):
    with pytest.raises(Corrupt):
        store.build(Archive().file("d/a"), Archive().file(name))


def test_whiteout_through_a_symlink_stays_inside(store, tmp_path):
    upper = Archive().symlink("out", f"{tmp_path}/canary").file("out/.wh.secret").file("out/.wh..wh..opq")
    assert "out" in store.tree(store.build(Archive().file("a"), upper))


def test_aufs_bookkeeping_is_left_out(store):
    assert paths(
        store.tree(store.build(Archive().dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2").file(".wh..wh.aufs").file("a")))
    ) == ["a"]


def test_archive_cannot_smuggle_a_whiteout_or_overlay_attributes(store):
    below = Archive().file("a", b"a").file("d/x", b"x")
    upper = (
        Archive()
        .add("a", tarfile.CHRTYPE, device=(0, 0))
        .dir("d", pax={"SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.user.overlay.redirect": "/etc"})
        .file("d/y", pax={"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.fuseoverlayfs.opaque": "y"})
    )
    tree = store.tree(store.build(below, upper))
    assert paths(tree) == ["a", "d", "d/x", "d/y"]
    assert tree["a"]["data"] == b"a"


# One thing in the place of another


def test_link_of_a_lower_layer_is_not_followed_for_an_implied_directory(store):
    below = Archive().dir("usr/lib").file("usr/lib/a", b"a").symlink("lib", "usr/lib")
    tree = store.tree(store.build(below, Archive().file("lib/b", b"b")))
    assert tree["lib"]["type"] == "d"
    assert tree["lib/b"]["data"] == b"b"
    assert "usr/lib/b" not in tree


def test_directory_and_file_and_link_replace_each_other_in_one_layer(store):
    archive = (
        Archive()
        .file("a/b/c/d", b"1")
        .file("a", b"now a file")
        .dir("a")
        .file("a/x", b"2")
        .symlink("s", "a")
        .dir("s")
        .file("s/y", b"3")
        .file("f", b"f")
        .file("f/g", b"below a file")
    )
    tree = store.tree(store.build(Archive().file("a/old").file("f", b"lower"), archive))
    assert paths(tree) == ["a", "a/x", "f", "f/g", "s", "s/y"]


def test_directory_replaced_by_a_file_is_gone_for_good(store):
    below = Archive().file("d/secret", b"s")
    assert paths(store.tree(store.build(below, Archive().file("d", b"x"), Archive().file("d/new")))) == ["d", "d/new"]


# Attributes


def test_ids_above_the_range_become_the_overflow_id_and_are_counted(store):
    archive = (
        Archive()
        .file("a", uid=70000, gid=80000)
        .dir("d", uid=2**31, gid=5)
        .file("b", uid=65534)
        .symlink("l", "x", uid=10**6)
    )
    tree = store.tree(store.build(archive))
    assert (tree["a"]["uid"], tree["a"]["gid"]) == (65534, 65534)
    assert (tree["d"]["uid"], tree["d"]["gid"]) == (65534, 5)
    assert tree["l"]["uid"] == 65534
    assert store.last.squashed == 3


def test_set_id_bits_survive_chown(store):
    tree = store.tree(
        store.build(Archive().file("a", uid=5, mode=0o6755).dir("d", gid=7, mode=0o2775).file("d/f", gid=0))
    )
    assert (tree["a"]["mode"], tree["d"]["mode"], tree["d/f"]["gid"]) == (0o6755, 0o2775, 0)


def test_file_capabilities_and_user_attributes_are_kept(store):
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    buffer = io.BytesIO()
    tar = tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT)
    info = tarfile.TarInfo("bin/ping")
    info.mode, info.uid = 0o755, 5
    info.pax_headers = {
        "SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape"),
        "SCHILY.xattr.user.note": "hello",
    }
    tar.addfile(info)
    tar.close()
    xattrs = store.tree(store.build(buffer.getvalue()))["bin/ping"]["xattrs"]
    assert xattrs["security.capability"][4:8] == capability[4:8]
    assert xattrs["user.note"] == b"hello"


def test_attributes_that_are_refused_do_not_stop_extraction(store):
    pax = {"SCHILY.xattr.trusted.x": "1", "SCHILY.xattr.nonsense": "1", "SCHILY.xattr.user." + "n" * 300: "1"}
    tree = store.tree(
        store.build(Archive().file("a", b"a", pax=pax).symlink("l", "a", pax={"SCHILY.xattr.user.x": "1"}))
    )
    assert tree["a"]["data"] == b"a"


def test_device_nodes_are_left_out_and_counted(store):
    archive = (
        Archive()
        .add("dev/sda", tarfile.BLKTYPE, device=(8, 0))
        .add("dev/null", tarfile.CHRTYPE, device=(1, 3))
        .link("dev/zero", "dev/null")
        .add("dev/p", tarfile.FIFOTYPE, mode=0o620, gid=5)
        .file("dev/f")
    )
    tree = store.tree(store.build(archive))
    assert paths(tree) == ["dev", "dev/f", "dev/p"]
    assert (tree["dev/p"]["type"], tree["dev/p"]["mode"], tree["dev/p"]["gid"]) == ("p", 0o620, 5)
    assert store.last.devices == 3


def test_times_of_directories_and_links_are_the_archives(store):
    archive = (
        Archive().dir("d", mtime=5).file("d/f", mtime=6).symlink("d/l", "f", mtime=7).dir("d/e", mtime=8).file("d/e/g")
    )
    tree = store.tree(store.build(archive))
    assert [tree[path]["mtime"] for path in ("d", "d/f", "d/l", "d/e")] == [5, 6, 7, 8]


def test_times_beyond_reason_are_accepted(store):
    archive = Archive().file("a", mtime=2**40).file("b", pax={"mtime": "-5.5"}).file("c", pax={"mtime": "9" * 18})
    assert paths(store.tree(store.build(archive))) == ["a", "b", "c"]


# Format


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_formats_and_long_names(store, format):
    long = "d" * 90 + "/" + "f" * 90
    archive = Archive(format).file(long, b"long", uid=1000)
    if format != tarfile.USTAR_FORMAT:
        longer = "/".join(["x" * 100] * 9)
        archive.file(longer, b"longer").symlink("l", longer).link("h", longer).file("big", uid=3000000)
    archive.file("ünï/ço", b"u")
    tree = store.tree(store.build(archive))
    assert tree[long]["data"] == b"long"
    assert tree["ünï/ço"]["data"] == b"u"
    if format != tarfile.USTAR_FORMAT:
        assert tree["l"]["link"] == longer
        assert tree["h"]["data"] == b"longer"


def gnu_sparse():
    """An old GNU sparse member: 1 MiB with data at 4096 and at the end, with an extension header."""
    extents = [(4096, 3), *((8192 * number, 1) for number in range(1, 8)), (1048570, 6)]
    data = b"abc" + b"1234567" + b"finish"
    header = bytearray(tarfile.TarInfo("sparse").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[124:136] = b"%011o\0" % len(data)
    for number, (offset, size) in enumerate(extents[:4]):
        header[386 + 24 * number : 410 + 24 * number] = b"%011o\0%011o\0" % (offset, size)
    header[482] = 1
    header[483:495] = b"%011o\0" % 1048576
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    more = b"".join(b"%011o\0%011o\0" % extent for extent in extents[4:])
    return bytes(header) + more.ljust(512, b"\0") + data.ljust(512, b"\0")


def pax_sparse(version):
    content = b"abcfinish"
    extents = [4096, 3, 1048570, 6]
    pax = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "sparse",
        "GNU.sparse.realsize": "1048576",
    }
    if version == "1.0":
        table = "\n".join(["2", *map(str, extents)]) + "\n"
        content = table.encode().ljust(512, b"\0") + content
    else:
        pax = {"GNU.sparse.size": "1048576", "GNU.sparse.numblocks": "2", "GNU.sparse.name": "sparse"}
        pax["GNU.sparse.map"] = ",".join(map(str, extents))
    return Archive().file("GNUSparseFile.0/sparse", content, pax=pax)


@pytest.mark.parametrize("kind", ["gnu", "0.1", "1.0"])
def test_sparse_files(store, kind):
    archive = Archive().raw(gnu_sparse()) if kind == "gnu" else pax_sparse(kind)
    archive.file("after", b"after")
    tree = store.tree(store.build(archive))
    assert tree["sparse"]["size"] == 1048576
    assert tree["sparse"]["blocks"] < 512
    assert tree["after"]["data"] == b"after"


def test_sparse_map_that_lies_is_refused(store):
    for text in ("2\n0\n600\n100\n5\n", "1\n0\n99999999\n", "999999999\n", "x\n", "1\n-5\n3\n"):
        pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s", "GNU.sparse.realsize": "1000"}
        with pytest.raises(Corrupt):
            store.build(Archive().file("x", text.encode().ljust(512, b"\0") + b"y" * 600, pax=pax))


def test_truncated_archives_are_refused(store):
    whole = Archive().file("a", b"a" * 2000).file("b", b"b" * 2000).bytes()
    for cut in (100, 700, 1800, 3072 + 200):
        with pytest.raises(Corrupt, match="truncated"):
            store.build(whole[:cut])
    assert store.driver.list() == []


def test_truncated_compression_is_refused(store):
    import gzip

    content = Archive().file("a", os.urandom(100000)).bytes()
    blob = gzip.compress(content)[:-2000]
    with (
        pytest.raises(Corrupt, match="truncated"),
        Unpacker(store.layout, store.blobs, store.driver, store.userns, [digests.sha256_bytes(content)]) as unpacker,
    ):
        unpacker.add({"digest": store.blobs.put(blob)})
    assert store.driver.list() == []


def test_wrong_diff_id_is_refused(store):
    blob = store.blobs.put(Archive().file("a").bytes())
    with (
        pytest.raises(Corrupt, match="diff ID"),
        Unpacker(store.layout, store.blobs, store.driver, store.userns, ["sha256:" + "0" * 64]) as unpacker,
    ):
        unpacker.add({"digest": blob})
    assert store.driver.list() == []


def test_diff_id_covers_what_follows_the_end_mark(store):
    content = Archive().file("a", b"a").bytes() + b"trailing" * 1000
    assert store.tree(store.build(content))["a"]["data"] == b"a"


def test_not_an_archive_is_refused(store):
    for content in (b"x" * 512, b"<html>" * 1000, os.urandom(5000)):
        with pytest.raises(Corrupt):
            store.build(content)


def test_empty_archives_make_empty_layers(store):
    assert paths(store.tree(store.build(b"", bytes(1024), bytes(10240)))) == []


def test_damaged_header_is_refused(store):
    content = bytearray(Archive().file("a", b"a").file("b", b"b").bytes())
    content[1024] ^= 0xFF
    with pytest.raises(Corrupt, match="checksum"):
        store.build(bytes(content))


def test_number_of_layers_must_match(store):
    content = Archive().file("a").bytes()
    blob = store.blobs.put(content)
    ids = [digests.sha256_bytes(content)]
    with Unpacker(store.layout, store.blobs, store.driver, store.userns, ids) as unpacker:
        with pytest.raises(Corrupt, match="0 layers"):
            unpacker.finish()
        unpacker.add({"digest": blob})
        with pytest.raises(Corrupt, match="more layers"):
            unpacker.add({"digest": blob})


def huge_header(kind, size):
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [b"x", b"L", b"K", b"g"])
def test_headers_of_any_size_do_not_fill_memory(store, kind):
    with pytest.raises(Corrupt, match="of 8589934592 bytes"):
        store.build(huge_header(kind, 8 << 30))


def test_negative_size_is_refused(store):
    header = bytearray(tarfile.TarInfo("x").tobuf())
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(Corrupt, match="negative"):
        store.build(bytes(header))


def peak_of_children():
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_bomb_is_streamed(store, compression):
    """1.5 GiB of zeros in 1.5 MB: the child's memory must not follow, and neither must the disk."""
    import hashlib
    import zlib

    size = 3 << 29
    # A volume label's content is passed over, so that the disk plays no part.
    pieces = [huge_header(b"g", 0) * 2, huge_header(b"V", size)]
    zeros = bytes(1 << 20)
    if compression == "gzip":
        squeeze = zlib.compressobj(1, wbits=31)
        finish = squeeze.flush
    else:
        zstandard = pytest.importorskip("zstandard")
        squeeze = zstandard.ZstdCompressor(level=1).compressobj()
        finish = squeeze.flush
    hasher = hashlib.sha256()
    blob = []
    for piece in (*pieces, *([zeros] * (size >> 20)), bytes(1024)):
        hasher.update(piece)
        blob.append(squeeze.compress(piece))
    blob.append(finish())
    before = peak_of_children()
    with Unpacker(store.layout, store.blobs, store.driver, store.userns, ["sha256:" + hasher.hexdigest()]) as unpacker:
        unpacker.add({"digest": store.blobs.put(b"".join(blob))})
        unpacker.finish()
    assert peak_of_children() - before < 120 * 1024  # KiB


def test_deep_tree_can_be_made_and_removed(store):
    archive = Archive()
    for level in range(1, 400):
        archive.dir("d/" * level)
    [chain] = store.build(archive)
    assert len(store.tree([chain])) == 400
    store.driver.remove(chain)
    from rootless.storage import gc

    gc.empty_trash(store.layout, store.userns)


def test_mtime_and_modes_of_implied_directories_are_sane(store):
    tree = store.tree(store.build(Archive().file("a/b/c", b"c")))
    assert (tree["a"]["mode"], tree["a/b"]["mode"], tree["a/b/c"]["mtime"]) == (0o755, 0o755, MTIME)
