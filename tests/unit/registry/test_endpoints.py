import pytest

from rootless.errors import InvalidArgument
from rootless.registry.endpoints import Base, endpoints, is_insecure, is_loopback


def urls(registry, **options):
    return [base.url for endpoint in endpoints(registry, **options) for base in endpoint.bases]


def test_docker_hub_is_reached_by_https_only():
    assert urls("docker.io") == ["https://registry-1.docker.io"]


def test_mirrors_come_before_docker_hub_and_nothing_else():
    mirrors = ("https://mirror.example.com/", "http://127.0.0.1:5000")
    found = [*(url.rstrip("/") for url in mirrors), "https://registry-1.docker.io"]
    assert urls("docker.io", mirrors=mirrors) == found
    assert urls("ghcr.io", mirrors=mirrors) == ["https://ghcr.io"]
    assert [endpoint.mirror for endpoint in endpoints("docker.io", mirrors=mirrors)] == [True, True, False]


@pytest.mark.parametrize(
    "url", ["mirror.example.com", "ftp://x", "https://", "https://x/path", "https://u:p@x", "https://x?y"]
)
def test_malformed_mirrors_are_refused(url):
    with pytest.raises(InvalidArgument, match="invalid registry mirror"):
        endpoints("docker.io", mirrors=(url,))


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000"])
def test_loopback_may_use_plain_http_after_tls_failed(host):
    assert is_loopback(host)
    assert urls(host) == [f"https://{host}", f"http://{host}"]


@pytest.mark.parametrize("host", ["localhost.example.com", "10.0.0.1", "128.0.0.1", "[::2]", "registry"])
def test_other_hosts_use_tls_only(host):
    assert not is_loopback(host)
    (endpoint,) = endpoints(host)
    assert endpoint.bases == (Base(url=f"https://{host}", verify=True),)
    assert not endpoint.insecure


@pytest.mark.parametrize(
    ("host", "entry", "expected"),
    [
        ("reg.example.com:5000", "reg.example.com:5000", True),
        ("reg.example.com:5000", "reg.example.com", True),
        ("reg.example.com", "reg.example.com:5000", False),
        ("evilreg.example.com", "reg.example.com", False),
        ("10.1.2.3:5000", "10.0.0.0/8", True),
        ("11.1.2.3:5000", "10.0.0.0/8", False),
        ("[fd00::1]:5000", "fd00::/8", True),
        ("reg.example.com", "http://reg.example.com", True),
    ],
)
def test_insecure_registries(host, entry, expected):
    assert is_insecure(host, (entry,)) is expected


def test_malformed_network_is_refused():
    with pytest.raises(InvalidArgument, match="invalid insecure registry"):
        is_insecure("example.com", ("10.0.0.0/99",))
