"""Content digests: ``sha256:`` and 64 lower-case hexadecimal digits.

A digest that came from a registry or an archive becomes part of a path. It must have
gone through ``validate`` before that.
"""

from __future__ import annotations

from rootless.errors import InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    class Hash(Protocol):
        """What hashlib's constructors return."""

        def update(self, data: bytes | bytearray | memoryview, /) -> None:
            """Add ``data``."""
            ...

        def hexdigest(self) -> str:
            """Return the digest so far in hexadecimal."""
            ...


Digest = str

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_HEX = frozenset("0123456789abcdef")
_OTHER_LENGTHS = {"sha384": 96, "sha512": 128}


def is_hex(text: str) -> bool:
    """Tell whether ``text`` consists of lower-case hexadecimal digits; true for the empty string."""
    return _HEX.issuperset(text)


def is_valid(text: object) -> bool:
    """Tell whether ``text`` is a sha256 digest."""
    return isinstance(text, str) and len(text) == 71 and text.startswith("sha256:") and is_hex(text[7:])


def validate(text: str) -> Digest:
    """Return ``text`` if it is a sha256 digest.

    Raises ``Unsupported`` for a well-formed digest of another algorithm and
    ``InvalidArgument`` for anything else.
    """
    if is_valid(text):
        return text
    algorithm, _, value = text.partition(":")
    if len(value) == _OTHER_LENGTHS.get(algorithm, -1) and is_hex(value):
        raise Unsupported(f"unsupported digest algorithm: {algorithm}", hint="rl stores content by sha256")
    raise InvalidArgument(f"invalid digest: {text[:160]!r}")


def encoded(digest: Digest) -> str:
    """Return the hexadecimal part of a digest."""
    return digest.partition(":")[2]


def new_hash() -> Hash:
    """Return a fresh SHA-256 state.

    OpenSSL's code uses the processor's SHA instructions; ``_hashlib`` is hashlib without
    the Python around it.
    """
    try:
        from _hashlib import openssl_sha256
    except ImportError:
        import hashlib

        return hashlib.sha256()
    return openssl_sha256()


class Hasher:
    """Hashes a stream and counts its bytes."""

    def __init__(self) -> None:
        self._state = new_hash()
        self.size = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add ``data`` (bytes-like, one byte an item)."""
        self._state.update(data)
        self.size += len(data)

    @property
    def digest(self) -> Digest:
        """The digest of all data so far."""
        return "sha256:" + self._state.hexdigest()


def sha256_bytes(data: bytes) -> Digest:
    """Return the digest of ``data``.

    Small data does not load OpenSSL's library (2.5 ms) for what Python's own code does in less.
    """
    state = _small_hash() if len(data) < 65536 else new_hash()
    state.update(data)
    return "sha256:" + state.hexdigest()


def _small_hash() -> Hash:
    try:
        from _sha256 import sha256  # Python 3.11
    except ImportError:
        try:
            from _sha2 import sha256  # type: ignore[import-not-found,no-redef,unused-ignore]
        except ImportError:
            return new_hash()
    made: Hash = sha256()
    return made


def chain_ids(diff_ids: Iterable[Digest]) -> list[Digest]:
    """Return for each layer the identity of the stack up to and including it.

    ``chain(L0) = L0`` and ``chain(L0..Ln) = sha256(chain(L0..Ln-1) + " " + Ln)``, from the
    OCI image specification.
    """
    result: list[Digest] = []
    for diff_id in diff_ids:
        result.append(sha256_bytes(f"{result[-1]} {diff_id}".encode("ascii")) if result else diff_id)
    return result
