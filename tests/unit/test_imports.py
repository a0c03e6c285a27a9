"""Imports go downwards only, and what must start fast imports nothing slow."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "rootless"

# Modules at the top of the package that everybody may import.
COMMON = {"errors", "record", "jsonlite", "log", "events"}
BELOW_ENGINE = {"monitor", "runtime", "storage", "registry", "network", "cgroups", "oci", "linux"}
# docs/architecture.md draws this.
ALLOWED: dict[str, set[str]] = {
    "__main__": {"cli", "monitor", "config"},
    "cli": {"engine", "build", "cgroups", "config", "linux", "oci"},
    "api": {"engine", "build", "config"},
    "build": {"engine", "storage", "oci"},
    "engine": {"config", *BELOW_ENGINE},
    "monitor": {"runtime", "cgroups", "network", "linux"},
    "runtime": {"cgroups", "oci", "linux"},
    "storage": {"oci", "linux"},
    "registry": {"oci", "linux"},
    "network": {"linux"},
    "cgroups": {"linux"},
    "oci": set(),
    "linux": set(),
    "config": set(),
    "errors": set(),
    "record": set(),
    "jsonlite": set(),
    "log": set(),
    "events": set(),
}

# What a start may not pay for (docs/performance.md has the prices).
SLOW = {
    *("argparse", "asyncio", "click", "collections", "contextlib", "ctypes", "dataclasses", "enum", "functools"),
    *(
        "hashlib",
        "http",
        "inspect",
        "json",
        "logging",
        "pathlib",
        "pyroute2",
        "re",
        "shutil",
        "signal",
        "socket",
        "ssl",
    ),
    *("subprocess", "tarfile", "tempfile", "threading", "typing", "urllib", "urllib3"),
}
# Where a module may import some of these at its top after all, because nothing quick imports that module.
SLOW_ALLOWED_IN = ("api/", "build/", "registry/", "cli/main.py", "cli/commands/")
# `typing` costs as much as re, so that types stand below `if TYPE_CHECKING`. ctypes has one user.
CTYPES_USER = "linux/syscalls.py"


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """Return the package (or top-level module) of a file: "storage", "config"."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(tree: ast.AST, *, deep: bool) -> list[tuple[int, str]]:
    """Return line and dotted name of imports; ``deep`` enters functions. Those below TYPE_CHECKING are left out."""
    found = []
    waiting = list(ast.iter_child_nodes(tree))
    while waiting:
        node = waiting.pop()
        if is_type_checking(node):
            waiting += node.orelse  # type: ignore[attr-defined]
        elif isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
        elif deep or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downwards_only(path):
    own = name_of(path)
    if path == PACKAGE / "__init__.py":
        own = "errors"
    assert own in ALLOWED, f"say in tests/unit/test_imports.py what rootless/{own} may import"
    wrong = []
    for line, name in imports(ast.parse(path.read_text()), deep=True):
        parts = name.split(".")
        if parts[0] == "rootless" and len(parts) > 1 and parts[1] not in {own, "__version__"} | COMMON | ALLOWED[own]:
            wrong.append(f"{path.relative_to(ROOT)}:{line}: {own} may not import {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_slow_modules_are_imported_where_they_are_needed(path):
    relative = path.relative_to(PACKAGE).as_posix()
    if relative.startswith(SLOW_ALLOWED_IN):
        return
    wrong = [
        f"rootless/{relative}:{line}: import {name} inside the function that needs it"
        for line, name in imports(ast.parse(path.read_text()), deep=False)
        if name.split(".")[0] in SLOW and not (name == "ctypes" and relative == CTYPES_USER)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_one_module_uses_ctypes(path):
    users = [
        name
        for _, name in imports(ast.parse(path.read_text()), deep=True)
        if name.split(".")[0] in ("ctypes", "_ctypes")
    ]
    assert not users or path == PACKAGE / CTYPES_USER


def test_every_directory_of_modules_is_a_package():
    directories = {path.parent for path in modules()}
    assert [str(each.relative_to(ROOT)) for each in sorted(directories) if not (each / "__init__.py").exists()] == []


def loaded_by(code: str) -> set[str]:
    """Return what a lean interpreter has imported after running ``code``."""
    site = os.path.dirname(os.path.dirname(pytest.__file__))
    program = f"import sys, os; sys.path += [{str(ROOT)!r}, {site!r}]; base = set(sys.modules)\n{code}\n"
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program + "print('MODULES', *(set(sys.modules) - base))"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    line = next(line for line in result.stdout.splitlines() if line.startswith("MODULES"))
    return set(line.split()[1:])


# Modules that may not be loaded once these are imported; `linux.syscalls` brings ctypes, which brings nothing else.
HOT = SLOW - {"ctypes"}


@pytest.mark.parametrize(
    "names",
    [
        "rootless.__main__",
        "rootless.config",
        "rootless.events",
        "rootless.cli.fastpath rootless.cli.options",
        "rootless.linux.syscalls rootless.linux.process rootless.linux.userns",
        "rootless.storage.images rootless.storage.content rootless.storage.locks rootless.storage.records",
        "rootless.oci.references rootless.oci.digests rootless.oci.image",
        "rootless.engine.options rootless.engine.specgen rootless.engine.containers",
        "rootless.runtime.plan rootless.runtime.parent rootless.runtime.init",
        "rootless.runtime.capabilities rootless.runtime.users rootless.runtime.seccomp",
        "rootless.monitor rootless.monitor.reaper",
        "rootless.cgroups.detect rootless.cgroups.placement rootless.cgroups.membership rootless.cgroups.resources",
        "rootless.network.slirp rootless.network.resolvconf",
    ],
)
def test_hot_modules_load_nothing_slow(names):
    loaded = loaded_by(f"import {', '.join(names.split())}")
    assert {name for name in loaded if name.split(".")[0] in HOT} == set()


def test_version_loads_nothing_but_the_front_door():
    loaded = loaded_by("from rootless.__main__ import run; run(['--version'])")
    assert {name for name in loaded if name.startswith("rootless")} == {"rootless", "rootless.__main__"}
    assert {name for name in loaded if name.split(".")[0] in SLOW} == set()
