"""``--cidfile``: a file that is there only if the container is."""

from __future__ import annotations

import os

from rootless.errors import Conflict, from_oserror


def remove(path: str) -> None:
    """Remove the file of a container that is no more; none is fine."""
    try:
        os.unlink(path)
    except OSError:
        pass


class CidFile:
    """Reserves ``path`` on entry; on exit it is removed unless an ID was written to it.

    Entering raises ``Conflict`` if the file exists.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._written = False

    def __enter__(self) -> CidFile:
        """Make the file."""
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise Conflict(
                f"container ID file found: {self._path}",
                hint="make sure the other container isn't running, or delete the file",
            ) from None
        except OSError as error:
            raise from_oserror(error, "failed to create the container ID file") from error
        return self

    def write(self, identifier: str) -> None:
        """Write the ID of the container."""
        try:
            os.write(self._fd, identifier.encode("ascii"))
        except OSError as error:
            raise from_oserror(error, "failed to write the container ID file") from error
        self._written = True

    def __exit__(self, *_: object) -> None:
        """Close the file, and remove it if it is empty."""
        os.close(self._fd)
        if not self._written:
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass
