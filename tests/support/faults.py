"""Failures caused from outside: an altered machine, a command that dies at a step, and what either may leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import processes
from tests.support.hosts import nested
from tests.support.images import ROOT
from tests.support.rl import Result, Rl

# What commands keep on purpose: answers of probes, compiled filters, locks, the pause process.
KEPT = ("cache/", "pause.", ".lock", "lock")


class Host:
    """A machine after ``setup`` (sh, as its root), for several commands; ``rl`` runs there. A context manager.

    It is a user and a mount namespace, held by a process.
    """

    def __init__(self, rl: Rl, setup: str) -> None:
        self._setup = setup
        self.rl = rl.using(rl.command)

    def __enter__(self) -> Rl:
        self._holder = subprocess.Popen(
            [*nested(self._setup), "sh", "-c", "cd /; echo ready; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.rl.env,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != b"ready\n":
            raise AssertionError(f"the host could not be made: {self._holder.stderr.read().decode()}")
        pid = self._holder.pid
        self.rl.prefix = ["nsenter", f"--target={pid}", "--user", "--mount"]
        self.rl.root = f"/proc/{pid}/root"  # where its files are seen from outside
        return self.rl

    def __exit__(self, *_: object) -> None:
        # Its like would be of no use to commands outside, and stay for half a minute.
        processes.kill(self.rl.pause_processes())
        self._holder.communicate()


def files(rl: Rl, *, beside: tuple[str, ...] = ()) -> set[str]:
    """Return the files and directories of a store and its runtime directory; ``beside`` are further prefixes to leave out."""
    root = getattr(rl, "root", "")
    found = set()
    for top in (rl.data_root, rl.runtime_dir):
        for directory, directories, names in os.walk(f"{root}{top}"):
            for name in (*directories, *names):
                path = os.path.relpath(f"{directory}/{name}", f"{root}{top}")
                if not f"{path}/".startswith((*KEPT, *beside)) and not path.endswith(".lock"):
                    found.add(path)
    return found


def mounts(rl: Rl) -> list[str]:
    """Return the mount points where commands of ``rl`` run."""
    script = ["cat", "/proc/self/mountinfo"]
    text = subprocess.run([*rl.prefix, *script], capture_output=True, text=True, check=True, timeout=20).stdout
    return sorted(line.split()[4] for line in text.splitlines() if str(rl.directory) in line)


def living(rl: Rl) -> set[int]:
    """Return the processes of a store, but for the one that keeps the namespace."""
    return {pid for pid in processes.processes_of(rl.directory) if not _is_pause(pid)}


def _is_pause(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"rl-pause")
    except OSError:
        return True


@contextmanager
def nothing_left(rl: Rl, *, beside: tuple[str, ...] = ()) -> Iterator[None]:
    """Assert that the block leaves no file, mount or process (and with that, no namespace) behind."""
    before = files(rl, beside=beside), mounts(rl), living(rl)
    yield
    remaining = processes.wait_gone(sorted(living(rl) - before[2]), 5)
    assert [processes.describe(pid) for pid in remaining] == []
    assert mounts(rl) == before[1]
    assert sorted(files(rl, beside=beside) - before[0]) == []


def complaint(result: Result) -> str:
    """Return the one line with which a command failed; asserts that it is one, and no fault of ours.

    Only the lines that tell of a pull may stand before it.
    """
    *others, line = result.stderr.splitlines() or [""]
    progress = [text for text in others if not text.startswith(("rl:", "Traceback"))]
    assert others == progress, result
    assert not others or others[0].startswith("Unable to find image"), result
    assert line.startswith("rl: "), result
    assert "internal error" not in line, result
    return line


def refused(
    rl: Rl, status: int, *arguments: object, says: tuple[str, ...], beside: tuple[str, ...] = (), **options: Any
) -> str:
    """Run a command that must fail so, say so in one line, and leave nothing behind; return the line."""
    with nothing_left(rl, beside=beside):
        result = rl(*arguments, **options)
    assert result.status == status, result
    line = complaint(result)
    assert [text for text in says if text not in line] == [], line
    return line


# Starts rl with a hook that kills a process at the N-th of its steps: whatever changes files or makes processes.
_MORTAL = """\
import os, sys
role, at, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.argv[:4] = ["rl"]
sys.path += path.split(":")
main, count = os.getpid(), 0
EVENTS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate",
          "os.fork", "os.forkpty", "os.exec", "fcntl.flock")
def hook(event, arguments):
    global count
    if event == "open":
        if not isinstance(arguments[2], int) or not arguments[2] & 3:
            return
    elif event not in EVENTS:
        return
    if arguments and str(arguments[0]).startswith(sys.pycache_prefix):
        return
    me = os.getpid()
    if me == main:
        mine = role == "main"
    elif "rootless.monitor.reaper" in sys.modules and os.getsid(0) == me:
        mine = role == "monitor"
    else:
        mine = role == "child"
    if mine:
        count += 1
        if count == at:
            os.kill(me, 9)
sys.addaudithook(hook)
from rootless.__main__ import main as start
start()
"""


@pytest.fixture(scope="session")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A command for ``Rl.using`` that dies: ``mortal("main", 3)`` kills rl itself at its third step."""
    cache = tmp_path_factory.mktemp("bytecode")
    site = str(Path(pytest.__file__).resolve().parents[1])

    def command(role: str, at: int) -> list[str]:
        start = [sys.executable, "-I", "-S", "-X", f"pycache_prefix={cache}", "-c", _MORTAL]
        return [*start, role, str(at), f"{ROOT}:{site}"]

    return command
