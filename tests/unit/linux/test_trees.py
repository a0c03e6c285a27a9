import os

import pytest

from rootless.linux.trees import copy_tree, remove_tree, tree_size


def test_removes_files_links_and_trees(tmp_path):
    (tmp_path / "outside").write_text("stays")
    root = tmp_path / "t"
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/f").write_text("x")
    (root / "a/out").symlink_to(tmp_path)
    (root / "a/dangling").symlink_to("/nowhere/at/all")
    os.mkfifo(root / "a/b/p")
    remove_tree(str(root))
    assert os.listdir(tmp_path) == ["outside"]
    remove_tree(str(root))
    remove_tree(str(tmp_path / "outside"))
    assert os.listdir(tmp_path) == []


def test_removes_a_link_not_its_target(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "l").symlink_to("d")
    remove_tree(str(tmp_path / "l"))
    assert os.listdir(tmp_path) == ["d"]


def test_opens_up_directories_without_permissions(tmp_path):
    root = tmp_path / "t"
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/f").write_text("x")
    for path, mode in (("a/b/c", 0), ("a/b", 0o400), ("a", 0o000), ("", 0o500)):
        os.chmod(root / path, mode)
    remove_tree(str(root))
    assert os.listdir(tmp_path) == []


def test_depth_is_no_matter(tmp_path):
    root = tmp_path / "t"
    root.mkdir()
    fd = os.open(root, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("directory", dir_fd=fd)
        below = os.open("directory", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    remove_tree(str(root))
    assert os.listdir(tmp_path) == []


def test_names_that_are_not_text(tmp_path):
    os.makedirs(os.fsencode(tmp_path) + b"/t/\xff\xfe/\xfd")
    remove_tree(str(tmp_path / "t"))
    assert os.listdir(tmp_path) == []


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "source"
    (root / "d/e").mkdir(parents=True)
    (root / "d/f").write_text("content")
    os.link(root / "d/f", root / "hard")
    (root / "soft").symlink_to("d/f")
    os.mkfifo(root / "pipe", 0o640)
    with open(root / "sparse", "wb") as stream:
        stream.seek(1 << 20)
        stream.write(b"end")
        stream.truncate(4 << 20)
    os.chmod(root / "d", 0o750)
    os.utime(root / "d/e", (5, 5))
    os.utime(root, (7, 7))
    (tmp_path / "target").mkdir()
    return root


def test_copy_keeps_everything(tree, tmp_path):
    target = tmp_path / "target"
    copy_tree(str(tree), str(target))
    assert (target / "d/f").read_text() == "content"
    assert os.stat(target / "d/f").st_ino == os.stat(target / "hard").st_ino
    assert os.readlink(target / "soft") == "d/f"
    assert os.stat(target / "pipe").st_mode == os.stat(tree / "pipe").st_mode
    assert (target / "sparse").read_bytes() == (tree / "sparse").read_bytes()
    assert os.stat(target / "sparse").st_blocks < 1000
    assert os.stat(target / "d").st_mode & 0o777 == 0o750
    assert os.stat(target / "d/e").st_mtime == 5
    assert os.stat(target).st_mtime == 7


def test_copy_from_a_descriptor(tree, tmp_path):
    fd = os.open(tree, os.O_RDONLY)
    copy_tree(fd, str(tmp_path / "target"))
    assert os.fstat(fd)
    os.close(fd)
    assert (tmp_path / "target/hard").read_text() == "content"


def test_size_counts_hard_links_once(tree):
    assert tree_size(str(tree)) == {"size": 7 + (4 << 20), "entries": 7}
