"""JSON without the cost of importing ``json``.

The standard package imports ``re`` and ``enum`` for its pure-Python half: 10 ms of a
start that has 25. The C scanner and encoder underneath need neither. What comes out is
what ``json.loads`` and ``json.dumps`` would give. See docs/decisions/0003-records.md.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:
    import _json as _accelerator
except ImportError:
    _json: Any = None  # an interpreter without the C accelerator
else:
    _json = _accelerator

_BLANK = " \t\n\r"


class _Context:
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}

    @staticmethod
    def parse_constant(name: str) -> float:
        """Refuse NaN and the infinities, which are not JSON."""
        raise ValueError(f"{name} is not JSON")


def loads(text: str | bytes) -> Any:
    """Parse one JSON document; raises ``ValueError`` for anything else."""
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    if _json is None:
        import json

        return json.loads(text)
    start = 0
    while text[start : start + 1] in _BLANK and start < len(text):
        start += 1
    try:
        value, end = _scan(text, start)
    except (StopIteration, SystemError):
        # SystemError: the scanner looks for JSONDecodeError in a package that nobody imported.
        import json

        return json.loads(text)
    if text[end:].strip(_BLANK):
        raise ValueError(f"extra data after JSON at offset {end}")
    return value


def _unencodable(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} is not JSON")


def dumps(value: Any, *, sort_keys: bool = False) -> str:
    """Return compact JSON."""
    if _json is None:
        import json

        return json.dumps(value, separators=(",", ":"), sort_keys=sort_keys)
    if isinstance(value, str):
        return str(_json.encode_basestring_ascii(value))
    encode = _json.make_encoder(
        {}, _unencodable, _json.encode_basestring_ascii, None, ":", ",", sort_keys, False, False
    )
    return "".join(encode(value, 0))


def load_file(path: str, *, dir_fd: int | None = None) -> Any:
    """Parse the JSON document in ``path``; raises ``OSError`` or ``ValueError``."""
    import os

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    with open(fd, "rb") as stream:
        return loads(stream.read())


if _json is not None:
    _scan = _json.make_scanner(_Context())
