"""Make dist/rl: one executable file of a shell head, a first-start script and compressed modules.

A zipapp would be opened and searched at each start (7 ms); this file is read once. After that a start is
`sh`, then `python3 -I -S` with byte-compiled modules in the user's cache.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import os
import py_compile
import sys
import tarfile
import tempfile
from pathlib import Path

# Top-level names in site-packages. The last two are compiled for one interpreter and one machine;
# rl does without them elsewhere.
PURE = ("click", "urllib3", "pyseccomp", "jeepney")
BINARY = ("zstandard", "isal")
SKIPPED_PARTS = {"__pycache__", "tests", "emscripten"}
SKIPPED_STEMS = ("_cffi",)  # zstandard has a second back end for PyPy


def modules(tree: Path, *, binary: bool) -> list[Path]:
    """Return the files of a package (or module) that a run may need."""
    suffixes = {".py", ".json"} | ({".so"} if binary else set())
    files = [tree] if tree.is_file() else sorted(path for path in tree.rglob("*") if path.is_file())
    return [
        path
        for path in files
        if path.suffix in suffixes
        and not path.name.startswith(SKIPPED_STEMS)
        and not SKIPPED_PARTS & set(path.relative_to(tree.parent).parts)
    ]


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file that is the same on each build."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    archive.addfile(member, io.BytesIO(data))


def bytecode(path: Path, name: str, scratch: str) -> bytes:
    """Compile for this interpreter; unchecked, so that a start does not stat the sources' dates.

    Ours without docstrings: each monitor would carry them for the life of its container.
    """
    target = os.path.join(scratch, "module.pyc")
    py_compile.compile(
        str(path),
        target,
        name,
        doraise=True,
        optimize=2 if name.startswith("rootless/") else 0,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    return Path(target).read_bytes()


def payload(root: Path, site: Path) -> bytes:
    """Return the compressed archive of all modules, with bytecode for this interpreter."""
    trees = [(root / "rootless", False)]
    for name in (*PURE, *BINARY):
        tree = next((site / each for each in (name, f"{name}.py") if (site / each).exists()), None)
        if tree is None and name in PURE:
            raise SystemExit(f"package: {name} is not installed in {site}")
        if tree is not None:
            trees.append((tree, name in BINARY))
    raw = io.BytesIO()
    with (
        tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        tempfile.TemporaryDirectory() as scratch,
    ):
        start = Path(__file__).parent / "onefile_start.py"
        add(archive, "rl_start.py", start.read_bytes())
        add(archive, importlib.util.cache_from_source("rl_start.py"), bytecode(start, "rl_start.py", scratch))
        for tree, binary in trees:
            for path in modules(tree, binary=binary):
                name = path.relative_to(tree.parent).as_posix()
                add(archive, name, path.read_bytes())
                if path.suffix == ".py":
                    cached = importlib.util.cache_from_source(name, optimization="")
                    add(archive, cached, bytecode(path, name, scratch))
    return gzip.compress(raw.getvalue(), 9, mtime=0)


def main() -> None:
    """Write the file named by the second argument, from the checkout named by the first."""
    root, output = Path(sys.argv[1]), Path(sys.argv[2])
    site = Path(importlib.util.find_spec("click").origin).parent.parent  # type: ignore[union-attr,arg-type]
    version = next(
        line.split('"')[1]
        for line in (root / "rootless/__init__.py").read_text().splitlines()
        if line.startswith("__version__")
    )
    library = Path(__file__).parent
    data = payload(root, site)
    boot = (library / "onefile_boot.py").read_bytes()
    text = (library / "onefile-head.sh").read_text()
    fields = {
        "VERSION": version,
        "HASH": hashlib.sha256(data).hexdigest(),
        "BOOT_SIZE": str(len(boot)),
        "PAYLOAD_SIZE": str(len(data)),
    }
    for name, value in fields.items():
        text = text.replace(f"@{name}@", value)
    # The head's length depends on the offsets in it: give those a fixed width.
    size = len(text.encode()) - len("@BOOT_OFFSET@") - len("@PAYLOAD_OFFSET@") + 2 * 7
    for name, offset in (("BOOT_OFFSET", size), ("PAYLOAD_OFFSET", size + len(boot))):
        text = text.replace(f"@{name}@", str(offset).rjust(7))
    assert len(text.encode()) == size
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    temporary.write_bytes(text.encode() + boot + data)
    temporary.chmod(0o755)
    temporary.rename(output)
    print(f"{output}: rl {version}, {output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
