"""The one-file command and the one that pip installs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.images import ROOT

PACKAGE = ROOT / "scripts/lib/package.py"


@pytest.fixture(scope="session")
def onefile(tmp_path_factory) -> Path:
    """dist/rl: the one that scripts/test made, else a fresh one."""
    path = tmp_path_factory.mktemp("dist") / "rl"
    subprocess.run([sys.executable, "-I", PACKAGE, ROOT, path], check=True, stdout=subprocess.DEVNULL)
    return path


def start(onefile: Path, home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", **env}
    return subprocess.run([onefile, *arguments], env=environment, capture_output=True, text=True, timeout=60)


def unpacked(home: Path) -> Path:
    return next((home / ".cache/rl").glob("*/cpython-*"))


def test_the_first_start_unpacks_and_the_second_does_not(onefile, tmp_path):
    first = start(onefile, tmp_path, "--version")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("rl version ")
    before = unpacked(tmp_path).stat()
    second = start(onefile, tmp_path, "--version")
    assert second.stdout == first.stdout
    after = unpacked(tmp_path).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_every_module_is_byte_compiled_in_the_cache(onefile, tmp_path):
    start(onefile, tmp_path, "--version")
    sources = [path for path in unpacked(tmp_path).rglob("*.py") if "__pycache__" not in path.parts]
    assert len(sources) > 50
    tag = unpacked(tmp_path).name
    missing = [path for path in sources if not (path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc").exists()]
    assert missing == []


def test_many_first_starts_at_once(onefile, tmp_path):
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    running = [
        subprocess.Popen([onefile, "--version"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    results = {(process.communicate()[1], process.returncode) for process in running}
    assert results == {(b"", 0)}
    assert [path.name for path in unpacked(tmp_path).parent.iterdir() if path.name.startswith(".cpython")] == []


def test_a_cache_that_lost_files_is_made_again(onefile, tmp_path):
    start(onefile, tmp_path, "--version")
    shutil.rmtree(unpacked(tmp_path) / "rootless")
    assert start(onefile, tmp_path, "--version").returncode == 0
    assert (unpacked(tmp_path) / "rootless/__main__.py").exists()


def test_a_truncated_file_says_so(onefile, tmp_path):
    damaged = tmp_path / "rl"
    damaged.write_bytes(onefile.read_bytes()[:-1000])
    damaged.chmod(0o755)
    result = start(damaged, tmp_path, "--version")
    assert result.returncode == 125
    assert result.stderr.count("\n") == 1
    assert "is damaged" in result.stderr


def test_a_home_that_cannot_be_written_is_replaced_by_a_private_directory(onefile, tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    result = start(onefile, home, "--version")
    assert (result.returncode, result.stderr) == (0, "")
    for path in Path("/tmp").glob(f"rl-modules-{os.getuid()}-*"):
        assert path.stat().st_mode & 0o077 == 0
        shutil.rmtree(path)


def test_modules_of_others_are_not_used(onefile, tmp_path):
    (tmp_path / "click.py").write_text("raise SystemExit('the wrong click')")
    result = subprocess.run(
        [onefile, "--help"],
        env={
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(tmp_path),
            "PYTHONSTARTUP": "/nonexistent",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_no_python_says_what_is_needed(onefile, tmp_path):
    result = start(onefile, tmp_path, "--version", RL_PYTHON="/nonexistent/python3")
    assert result.returncode != 0
    assert "/nonexistent/python3" in result.stderr


def test_the_headline_command_with_the_one_file(onefile, rl, free_port, tmp_path):
    single = rl.using([str(onefile)], XDG_CACHE_HOME=str(tmp_path / "cache"))
    single.ok("run", "-d", "-p", f"127.0.0.1:{free_port}:80", "--name", "web", "nginx")
    url = f"http://127.0.0.1:{free_port}"
    page = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", url],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Welcome to nginx!" in page.stdout, page.stderr
    single.ok("rm", "-f", "web")


def test_pip_installs_a_command_that_imports_nothing_needless(tmp_path):
    source = tmp_path / "source"
    # setuptools writes beside the sources, which we may not.
    for name in ("rootless", "scripts"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copyfile(ROOT / name, source / name)
    target = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", target], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, source], check=True, cwd=tmp_path
    )
    wheel = next(tmp_path.glob("*.whl"))
    subprocess.run([*pip, "--python", target / "bin/python", "install", "--no-deps", wheel], check=True, cwd=tmp_path)
    command = target / "bin/rl"
    assert subprocess.run([command, "--version"], capture_output=True, text=True).stdout.startswith("rl version ")
    # What pip writes for entry points imports `re`; this is our own script.
    assert "import re" not in command.read_text()
    installed = {path.name for path in target.glob("lib/python3*/site-packages/rootless/**/*.json")}
    assert installed == {path.name for path in (ROOT / "rootless").rglob("*.json")}
