"""What this package needs from others, as protocols.

``storage.content.BlobStore`` is the blob store; the CLI and the API show progress.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class BlobWriter(Protocol):
        """A blob on its way in; ``close`` without ``commit`` keeps what there is for the next attempt."""

        offset: int  # how many bytes are there already
        present: bool  # somebody else completed the blob meanwhile: nothing to write

        def write(self, data: bytes, /) -> None:
            """Append ``data``; raises ``Corrupt`` beyond the size that was announced."""
            ...

        def commit(self) -> str:
            """Verify and publish; return the digest. Raises ``Corrupt`` having removed the partial file."""
            ...

        def discard(self) -> None:
            """Remove what was written, and close."""
            ...

        def close(self) -> None:
            """Release the file; harmless after ``commit``."""
            ...

    class BlobStore(Protocol):
        """Content by digest; used from several threads."""

        def has(self, digest: str) -> bool:
            """Tell whether the blob is there."""
            ...

        def size(self, digest: str) -> int:
            """Return the size of a blob that is there."""
            ...

        def read(self, digest: str) -> bytes:
            """Return a small blob, verified."""
            ...

        def put(self, data: bytes) -> str:
            """Store a small blob and return its digest."""
            ...

        def writer(self, digest: str = "", size: int = -1) -> BlobWriter:
            """Begin, or continue, storing a blob; without a digest the content decides."""
            ...

        def remove(self, digest: str) -> int:
            """Remove a blob; 0 if it is not there."""
            ...

    class Progress(Protocol):
        """Shows what happens. Methods are called from several threads."""

        def layer(self, digest: str, status: str, current: int = 0, total: int = 0) -> None:
            """Report a layer's state, in Docker's words."""
            ...

        def message(self, text: str) -> None:
            """Report a line that concerns no layer."""
            ...


PULLING = "Pulling fs layer"
WAITING = "Waiting"
DOWNLOADING = "Downloading"
VERIFYING = "Verifying Checksum"
DOWNLOADED = "Download complete"
EXISTS = "Already exists"
LOADING = "Loading layer"


class Silence:
    """A progress display that shows nothing."""

    def layer(self, digest: str, status: str, current: int = 0, total: int = 0) -> None:
        """Ignore the report."""

    def message(self, text: str) -> None:
        """Ignore the report."""
