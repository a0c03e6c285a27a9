"""The tests' own tools do what tests rely on."""

from __future__ import annotations

import subprocess
import sys

from tests.support import processes


def test_a_process_is_found_by_an_open_file(tmp_path):
    with open(tmp_path / "file", "w") as stream:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=stream)
    assert processes.processes_of(tmp_path) == [process.pid]
    process.communicate(b"\n")
    assert processes.wait_gone([process.pid], 5) == []
    assert processes.processes_of(tmp_path) == []
