"""Strings of the command line become records, or are refused in Docker's words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.engine import values
from rootless.engine.options import Bind, RestartPolicy, Tmpfs, Ulimit
from rootless.errors import InvalidArgument, NoSuchFile, RlError, Unsupported


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("64m", 64 << 20),
        ("64M", 64 << 20),
        ("64mb", 64 << 20),
        ("64MiB", 64 << 20),
        ("1.5g", 3 << 29),
        ("1 k", 1024),
        ("10b", 10),
        (".5k", 512),
    ],
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert values.parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "m", "-1m", "64x", "64mm", "64bb", "64mib2", "1.2.3m", "1  k", "१k", "inf", "1e3"]
)
def test_bad_sizes_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"invalid (size|suffix)"):
        values.parse_size(text)


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("/data", Bind(source="", target="/data")),
        ("/a:/b", Bind(source="/a", target="/b")),
        ("/a/../c/:/b/:ro", Bind(source="/c", target="/b", readonly=True)),
        ("vol:/b:rw", Bind(source="vol", target="/b")),
        ("/a:/b:ro,rslave,z", Bind(source="/a", target="/b", readonly=True, options=("rslave", "z"))),
        ("vol:/b:nocopy", Bind(source="vol", target="/b", options=("nocopy",))),
        ("./site:/b", Bind(source="/home/me/site", target="/b")),
        (".:/b", Bind(source="/home/me", target="/b")),
        ("../x:/b", Bind(source="/home/x", target="/b")),
        ("/a://b", Bind(source="/a", target="/b")),
    ],
)
def test_binds(text: str, bind: Bind) -> None:
    assert values.parse_bind(text, base="/home/me") == bind


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid volume specification: ''"),
        ("/a:", "invalid volume specification: '/a:'"),
        (":/a", "invalid volume specification: ':/a'"),
        ("/a:ro", "invalid volume specification: '/a:ro'"),
        ("/a:/b:/c:ro", "invalid volume specification: '/a:/b:/c:ro'"),
        ("/a:/b:exec", "invalid mode: exec"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:b", "mount path must be absolute"),
        ("b", "mount path must be absolute"),
        ("/a:/", "destination can't be '/'"),
        ("/a://", "destination can't be '/'"),
        ("v:/b", "volume name is too short"),
        ("my vol:/b", "includes invalid characters for a local volume name"),
    ],
)
def test_bad_binds_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        values.parse_bind(text, base="/home/me")
    assert message in str(caught.value)


def test_relative_source_needs_a_base() -> None:
    with pytest.raises(InvalidArgument, match="includes invalid characters"):
        values.parse_bind("./x:/y")


@pytest.mark.parametrize(
    ("text", "tmpfs"),
    [
        ("/run", Tmpfs(target="/run")),
        ("/run/:size=64m,mode=1777,exec", Tmpfs(target="/run", options=("size=64m", "mode=1777", "exec"))),
        ("/run:defaults", Tmpfs(target="/run")),
    ],
)
def test_tmpfs(text: str, tmpfs: Tmpfs) -> None:
    assert values.parse_tmpfs(text) == tmpfs


@pytest.mark.parametrize("text", ["run", "/", "/run:size", "/run:size=", "/run:lowerdir=/", "/run:bogus", ""])
def test_bad_tmpfs_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        values.parse_tmpfs(text)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("nofile=1024", Ulimit(name="nofile", soft=1024, hard=1024)),
        ("nofile=1024:2048", Ulimit(name="nofile", soft=1024, hard=2048)),
        ("core=-1", Ulimit(name="core", soft=-1, hard=-1)),
        ("core=0:-1", Ulimit(name="core", soft=0, hard=-1)),
    ],
)
def test_ulimits(text: str, limit: Ulimit) -> None:
    assert values.parse_ulimit(text) == limit


@pytest.mark.parametrize(
    "text", ["nofile", "files=1", "nofile=", "nofile=a", "nofile=2:1", "nofile=-1:5", "nofile=1:2:3", "nofile=-2"]
)
def test_bad_ulimits_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        values.parse_ulimit(text)


def test_restart_policies() -> None:
    assert values.parse_restart("on-failure:3") == RestartPolicy(name="on-failure", maximum_retries=3)
    assert values.parse_restart("") == RestartPolicy()
    assert values.parse_restart("unless-stopped").name == "unless-stopped"


@pytest.mark.parametrize("text", ["sometimes", ":3", "always:3", "on-failure:x", "on-failure:-1"])
def test_bad_restart_policies_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid restart policy"):
        values.parse_restart(text)


@pytest.mark.parametrize(
    ("text", "number"), [("TERM", 15), ("SIGTERM", 15), ("sigkill", 9), ("15", 15), ("RTMIN+3", 37), ("RTMAX-1", 63)]
)
def test_signals(text: str, number: int) -> None:
    assert values.parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "SIGFOO", "_DFL", "SIG_DFL", "TERM+1", "SIG"])
def test_bad_signals_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid signal"):
        values.parse_signal(text)


def test_signal_names_are_inverse() -> None:
    assert values.signal_name(15) == "SIGTERM"
    assert values.signal_name(17) == "SIGCHLD"
    for number in range(1, 65):
        assert values.parse_signal(values.signal_name(number)) == number


def test_env_files_come_first_and_bare_names_inherit(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b'\xef\xbb\xbf# comment\n\n  A=1 \r\nB="x=y"\nHOME\nUNSET\n')
    result = values.parse_env(["A=2", "HOME", "GONE", "EMPTY="], [str(file)], {"HOME": "/h"})
    assert result == ("A=1 ", 'B="x=y"', "HOME=/h", "A=2", "HOME=/h", "GONE", "EMPTY=")


@pytest.mark.parametrize("content", [b"=x", b"A B=1", b"\xff\xfe=1", b"A=\0"])
def test_bad_env_file_names_file_and_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"OK=1\n" + content)
    with pytest.raises(InvalidArgument, match=r"env, line 2: "):
        values.parse_env([], [str(file)], {})


def test_missing_env_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoSuchFile, match=r"--env-file: open .*/nope"):
        values.parse_env([], [str(tmp_path / "nope")], {})


def test_env_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="invalid environment variable: =x"):
        values.parse_env(["=x"], (), {})


def test_labels(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("a=1\nb=2\nbare\n")
    assert values.parse_labels(["b=3", "c", "d=e=f"], [str(file)]) == {"a": "1", "b": "3", "c": "", "d": "e=f"}
    for text in ("", "=x", "a b=c"):
        with pytest.raises(InvalidArgument):
            values.parse_labels([text])


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("db:10.0.0.1", "db:10.0.0.1"),
        ("db=10.0.0.1", "db:10.0.0.1"),
        ("db:::1", "db:::1"),
        ("db:[::1]", "db:::1"),
        ("db:host-gateway", "db:host-gateway"),
    ],
)
def test_add_host(text: str, result: str) -> None:
    assert values.parse_add_host(text) == result


@pytest.mark.parametrize("text", ["db", ":1.2.3.4", "db:", "db:1.2.3", "db:1.2.3.4.5", "a:b=1.2.3.4"])
def test_bad_add_host_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        values.parse_add_host(text)


def test_hostnames() -> None:
    assert values.parse_hostname("web-1.example") == "web-1.example"
    for text in ("", "-a", "a..b", "a b", "a/b", "x" * 65, "ü"):
        with pytest.raises(InvalidArgument, match="invalid hostname"):
            values.parse_hostname(text)


def test_dns_values() -> None:
    assert values.parse_ip_address(" 1.1.1.1 ") == "1.1.1.1"
    assert values.parse_dns_search(".") == "."
    assert values.parse_dns_search("corp.example.") == "corp.example"
    with pytest.raises(InvalidArgument):
        values.parse_ip_address("dns.example")
    for text in ("", "1.2", "a..b", "-a"):
        with pytest.raises(InvalidArgument):
            values.parse_dns_search(text)


def test_security_options_combine(tmp_path: Path) -> None:
    profile = tmp_path / "p.json"
    profile.write_text('{ "defaultAction": "SCMP_ACT_ALLOW" }')
    options = [values.parse_security_opt(f"seccomp={profile}"), values.parse_security_opt("no-new-privileges")]
    profile.unlink()
    chosen = values.security([*options, "systempaths=unconfined", "label:disable", "apparmor=unconfined"])
    assert chosen.seccomp == '{"defaultAction":"SCMP_ACT_ALLOW"}'
    assert chosen.no_new_privileges
    assert chosen.systempaths_unconfined
    assert values.security(["no-new-privileges:false", "seccomp=unconfined"]).no_new_privileges is False
    assert values.security([]) == values.Security()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("bogus=1", InvalidArgument),
        ("seccomp", InvalidArgument),
        ("seccomp=", InvalidArgument),
        ("seccomp=/nonexistent", InvalidArgument),
        ("seccomp=/dev/null", InvalidArgument),
        ('seccomp={"a":1}', InvalidArgument),
        ("no-new-privileges=maybe", InvalidArgument),
        ("systempaths=x", InvalidArgument),
        ("label=type:svirt", Unsupported),
        ("apparmor=docker-default", Unsupported),
    ],
)
def test_bad_security_options_are_refused(text: str, kind: type[RlError]) -> None:
    with pytest.raises(kind):
        values.parse_security_opt(text)


@given(st.text())
def test_any_text_gives_a_value_or_a_refusal(text: str) -> None:
    for parse in (
        values.parse_size,
        values.parse_bind,
        values.parse_tmpfs,
        values.parse_ulimit,
        values.parse_restart,
        values.parse_signal,
        values.parse_add_host,
        values.parse_hostname,
        values.parse_dns_search,
    ):
        try:
            parse(text)
        except InvalidArgument:
            pass
