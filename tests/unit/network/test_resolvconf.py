from __future__ import annotations

import pytest

from rootless.errors import InvalidArgument
from rootless.network import resolvconf

HOST = """# made by a resolver
nameserver 127.0.0.53
nameserver 192.0.2.1
; nameserver 192.0.2.9
domain old.example
search corp.example example.org
options edns0 trust-ad
options ndots:2
sortlist 10.0.0.0
"""


def test_a_network_of_its_own_asks_the_forwarder_and_keeps_search_and_options() -> None:
    assert resolvconf.build(HOST, forwarder="10.0.2.3") == (
        "nameserver 10.0.2.3\nsearch corp.example example.org\noptions edns0 trust-ad ndots:2\n"
    )


def test_flags_take_the_place_of_the_hosts_values() -> None:
    built = resolvconf.build(
        HOST, forwarder="10.0.2.3", dns=["9.9.9.9", "2620:fe::9"], search=["a.test", "b.test"], options=["ndots:1"]
    )
    assert built == "nameserver 9.9.9.9\nnameserver 2620:fe::9\nsearch a.test b.test\noptions ndots:1\n"


def test_a_search_of_a_dot_is_none() -> None:
    assert "search" not in resolvconf.build(HOST, forwarder="10.0.2.3", search=["."])


def test_without_a_network_loopback_resolvers_are_left_out() -> None:
    assert resolvconf.build(HOST).splitlines()[0] == "nameserver 192.0.2.1"
    assert resolvconf.build("nameserver ::1\nnameserver 127.0.0.1\n") == ""


def test_the_hosts_network_gets_the_hosts_file_as_it_is() -> None:
    assert resolvconf.build(HOST, keep_loopback=True) == HOST


def test_flags_change_the_file_in_the_hosts_network_too() -> None:
    built = resolvconf.build(HOST, keep_loopback=True, search=["x.test"])
    assert built.splitlines()[:3] == ["nameserver 127.0.0.53", "nameserver 192.0.2.1", "search x.test"]


def test_a_host_without_a_file(tmp_path) -> None:
    assert resolvconf.read_host(str(tmp_path / "absent")) == ""
    assert resolvconf.build("", forwarder="10.0.2.3") == "nameserver 10.0.2.3\n"
    with pytest.raises(InvalidArgument):
        resolvconf.read_host(str(tmp_path))
