"""The `rl` command with a home, a store and a runtime directory of its own, where nothing may be left in the end."""

from __future__ import annotations

import copy
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import processes
from tests.support.images import ROOT
from tests.support.registry import Registry

LAUNCH = """\
import sys
sys.path += sys.argv[1].split(":")
sys.argv[:2] = ["rl"]
from rootless.__main__ import main
main()
"""


def default_command() -> list[str]:
    """Return how to start rl: what RL_TEST_COMMAND says (dist/rl in scripts/test), else this checkout's modules."""
    if os.environ.get("RL_TEST_COMMAND"):
        return shlex.split(os.environ["RL_TEST_COMMAND"])
    site = str(Path(pytest.__file__).resolve().parents[1])
    return [sys.executable, "-I", "-S", "-c", LAUNCH, f"{ROOT}:{site}"]


class Result:
    """How a command ended."""

    def __init__(self, arguments: list[str], status: int, stdout: bytes, stderr: bytes) -> None:
        self.arguments = arguments
        self.status = status
        self.raw = stdout
        self.stdout = stdout.decode(errors="surrogateescape")
        self.stderr = stderr.decode(errors="surrogateescape")

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    def __repr__(self) -> str:
        return f"<{shlex.join(self.arguments)}: status {self.status}, stdout {self.stdout!r}, stderr {self.stderr!r}>"


