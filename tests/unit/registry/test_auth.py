import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import InvalidArgument, MissingHelper
from rootless.registry.auth import Challenge, parse_challenges
from rootless.registry.credentials import lookup
from rootless.registry.http import proxy_for

HUB = "https://index.docker.io/v1/"


def challenge(scheme, **parameters):
    return Challenge(scheme=scheme, parameters=parameters)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Bearer realm="https://a/t",service="s"', [challenge("bearer", realm="https://a/t", service="s")]),
        ('Basic realm="a, b", Bearer realm=x', [challenge("basic", realm="a, b"), challenge("bearer", realm="x")]),
        ('bearer REALM = "a\\"b" , scope="p:q:pull,push"', [challenge("bearer", realm='a"b', scope="p:q:pull,push")]),
        ("Negotiate", [challenge("negotiate")]),
        ("", []),
        ('realm="x"', []),
        ('Bearer realm="unterminated', [challenge("bearer", realm="unterminated")]),
    ],
)
def test_challenges(header, expected):
    assert parse_challenges(header) == expected


@given(st.text(alphabet='Bb =,"\\\t:', max_size=40))
def test_any_header_is_read_to_an_end(header):
    parse_challenges(header)


def config(tmp_path, **content):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    return str(path)


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def test_no_file_means_no_credentials(tmp_path):
    assert not lookup("x", path=str(tmp_path / "none"))


@pytest.mark.parametrize(
    "name", ["reg.io:5000", "https://reg.io:5000", "https://reg.io:5000/v1/", "http://reg.io:5000/v2/"]
)
def test_entries_are_found_under_old_spellings(tmp_path, name):
    found = lookup("reg.io:5000", path=config(tmp_path, auths={name: {"auth": encoded("me:a:b")}}))
    assert (found.username, found.password) == ("me", "a:b")


@pytest.mark.parametrize("name", [HUB, "index.docker.io", "docker.io"])
def test_docker_hub(tmp_path, name):
    assert lookup(HUB, path=config(tmp_path, auths={name: {"auth": encoded("me:pw")}})).username == "me"


def test_other_ports_are_other_registries(tmp_path):
    assert not lookup("reg.io", path=config(tmp_path, auths={"reg.io:5000": {"auth": encoded("me:pw")}}))


@pytest.mark.parametrize("auth", ["!!!", encoded("no colon"), "/w=="])
def test_malformed_auth_names_file_and_key(tmp_path, auth):
    with pytest.raises(InvalidArgument, match=r"config\.json: auths\[reg\.io\]\.auth"):
        lookup("reg.io", path=config(tmp_path, auths={"reg.io": {"auth": auth}}))


def test_malformed_file(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidArgument, match="not valid JSON"):
        lookup("x", path=str(tmp_path / "config.json"))


def test_missing_helper_is_named(tmp_path):
    with pytest.raises(MissingHelper, match="docker-credential-nope is not installed"):
        lookup("x", path=config(tmp_path, credsStore="nope"))


def test_helper_name_is_no_path(tmp_path):
    with pytest.raises(InvalidArgument, match="invalid name"):
        lookup("x", path=config(tmp_path, credsStore="../../bin/sh"))


def helper(tmp_path, monkeypatch, script):
    program = tmp_path / "docker-credential-t"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return config(tmp_path, credsStore="t", auths={"reg.io": {"auth": encoded("file:pw")}})


def test_helper_gives_an_identity_token(tmp_path, monkeypatch):
    path = helper(tmp_path, monkeypatch, 'echo \'{"Username":"<token>","Secret":"s3"}\'')
    assert lookup("reg.io", path=path).identity_token == "s3"


def test_file_is_asked_when_the_helper_knows_nothing(tmp_path, monkeypatch):
    path = helper(tmp_path, monkeypatch, "echo credentials not found in native keychain; exit 1")
    assert lookup("reg.io", path=path).username == "file"


def test_secrets_are_not_shown(tmp_path):
    found = lookup("reg.io", path=config(tmp_path, auths={"reg.io": {"auth": encoded("me:hunter2")}}))
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("https://r.io/v2/", {}, ""),
        ("https://r.io/v2/", {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        ("https://r.io/v2/", {"https_proxy": "p:3128"}, "http://p:3128"),
        ("http://r.io/v2/", {"HTTPS_PROXY": "http://p:3128"}, ""),
        ("http://r.io/v2/", {"HTTP_PROXY": "http://p:3128"}, "http://p:3128"),
        ("http://127.0.0.1:5000/", {"HTTP_PROXY": "http://p:3128"}, ""),
        ("http://localhost/", {"HTTP_PROXY": "http://p:3128"}, ""),
        ("https://r.io/", {"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}, ""),
        ("https://r.io/", {"HTTPS_PROXY": "http://p", "NO_PROXY": "x, r.io"}, ""),
        ("https://a.r.io/", {"HTTPS_PROXY": "http://p", "NO_PROXY": "r.io"}, ""),
        ("https://a.r.io/", {"HTTPS_PROXY": "http://p", "NO_PROXY": ".r.io"}, ""),
        ("https://r.io/", {"HTTPS_PROXY": "http://p", "NO_PROXY": ".r.io"}, "http://p"),
        ("https://xr.io/", {"HTTPS_PROXY": "http://p", "NO_PROXY": "r.io"}, "http://p"),
        ("https://r.io/", {"HTTPS_PROXY": "http://p", "NO_PROXY": "r.io:443"}, ""),
        ("https://r.io/", {"HTTPS_PROXY": "http://p", "NO_PROXY": "r.io:80"}, "http://p"),
        ("https://10.1.2.3/", {"HTTPS_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8"}, ""),
        ("https://[fd00::1]/", {"HTTPS_PROXY": "http://p", "NO_PROXY": "fd00::1"}, ""),
    ],
)
def test_proxies_by_environment(url, environment, expected):
    assert proxy_for(url, environment) == expected
