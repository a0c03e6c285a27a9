"""Files of ``NAME=value`` lines: ``--env-file`` and ``--label-file``.

Docker's rules: UTF-8 with an optional byte order mark, blank lines and lines that begin
with ``#`` are skipped, white space before a name is dropped, everything after ``=`` is
the value, quotes included.
"""

from __future__ import annotations

from rootless.errors import InvalidArgument, NoSuchFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def read_env_file(path: str, environ: Mapping[str, str]) -> list[str]:
    """Return the variables of a file; a bare name is looked up, and left out if unset."""
    result = []
    for line in _read(path, "--env-file"):
        name, equals, _ = line.partition("=")
        if equals:
            result.append(line)
        elif name in environ:
            result.append(f"{name}={environ[name]}")
    return result


def read_label_file(path: str) -> list[str]:
    """Return the labels of a file; bare names are left out, as in Docker."""
    return [line for line in _read(path, "--label-file") if "=" in line]


def _read(path: str, flag: str) -> list[str]:
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError:
        raise NoSuchFile(f"{flag}: open {path}: no such file or directory") from None
    except OSError as error:
        raise InvalidArgument(f"{flag}: open {path}: {(error.strerror or '').lower()}") from error
    result = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        where = f"{flag}: invalid file {path}, line {number}"
        try:
            line = raw.removesuffix(b"\r").decode("utf-8").lstrip()
        except UnicodeDecodeError:
            raise InvalidArgument(f"{where}: invalid UTF-8") from None
        if not line or line[0] == "#":
            continue
        name, _, value = line.partition("=")
        if not name:
            raise InvalidArgument(f"{where}: no variable name on line '{line}'")
        if " " in name or "\t" in name:
            raise InvalidArgument(f"{where}: variable '{name}' contains whitespaces")
        if "\0" in value or "\0" in name:
            raise InvalidArgument(f"{where}: variable '{name}' contains a zero byte")
        result.append(line)
    return result
