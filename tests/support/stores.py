"""Payloads with more to say than a shell, and images made by hand."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

from tests.support.layers import Archive

# The machine's python3, shown inside of a busybox container, which has nothing of its own in these places.
PYTHON = ["-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", *(["-v", "/lib64:/lib64:ro"] if os.path.exists("/lib64") else [])]


def python(script: str, *arguments: str) -> list[str]:
    """Return a command for a container that was started with the options ``PYTHON``."""
    return ["/usr/bin/python3", "-I", "-S", "-c", script, *arguments]


def root_tar(archive: Path) -> bytes:
    """Return the (only) layer of an image archive as a plain tar."""
    with tarfile.open(archive) as outer:

        def read(name: str) -> bytes:
            stream = outer.extractfile(name)
            assert stream is not None
            return stream.read()

        (layer,) = json.loads(read("manifest.json"))[0]["Layers"]
        data = read(layer)
    with tarfile.open(fileobj=io.BytesIO(data)) as inner:
        assert inner.fileobj is not None
        inner.fileobj.seek(0)
        return inner.fileobj.read()


def altered(base: bytes, archive: Archive, *without: str) -> bytes:
    """Return the tar ``base`` without some paths, followed by the members of ``archive``."""
    result = io.BytesIO()
    with tarfile.open(fileobj=result, mode="w") as new:
        for data in (base, archive.bytes()):
            with tarfile.open(fileobj=io.BytesIO(data)) as old:
                for member in old:
                    if data is base and any(f"{member.name}/".startswith(f"{path}/") for path in without):
                        continue
                    new.addfile(member, old.extractfile(member) if member.isreg() else None)
    return result.getvalue()
