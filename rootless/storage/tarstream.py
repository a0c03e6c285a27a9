"""A reader of tar streams for layers: one pass and no seeking.

Understands ustar, GNU (long names, sparse, base-256 numbers), PAX (paths, sizes, times,
xattrs, sparse 0.0 to 1.0) and plain v7. Names stay bytes. Sizes of everything that is
held in memory are bounded; the stream itself may be of any length.
"""

from __future__ import annotations

import os
import struct
from zlib import adler32

from rootless.errors import Corrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

REGULAR, LINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"

_BLOCK = 512
_MAXIMUM_HEADER = 1 << 20  # of PAX headers and GNU long names, as Go's archive/tar
_MAXIMUM_EXTENTS = 1 << 17
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_ZEROS = bytes(_BLOCK)
_XATTR = b"SCHILY.xattr."
_HEADER_ONLY = frozenset((LINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO))
_SKIPPED = frozenset((b"V", b"N", b"A", b"I"))  # volume label, old GNU names, Solaris ACL and inode records


class Member:
    """One entry; its content has to be copied or skipped before the next is asked for."""

    __slots__ = (
        "device",
        "extents",
        "gid",
        "link",
        "mode",
        "mtime",
        "name",
        "size",
        "stored",
        "type",
        "uid",
        "xattrs",
    )

    name: bytes  # as written, without NUL
    type: bytes
    mode: int
    uid: int
    gid: int
    size: int  # of the file
    stored: int  # of its content in the archive
    mtime: int  # nanoseconds
    link: bytes
    device: tuple[int, int]
    xattrs: dict[bytes, bytes] | None
    extents: list[tuple[int, int]] | None  # (offset, length) of a sparse file's data


