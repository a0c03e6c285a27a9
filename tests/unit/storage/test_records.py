import os

import pytest

from rootless.errors import Corrupt, NoSpace, SystemFailure, Unsupported
from rootless.storage import records
from rootless.storage.faults import translated


def test_what_was_written_is_read(tmp_path):
    path = str(tmp_path / "r.json")
    records.write(path, {"a": [1, "ü"]})
    assert records.read(path) == {"version": 1, "a": [1, "ü"]}
    assert os.listdir(tmp_path) == ["r.json"]
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_missing_record(tmp_path):
    with pytest.raises(FileNotFoundError):
        records.read(str(tmp_path / "r.json"))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": "1"}', "\0\0\0"])
def test_what_is_no_record_is_corrupt(tmp_path, text):
    (tmp_path / "r").write_text(text)
    with pytest.raises(Corrupt, match=str(tmp_path / "r")):
        records.read(str(tmp_path / "r"))


def test_record_of_the_future_is_refused(tmp_path):
    path = str(tmp_path / "r")
    records.write(path, {}, version=2)
    with pytest.raises(Unsupported, match="newer"):
        records.read(path)
    assert records.read(path, version=2) == {"version": 2}


def test_failed_write_leaves_the_old_record(tmp_path):
    path = str(tmp_path / "r")
    records.write(path, {"a": 1})
    with pytest.raises(TypeError):
        records.write(path, {"a": object()})
    assert records.read(path)["a"] == 1
    assert os.listdir(tmp_path) == ["r"]


def test_errors_are_translated():
    with (
        pytest.raises(NoSpace, match=r"^cannot write: no space"),
        open("/dev/full", "wb", buffering=0) as stream,
        translated("cannot write"),
    ):
        stream.write(b"x")
    with pytest.raises(SystemFailure, match="cannot write /nowhere/r"):
        records.replace("/nowhere/r", b"x")
