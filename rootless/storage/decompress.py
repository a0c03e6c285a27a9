"""Streams of layers, decompressed in bounded pieces.

The format is told from the first bytes, since media types lie. No piece is larger than
``PIECE``, whatever the ratio: a bomb meets the disk's limit, never memory's. gzip goes
through isal where it is installed (three times zlib's speed); zstd through zstandard,
Python's own module (3.14), or the program ``zstd``.
"""

from __future__ import annotations

import os

from rootless.errors import Corrupt, RlError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    class Source(Protocol):
        """Anything with ``read``: a file, a pipe, a socket's file."""

        def read(self, size: int, /) -> bytes:
            """Return at most ``size`` bytes; b"" at the end."""
            ...


PIECE = 1 << 20
_INPUT = 1 << 18
_AHEAD = 4  # pieces
_ZSTD_WINDOW = 1 << 27  # as the reference decoder's default: 128 MiB

_MAGIC = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
_MAGIC_SIZE = 6


def sniff(head: bytes) -> str:
    """Return ``gzip``, ``zstd``, ``bzip2``, ``xz``, or ``""`` for anything else."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    # A skippable frame may come first (zstd:chunked and seekable formats use them).
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return "zstd"
    return ""


def prepare() -> None:
    """Import what ``pieces`` may need, for processes that are about to chroot."""
    _decoder("gzip")
    try:
        import zstandard  # noqa: F401
    except ImportError:
        pass


def pieces(source: Source) -> Iterator[bytes]:
    """Yield the decompressed content of ``source`` in order; raises ``Corrupt`` or ``Unsupported``."""
    head = b""
    while len(head) < _MAGIC_SIZE:
        data = source.read(_INPUT)
        if not data:
            break
        head += data
    name = sniff(head)
    if not name:
        while head:
            yield head
            head = source.read(PIECE)
        return
    try:
        if name == "zstd":
            yield from _zstd_pieces(head, source)
        else:
            yield from _members(name, _decoder(name), head, source)
    except (RlError, OSError):
        raise
    except EOFError as error:
        raise Corrupt(f"{name} stream is truncated") from error
    except Exception as error:  # each library has its own class
        raise Corrupt(f"{name} stream is damaged: {error}") from error


def ahead(source: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what ``source`` yields, which a thread computes some pieces ahead.

    Decompressors and hashes release the interpreter lock, and so do system calls: two
    processors share the work. An exception in the thread is raised here.
    """
    import _queue
    import threading

    ready = _queue.SimpleQueue[Any]() if TYPE_CHECKING else _queue.SimpleQueue()
    room = threading.Semaphore(_AHEAD)
    stopped = False

    def produce() -> None:
        try:
            for piece in source:
                room.acquire()
                if stopped:
                    return
                ready.put(piece)
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            room.release()
            yield item
    finally:
        stopped = True
        room.release()
        thread.join()


def _members(name: str, make: Callable[[], Any], data: bytes, source: Source) -> Iterator[bytes]:
    """Run one decompressor after the other over concatenated members (pigz, estargz, zstd frames)."""
    while True:
        decoder = make()
        while True:
            piece, data = decoder(data)
            if piece:
                yield piece
            if decoder.eof:
                break
            if not data and not piece:
                data = source.read(_INPUT)
                if not data:
                    raise EOFError
        while len(data) < _MAGIC_SIZE:
            more = source.read(_INPUT)
            if not more:
                break
            data += more
        if not data.strip(b"\0"):
            # Zero padding up to the end, as tape-minded writers leave it.
            while data:
                data = source.read(_INPUT)
                if data.strip(b"\0"):
                    raise Corrupt(f"garbage after the end of a {name} stream")
            return
        if sniff(data) != name:
            raise Corrupt(f"garbage after the end of a {name} stream")


class _Zlib:
    """zlib's and isal's interface: what did not fit comes back."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.eof = False

    def __call__(self, data: bytes) -> tuple[bytes, bytes]:
        piece = self._raw.decompress(data, PIECE)
        self.eof = self._raw.eof
        return piece, self._raw.unused_data if self.eof else self._raw.unconsumed_tail


class _Hungry:
    """bz2's and lzma's interface (and compression.zstd's): they keep their input themselves."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.eof = False

    def __call__(self, data: bytes) -> tuple[bytes, bytes]:
        piece = self._raw.decompress(data, PIECE)
        self.eof = self._raw.eof
        return piece, self._raw.unused_data if self.eof else b""


def _decoder(name: str) -> Callable[[], Any]:
    if name == "gzip":
        decompressobj = _zlib().decompressobj
        return lambda: _Zlib(decompressobj(wbits=31))
    if name == "bzip2":
        import bz2

        return lambda: _Hungry(bz2.BZ2Decompressor())
    if name == "xz":
        import lzma

        return lambda: _Hungry(lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=2 * _ZSTD_WINDOW))
    from compression import zstd  # Python 3.14

    return lambda: _Hungry(zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 27}))


def _zlib() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return zlib
    return isal_zlib


def _zstd_pieces(head: bytes, source: Source) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        try:
            make = _decoder("zstd")
        except ImportError:
            yield from _zstd_program(head, source)
            return
        yield from _members("zstd", make, head, source)
        return
    marked: Any = _Marked(head, source)
    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
        marked, read_size=_INPUT, read_across_frames=True
    )
    # The reader stays silent about a truncated frame. So a frame of ours follows the
    # input: its content comes out at the end only if all before it was complete.
    held = b""
    while True:
        data = reader.read(PIECE)
        if not data:
            break
        held += data
        if len(held) > len(_MARK):
            yield held[: -len(_MARK)]
            held = held[-len(_MARK) :]
    if held != _MARK:
        raise EOFError


_MARK = b"end of the zstd stream, says rl\n"
_MARK_FRAME = (
    b"\x28\xb5\x2f\xfd"
    + bytes([0x20, len(_MARK)])  # single segment, content size in one byte
    + (1 | len(_MARK) << 3).to_bytes(3, "little")  # last block, raw
    + _MARK
)


class _Marked:
    """``head``, the rest of a source, and a frame that marks the end."""

    def __init__(self, head: bytes, source: Source) -> None:
        self._head = head
        self._source = source
        self._ended = False

    def read(self, size: int) -> bytes:
        """Return at most about ``size`` bytes."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        if self._ended:
            return b""
        data = self._source.read(size)
        if not data:
            self._ended = True
            return _MARK_FRAME
        return data


def _zstd_program(head: bytes, source: Source) -> Iterator[bytes]:
    """Run zstd(1) over a seekable file that nobody has read from but us."""
    from rootless.linux import commands

    fileno = getattr(source, "fileno", None)
    if fileno is None or commands.which("zstd") is None:
        raise Unsupported(
            "cannot decompress zstd: neither Python's zstandard nor the program zstd is installed",
            hint="apt install zstd (or: pip install zstandard)",
        )
    os.lseek(fileno(), -len(head), os.SEEK_CUR)
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        pid = commands.spawn(["zstd", "-dcq", "--memory=128MB"], stdin=fileno(), stdout=write_end)
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    status = -1
    try:
        with open(read_end, "rb", buffering=0) as stream:
            while data := stream.read(PIECE):
                yield data
    finally:
        _, status = os.waitpid(pid, 0)
    if status:
        raise EOFError
