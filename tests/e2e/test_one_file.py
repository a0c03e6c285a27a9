"""dist/rl: one file, python3 and nothing else; the headline command with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_headline import WELCOME, fetch, wait_for
from tests.support.images import ROOT


@pytest.fixture(scope="module")
def onefile(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("dist") / "rl"
    script = ROOT / "scripts/lib/package.py"
    subprocess.run([sys.executable, "-I", script, ROOT, path], check=True, stdout=subprocess.DEVNULL)
    return path


@pytest.fixture
def lonely(rl, onefile, tmp_path):
    """The one file in a directory of its own, with a PATH where python3 is the only program."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to("/usr/bin/python3")
    here = rl.home / "rl"
    here.write_bytes(onefile.read_bytes())
    here.chmod(0o755)
    return rl.using([str(here)], PATH=str(programs), XDG_CACHE_HOME=str(tmp_path / "cache"))


def test_the_headline_with_python3_alone_in_path(lonely, free_port):
    process = lonely.spawn("run", "-p", f"{free_port}:80", "nginx")
    said = wait_for(process.stderr, "start worker process ")
    assert "Unable to find image 'nginx:latest' locally" in said
    assert WELCOME in fetch(free_port)
    assert lonely.ok("ps", "--format", "{{.Image}} {{.Ports}}").startswith(f"nginx 0.0.0.0:{free_port}->80/tcp")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def test_detached_with_exec_logs_and_removal(lonely, free_port):
    identifier = lonely.ok("run", "-d", "--name", "web", "-p", f"{free_port}:80", "nginx")
    follower = lonely.spawn("logs", "-f", "web", stderr=subprocess.STDOUT)
    wait_for(follower.stdout, "start worker process ")
    assert WELCOME in fetch(free_port)
    assert lonely.ok("exec", "web", "cat", "/etc/hostname") == identifier[:12]
    assert lonely.ok("rm", "-f", "web") == "web"
    assert lonely.containers() == []


def test_the_monitor_runs_from_the_one_file_too(lonely):
    """Nothing of this checkout and of the virtual environment is in its memory."""
    lonely.ok("run", "-d", "--name", "box", "busybox", "sleep", "300")
    payload = lonely.json("inspect", "box")[0]["State"]["Pid"]
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{payload}/status").read_text().splitlines() if "\t" in line
    )
    maps = Path(f"/proc/{status['PPid']}/maps").read_text()
    assert "python3" in maps
    assert str(ROOT) not in maps
    assert "site-packages" not in maps
