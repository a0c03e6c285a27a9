"""A real registry on loopback: Debian's docker-registry, filled by skopeo."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIG = """\
version: 0.1
log: {{level: info}}
storage:
  filesystem: {{rootdirectory: "{directory}/data"}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:0"}}
"""


class Registry:
    """A running registry; ``address`` is host:port, without TLS and without authentication."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        config = directory / "config.yml"
        config.write_text(CONFIG.format(directory=directory))
        self._log = directory / "registry.log"
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )
        self.address = self._read_address()
        self.url = f"http://{self.address}"

    def _read_address(self) -> str:
        assert self._process.stderr is not None
        text = b""
        for line in self._process.stderr:
            text += line
            found = re.search(rb"listening on (127\.0\.0\.1:[0-9]+)", line)
            if found:
                # From here on into a file, so that the pipe never fills up.
                self._drain = subprocess.Popen(
                    ["tee", str(self._log)], stdin=self._process.stderr, stdout=subprocess.DEVNULL
                )
                self._process.stderr.close()
                return found[1].decode()
        raise RuntimeError(f"docker-registry did not start: {text.decode(errors='replace')}")

    def log(self) -> str:
        """Return the access log so far, to see which requests a client made."""
        return self._log.read_text(errors="replace")

    def push(self, archive: Path, name: str, *, format: str = "oci", compress: str = "") -> None:
        """Push an archive of tests/support/images as ``name`` ("library/nginx:latest"), as OCI or as v2s2."""
        options = ["--dest-compress-format", compress] if compress else []
        # Unpacked by us: skopeo unpacks archives below /var/tmp and gives up on their owners.
        with tempfile.TemporaryDirectory(dir=self.directory) as layout:
            subprocess.run(["tar", "-xf", archive, "-C", layout], check=True)
            self.skopeo(
                *("copy", "--dest-tls-verify=false", "--format", format, *options),
                *(f"oci:{layout}:latest", f"docker://{self.address}/{name}"),
            )

    def skopeo(self, *arguments: str) -> str:
        """Run skopeo, with a home of its own."""
        result = subprocess.run(
            ["skopeo", "--insecure-policy", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.directory),
                "XDG_RUNTIME_DIR": str(self.directory),
                "TMPDIR": str(self.directory),
            },
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    def close(self) -> None:
        """Stop the registry and reap it."""
        self._process.terminate()
        self._process.wait(10)
        self._drain.wait(10)


@pytest.fixture(scope="session")
def empty_registry() -> Iterator[Registry]:
    """A registry that starts without images, one for the whole session."""
    directory = Path(tempfile.mkdtemp(prefix="rlreg-"))
    registry = Registry(directory)
    try:
        yield registry
    finally:
        registry.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def registry(empty_registry: Registry, nginx_archive: Path, busybox_archive: Path) -> Registry:
    """The session's registry with library/nginx:latest, library/busybox:latest (OCI) and :v2s2 (Docker schema 2)."""
    empty_registry.push(nginx_archive, "library/nginx:latest")
    empty_registry.push(busybox_archive, "library/busybox:latest")
    empty_registry.push(busybox_archive, "library/busybox:v2s2", format="v2s2")
    return empty_registry
