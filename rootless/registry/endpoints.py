"""Which hosts serve a registry's name, and whether plain HTTP is allowed there.

HTTPS with verification is the rule. Loopback hosts and ``insecure-registries`` are tried
by HTTPS without verification, then by plain HTTP, as Docker does. ``registry-mirrors``
stand before Docker Hub and before nothing else; a mirror's URL says its scheme.
"""

from __future__ import annotations

import ipaddress

from rootless.errors import InvalidArgument
from rootless.oci.references import DEFAULT_REGISTRY
from rootless.record import Record

HUB = "registry-1.docker.io"


class Base(Record):
    """One way to talk to a host."""

    url: str  # "https://host:port", without a slash at the end
    verify: bool = True


class Endpoint(Record):
    """A host that serves images; ``bases`` are tried in order until one answers."""

    host: str
    bases: tuple[Base, ...]
    mirror: bool = False
    credentials_key: str = ""
    insecure: bool = False  # may be, or send us to, a place without TLS


def endpoints(
    registry: str, *, mirrors: tuple[str, ...] = (), insecure_registries: tuple[str, ...] = ()
) -> list[Endpoint]:
    """Return where to look for images of ``registry``, in order; raises ``InvalidArgument``."""
    if registry != DEFAULT_REGISTRY:
        return [_endpoint(registry, registry, insecure_registries)]
    result = [_mirror(url, insecure_registries) for url in mirrors]
    result.append(_endpoint(HUB, "https://index.docker.io/v1/", insecure_registries))
    return result


def _endpoint(host: str, key: str, insecure_registries: tuple[str, ...]) -> Endpoint:
    insecure = is_insecure(host, insecure_registries)
    bases: tuple[Base, ...] = (Base(url=f"https://{host}"),)
    if insecure:
        bases = (Base(url=f"https://{host}", verify=False), Base(url=f"http://{host}", verify=False))
    return Endpoint(host=host, bases=bases, credentials_key=key, insecure=insecure)


def _mirror(url: str, insecure_registries: tuple[str, ...]) -> Endpoint:
    scheme, separator, rest = url.partition("://")
    host = rest.rstrip("/")
    if not separator or scheme not in ("http", "https") or not host or not set("/?#@").isdisjoint(host):
        raise InvalidArgument(
            f"invalid registry mirror: {url}", hint="write it as https://host[:port], without a path or a user name"
        )
    insecure = is_insecure(host, insecure_registries)
    return Endpoint(
        host=host,
        bases=(Base(url=f"{scheme}://{host}", verify=not insecure),),
        mirror=True,
        credentials_key=host,
        insecure=insecure or scheme == "http",
    )


def split_host(host: str) -> tuple[str, str]:
    """Return name and port of ``name[:port]``; the brackets of an IPv6 address are dropped."""
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        return name, port.removeprefix(":")
    name, _, port = host.partition(":")
    return name, port


def is_loopback(host: str) -> bool:
    """Tell whether ``host[:port]`` is this machine by its name or address; resolves nothing."""
    name, _ = split_host(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_insecure(host: str, insecure_registries: tuple[str, ...]) -> bool:
    """Tell whether ``host[:port]`` may be reached without verified TLS.

    An entry is ``host``, ``host:port`` or a network in CIDR notation, for which the host is resolved.
    """
    if is_loopback(host):
        return True
    networks = []
    for entry in insecure_registries:
        entry = entry.removeprefix("http://").removeprefix("https://").rstrip("/")
        if "/" in entry:
            try:
                networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                raise InvalidArgument(
                    f"invalid insecure registry: {entry}", hint="write it as host[:port] or a network: 10.0.0.0/8"
                ) from None
        elif entry in (host, split_host(host)[0]):
            return True
    if not networks:
        return False
    return any(address in network for address in _addresses(split_host(host)[0]) for network in networks)


def _addresses(name: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        return [ipaddress.ip_address(name)]
    except ValueError:
        pass
    import socket

    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(item[4][0]).partition("%")[0]) for item in found]
