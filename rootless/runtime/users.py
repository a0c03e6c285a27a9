"""Users and groups of a container, found in the image's own passwd and group.

The rules are Docker's: a number is an id before it is a name; a name must exist, a number
need not; ``USER:GROUP`` gives up the supplementary groups that /etc/group lists; the
primary group is always among the supplementary ones (else a file that denies the group
could be read by leaving it). Lines that are not well formed are passed over.
"""

from __future__ import annotations

from rootless.errors import InvalidArgument
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LARGEST = (1 << 31) - 1


class User(Record):
    """Who a process in a container is; ``name`` is "" for an id that passwd doesn't list."""

    uid: int
    gid: int
    additional_gids: tuple[int, ...]  # the primary group first
    home: str = "/"
    name: str = ""


def resolve(text: str, passwd: bytes | str, group: bytes | str, group_add: Iterable[str] = ()) -> User:
    """Resolve ``[USER][:GROUP]`` (names or numbers; "" is uid 0) in the contents of both files.

    ``group_add`` are names or numbers of further groups. Raises ``InvalidArgument`` for a
    name that does not exist and for a number out of range.
    """
    wanted, _, wanted_group = text.partition(":")
    number = _number(wanted)
    uid, gid, home, name = number or 0, 0, "/", ""
    for fields in _lines(passwd, 6):
        entry_uid, entry_gid = _number(fields[2]), _number(fields[3])
        if entry_uid is None or entry_gid is None:
            continue
        if (fields[0] == wanted) if wanted and number is None else (entry_uid == uid):
            uid, gid, home, name = entry_uid, entry_gid, fields[5] or "/", fields[0]
            break
    else:
        if wanted and number is None:
            raise InvalidArgument(
                f"unable to find user {wanted}: no matching entries in passwd file",
                hint="a numeric id needs no entry",
            )
    groups = list(_groups(group))
    gids = []
    if wanted_group:
        gid = _group(wanted_group, groups)
    elif name:
        gids = [entry_gid for _, entry_gid, members in groups if name in members]
    additional = [gid, *gids, *(_group(item, groups) for item in group_add)]
    for item in (uid, *additional):
        if not 0 <= item <= _LARGEST:
            raise InvalidArgument(f"uids and gids must be in range 0-{_LARGEST}: {text or item}")
    return User(uid=uid, gid=gid, additional_gids=tuple(dict.fromkeys(additional)), home=home, name=name)


def _group(wanted: str, groups: list[tuple[str, int, list[str]]]) -> int:
    number = _number(wanted)
    if number is not None:
        return number
    for name, gid, _ in groups:
        if name == wanted:
            return gid
    raise InvalidArgument(
        f"unable to find group {wanted}: no matching entries in group file", hint="a numeric id needs no entry"
    )


def _groups(content: bytes | str) -> Iterator[tuple[str, int, list[str]]]:
    for fields in _lines(content, 3):
        gid = _number(fields[2])
        if gid is not None:
            yield fields[0], gid, fields[3].split(",") if len(fields) > 3 else []


def _lines(content: bytes | str, least: int) -> Iterator[list[str]]:
    text = content.decode("utf-8", "surrogateescape") if isinstance(content, bytes) else content
    # Not splitlines: form feeds and their like are no ends of lines here.
    for line in text.split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= least:
            yield fields


def _number(text: str) -> int | None:
    digits = text[1:] if text[:1] in ("-", "+") else text
    return int(text) if digits.isdecimal() and digits.isascii() else None
