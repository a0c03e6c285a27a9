from __future__ import annotations

import os
import socket

import pytest

from rootless.errors import Denied, InvalidArgument, PortInUse, Unsupported
from rootless.network import ports


def occupied(kind: int = socket.SOCK_STREAM, address: str = "127.0.0.1") -> tuple[socket.socket, int]:
    holder = socket.socket(socket.AF_INET, kind)
    if kind == socket.SOCK_STREAM:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((address, 0))
    if kind == socket.SOCK_STREAM:
        holder.listen()
    return holder, holder.getsockname()[1]


@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_port_in_use_is_named_with_address_and_protocol(protocol: str, kind: int) -> None:
    holder, port = occupied(kind)
    with holder:
        with pytest.raises(PortInUse) as caught:
            ports.check_free("127.0.0.1", port, protocol)
        assert caught.value.message == f"port {port} on 127.0.0.1 ({protocol}) is already in use"
        with pytest.raises(PortInUse, match=r"on 0\.0\.0\.0"):
            ports.check_free("", port, protocol)
        ports.check_free("127.0.0.2", port, protocol)
    ports.check_free("127.0.0.1", port, protocol)


def test_tcp_and_udp_ports_are_not_the_same() -> None:
    holder, port = occupied(socket.SOCK_DGRAM)
    with holder:
        ports.check_free("127.0.0.1", port, "tcp")


def test_a_connection_in_time_wait_does_not_occupy_its_port() -> None:
    server, port = occupied()
    with server:
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        # The side that closes first is the one that waits: here the server's, on the port in question.
        accepted.close()
        assert client.recv(1) == b""
        client.close()
    ports.check_free("127.0.0.1", port, "tcp")


def test_checking_leaves_nothing_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    ports.check_free("", ports.choose_free("", "tcp"), "tcp")
    ports.choose_free("", "udp")
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_address_of_another_machine() -> None:
    with pytest.raises(InvalidArgument, match=r"192\.0\.2\.1 is not an address of this machine"):
        ports.check_free("192.0.2.1", 8080, "tcp")
    with pytest.raises(InvalidArgument, match="is not an address of this machine"):
        ports.check_free("1.2.3.4.5", 8080, "tcp")


def test_unknown_protocol() -> None:
    with pytest.raises(Unsupported, match="sctp"):
        ports.check_free("", 8080, "sctp")


def test_a_low_port_names_the_sysctl() -> None:
    if ports.unprivileged_start() <= 1:
        pytest.skip("every port is free for all here")
    port = 80 if ports.unprivileged_start() > 80 else 1
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setresuid(65534, 65534, 65534)
            try:
                ports.check_free("127.0.0.1", port, "tcp")
            except Denied as error:
                os.write(write, f"{error.message}; {error.hint}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    assert f"port {port} on 127.0.0.1 (tcp)" in text
    assert f"{ports.unprivileged_start()} or above" in text
    assert f"sudo sysctl net.ipv4.ip_unprivileged_port_start={port}" in text


def test_choosing_any_port() -> None:
    first = ports.choose_free("127.0.0.1", "tcp")
    second = ports.choose_free("127.0.0.1", "tcp", taken=[first])
    assert first != second
    ports.check_free("127.0.0.1", first, "tcp")


def test_choosing_from_a_range() -> None:
    holder, port = occupied()
    with holder:
        free = ports.choose_free("127.0.0.1", "tcp")
        assert ports.choose_free("127.0.0.1", "tcp", [port, free]) == free
        with pytest.raises(PortInUse, match=str(port)):
            ports.choose_free("127.0.0.1", "tcp", [port])
        with pytest.raises(PortInUse):
            ports.choose_free("127.0.0.1", "tcp", [free], taken=[free])
