"""``--cidfile``: a file that is there only if the container is."""

from __future__ import annotations

import contextlib
import os

from rootless.errors import Conflict, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def reserve(path: str) -> Iterator[Callable[[str], None]]:
    """Make ``path`` and yield a function that writes the ID; the file is removed if nothing was written.

    Raises ``Conflict`` if the file exists.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise Conflict(
            f"container ID file found: {path}", hint="make sure the other container isn't running, or delete the file"
        ) from None
    except OSError as error:
        raise from_oserror(error, "failed to create the container ID file") from error
    written = False

    def write(text: str) -> None:
        nonlocal written
        os.write(fd, text.encode("ascii"))
        written = True

    try:
        yield write
    finally:
        os.close(fd)
        if not written:
            with contextlib.suppress(OSError):
                os.unlink(path)
