"""The display of a pull: layers that change in place on a terminal, plain lines elsewhere.

Reports may come from several threads. What is printed has Docker's wording:
``a2abf6c4d29d: Downloading [==>     ]  1.2MB/31.4MB``.
"""

from __future__ import annotations

import _thread
import os
import time

from rootless.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

REDRAW_SECONDS = 0.1
_BAR = 50


def create(stream: TextIO, *, quiet: bool = False) -> Display:
    """Return the display that fits ``stream``."""
    if quiet:
        return Display()
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return TerminalDisplay(stream)
    return PlainDisplay(stream)


class Display:
    """Shows nothing."""

    def layer(self, digest: str, status: str, current: int = 0, total: int = 0) -> None:
        """Report the state of a layer."""

    def message(self, text: str) -> None:
        """Report a line."""

    def close(self) -> None:
        """Finish."""


class PlainDisplay(Display):
    """One line for each change of status; no amounts."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = _thread.allocate_lock()
        self._statuses: dict[str, str] = {}

    def layer(self, digest: str, status: str, current: int = 0, total: int = 0) -> None:  # noqa: ARG002
        """Write a line if the status is new and no mere amount."""
        with self._lock:
            if self._statuses.get(digest) == status:
                return
            self._statuses[digest] = status
            if status not in ("Downloading", "Extracting"):
                self._write(f"{short(digest)}: {status}")

    def message(self, text: str) -> None:
        """Write a line."""
        with self._lock:
            self._write(text)

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class TerminalDisplay(Display):
    """One line for each layer, rewritten in place."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = _thread.allocate_lock()
        self._order: list[str] = []
        self._lines: dict[str, str] = {}
        self._drawn = 0
        self._due = 0.0
        self._stale = False

    def layer(self, digest: str, status: str, current: int = 0, total: int = 0) -> None:
        """Change a layer's line; amounts are redrawn ten times a second at most."""
        with self._lock:
            if digest not in self._lines:
                self._order.append(digest)
            self._lines[digest] = f"{short(digest)}: {status} {bar(current, total, self._columns())}".rstrip()
            now = time.monotonic()
            self._stale = True
            if now >= self._due or not current:
                self._draw()
                self._due = now + REDRAW_SECONDS

    def message(self, text: str) -> None:
        """Write a line above (before any layer is known) or below the layers."""
        with self._lock:
            self._draw()
            self._stream.write(text + "\n")
            self._stream.flush()
            # Layers that follow are drawn below this line; the block above is finished.
            self._order.clear()
            self._lines.clear()
            self._drawn = 0

    def close(self) -> None:
        """Draw what is due."""
        with self._lock:
            self._draw()

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80  # 0: nobody has told it
        except (OSError, ValueError):
            return 80

    def _rows(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).lines or 24
        except (OSError, ValueError):
            return 24

    def _draw(self) -> None:
        if not self._stale:
            return
        self._stale = False
        columns = self._columns()
        # Only the last lines that fit can be reached by moving the cursor.
        visible = self._order[-max(1, self._rows() - 1) :]
        out = [f"\x1b[{self._drawn}A"] if self._drawn else []
        for digest in visible:
            out.append(f"\r\x1b[2K{self._lines[digest][: columns - 1]}\n")
        self._drawn = len(visible)
        self._stream.write("".join(out))
        self._stream.flush()


def short(digest: str) -> str:
    """Return the twelve digits that stand for a digest."""
    return digest.rpartition(":")[2][:12]


def bar(current: int, total: int, columns: int) -> str:
    """Return ``[===>   ]  1.2MB/3.4MB``, without the bar where the terminal is narrow."""
    if current <= 0 and total <= 0:
        return ""
    if total <= 0 or current > total:
        return human_size(current)
    amounts = f"{human_size(current):>8}/{human_size(total)}"
    if columns <= 110:
        return f"{amounts}"
    done = min(_BAR, current * _BAR // total)
    arrow = "=" * (done - 1) + ">" if 0 < done < _BAR else "=" * done
    return f"[{arrow.ljust(_BAR)}] {amounts}"
