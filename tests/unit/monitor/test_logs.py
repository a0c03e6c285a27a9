"""The json-file log."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from rootless.monitor import logs


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_record_is_a_line_with_its_stream_and_time(tmp_path: Path) -> None:
    log = logs.JsonFileLog(str(tmp_path / "log"))
    log.write("stdout", b"one\ntwo\n")
    log.write("stderr", "héé\n".encode())
    log.close()
    records = read(tmp_path / "log")
    assert [(record["log"], record["stream"]) for record in records] == [
        ("one\n", "stdout"),
        ("two\n", "stdout"),
        ("héé\n", "stderr"),
    ]
    assert all(record["time"].endswith("Z") and len(record["time"]) == 30 for record in records)


def test_a_line_in_pieces_is_one_record_and_the_last_needs_no_newline(tmp_path: Path) -> None:
    log = logs.JsonFileLog(str(tmp_path / "log"))
    log.write("stdout", b"he")
    log.write("stderr", b"between\n")
    log.write("stdout", b"llo\nrest")
    log.close()
    assert [record["log"] for record in read(tmp_path / "log")] == ["between\n", "hello\n", "rest"]


def test_a_long_line_is_cut_at_16_kib(tmp_path: Path) -> None:
    log = logs.JsonFileLog(str(tmp_path / "log"))
    log.write("stdout", b"x" * 40000 + b"\n")
    log.close()
    assert [len(record["log"]) for record in read(tmp_path / "log")] == [16384, 16384, 40001 - 32768]


def test_rotation_keeps_max_file_files_and_loses_no_line_among_them(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = logs.JsonFileLog(str(path), max_size=1000, max_file=3)
    for number in range(30):
        log.write("stdout", b"line %d\n" % number)
    log.close()
    files = [tmp_path / "log.2", tmp_path / "log.1", path]
    assert all(file.stat().st_size <= 1000 for file in files)
    lines = [record["log"] for file in files for record in read(file)]
    assert lines == [f"line {number}\n" for number in range(30 - len(lines), 30)]
    assert not (tmp_path / "log.3").exists()


def test_one_file_is_emptied_when_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = logs.JsonFileLog(str(path), max_size=300)
    for number in range(10):
        log.write("stdout", b"line %d\n" % number)
    log.close()
    assert path.stat().st_size <= 300
    assert read(path)[-1]["log"] == "line 9\n"


def test_a_full_disk_loses_lines_but_raises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logs.JsonFileLog(str(tmp_path / "log"))
    log.write("stdout", b"before\n")
    write = os.write

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.write("stdout", b"lost\n")
    monkeypatch.setattr(os, "write", write)
    log.write("stdout", b"after\n")
    log.close()
    assert [record["log"] for record in read(tmp_path / "log")] == ["before\n", "after\n"]


def test_a_torn_write_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logs.JsonFileLog(str(tmp_path / "log"))
    log.write("stdout", b"before\n")
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
    log.write("stdout", b"torn\n")
    monkeypatch.setattr(os, "write", write)
    log.write("stdout", b"after\n")
    log.close()
    assert [record["log"] for record in read(tmp_path / "log")] == ["before\n", "after\n"]
