"""Published and exposed ports."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.engine.options import PortMapping
from rootless.engine.portspec import parse_exposed, parse_ports
from rootless.errors import InvalidArgument, PortInUse, Unsupported


def port(container: int, host: int = 0, ip: str = "", protocol: str = "tcp") -> PortMapping:
    return PortMapping(container_port=container, host_port=host, host_ip=ip, protocol=protocol)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", (port(80),)),
        ("8080:80", (port(80, 8080),)),
        ("8080:80/udp", (port(80, 8080, protocol="udp"),)),
        ("8080:80/TCP", (port(80, 8080),)),
        ("127.0.0.1:8080:80", (port(80, 8080, "127.0.0.1"),)),
        ("127.0.0.1::80", (port(80, 0, "127.0.0.1"),)),
        ("[::1]:8080:80", (port(80, 8080, "::1"),)),
        ("::1:8080:80", (port(80, 8080, "::1"),)),
        ("80-81", (port(80), port(81))),
        ("8000-8001:80-81", (port(80, 8000), port(81, 8001))),
        ("published=8080,target=80,protocol=udp", (port(80, 8080, protocol="udp"),)),
        ("target=80", (port(80),)),
    ],
)
def test_specs(text: str, ports: tuple[PortMapping, ...]) -> None:
    assert parse_ports([text]) == ports


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no port specified: <empty>"),
        ("8080:", "no port specified: 8080:<empty>"),
        ("x", "invalid containerPort: x"),
        ("0", "invalid containerPort: 0"),
        ("65536", "invalid containerPort: 65536"),
        ("81-80", "invalid containerPort: 81-80"),
        ("x:80", "invalid hostPort: x"),
        ("-1:80", "invalid hostPort: -1"),
        ("8000-8002:80-81", "invalid ranges specified for container and host Ports: 80-81 and 8000-8002"),
        ("1.2.3:80:80", "invalid IP address: 1.2.3"),
        ("[1.2.3.4]:80:80", "invalid IP address: 1.2.3.4"),
        ("localhost:80:80", "invalid IP address: localhost"),
        ("80/icmp", "invalid proto: icmp"),
        ("target=80,foo", "invalid publish opts format"),
        ("target=80,foo=1", "invalid publish option: foo"),
    ],
)
def test_bad_specs_are_refused_in_dockers_words(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_ports([text])
    assert message in str(caught.value)


def test_sctp_is_refused_as_unsupported() -> None:
    with pytest.raises(Unsupported, match="SCTP"):
        parse_ports(["80:80/sctp"])


def test_repetitions_are_dropped() -> None:
    assert parse_ports(["80:80", "80:80/tcp", "81:80"]) == (port(80, 80), port(80, 81))


def test_host_range_for_one_port_takes_the_first_free() -> None:
    taken = {8000}
    assert parse_ports(
        ["8000-8003:80", "8000-8003:81"], is_free=lambda _ip, number, _protocol: number not in taken
    ) == (
        port(80, 8001),
        port(81, 8002),
    )
    with pytest.raises(PortInUse, match=r"no free port in 8000-8001 on 0.0.0.0"):
        parse_ports(["8000-8001:80"], is_free=lambda *_: False)


def test_a_bound_port_is_not_free() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        number = held.getsockname()[1]
        if number == 65535:
            number -= 1
        try:
            (mapping,) = parse_ports([f"127.0.0.1:{number}-{number + 1}:80"])
        except PortInUse:
            return
        assert mapping.host_port == number + 1


def test_exposed_ports() -> None:
    assert parse_exposed(["80", "53/udp", "8000-8001/tcp", "80/tcp"]) == ("80/tcp", "53/udp", "8000/tcp", "8001/tcp")
    for text in ("x", "80/foo", "", "9-8"):
        with pytest.raises(InvalidArgument, match="invalid range format for --expose"):
            parse_exposed([text])


@given(st.text(alphabet="0123456789:-/[]=,.tcpud x"))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parse_ports([text], is_free=lambda *_: True)
    except (InvalidArgument, Unsupported):
        pass
