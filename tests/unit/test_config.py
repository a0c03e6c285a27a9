"""Settings: defaults, file, environment, flags, in this order."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rootless import config
from rootless.errors import InvalidArgument, SystemFailure


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime)}


def write(environ: dict[str, str], content: Any) -> str:
    path = Path(environ["HOME"]) / ".config/rl/config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_defaults_without_a_file(environ: dict[str, str]) -> None:
    settings = config.load(environ=environ)
    assert settings.data_root == f"{environ['HOME']}/.local/share/rl"
    assert settings.runtime_dir == f"{environ['XDG_RUNTIME_DIR']}/rl"
    assert settings["log-level"] == "info"
    assert settings.origins["log-level"] == "default"


def test_flags_beat_environment_beats_file(environ: dict[str, str]) -> None:
    path = write(environ, {"log-level": "warn", "dns": ["1.1.1.1"], "storage-driver": "vfs"})
    environ |= {"RL_LOG_LEVEL": "debug", "RL_STORAGE_DRIVER": "overlay"}
    settings = config.load(environ=environ, overrides={"storage-driver": "fuse-overlayfs"})
    assert (settings["dns"], settings.origins["dns"]) == (["1.1.1.1"], path)
    assert (settings["log-level"], settings.origins["log-level"]) == ("debug", "RL_LOG_LEVEL")
    assert (settings["storage-driver"], settings.origins["storage-driver"]) == ("fuse-overlayfs", "--storage-driver")


def test_lists_and_maps_in_the_environment(environ: dict[str, str]) -> None:
    environ |= {"RL_REGISTRY_MIRRORS": "http://a:1, http://b", "RL_LOG_OPTS": "max-size=1m,max-file=3"}
    settings = config.load(environ=environ)
    assert settings["registry-mirrors"] == ["http://a:1", "http://b"]
    assert settings["log-opts"] == {"max-size": "1m", "max-file": "3"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ([], "must be a JSON object"),
        ({"log-levle": "x"}, "unknown key: log-levle"),
        ({"dns": "1.1.1.1"}, "dns must be a list"),
        ({"dns": [1]}, "dns must be a list of strings"),
        ({"init": 1}, "init must be true or false"),
        ({"storage-driver": "btrfs"}, "storage-driver must be one of overlay, fuse-overlayfs, vfs, not btrfs"),
        ({"data-root": "relative"}, "data-root is not an absolute path: relative"),
    ],
)
def test_mistakes_name_the_file_and_the_key(environ: dict[str, str], content: Any, message: str) -> None:
    path = write(environ, content)
    with pytest.raises(InvalidArgument, match=message) as caught:
        config.load(environ=environ)
    assert path in caught.value.message


def test_an_unknown_key_suggests_the_one_that_was_meant(environ: dict[str, str]) -> None:
    write(environ, {"registry-mirror": []})
    with pytest.raises(InvalidArgument) as caught:
        config.load(environ=environ)
    assert caught.value.hint == "did you mean registry-mirrors?"


def test_a_runtime_directory_of_others_is_not_used(environ: dict[str, str]) -> None:
    os.chmod(environ["XDG_RUNTIME_DIR"], 0o755)
    path = config.runtime_directory(environ)
    assert path.startswith(f"/tmp/rl-{os.getuid()}-")
    assert os.stat(path).st_mode & 0o777 == 0o700


def test_a_private_directory_that_is_not_private_is_refused(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    (runtime / "rl").symlink_to(tmp_path)
    with pytest.raises(SystemFailure, match="not a private directory"):
        config._make_private(str(runtime / "rl"))
