import pytest

from rootless.cli.cidfile import CidFile
from rootless.errors import Conflict, SystemFailure


def test_id_is_written(tmp_path):
    with CidFile(str(tmp_path / "cid")) as file:
        file.write("abc")
    assert (tmp_path / "cid").read_text() == "abc"


def test_file_is_gone_if_no_container_was_made(tmp_path):
    with pytest.raises(ValueError, match="boom"), CidFile(str(tmp_path / "cid")):
        raise ValueError("boom")
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_a_conflict_and_is_left_alone(tmp_path):
    (tmp_path / "cid").write_text("old")
    with pytest.raises(Conflict, match=r"^container ID file found: .*cid$"), CidFile(str(tmp_path / "cid")):
        pass
    assert (tmp_path / "cid").read_text() == "old"


def test_directory_that_is_missing_is_reported(tmp_path):
    with pytest.raises(SystemFailure, match="no such file or directory"), CidFile(str(tmp_path / "no" / "cid")):
        pass
