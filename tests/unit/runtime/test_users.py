from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import InvalidArgument
from rootless.runtime import users

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
daemon:x:1:1::/usr/sbin:/usr/sbin/nologin

www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
1000:x:2000:2000::/home/odd:/bin/sh
app:x:1000:1000:App:/home/app:/bin/sh
nohome:x:1001:100:::
+::::::
broken:x:abc:1::/:
short:x:5
"""
GROUP = b"""root:x:0:
adm:x:4:root,app
www-data:x:33:
users:x:100:app
app:x:1000:
nonsense:x:y:app
bare:x:7
"""


def resolve(text: str, *group_add: str) -> users.User:
    return users.resolve(text, PASSWD, GROUP, group_add)


def test_nobody_named_is_root() -> None:
    assert resolve("") == users.User(uid=0, gid=0, additional_gids=(0, 4), home="/root", name="root")


@pytest.mark.parametrize("text", ["app", "1000"])
def test_a_user_by_name_and_by_number(text: str) -> None:
    assert resolve(text) == users.User(uid=1000, gid=1000, additional_gids=(1000, 4, 100), home="/home/app", name="app")


def test_a_number_is_an_id_before_it_is_a_name() -> None:
    assert resolve("1000").uid == 1000


def test_a_group_takes_the_place_of_the_users_groups() -> None:
    assert resolve("app:users") == users.User(uid=1000, gid=100, additional_gids=(100,), home="/home/app", name="app")
    assert resolve("app:55").additional_gids == (55,)
    assert resolve("app:") == resolve("app")


def test_a_group_alone_is_roots() -> None:
    assert resolve(":www-data") == users.User(uid=0, gid=33, additional_gids=(33,), home="/root", name="root")


def test_a_number_needs_no_entry() -> None:
    assert resolve("4711") == users.User(uid=4711, gid=0, additional_gids=(0,), home="/", name="")
    assert resolve("4711:4712") == users.User(uid=4711, gid=4712, additional_gids=(4712,), home="/", name="")


def test_further_groups() -> None:
    assert resolve("app", "www-data", "999", "adm").additional_gids == (1000, 4, 100, 33, 999)


def test_an_empty_home_is_the_root() -> None:
    assert resolve("nohome").home == "/"


@pytest.mark.parametrize("text", ["nobody", "broken", "short", "App", "app ", "+"])
def test_unknown_user(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"unable to find user .*: no matching entries in passwd file"):
        resolve(text)


@pytest.mark.parametrize("text", ["app:nogroup", ":nonsense", "0:x"])
def test_unknown_group(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"unable to find group .*: no matching entries in group file"):
        resolve(text)
    with pytest.raises(InvalidArgument, match="unable to find group nogroup"):
        resolve("app", "nogroup")


@pytest.mark.parametrize("text", ["-1", "2147483648", "99999999999999", "0:-1", "0:2147483648"])
def test_ids_out_of_range(text: str) -> None:
    with pytest.raises(InvalidArgument, match="uids and gids must be in range 0-2147483647"):
        resolve(text)


def test_an_image_without_files() -> None:
    assert users.resolve("", b"", b"") == users.User(uid=0, gid=0, additional_gids=(0,), home="/", name="")
    assert users.resolve("12:34", b"", b"").gid == 34
    with pytest.raises(InvalidArgument, match="unable to find user root"):
        users.resolve("root", b"", b"")


def test_a_malformed_line_makes_nobody_root() -> None:
    # Docker reads ids that are no numbers as 0.
    with pytest.raises(InvalidArgument):
        users.resolve("eve", b"eve:x:zero:zero::/:\n", b"")


def test_files_in_other_encodings() -> None:
    assert users.resolve("app", b"g\xe9rard:x:5:5:\xff:/:\napp:x:6:6::/:\n", b"").uid == 6


@given(st.text(), st.binary(), st.binary())
def test_whatever_an_image_holds_gives_a_user_or_a_clean_error(text: str, passwd: bytes, group: bytes) -> None:
    try:
        user = users.resolve(text, passwd, group)
    except InvalidArgument:
        return
    assert 0 <= user.uid < 1 << 31
    assert user.additional_gids[0] == user.gid
    assert all(0 <= gid < 1 << 31 for gid in user.additional_gids)