class Rl:
    """Runs rl; calling it returns a ``Result``."""

    def __init__(self, directory: Path, *, command: list[str] | None = None, prefix: list[str] | None = None) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.data_root = self.home / ".local/share/rl"
        self.runtime_dir = directory / "run/rl"
        self.command = command or default_command()
        self.prefix = prefix or []  # e.g. tests.support.hosts.nested(...)
        self._running: list[subprocess.Popen[bytes]] = []
        self._terminals: list[Any] = []
        self.home.mkdir(mode=0o700)
        (directory / "run").mkdir(mode=0o700)
        self.env = {
            "HOME": str(self.home),
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "XDG_RUNTIME_DIR": str(directory / "run"),
            # Bytecode of dist/rl is unpacked once for all tests, not once a home.
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
        }

    def using(self, command: list[str], **env: str) -> Rl:
        """Return the same store under another command; the original cleans up."""
        other = copy.copy(self)
        other.command = command
        other.env = {**self.env, **env}
        return other

    def configure(self, **settings: Any) -> None:
        """Write config.json; underscores stand for dashes. Keys that are there already stay."""
        path = self.home / ".config/rl/config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        current = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(current | {name.replace("_", "-"): value for name, value in settings.items()}))

    def _argv(self, arguments: tuple[object, ...]) -> list[str]:
        return [*self.prefix, *self.command, *(str(argument) for argument in arguments)]

    def _environment(self, env: dict[str, str | None] | None) -> dict[str, str]:
        merged: dict[str, str | None] = {**self.env, **(env or {})}
        return {name: value for name, value in merged.items() if value is not None}

    def __call__(
        self,
        *arguments: object,
        input: bytes | str = b"",
        timeout: float = 60,
        env: dict[str, str | None] | None = None,
        cwd: str | Path | None = None,
    ) -> Result:
        """Run to the end. ``env`` adds variables, or takes away those whose value is None."""
        process = subprocess.Popen(
            self._argv(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment(env),
            cwd=cwd or self.home,
        )
        data = input.encode() if isinstance(input, str) else input
        try:
            stdout, stderr = process.communicate(data, timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return Result([str(argument) for argument in arguments], process.returncode, stdout, stderr)

    def ok(self, *arguments: object, **options: Any) -> str:
        """Run, assert success, return stdout without its last newline."""
        result = self(*arguments, **options)
        assert result.status == 0, result
        return result.stdout.removesuffix("\n")

    def fails(self, status: int, *arguments: object, **options: Any) -> str:
        """Run, assert that status and one line on stderr; return that line."""
        result = self(*arguments, **options)
        assert result.status == status, result
        assert len(result.stderr.splitlines()) == 1, result
        return result.stderr.strip()

    def json(self, *arguments: object) -> Any:
        """Run, assert success, parse stdout."""
        return json.loads(self.ok(*arguments))

    def spawn(self, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        """Start and return; whatever still runs at the end of the test is killed."""
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        env = self._environment(options.pop("env", None))
        process = subprocess.Popen(self._argv(arguments), env=env, cwd=self.home, **options)
        self._running.append(process)
        return process

    def terminal(self, *arguments: object, rows: int = 24, columns: int = 80, timeout: float = 30) -> Any:
        """Start on a pseudo-terminal; returns a ``pexpect.spawn``."""
        import pexpect

        argv = self._argv(arguments)
        child = pexpect.spawn(
            argv[0],
            argv[1:],
            env=self._environment(None),
            cwd=str(self.home),
            dimensions=(rows, columns),
            timeout=timeout,
        )
        self._terminals.append(child)
        return child

    def containers(self) -> list[str]:
        """Return the ids of all containers."""
        return self.ok("ps", "-aq", "--no-trunc").split()

    def pause_processes(self) -> list[int]:
        """Return the process that keeps the user namespace, which may outlive every container."""
        try:
            return [int((self.runtime_dir / "pause.pid").read_text().split()[0])]
        except (OSError, ValueError, IndexError):
            return []

    def leftovers(self, *, seconds: float = 5) -> list[str]:
        """Return what a store without containers must not have; processes get a few seconds to end."""
        found = []
        pids = [pid for pid in processes.processes_of(self.directory) if pid not in self.pause_processes()]
        for pid in processes.wait_gone(pids, seconds):
            found.append(f"process {processes.describe(pid)}")
        found += [f"mount {mount}" for mount in processes.mounts_below(self.directory)]
        for place in (
            self.data_root / "containers",
            self.data_root / "names",
            self.data_root / "tmp",
            self.data_root / "trash",
            self.runtime_dir / "containers",
        ):
            if place.is_dir():
                found += [f"file {path}" for path in place.iterdir() if path.name != ".lock"]
        return found

    def close(self) -> list[str]:
        """Remove all containers, then everything; return what rl had left behind."""
        for child in self._terminals:
            child.close(force=True)
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.communicate()
        complaints = []
        if self.data_root.exists():
            listing = self("ps", "-aq", "--no-trunc")
            if listing.status == 0 and listing.stdout.strip():
                removal = self("rm", "-f", "-v", *listing.stdout.split())
                if removal.status != 0:
                    complaints.append(f"containers that cannot be removed: {removal}")
            complaints += self.leftovers()
        processes.kill(processes.processes_of(self.directory))
        remove_tree(self.directory)
        return complaints


def remove_tree(directory: Path) -> None:
    """Delete a tree that may hold files of subordinate ids."""
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        subprocess.run(
            ["unshare", "--user", "--map-auto", "--map-root-user", "rm", "-rf", str(directory)],
            stderr=subprocess.DEVNULL,
            check=False,
        )


@pytest.fixture
def bare_rl() -> Iterator[Rl]:
    """Rl with nothing configured and no registry in reach."""
    # Short, since it becomes part of socket addresses.
    store = Rl(Path(tempfile.mkdtemp(prefix="rlt-", dir=os.environ.get("RL_TEST_TMPDIR"))))
    store.configure(registry_mirrors=["http://127.0.0.1:9"])
    try:
        yield store
    finally:
        complaints = store.close()
    if complaints:
        pytest.fail("left over: " + "\n".join(complaints))


@pytest.fixture
def rl(bare_rl: Rl, registry: Registry) -> Rl:
    """Rl with an empty store and the session's registry as mirror: `rl run nginx` pulls from there."""
    bare_rl.configure(registry_mirrors=[registry.url])
    return bare_rl


@pytest.fixture
def busybox(rl: Rl) -> Rl:
    """``rl`` with busybox pulled already."""
    rl.ok("pull", "-q", "busybox")
    return rl


@pytest.fixture
def nginx(rl: Rl) -> Rl:
    """``rl`` with nginx pulled already."""
    rl.ok("pull", "-q", "nginx")
    return rl
