import bz2
import gzip
import io
import lzma
import random
import subprocess
import sys

import pytest

from rootless.errors import Corrupt, Unsupported
from rootless.linux import commands
from rootless.storage import decompress

zstandard = pytest.importorskip("zstandard")
DATA = random.Random(1).randbytes(3000) * 1500

SQUEEZE = {
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": zstandard.compress,
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=1),
    "": lambda data: data,
}


def undo(blob):
    return b"".join(decompress.pieces(io.BytesIO(blob)))


@pytest.mark.parametrize("name", SQUEEZE)
def test_every_format_comes_back(name):
    blob = SQUEEZE[name](DATA)
    assert decompress.sniff(blob[:6]) == name
    assert undo(blob) == DATA


@pytest.mark.parametrize("name", [name for name in SQUEEZE if name])
def test_concatenated_members_come_back(name):
    assert undo(SQUEEZE[name](DATA) + SQUEEZE[name](b"") + SQUEEZE[name](b"more")) == DATA + b"more"


@pytest.mark.parametrize("name", [name for name in SQUEEZE if name])
@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_truncation_is_an_error(name, part):
    blob = SQUEEZE[name](DATA)
    with pytest.raises(Corrupt):
        undo(blob[: max(7, int(len(blob) * part))])


@pytest.mark.parametrize("name", [name for name in SQUEEZE if name])
def test_garbage_at_the_end_is_an_error(name):
    with pytest.raises(Corrupt):
        undo(SQUEEZE[name](DATA) + b"garbage!")


@pytest.mark.parametrize("name", ["gzip", "zstd", "xz"])
def test_damage_is_an_error(name):
    blob = bytearray(SQUEEZE[name](DATA))
    blob[len(blob) // 2] ^= 0xFF
    blob[len(blob) // 2 + 1] ^= 0xFF
    with pytest.raises(Corrupt):
        undo(bytes(blob))


def test_zero_padding_after_gzip_is_accepted():
    assert undo(gzip.compress(DATA) + bytes(10000)) == DATA


@pytest.mark.parametrize("name", SQUEEZE)
def test_pieces_are_bounded(name):
    blob = SQUEEZE[name](bytes(64 << 20))
    assert max(map(len, decompress.pieces(io.BytesIO(blob)))) <= decompress.PIECE


def test_zstd_window_is_bounded():
    parameters = zstandard.ZstdCompressionParameters(window_log=29, enable_ldm=True)
    blob = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = blob.compress(bytes(1000)) + blob.flush()
    with pytest.raises(Corrupt):
        undo(data)


def test_short_inputs():
    assert undo(b"") == b""
    assert undo(b"abc") == b"abc"


class Slow:
    """A source that returns little at a time, as pipes do."""

    def __init__(self, data):
        self.data = io.BytesIO(data)

    def read(self, size):
        return self.data.read(min(size, 7))


@pytest.mark.parametrize("name", SQUEEZE)
def test_sources_may_return_less_than_asked(name):
    data = DATA[:5000]
    assert b"".join(decompress.pieces(Slow(SQUEEZE[name](data) + SQUEEZE[name](data)))) == data * 2


def test_ahead_yields_the_same_and_raises_the_same():
    assert b"".join(decompress.ahead(iter([b"a"] * 100))) == b"a" * 100

    def failing():
        yield b"a"
        raise Corrupt("broken")

    with pytest.raises(Corrupt, match="broken"):
        list(decompress.ahead(failing()))


def test_ahead_can_be_left_early():
    for piece in decompress.ahead(iter([b"a"] * 100)):
        assert piece == b"a"
        break


CHECK = """
import sys
sys.modules["zstandard"] = sys.modules["isal"] = None
from rootless.storage import decompress
with open(sys.argv[1], "rb", buffering=0) as stream:
    sys.stdout.buffer.write(b"".join(decompress.pieces(stream)))
"""


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_works_without_the_optional_packages(name, tmp_path):
    if name == "zstd" and commands.which("zstd") is None:
        pytest.skip("zstd is not installed")
    (tmp_path / "blob").write_bytes(SQUEEZE[name](DATA))
    result = subprocess.run([sys.executable, "-c", CHECK, tmp_path / "blob"], stdout=subprocess.PIPE, check=True)
    assert result.stdout == DATA


def test_zstd_without_any_decoder_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setattr(commands, "which", {}.get)
    if sys.version_info >= (3, 14):
        pytest.skip("Python has its own")
    with pytest.raises(Unsupported) as caught:
        undo(zstandard.compress(DATA))
    assert "apt install zstd" in caught.value.hint
