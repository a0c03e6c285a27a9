"""Reading archives of images from a stream that may be a pipe: decompression and tar.

The tar reader knows what image archives consist of: plain files, directories and links,
with GNU and PAX long names. It never holds more of a member than is asked for, so an
archive cannot use up memory.
"""

from __future__ import annotations

from rootless.errors import Corrupt, Unsupported
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    class Source(Protocol):
        """Anything with ``read``."""

        def read(self, size: int, /) -> bytes:
            """Return at most ``size`` bytes, ``b""`` at the end."""
            ...


_BLOCK = 512
_INPUT = 256 * 1024
_PIECE = 1024 * 1024
_MAXIMUM_EXTENSION = 1024 * 1024
_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"))

FILE, DIRECTORY, SYMLINK, HARDLINK, OTHER = "file", "directory", "symlink", "hardlink", "other"
_KINDS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"1": HARDLINK, b"2": SYMLINK, b"5": DIRECTORY}


def sniff(head: bytes) -> str:
    """Return the compression that the first six bytes show, ``""`` for none."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return ""


class Stream:
    """A source with look-ahead that reads exactly what is asked for."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, fewer only at the end."""
        parts: list[bytes] = []
        while size:
            if not self._buffer:
                piece = next(self._pieces, b"")
                if not piece:
                    break
                self._buffer = memoryview(piece)
            part = self._buffer[:size]
            parts.append(bytes(part))
            self._buffer = self._buffer[len(part) :]
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def decompressed(source: Source) -> Stream:
    """Return the content of ``source``, whatever it is compressed with.

    Reading from it raises ``Corrupt`` for damaged or truncated data.
    """
    return Stream(_decompress(source))


def _decompress(source: Source) -> Iterator[bytes]:
    head = b""
    while len(head) < 6 and (data := source.read(_INPUT)):
        head += data
    name = sniff(head)
    if not name:
        while head:
            yield head
            head = source.read(_PIECE)
        return
    try:
        if name == "zstd":
            yield from _zstd(head, source)
        else:
            yield from _members(name, head, source)
    except (Corrupt, OSError, Unsupported):
        raise
    except EOFError:
        raise Corrupt(f"archive is truncated: its {name} stream ends early") from None
    except Exception as error:  # each library has a class of its own
        raise Corrupt(f"archive is damaged: {name}: {error}") from error


def _members(name: str, data: bytes, source: Source) -> Iterator[bytes]:
    """Decompress concatenated gzip, bzip2 or xz members."""
    make = _decompressor(name)
    while data:
        decoder = make()
        while not decoder.eof:
            piece = decoder.decompress(data, _PIECE)
            data = getattr(decoder, "unconsumed_tail", b"")
            if piece:
                yield piece
            elif not data and not decoder.eof:
                data = source.read(_INPUT)
                if not data:
                    raise EOFError
        data = decoder.unused_data or source.read(_INPUT)
        if not sniff(data):
            # gzip(1) ignores what follows the last member, and so do we if it is padding.
            while data:
                if data.strip(b"\0"):
                    raise Corrupt(f"archive is damaged: garbage after its {name} stream")
                data = source.read(_INPUT)


def _decompressor(name: str) -> Callable[[], Any]:
    if name == "bzip2":
        import bz2

        return bz2.BZ2Decompressor
    if name == "xz":
        import lzma

        return lambda: lzma.LZMADecompressor(memlimit=256 * 1024 * 1024)
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return lambda: zlib.decompressobj(wbits=31)
    return lambda: isal_zlib.decompressobj(wbits=31)


def _zstd(head: bytes, source: Source) -> Iterator[bytes]:
    class Joined:
        def __init__(self) -> None:
            self.first = head

        def read(self, size: int) -> bytes:
            first, self.first = self.first[:size], self.first[size:]
            return first or source.read(size)

    try:
        import zstandard
    except ImportError:
        raise Unsupported("cannot read zstd archives", hint="install the Python package zstandard") from None
    joined: Any = Joined()  # all that is called is read
    reader = zstandard.ZstdDecompressor().stream_reader(joined, read_across_frames=True)
    while piece := reader.read(_PIECE):
        yield piece


