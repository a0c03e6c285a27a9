"""Poor hosts, made by an ordinary user: a PATH without a helper, a namespace without a device or with a tiny disk."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

DIRECTORIES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")


@pytest.fixture
def path_with_copy(tmp_path: Path) -> Callable[..., str]:
    """A PATH on which a setuid program is a plain copy, so that it runs without its privilege."""

    def make(*names: str) -> str:
        directory = tmp_path / "bin-copies"
        directory.mkdir(exist_ok=True)
        for name in names:
            original = shutil.which(name)
            assert original, f"{name} is not installed"
            shutil.copyfile(original, directory / name)
            (directory / name).chmod(0o755)
        return f"{directory}:{':'.join(DIRECTORIES)}"

    return make


def ordinary(setup: str) -> list[str]:
    """Return a command prefix: the same user without privileges, in a mount namespace after ``setup`` in sh.

    No other id is mapped there, so that newuidmap lacks its privilege.
    """
    unshare = ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "--propagation", "private"]
    drop = "setpriv --ambient-caps=-all --inh-caps=-all"
    return [*unshare, "sh", "-ec", f'{setup}\nexec {drop} -- "$@"', "sh"]


def hidden(*programs: str) -> str:
    """Return a setup for ``nested`` or ``ordinary`` that takes programs away, wherever they are."""
    found = {os.path.realpath(f"{place}/{name}") for place in DIRECTORIES for name in programs}
    return "\n".join(f"mount --bind /dev/null {path}" for path in sorted(found) if os.path.exists(path))


def nested(setup: str = "") -> list[str]:
    """Return a command prefix: root of a new user and mount namespace with all ids, after ``setup`` in sh.

    What root would do to a machine can be done there: ``mount --bind /dev/null /dev/net/tun`` hides a device,
    ``mount -t tmpfs -o size=4m none DIR`` is a small disk, ``echo 0 >/proc/sys/user/max_user_namespaces`` forbids
    namespaces.
    """
    unshare = ["unshare", "--user", "--map-auto", "--map-root-user", "--mount", "--propagation", "private"]
    return [*unshare, "sh", "-ec", f'{setup}\nexec "$@"', "sh"]


def sh(script: str, *, prefix: list[str] | None = None) -> str:
    """Run a shell script (in a ``nested`` host, if a prefix says so) and return its output."""
    argv = [*(prefix or []), "sh", "-ec", script]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, f"{shlex.join(argv)}: {result.stderr}"
    return result.stdout


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 and 0.0.0.0 that nobody uses, for now."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])
