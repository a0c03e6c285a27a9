from __future__ import annotations

import pytest

from rootless.errors import InvalidArgument
from rootless.network import hosts


def test_the_usual_names_then_added_ones_then_its_own() -> None:
    built = hosts.build(ip="10.0.2.100", hostname="web", add_hosts=["db:192.0.2.7"])
    assert built.splitlines()[:2] == ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    assert built.splitlines()[-2:] == ["192.0.2.7\tdb", "10.0.2.100\tweb"]
    assert built.endswith("\n")


def test_a_hostname_with_a_domain_has_its_short_form_too() -> None:
    assert (
        hosts.build(ip="10.0.2.100", hostname="web.example.org").splitlines()[-1] == "10.0.2.100\tweb.example.org web"
    )


def test_without_an_address_its_own_name_is_left_out() -> None:
    assert "web" not in hosts.build(hostname="web")


def test_host_gateway() -> None:
    assert hosts.build(add_hosts=["outside:host-gateway"], gateway="10.0.2.2").endswith("10.0.2.2\toutside\n")
    with pytest.raises(InvalidArgument, match="host-gateway"):
        hosts.build(add_hosts=["outside:host-gateway"])


def test_the_hosts_own_file_as_a_base() -> None:
    built = hosts.build(base="127.0.0.1 localhost\n192.0.2.5 machine", add_hosts=["db:192.0.2.7"])
    assert built == "127.0.0.1 localhost\n192.0.2.5 machine\n192.0.2.7\tdb\n"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("db:192.0.2.7", ("db", "192.0.2.7")),
        ("db=192.0.2.7", ("db", "192.0.2.7")),
        ("db:2001:db8::7", ("db", "2001:db8::7")),
        ("db:[2001:db8::7]", ("db", "2001:db8::7")),
        ("db=::1", ("db", "::1")),
    ],
)
def test_splitting_an_entry(entry: str, expected: tuple[str, str]) -> None:
    assert hosts.split(entry) == expected


@pytest.mark.parametrize("entry", ["", "db", "db:", ":192.0.2.7", "d b:192.0.2.7", "db:1.2.3.4\nevil", "db:1 #"])
def test_what_is_no_entry(entry: str) -> None:
    with pytest.raises(InvalidArgument, match="bad format for add-host"):
        hosts.split(entry)


def test_reading_the_hosts_file(tmp_path) -> None:
    assert hosts.read_host(str(tmp_path / "absent")) == ""
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    assert hosts.read_host(str(tmp_path / "hosts")) == "127.0.0.1 localhost\n"