class Member(Record):
    """A member's header; ``link`` is the target of a link."""

    name: str
    kind: str
    size: int
    link: str = ""


class TarReader:
    """The members of a tar stream in order; read a file's content before going on."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        """Yield members; raises ``Corrupt``."""
        overrides: dict[str, str] = {}
        while (header := self._header()) is not None:
            kind, size = header[156:157], _number(header[124:136])
            if kind in b"xLK" and kind:
                self._begin(size)
                overrides.update(self._extension(kind, size))
                continue
            if kind == b"g":
                self._begin(size)
                self._skip()
                continue
            if kind == b"S" or any(name.startswith("GNU.sparse.") for name in overrides):
                raise Unsupported("archive has a sparse member, which no image archive needs")
            name, link = _text(header[:100]), _text(header[157:257])
            if header[257:263] == b"ustar\0" and (prefix := _text(header[345:500])):
                name = f"{prefix}/{name}"
            if "size" in overrides:
                size = _decimal(overrides["size"])
            what = _KINDS.get(kind, OTHER)
            if what in (SYMLINK, HARDLINK, DIRECTORY):
                size = 0
            self._begin(size)
            name, link = overrides.get("path", name), overrides.get("linkpath", link)
            overrides = {}
            yield Member(name=name, kind=what, size=size, link=link)
            self._skip()

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes of the current member, ``b""`` at its end."""
        data = self._stream.read(min(size, self._left, _PIECE))
        if not data and self._left and size:
            raise Corrupt("archive is truncated")
        self._left -= len(data)
        return data

    def finish(self) -> None:
        """Read what follows the last member: a compressed stream has its checksum there."""
        while self._stream.read(_PIECE):
            pass

    def _begin(self, size: int) -> None:
        self._left = size
        self._padding = -size % _BLOCK

    def _skip(self) -> None:
        while self._left:
            self.read(_PIECE)
        if len(self._stream.read(self._padding)) != self._padding:
            raise Corrupt("archive is truncated")
        self._padding = 0

    def _header(self) -> bytes | None:
        header = self._stream.read(_BLOCK)
        if not header or not header.strip(b"\0"):
            return None
        if len(header) < _BLOCK:
            raise Corrupt("archive is truncated")
        wanted = _number(header[148:156])
        if sum(header) - sum(header[148:156]) + 8 * 32 != wanted:
            raise Corrupt("archive is damaged, or not a tar archive: a header's checksum is wrong")
        return header

    def _extension(self, kind: bytes, size: int) -> dict[str, str]:
        if size > _MAXIMUM_EXTENSION:
            raise Corrupt("archive has an extended header of unreasonable size")
        data = b""
        while len(data) < size:
            data += self.read(size - len(data))
        self._skip()
        if kind == b"x":
            return _pax(data)
        return {"path" if kind == b"L" else "linkpath": _text(data)}


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Corrupt("archive is damaged: a number in a header is not one")
    return int(text)


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU's base-256
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if value >> 62:
            raise Corrupt("archive is damaged: a size in a header is negative or absurd")
        return value
    digits = field.strip(b" \0")
    if any(character not in b"01234567" for character in digits):
        raise Corrupt("archive is damaged, or not a tar archive: a number in a header is not octal")
    return int(digits or b"0", 8)


def _pax(data: bytes) -> dict[str, str]:
    records: dict[str, str] = {}
    while data.strip(b"\0"):
        length_text, space, _ = data.partition(b" ")
        length = _decimal(length_text.decode("ascii", "replace"))
        record = data[len(length_text) + 1 : length]
        if not space or length > len(data) or length <= len(length_text) + 1 or not record.endswith(b"\n"):
            raise Corrupt("archive is damaged: an extended header is malformed")
        key, _, value = record[:-1].partition(b"=")
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[length:]
    return records
