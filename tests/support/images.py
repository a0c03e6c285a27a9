"""Images for tests, made from the distribution's packages by scripts/lib/make-image and kept in the user's cache."""

from __future__ import annotations

import fcntl
import importlib.machinery
import importlib.util
import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _load(path: Path) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("make_image", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


make_image = _load(ROOT / "scripts/lib/make-image")


def build(name: str) -> Path:
    """Return the archive of ``nginx`` or ``busybox``: an OCI layout and a docker-archive in one tar."""
    if os.environ.get("RL_TEST_IMAGES"):  # made already, as in the virtual machine of scripts/vm, which has no network
        return Path(os.environ["RL_TEST_IMAGES"]) / f"{name}.tar"
    cache = make_image.cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "images.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return make_image.build(name, cache)


@pytest.fixture(scope="session")
def nginx_archive() -> Path:
    """nginx as the real image behaves: ENTRYPOINT, CMD, EXPOSE 80, SIGQUIT, user nginx (101), logs to stdout."""
    return build("nginx")


@pytest.fixture(scope="session")
def busybox_archive() -> Path:
    """busybox: one layer, every applet a hard link, CMD sh."""
    return build("busybox")


@pytest.fixture(scope="session")
def debian_rootfs() -> Path:
    """A tar of a minimal Debian made by mmdebstrap, for `rl import`; it takes half a minute the first time."""
    cache = make_image.cache_directory()
    version = make_image.records(["base-files"], cache)["base-files"]["Version"]
    path = cache / "images" / f"debian-{version.replace('/', '_')}.tar"
    with open(cache / "images.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".new.tar")
            suite = make_image.output_of("sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME").strip()
            subprocess.run(
                ["mmdebstrap", "--quiet", "--mode=unshare", "--variant=minbase", suite, str(temporary)], check=True
            )
            temporary.rename(path)
    return path
