import bz2
import gzip
import io
import lzma
import tarfile

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import Corrupt, Unsupported
from rootless.registry import streams

COMPRESSORS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


class Pipe:
    """Gives a few bytes at a time, as a pipe may."""

    def __init__(self, data, step):
        self.stream, self.step = io.BytesIO(data), step

    def read(self, size):
        return self.stream.read(min(size, self.step))


def tar(*members, format=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def members(data, step=1 << 20):
    reader = streams.TarReader(streams.decompressed(Pipe(data, step)))
    found = []
    for member in reader:
        content = b""
        while piece := reader.read(1000):
            content += piece
        found.append((member.name, content))
    reader.finish()
    return found


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_reads_every_compression_from_a_pipe(name, step):
    expected = [("a", b"x" * 3000), ("b", b""), ("c/d", b"y" * 512)]
    assert members(COMPRESSORS[name](tar(*expected)), step) == expected


def test_concatenated_gzip_members_and_padding():
    data = tar(("a", b"x" * 5000))
    assert members(gzip.compress(data[:600]) + gzip.compress(data[600:]) + bytes(100)) == [("a", b"x" * 5000)]


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_truncated_compression_is_corrupt(name):
    data = COMPRESSORS[name](tar(("a", bytes(range(256)) * 100)))
    for end in (7, len(data) // 2, len(data) - 1):
        with pytest.raises(Corrupt):
            members(data[:end])


@pytest.mark.parametrize("name", ["gzip", "xz"])
def test_damaged_compression_is_corrupt(name):
    data = bytearray(COMPRESSORS[name](tar(("a", bytes(range(256)) * 100))))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(Corrupt):
        members(bytes(data))


@pytest.mark.parametrize("end", [1, 511, 513, 1024 + 100])
def test_truncated_tar_is_corrupt(end):
    with pytest.raises(Corrupt):
        members(tar(("a", b"x" * 2000))[:end])


def test_garbage_is_no_tar():
    with pytest.raises(Corrupt, match="not a tar archive"):
        members(b"this is not an archive" * 100)


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("name", ["n" * 300, "d" * 120 + "/" + "n" * 120, "ü" * 200])
def test_long_names(format, name):
    assert members(tar((name, b"1"), ("short", b"2"), format=format)) == [(name, b"1"), ("short", b"2")]


def test_ustar_prefixes():
    name = "d" * 120 + "/" + "n" * 90
    assert members(tar((name, b"1"), format=tarfile.USTAR_FORMAT)) == [(name, b"1")]


def test_huge_extension_is_refused_before_it_is_read():
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    with pytest.raises(Corrupt, match="unreasonable"):
        members(member.tobuf(tarfile.GNU_FORMAT) + bytes(5000))


def test_sparse_members_are_unsupported():
    member = tarfile.TarInfo("x")
    member.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(Unsupported):
        members(member.tobuf(tarfile.GNU_FORMAT))


@given(st.integers(0, 1535), st.integers(0, 255))
def test_a_changed_byte_is_corrupt_or_harmless(position, value):
    data = bytearray(tar(("a", b"x" * 100), format=tarfile.GNU_FORMAT))
    data[position] = value
    try:
        members(bytes(data))
    except (Corrupt, Unsupported):
        pass


def test_a_bomb_needs_no_memory():
    reader = streams.TarReader(streams.decompressed(io.BytesIO(gzip.compress(tar(("a", bytes(50 << 20)))))))
    for _ in reader:
        assert len(reader.read(1 << 30)) <= 1 << 20
