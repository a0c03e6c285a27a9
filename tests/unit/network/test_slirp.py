from __future__ import annotations

import pytest

from rootless.errors import MissingHelper, SystemFailure, Unsupported
from rootless.network import slirp


def test_the_command_line_for_a_process() -> None:
    assert slirp.argv(42, ready_fd=3, exit_fd=4, api_socket="/run/x/slirp.sock") == [
        "slirp4netns",
        "--mtu=65520",
        "--ready-fd=3",
        "--exit-fd=4",
        "--disable-host-loopback",
        "--configure",
        "--enable-sandbox",
        "--enable-seccomp",
        "--api-socket=/run/x/slirp.sock",
        "42",
        "tap0",
    ]


def test_the_command_line_for_a_bridge_network() -> None:
    assert slirp.argv(
        0,
        ready_fd=3,
        exit_fd=4,
        netns_path="/proc/7/ns/net",
        userns_path="/proc/7/ns/user",
        tap="tap7",
        cidr="10.89.7.0/24",
        configure=False,
        sandbox=False,
    )[4:] == [
        "--disable-host-loopback",
        "--cidr=10.89.7.0/24",
        "--userns-path=/proc/7/ns/user",
        "--netns-type=path",
        "/proc/7/ns/net",
        "tap7",
    ]


@pytest.mark.parametrize(
    ("stderr", "message", "hint"),
    [
        (
            'open("/dev/net/tun"): No such file or directory\nchild failed(1)\n',
            "no usable /dev/net/tun",
            "modprobe tun",
        ),
        ('open("/dev/net/tun"): Permission denied\nchild failed(1)\n', "no permission to open /dev/net/tun", "chmod"),
        ("sent tapfd=5 for tap0\nreceived tapfd=5\ncannot mkdir /etc\ndo_slirp failed\n", "cannot mkdir /etc", ""),
        ("", "without a word", ""),
    ],
)
def test_failures_name_the_cause(stderr: str, message: str, hint: str) -> None:
    error = slirp.explain(stderr)
    assert isinstance(error, SystemFailure)
    assert message in error.message
    assert hint in error.hint


def test_an_absent_helper_names_package_and_alternatives(tmp_path, monkeypatch) -> None:
    from rootless.linux import commands

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(commands, "_SBIN", ())
    with pytest.raises(MissingHelper) as caught:
        slirp.Slirp(1)
    assert "slirp4netns is not installed" in caught.value.message
    assert "apt install slirp4netns" in caught.value.hint
    assert "--network none" in caught.value.hint


def test_what_cannot_be_published() -> None:
    with pytest.raises(Unsupported, match="IPv4 addresses only"):
        slirp.check_publishable("::1", 8080, "tcp")
    with pytest.raises(Unsupported, match="sctp"):
        slirp.check_publishable("", 8080, "sctp")
    slirp.check_publishable("127.0.0.1", 8080, "udp")


def test_no_helper_at_the_socket(tmp_path) -> None:
    with pytest.raises(SystemFailure, match="does not answer"):
        slirp.request(str(tmp_path / "slirp.sock"), "list_hostfwd", {})
