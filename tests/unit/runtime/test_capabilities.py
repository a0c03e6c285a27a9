from __future__ import annotations

import pytest

from rootless.errors import InvalidArgument
from rootless.runtime import capabilities


def everything() -> list[str]:
    return list(capabilities.NAMES[: capabilities.last() + 1])


def test_numbers_are_the_kernels() -> None:
    numbers = capabilities.NUMBERS
    assert (numbers["CAP_CHOWN"], numbers["CAP_SYS_ADMIN"], numbers["CAP_SETFCAP"]) == (0, 21, 31)
    assert (numbers["CAP_MAC_OVERRIDE"], numbers["CAP_BPF"], numbers["CAP_CHECKPOINT_RESTORE"]) == (32, 39, 40)
    assert len(numbers) == 41


def test_the_default_is_dockers_fourteen() -> None:
    # CapEff that `docker run busybox grep Cap /proc/self/status` shows.
    assert capabilities.mask(capabilities.DEFAULT) == 0x00000000A80425FB
    assert capabilities.resolve((), ()) == [name for name in capabilities.NAMES if name in capabilities.DEFAULT]


def test_names_in_any_case_with_or_without_prefix() -> None:
    for name in ("NET_ADMIN", "net_admin", "CAP_NET_ADMIN", "cap_net_admin"):
        assert capabilities.resolve((name,), ("all",)) == ["CAP_NET_ADMIN"]


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        (("SYS_TIME",), (), {*capabilities.DEFAULT, "CAP_SYS_TIME"}),
        ((), ("MKNOD", "NET_RAW"), {*capabilities.DEFAULT} - {"CAP_MKNOD", "CAP_NET_RAW"}),
        ((), ("ALL",), set()),
        (("CHOWN",), ("ALL",), {"CAP_CHOWN"}),
        (("CHOWN",), ("CHOWN",), {*capabilities.DEFAULT}),
        (("CHOWN", "CHOWN"), (), {*capabilities.DEFAULT}),
    ],
)
def test_adding_and_dropping(add: tuple[str, ...], drop: tuple[str, ...], expected: set[str]) -> None:
    resolved = capabilities.resolve(add, drop)
    assert set(resolved) == expected
    assert len(resolved) == len(expected)


def test_all_but_some() -> None:
    assert capabilities.resolve(("ALL",), ()) == everything()
    assert capabilities.resolve(("ALL",), ("SYS_ADMIN",)) == [name for name in everything() if name != "CAP_SYS_ADMIN"]
    assert capabilities.resolve(("ALL",), ("ALL",)) == everything()


def test_privileged_is_all_whatever_else_is_said() -> None:
    assert capabilities.resolve((), ("ALL",), True) == everything()


@pytest.mark.parametrize("name", ["", "CAP_", "NET_ADMINN", "CAP_CAP_CHOWN", "1"])
def test_unknown_capability_is_named(name: str) -> None:
    with pytest.raises(InvalidArgument, match="unknown capability"):
        capabilities.resolve((name,), ())
    with pytest.raises(InvalidArgument, match="unknown capability"):
        capabilities.resolve((), (name,), True)


def test_a_near_miss_gets_a_suggestion() -> None:
    with pytest.raises(InvalidArgument) as caught:
        capabilities.resolve(("NET_ADMINN",), ())
    assert "CAP_NET_ADMIN" in caught.value.hint


def test_mask_and_names_are_inverse() -> None:
    for names in ([], ["CAP_CHOWN"], list(capabilities.DEFAULT), list(capabilities.NAMES)):
        assert sorted(capabilities.names(capabilities.mask(names))) == sorted(names)
    assert capabilities.names(1 << 63) == []
    with pytest.raises(InvalidArgument):
        capabilities.mask(["CHOWN"])
