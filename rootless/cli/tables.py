"""Columns as Go's tabwriter lays them out, which is what Docker's tables are."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def render(lines: Sequence[Sequence[str]], *, minimum: int = 10, padding: int = 3) -> str:
    """Return ``lines`` of cells as aligned text.

    A column is a run of lines that have that cell and another one after it; the last cell of a
    line belongs to no column. Widths count terminal cells.
    """
    widths: list[list[int]] = [[] for _ in lines]
    _measure(lines, 0, len(lines), 0, widths, minimum, padding)
    out = []
    for cells, columns in zip(lines, widths, strict=True):
        padded = [cell + " " * (column - width(cell)) for cell, column in zip(cells[:-1], columns, strict=True)]
        out.append("".join((*padded, *cells[-1:])))
        out.append("\n")
    return "".join(out)


def _measure(
    lines: Sequence[Sequence[str]],
    start: int,
    end: int,
    column: int,
    widths: list[list[int]],
    minimum: int,
    padding: int,
) -> None:
    while start < end:
        if column >= len(lines[start]) - 1:
            start += 1
            continue
        stop, size = start, minimum
        while stop < end and column < len(lines[stop]) - 1:
            size = max(size, width(lines[stop][column]) + padding)
            stop += 1
        for columns in widths[start:stop]:
            columns.append(size)
        _measure(lines, start, stop, column + 1, widths, minimum, padding)
        start = stop


def width(text: str) -> int:
    """Return the terminal cells that ``text`` takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def split(text: str) -> list[list[str]]:
    """Split text with tabs into lines of cells for ``render``."""
    return [line.split("\t") for line in text.split("\n")]