class TarReader:
    """Members of the stream that ``pieces`` yields."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = b""
        self._position = 0
        self._padding = 0
        self.total = 0  # bytes of the stream so far

    def _fill(self) -> bool:
        for piece in self._pieces:
            if piece:
                self.total += len(piece)
                self._buffer = piece
                self._position = 0
                return True
        self._buffer = b""
        self._position = 0
        return False

    def prefetch(self) -> None:
        """Get the first piece now, so that whatever its source must import is imported."""
        if self._position == len(self._buffer):
            self._fill()

    def _take(self, size: int) -> bytes:
        """Return exactly ``size`` bytes, or fewer at the end of the stream."""
        end = self._position + size
        if end <= len(self._buffer):
            data = self._buffer[self._position : end]
            self._position = end
            return data
        parts = [self._buffer[self._position :]]
        missing = size - len(parts[0])
        while missing and self._fill():
            part = self._buffer[:missing]
            self._position = len(part)
            missing -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _content(self, size: int, what: str) -> bytes:
        """Return the content of a header member."""
        if size > _MAXIMUM_HEADER:
            raise Corrupt(f"tar archive has a {what} of {size} bytes")
        data = self._take(size)
        if len(data) < size:
            raise Corrupt("tar archive is truncated")
        self._skip_exactly(-size % _BLOCK)
        return data

    def _skip_exactly(self, size: int) -> None:
        while size:
            available = len(self._buffer) - self._position
            if not available:
                if not self._fill():
                    raise Corrupt("tar archive is truncated")
                continue
            step = min(size, available)
            self._position += step
            size -= step

    def skip(self, member: Member) -> None:
        """Pass over the content."""
        self._skip_exactly(member.stored + (-member.stored % _BLOCK))

    def copy(self, member: Member, fd: int) -> None:
        """Write the content to ``fd``; raises ``Corrupt`` and what write(2) raises."""
        if member.extents is not None:
            self._copy_sparse(member, fd)
        else:
            self._copy_to(fd, member.stored)
        self._skip_exactly(-member.stored % _BLOCK)

    def _copy_to(self, fd: int, size: int) -> None:
        end = self._position + size
        if end <= len(self._buffer):
            data: bytes | memoryview = self._buffer[self._position : end]
            self._position = end
            written = os.write(fd, data)
            while written < size:
                written += os.write(fd, data[written:])
            return
        while size:
            available = len(self._buffer) - self._position
            if not available:
                if not self._fill():
                    raise Corrupt("tar archive is truncated")
                continue
            step = min(size, available)
            data = memoryview(self._buffer)[self._position : self._position + step]
            while data:
                data = data[os.write(fd, data) :]
            self._position += step
            size -= step

    def _copy_sparse(self, member: Member, fd: int) -> None:
        assert member.extents is not None
        left = member.stored
        for offset, length in member.extents:
            if length > left:
                raise Corrupt(f"sparse map of {printable(member.name)} does not fit its content")
            os.lseek(fd, offset, os.SEEK_SET)
            self._copy_to(fd, length)
            left -= length
        if left:
            raise Corrupt(f"sparse map of {printable(member.name)} does not fit its content")
        os.ftruncate(fd, member.size)

    def drain(self) -> None:
        """Read the rest of the stream: a digest covers what follows the end mark, too."""
        while self._fill():
            pass

    def next(self) -> Member | None:
        """Return the next member, or None at the end; raises ``Corrupt``."""
        long_name = long_link = None
        pax: dict[bytes, bytes] | None = None
        sparse_numbers: list[bytes] = []
        while True:
            block = self._take(_BLOCK)
            if block == _ZEROS or not block:
                # Writers end with two zero blocks; one, or none at a member's end, is tolerated.
                if long_name or long_link or pax:
                    raise Corrupt("tar archive is truncated")
                return None
            if len(block) < _BLOCK:
                raise Corrupt("tar archive is truncated")
            fields = _HEADER.unpack(block)
            # The sum of all bytes with the checksum's own taken as blanks; adler32's lower
            # half is that sum plus one, modulo 65521.
            expected = _number(fields[6]) - 256 + sum(fields[6]) + 1
            if adler32(block) & 0xFFFF != expected % 65521 and not _signed_sum_fits(block, fields[6]):
                raise Corrupt("not a tar archive, or a damaged one: bad header checksum")
            kind = fields[7]
            size = _number(fields[4])
            if size < 0:
                raise Corrupt("tar archive has a member of negative size")
            if kind in (b"L", b"K"):
                text = self._content(size, "long name").split(b"\0", 1)[0]
                if kind == b"L":
                    long_name = text
                else:
                    long_link = text
                continue
            if kind in (b"x", b"X"):
                pax = pax or {}
                _parse_pax(self._content(size, "PAX header"), pax, sparse_numbers)
                continue
            if kind == b"g":
                # Comments, in practice. Docker ignores it as well.
                self._content(size, "PAX header")
                continue
            break
        return self._member(fields, block, kind, size, long_name, long_link, pax, sparse_numbers)

    def _member(
        self,
        fields: tuple[bytes, ...],
        block: bytes,
        kind: bytes,
        size: int,
        long_name: bytes | None,
        long_link: bytes | None,
        pax: dict[bytes, bytes] | None,
        sparse_numbers: list[bytes],
    ) -> Member:
        member = Member()
        name = fields[0].split(b"\0", 1)[0]
        magic = block[257:265]
        if magic == b"ustar\x0000" and fields[14][0]:
            name = fields[14].split(b"\0", 1)[0] + b"/" + name
        member.name = long_name if long_name is not None else name
        member.link = long_link if long_link is not None else fields[8].split(b"\0", 1)[0]
        member.mode = _number(fields[1]) & 0o7777
        member.uid = _number(fields[2])
        member.gid = _number(fields[3])
        member.mtime = _number(fields[5]) * 1_000_000_000
        member.device = (_number(fields[12]), _number(fields[13])) if kind in (CHARACTER, BLOCK) else (0, 0)
        member.xattrs = None
        member.extents = None
        if pax:
            size = _apply_pax(member, pax, size)
        if kind in (b"\0", b"7", b" ", b""):
            kind = DIRECTORY if member.name.endswith(b"/") else REGULAR
        elif kind == b"S":
            kind = REGULAR
            member.size = _number(block[483:495])
            member.extents = self._old_gnu_extents(block)
        elif kind in _HEADER_ONLY:
            size = 0
        elif kind == b"D":  # GNU incremental: a directory with a list of names as content
            self._skip_exactly(size + -size % _BLOCK)
            kind, size = DIRECTORY, 0
        elif kind not in (REGULAR, *_SKIPPED):
            raise Corrupt(f"tar member {printable(member.name)} is of unknown type {kind!r}")
        member.type = kind
        member.stored = size
        if member.extents is None:
            member.size = size
        if pax and kind == REGULAR and (b"GNU.sparse.major" in pax or b"GNU.sparse.size" in pax):
            self._pax_extents(member, pax, sparse_numbers)
        if member.extents is not None:
            _check_extents(member)
        if b"\0" in member.name or b"\0" in member.link:
            raise Corrupt(f"tar member {printable(member.name)} has a NUL in its name")
        return member

    def _old_gnu_extents(self, block: bytes) -> list[tuple[int, int]]:
        extents: list[tuple[int, int]] = []
        area, count, more = block[386:482], 4, block[482]
        while True:
            for index in range(count):
                entry = area[24 * index : 24 * index + 24]
                if not entry[0]:
                    break
                extents.append((_number(entry[:12]), _number(entry[12:])))
            if not more:
                return extents
            if len(extents) > _MAXIMUM_EXTENTS:
                raise Corrupt("tar archive has a sparse map without end")
            block = self._take(_BLOCK)
            if len(block) < _BLOCK:
                raise Corrupt("tar archive is truncated")
            area, count, more = block[:504], 21, block[504]

    def _pax_extents(self, member: Member, pax: dict[bytes, bytes], numbers: list[bytes]) -> None:
        if pax.get(b"GNU.sparse.major", b"0") == b"0":
            # 0.0 has repeated records, 0.1 one list.
            if b"GNU.sparse.map" in pax:
                numbers = pax[b"GNU.sparse.map"].split(b",") if pax[b"GNU.sparse.map"] else []
            member.size = _decimal(pax.get(b"GNU.sparse.size", pax.get(b"GNU.sparse.realsize", b"")))
        else:
            member.size = _decimal(pax.get(b"GNU.sparse.realsize", b""))
            numbers = self._sparse_map(member)
        values = [_decimal(number) for number in numbers]
        if len(values) % 2:
            raise Corrupt(f"sparse map of {printable(member.name)} is damaged")
        member.extents = list(zip(values[::2], values[1::2], strict=True))

    def _sparse_map(self, member: Member) -> list[bytes]:
        """Read the map of format 1.0: decimal lines at the start of the content, padded to a block."""
        numbers: list[bytes] = []
        rest = b""
        while True:
            block = self._take(_BLOCK)
            if len(block) < _BLOCK or member.stored < _BLOCK:
                raise Corrupt(f"sparse map of {printable(member.name)} is damaged")
            member.stored -= _BLOCK
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            numbers += lines
            if numbers:
                wanted = 1 + 2 * _decimal(numbers[0])
                if wanted > 2 * _MAXIMUM_EXTENTS:
                    raise Corrupt("tar archive has a sparse map without end")
                if len(numbers) >= wanted:
                    return numbers[1:wanted]


def printable(name: bytes) -> str:
    """Return a name for a message: no control characters, not too long."""
    text = name[:200].decode("utf-8", "replace")
    return text if text.isprintable() and text else repr(text)


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        if field[0] == 0xFF:
            return value - (1 << 8 * len(field))
        return value & ((1 << 8 * len(field) - 1) - 1)
    text = field.rstrip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        pass
    text = field.split(b"\0", 1)[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise Corrupt("tar archive has a damaged number in a header") from None


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise Corrupt("tar archive has a damaged number in a PAX header")
    return int(text)


def _signed_sum_fits(block: bytes, field: bytes) -> bool:
    """Ancient writers added the bytes as signed."""
    total = sum(byte - 256 if byte > 127 else byte for byte in block)
    total -= sum(byte - 256 if byte > 127 else byte for byte in field)
    return total + 256 == _number(field)


def _parse_pax(data: bytes, pax: dict[bytes, bytes], sparse_numbers: list[bytes]) -> None:
    position = 0
    while position < len(data):
        blank = data.find(b" ", position, position + 20)
        if blank < 0:
            if data[position:].strip(b"\0"):
                raise Corrupt("tar archive has a damaged PAX header")
            return
        end = position + _decimal(data[position:blank])
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if end <= blank + 1 or end > len(data) or data[end - 1] != 0x0A or not equals:
            raise Corrupt("tar archive has a damaged PAX header")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            sparse_numbers.append(value)
            if len(sparse_numbers) > 2 * _MAXIMUM_EXTENTS:
                raise Corrupt("tar archive has a sparse map without end")
        pax[key] = value
        position = end


def _apply_pax(member: Member, pax: dict[bytes, bytes], size: int) -> int:
    for key, value in pax.items():
        if key == b"path":
            member.name = value
        elif key == b"linkpath":
            member.link = value
        elif key == b"size":
            size = _decimal(value)
        elif key == b"mtime":
            member.mtime = _nanoseconds(value)
        elif key == b"uid":
            member.uid = _decimal(value)
        elif key == b"gid":
            member.gid = _decimal(value)
        elif key.startswith(_XATTR):
            if member.xattrs is None:
                member.xattrs = {}
            member.xattrs[key[len(_XATTR) :]] = value
    if b"GNU.sparse.name" in pax:
        member.name = pax[b"GNU.sparse.name"]
    return size


def _nanoseconds(text: bytes) -> int:
    whole, _, fraction = text.partition(b".")
    sign = -1 if whole.startswith(b"-") else 1
    return _decimal(whole.lstrip(b"-") or b"0") * 1_000_000_000 * sign + sign * _decimal((fraction + b"000000000")[:9])


def _check_extents(member: Member) -> None:
    assert member.extents is not None
    position = 0
    for offset, length in member.extents:
        if offset < position or length < 0 or offset + length > member.size:
            raise Corrupt(f"sparse map of {printable(member.name)} is damaged")
        position = offset + length
