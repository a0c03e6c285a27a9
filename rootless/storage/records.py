"""JSON records on disk: versioned, replaced by rename, tolerant of unknown fields."""

from __future__ import annotations

import os

from rootless import jsonlite
from rootless.errors import Corrupt, Unsupported
from rootless.storage import workspace
from rootless.storage.faults import translated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def write(path: str, record: dict[str, Any], *, version: int = 1, durable: bool = True, staging: str = "") -> None:
    """Replace ``path`` with ``record`` and its ``version``; readers see the old or the new one.

    ``durable=False`` saves the sync for what need not outlive a power failure; ``staging`` as
    for ``replace``. Raises ``NoSpace`` or ``SystemFailure``, and leaves the old record then.
    """
    replace(
        path, jsonlite.dumps({"version": version, **record}).encode("ascii") + b"\n", durable=durable, staging=staging
    )


def read(path: str, *, version: int = 1) -> dict[str, Any]:
    """Return the record in ``path``; raises ``FileNotFoundError`` if there is none.

    Raises ``Corrupt`` for what is no record and ``Unsupported`` for one of a newer rl.
    """
    try:
        record = jsonlite.load_file(path)
    except ValueError as error:
        raise Corrupt(f"{path} is not a JSON record: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("version"), int):
        raise Corrupt(f"{path} is not a record of rl")
    if record["version"] > version:
        raise Unsupported(
            f"{path} was written by a newer rl (version {record['version']}, known is {version})", hint="upgrade rl"
        )
    return record


def replace(path: str, content: bytes, *, durable: bool = True, staging: str = "") -> None:
    """Replace the file ``path`` by rename; raises ``NoSpace`` or ``SystemFailure``.

    The new file is written beside it, or in the directory ``staging`` (``tmp/``, where gc
    finds what a killed process left).
    """
    temporary = workspace.new_name(staging, "record") if staging else f"{path}.{os.getpid()}.new"
    with translated(f"cannot write {path}"):
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(fd, view) :]
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temporary, path)
        except BaseException:
            try:
                os.unlink(temporary)
            except OSError:
                pass
            raise
        if durable:
            sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Make renames in a directory durable; raises ``OSError``."""
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
