import os

import pytest

from rootless.errors import InvalidArgument, NoSuchVolume
from rootless.storage.layout import Layout
from rootless.storage.volumes import VolumeStore, copy_up


@pytest.fixture
def volumes(tmp_path):
    layout = Layout(str(tmp_path / "store"))
    layout.create()
    return VolumeStore(layout)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "image").mkdir(mode=0o700)
    (tmp_path / "image/f").write_text("from the image")
    fd = os.open(tmp_path / "image", os.O_RDONLY)
    yield fd
    os.close(fd)


def test_create_get_list_remove(volumes):
    made = volumes.create("data", labels={"a": "b"})
    assert volumes.create("data") == made == volumes.get("data")
    assert os.stat(made.mountpoint).st_mode & 0o777 == 0o755
    assert volumes.list() == [made]
    volumes.remove("data", None)
    assert volumes.list() == []
    for method in (volumes.get, lambda name: volumes.remove(name, None)):
        with pytest.raises(NoSuchVolume, match="no such volume: data"):
            method("data")


def test_anonymous_volumes_have_names_of_their_own(volumes):
    first, second = volumes.create(), volumes.create()
    assert first.anonymous
    assert len(first.name) == 64
    assert first.name != second.name


@pytest.mark.parametrize("name", ["a", "../x", "a/b", ".hidden", "a b", "-x", "x" * 256])
def test_bad_names_are_refused(volumes, name):
    with pytest.raises(InvalidArgument, match="invalid characters"):
        volumes.create(name)
    with pytest.raises(NoSuchVolume):
        volumes.get(name)


def test_empty_volume_is_filled_once(volumes, source):
    volume = volumes.create("data")
    assert copy_up(volume.mountpoint, source)
    with open(f"{volume.mountpoint}/f") as stream:
        assert stream.read() == "from the image"
    assert os.stat(volume.mountpoint).st_mode & 0o777 == 0o700
    os.unlink(f"{volume.mountpoint}/f")
    with open(f"{volume.mountpoint}/own", "w"):
        pass
    assert not copy_up(volume.mountpoint, source)
    assert os.listdir(volume.mountpoint) == ["own"]


def test_unfinished_copy_is_started_over(volumes, source):
    volume = volumes.create("data")
    with open(f"{volume.mountpoint}/half", "w"), open(f"{os.path.dirname(volume.mountpoint)}/filling", "w"):
        pass
    assert copy_up(volume.mountpoint, source)
    assert os.listdir(volume.mountpoint) == ["f"]
