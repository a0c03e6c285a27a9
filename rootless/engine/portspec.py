"""``-p`` and ``--expose``: Docker's port grammar.

::

    [[IP:][HOST-PORT[-LAST]]:]CONTAINER-PORT[-LAST][/PROTOCOL]     an IPv6 address in brackets
    published=8080,target=80,protocol=tcp
"""

from __future__ import annotations

from rootless.engine.options import PortMapping
from rootless.engine.values import is_ip_address
from rootless.errors import InvalidArgument, PortInUse, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def parse_ports(
    specs: Iterable[str], *, is_free: Callable[[str, int, str], bool] | None = None
) -> tuple[PortMapping, ...]:
    """Parse all ``-p`` values of a container; ranges are expanded, repetitions dropped.

    ``8000-8010:80`` takes the first port of the range for which ``is_free(ip, port,
    protocol)`` holds and that no earlier mapping has; by default that is found by binding.
    """
    result: dict[PortMapping, None] = {}
    for spec in specs:
        for mapping, last in _parse(_plain(spec)):
            if last > mapping.host_port:
                mapping = _first_free(mapping, last, result, is_free or _is_free)
            result[mapping] = None
    return tuple(result)


def _plain(spec: str) -> str:
    if "=" not in spec:
        return spec
    values = {"protocol": "tcp", "published": "", "target": ""}
    for item in spec.split(","):
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise InvalidArgument(f"invalid publish opts format (should be name=value but got '{item}')")
        if name not in ("protocol", "published", "target", "mode"):
            raise InvalidArgument(f"invalid publish option: {name}", hint="known: published, target, protocol")
        values[name] = value
    return f"{values['published']}:{values['target']}/{values['protocol']}"


def _parse(spec: str) -> list[tuple[PortMapping, int]]:
    """Return mappings, each with the last acceptable host port."""
    head, _, container = spec.rpartition(":")
    address, _, host = head.rpartition(":")
    ports, _, protocol = container.partition("/")
    if not ports:
        raise InvalidArgument(f"no port specified: {spec}<empty>")
    protocol = protocol.lower() or "tcp"
    if protocol == "sctp":
        raise Unsupported(f"publishing SCTP ports is not supported without root: {spec}")
    if protocol not in ("tcp", "udp"):
        raise InvalidArgument(f"invalid proto: {protocol}", hint="tcp or udp")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
        if ":" not in address:
            raise InvalidArgument(f"invalid IP address: {address}")
    if address and not is_ip_address(address):
        raise InvalidArgument(f"invalid IP address: {address}")
    span = port_range(ports)
    if span is None or span[0] == 0:
        raise InvalidArgument(f"invalid containerPort: {ports}")
    if not host:
        return [
            (PortMapping(container_port=port, protocol=protocol, host_ip=address), 0)
            for port in range(span[0], span[1] + 1)
        ]
    host_span = port_range(host)
    if host_span is None:
        raise InvalidArgument(f"invalid hostPort: {host}")
    if span[0] == span[1]:
        return [
            (
                PortMapping(container_port=span[0], protocol=protocol, host_ip=address, host_port=host_span[0]),
                host_span[1],
            )
        ]
    if span[1] - span[0] != host_span[1] - host_span[0]:
        raise InvalidArgument(f"invalid ranges specified for container and host Ports: {ports} and {host}")
    return [
        (
            PortMapping(
                container_port=span[0] + step,
                protocol=protocol,
                host_ip=address,
                host_port=host_span[0] + step,
            ),
            0,
        )
        for step in range(span[1] - span[0] + 1)
    ]


def port_range(text: str) -> tuple[int, int] | None:
    """Return first and last of ``80`` or ``8000-8010``; None for anything else."""
    first, dash, last = text.partition("-")
    if not dash:
        last = first
    for word in (first, last):
        if not word.isascii() or not word.isdecimal() or int(word) > 65535:
            return None
    return (int(first), int(last)) if int(first) <= int(last) else None


def _first_free(
    mapping: PortMapping, last: int, taken: Iterable[PortMapping], is_free: Callable[[str, int, str], bool]
) -> PortMapping:
    used = {other.host_port for other in taken if other.protocol == mapping.protocol}
    for port in range(mapping.host_port, last + 1):
        if port not in used and is_free(mapping.host_ip, port, mapping.protocol):
            return mapping.replace(host_port=port)
    raise PortInUse(
        f"no free port in {mapping.host_port}-{last} on {mapping.host_ip or '0.0.0.0'} ({mapping.protocol})",
        hint="choose another range, or leave the host port out for any free one",
    )


def _is_free(host_ip: str, port: int, protocol: str) -> bool:
    import _socket

    family = _socket.AF_INET6 if ":" in host_ip else _socket.AF_INET
    kind = _socket.SOCK_DGRAM if protocol == "udp" else _socket.SOCK_STREAM
    probe = _socket.socket(family, kind)
    try:
        probe.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1 if kind == _socket.SOCK_STREAM else 0)
        probe.bind((host_ip, port))
    except OSError:
        return False
    finally:
        probe.close()
    return True


def parse_exposed(specs: Iterable[str]) -> tuple[str, ...]:
    """Parse ``--expose`` values (or an image's ExposedPorts) into ``80/tcp`` strings."""
    result: dict[str, None] = {}
    for spec in specs:
        ports, _, protocol = spec.partition("/")
        protocol = protocol.lower() or "tcp"
        span = port_range(ports)
        if span is None:
            raise InvalidArgument(f"invalid range format for --expose: {spec}")
        if protocol not in ("tcp", "udp", "sctp"):
            raise InvalidArgument(f"invalid range format for --expose: invalid proto: {protocol}")
        for port in range(span[0], span[1] + 1):
            result[f"{port}/{protocol}"] = None
    return tuple(result)
