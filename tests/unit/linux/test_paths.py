"""Paths of somebody else's file system never lead out of it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.linux import paths


@pytest.fixture
def root(tmp_path):
    """A root directory (path and descriptor), next to which lies what must stay out of reach."""
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "root").mkdir()
    fd = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    yield tmp_path / "root", fd
    os.close(fd)
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]
    assert (tmp_path / "outside").read_text() == "secret"


@pytest.fixture
def descriptors():
    """No test may leak one."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def inside(fd: int, root) -> str:
    """Return where a descriptor points, relative to the root, and close it."""
    place = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    assert place == str(root) or place.startswith(f"{root}/")
    return place.removeprefix(str(root))


@pytest.mark.parametrize(
    "path", ["../outside", "/../outside", "a/../../outside", "link", "absolute/outside", "deep/../../../outside"]
)
def test_there_is_no_way_out(root, path):
    directory, fd = root
    (directory / "a").mkdir()
    (directory / "link").symlink_to("../outside")
    (directory / "absolute").symlink_to(directory.parent)
    (directory / "deep").symlink_to("a/../../..")
    with pytest.raises(FileNotFoundError):
        paths.open_beneath(fd, path, os.O_RDONLY)


def test_absolute_links_mean_the_root(root):
    directory, fd = root
    (directory / "etc").mkdir()
    (directory / "etc/passwd").write_text("inside")
    (directory / "link").symlink_to("/etc")
    with open(paths.open_beneath(fd, "link/passwd", os.O_RDONLY)) as stream:
        assert stream.read() == "inside"


def test_magic_links_of_proc_are_not_followed():
    root = os.open("/", os.O_PATH)
    try:
        with pytest.raises(OSError, match="symbolic") as caught:
            paths.open_beneath(root, "/proc/self/fd/0", os.O_PATH)
        assert caught.value.errno == errno.ELOOP
        with pytest.raises(OSError, match="symbolic"):
            paths.open_beneath(root, "/proc/self/root/etc", os.O_PATH)
    finally:
        os.close(root)


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("a/b/c", "/a/b/c"),
        ("/a//b/./c/", "/a/b/c"),
        ("", ""),
        ("/", ""),
        ("../x", "/x"),
        ("to-real/x", "/real/x"),
        ("dangling", "/missing/there"),
        ("dangling/x", "/missing/there/x"),
        ("absolute/x", "/gone/x"),
        ("up/x", "/x"),
        ("chain/x", "/missing/there/x"),
        ("real/relative/x", "/real/sibling/x"),
    ],
)
def test_directories_are_made_beneath_and_links_followed_beneath(root, descriptors, path, made):
    directory, fd = root
    (directory / "real").mkdir()
    (directory / "to-real").symlink_to("/real")
    (directory / "dangling").symlink_to("missing/there")
    (directory / "absolute").symlink_to("/gone")
    (directory / "up").symlink_to("../../..")
    (directory / "chain").symlink_to("dangling")
    (directory / "real/relative").symlink_to("sibling")
    assert inside(paths.mkdirs_beneath(fd, path), directory) == made


def test_directories_that_exist_are_only_opened(root, descriptors):
    directory, fd = root
    (directory / "a").mkdir(mode=0o700)
    assert inside(paths.mkdirs_beneath(fd, "a", 0o755), directory) == "/a"
    assert stat.S_IMODE((directory / "a").stat().st_mode) == 0o700


def test_a_component_that_is_no_directory_is_an_error(root, descriptors):
    directory, fd = root
    (directory / "file").write_text("x")
    for path in ("file", "file/x"):
        with pytest.raises(NotADirectoryError):
            paths.mkdirs_beneath(fd, path)


def test_links_in_a_circle_are_an_error(root, descriptors):
    directory, fd = root
    (directory / "one").symlink_to("two")
    (directory / "two").symlink_to("one/x")
    for number in range(50):
        (directory / f"link{number}").symlink_to(f"link{number + 1}")
    for path in ("one", "two/x", "link0"):
        for function in (paths.mkdirs_beneath, paths.create_file_beneath):
            with pytest.raises(OSError, match="symbolic") as caught:
                function(fd, path)
            assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("a/file", "/a/file"),
        ("etc/resolv.conf", "/run/systemd/stub.conf"),
        ("etc/absolute", "/elsewhere"),
        ("etc/chain", "/run/systemd/stub.conf"),
        ("etc/out", "/outside"),
    ],
)
def test_files_are_made_beneath_and_dangling_links_get_their_target(root, descriptors, path, made):
    directory, fd = root
    (directory / "etc").mkdir()
    (directory / "etc/resolv.conf").symlink_to("../run/systemd/stub.conf")
    (directory / "etc/absolute").symlink_to("/elsewhere")
    (directory / "etc/chain").symlink_to("resolv.conf")
    (directory / "etc/out").symlink_to("../../../outside")
    assert inside(paths.create_file_beneath(fd, path), directory) == made
    assert (directory / made[1:]).read_bytes() == b""


def test_a_file_that_exists_is_only_opened(root, descriptors):
    directory, fd = root
    (directory / "file").write_text("content")
    os.close(paths.create_file_beneath(fd, "file"))
    assert (directory / "file").read_text() == "content"


def test_reading_is_of_regular_files_of_limited_size(root, descriptors):
    directory, _ = root
    (directory / "file").write_bytes(b"content")
    os.mkfifo(directory / "fifo")
    (directory / "dir").mkdir()
    (directory / "zero").symlink_to("/dev/zero")
    assert paths.read_beneath(str(directory), "/file") == b"content"
    assert paths.read_beneath(str(directory), "/file", 7) == b"content"
    with pytest.raises(OSError, match="larger than 6 bytes"):
        paths.read_beneath(str(directory), "/file", 6)
    for path in ("fifo", "dir"):
        with pytest.raises(OSError, match="not a regular file"):
            paths.read_beneath(str(directory), path)
    with pytest.raises(FileNotFoundError):
        paths.read_beneath(str(directory), "zero")


names = st.sampled_from(["a", "b", "..", ".", "link", "up", ""])


@given(st.lists(names, max_size=8), st.lists(names, min_size=1, max_size=5), st.booleans())
def test_whatever_the_path_and_the_link_all_stays_beneath(tmp_path_factory, path, target, absolute):
    directory = tmp_path_factory.mktemp("any")
    (directory / "root").mkdir()
    (directory / "root/link").symlink_to(("/" if absolute else "") + "/".join(target) or ".")
    (directory / "root/up").symlink_to("..")
    fd = os.open(directory / "root", os.O_PATH)
    try:
        for function in (paths.mkdirs_beneath, paths.create_file_beneath):
            # A link may make the path impossible; it may not lead it away.
            with contextlib.suppress(OSError):
                inside(function(fd, "/".join(path)), directory / "root")
    finally:
        os.close(fd)
    assert os.listdir(directory) == ["root"]
