"""slirp4netns as it is: a namespace gets a network, ports are published, nothing stays."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator

import pytest

from rootless.errors import PortInUse, SystemFailure
from rootless.linux import process, syscalls
from rootless.network import ports, slirp

pytestmark = [
    pytest.mark.skipif(shutil.which("slirp4netns") is None, reason="slirp4netns is not installed"),
    pytest.mark.skipif(not os.access("/dev/net/tun", os.R_OK | os.W_OK), reason="/dev/net/tun is not usable"),
]


class Guest:
    """A process in a network namespace of its own; it says its name to whoever connects to port 80."""

    def __init__(self) -> None:
        uid, gid = os.getuid(), os.getgid()
        ready_read, ready_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(ready_read)
                syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET)
                for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
                    with open(f"/proc/self/{name}", "w") as stream:
                        stream.write(text)
                server = socket.socket()
                server.bind(("0.0.0.0", 80))
                server.listen()
                os.write(ready_write, b"1")
                os.close(ready_write)
                while True:
                    client, _ = server.accept()
                    client.sendall(b"guest")
                    client.close()
            finally:
                os._exit(1)
        os.close(ready_write)
        started = os.read(ready_read, 1)
        os.close(ready_read)
        if not started:
            os.waitpid(self.pid, 0)
            pytest.skip("user namespaces are not available")

    def close(self) -> None:
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)

    def interfaces(self) -> str:
        with open(f"/proc/{self.pid}/net/dev") as stream:
            return stream.read()


@pytest.fixture
def guest() -> Iterator[Guest]:
    guest = Guest()
    yield guest
    guest.close()


def end(helper: slirp.Slirp) -> bool:
    """Close the helper and say whether it ended by itself."""
    pidfd = os.pidfd_open(helper.pid)
    helper.close()
    ended = process.wait_pidfd(pidfd, 10)
    os.close(pidfd)
    if not ended:
        os.kill(helper.pid, 9)
    os.waitpid(helper.pid, 0)
    return ended


def fetch(port: int, address: str = "127.0.0.1") -> bytes:
    with socket.create_connection((address, port), timeout=10) as client:
        return client.recv(100)


def test_a_published_port_reaches_the_guest(guest: Guest, tmp_path) -> None:
    api = str(tmp_path / "slirp.sock")
    helper = slirp.Slirp(guest.pid, api_socket=api)
    helper.wait_ready()
    try:
        assert "tap0" in guest.interfaces()
        port = ports.choose_free("127.0.0.1", "tcp")
        number = slirp.add_hostfwd(api, protocol="tcp", host_ip="127.0.0.1", host_port=port, guest_port=80)
        assert fetch(port) == b"guest"
        slirp.remove_hostfwd(api, number)
        with pytest.raises(ConnectionRefusedError):
            fetch(port)
    finally:
        assert end(helper)


def test_a_port_taken_meanwhile_is_named(guest: Guest, tmp_path) -> None:
    api = str(tmp_path / "slirp.sock")
    helper = slirp.Slirp(guest.pid, api_socket=api)
    helper.wait_ready()
    try:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]
            with pytest.raises(PortInUse, match=f"port {port} on 0.0.0.0"):
                slirp.add_hostfwd(api, protocol="tcp", host_ip="", host_port=port, guest_port=80)
    finally:
        assert end(helper)


def test_a_long_path_of_the_api_socket(guest: Guest, tmp_path) -> None:
    directory = tmp_path / ("d" * 100)
    directory.mkdir()
    api = str(directory / "slirp.sock")
    helper = slirp.Slirp(guest.pid, api_socket=api)
    helper.wait_ready()
    try:
        assert slirp.request(api, "list_hostfwd", {}) == {} or os.path.exists(api)
    finally:
        assert end(helper)


def test_the_helper_goes_with_its_holder(guest: Guest) -> None:
    # Orphans come to us, so that we can wait for the helper.
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    try:
        read, write = os.pipe()
        holder = os.fork()
        if holder == 0:
            try:
                helper = slirp.Slirp(guest.pid)
                helper.wait_ready()
                os.write(write, str(helper.pid).encode())
            finally:
                os._exit(0)
        os.close(write)
        pid = int(os.read(read, 100))
        os.close(read)
        os.waitpid(holder, 0)
        pidfd = os.pidfd_open(pid)
        ended = process.wait_pidfd(pidfd, 10)
        os.close(pidfd)
        os.waitpid(pid, 0)
        assert ended
    finally:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 0)


def test_the_helper_is_confined(guest: Guest) -> None:
    helper = slirp.Slirp(guest.pid)
    helper.wait_ready()
    try:
        with open(f"/proc/{helper.pid}/status") as stream:
            status = dict(line.split(":", 1) for line in stream)
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"
    finally:
        assert end(helper)


def test_a_dead_target_is_an_error_and_leaves_nothing(tmp_path) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    before = len(os.listdir("/proc/self/fd"))
    helper = slirp.Slirp(pid, api_socket=str(tmp_path / "slirp.sock"))
    with pytest.raises(SystemFailure, match="slirp4netns failed"):
        helper.wait_ready()
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(helper.pid, 0)
