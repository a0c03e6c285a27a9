"""Ports of the host: whether one can be published, and if not, why."""

from __future__ import annotations

import _socket
import errno

from rootless.errors import Denied, InvalidArgument, PortInUse, RlError, SystemFailure, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_START = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


def unprivileged_start() -> int:
    """Return the first port that an ordinary user may bind: ip(7), ip_unprivileged_port_start."""
    try:
        with open(_START, encoding="ascii") as stream:
            return int(stream.read())
    except (OSError, ValueError):
        return 1024


def describe(host_ip: str, port: int, protocol: str) -> str:
    """Return how messages name a host port."""
    return f"port {port} on {host_ip or '0.0.0.0'} ({protocol})"


def check_free(host_ip: str, port: int, protocol: str) -> None:
    """Bind the port for a moment; "" is every address.

    Raises ``PortInUse``, ``Denied`` for a port below the unprivileged ones,
    ``InvalidArgument`` for an address of another machine and ``Unsupported`` for
    protocols that can't be published.
    """
    _bind(host_ip, port, protocol).close()


def choose_free(host_ip: str, protocol: str, candidates: Iterable[int] = (), *, taken: Iterable[int] = ()) -> int:
    """Return a port that is free now: the first such of ``candidates``, or any.

    ``taken`` are ports already promised. Raises like ``check_free`` if no candidate is free.
    """
    avoided = set(taken)
    problem: RlError | None = None
    for port in candidates:
        try:
            if port in avoided:
                raise in_use(host_ip, port, protocol)
            check_free(host_ip, port, protocol)
            return port
        except (PortInUse, Denied) as error:
            problem = problem or error
    if problem is not None:
        raise problem
    held = []
    try:
        while True:
            # Held until the end, so that the kernel doesn't offer it again.
            holder = _bind(host_ip, 0, protocol)
            held.append(holder)
            number: int = holder.getsockname()[1]
            if number not in avoided:
                return number
    finally:
        for holder in held:
            holder.close()


def in_use(host_ip: str, port: int, protocol: str) -> PortInUse:
    """Return the error for a port that somebody has."""
    option = "u" if protocol == "udp" else "t"
    return PortInUse(
        f"{describe(host_ip, port, protocol)} is already in use",
        hint=f"choose another host port; `ss -{option}lnp sport = :{port}` shows who has it",
    )


def _bind(host_ip: str, port: int, protocol: str) -> _socket.socket:
    if protocol not in ("tcp", "udp"):
        raise Unsupported(f"{describe(host_ip, port, protocol)}: protocol {protocol} can't be published rootless")
    what = describe(host_ip, port, protocol)
    family = _socket.AF_INET6 if ":" in host_ip else _socket.AF_INET
    kind = _socket.SOCK_STREAM if protocol == "tcp" else _socket.SOCK_DGRAM
    try:
        holder = _socket.socket(family, kind | _socket.SOCK_CLOEXEC)
    except OSError as error:
        raise Unsupported(f"{what}: this machine has no {'IPv6' if ':' in host_ip else 'IPv4'}") from error
    try:
        if family == _socket.AF_INET6:
            holder.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            # As slirp4netns does: connections in TIME_WAIT are no hindrance, and listen tells of listeners.
            holder.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        holder.bind((host_ip or "0.0.0.0", port))
        if protocol == "tcp":
            holder.listen(1)
    except OSError as error:
        holder.close()
        raise _explain(error, host_ip, port, protocol) from error
    return holder


def _explain(error: OSError, host_ip: str, port: int, protocol: str) -> RlError:
    what = describe(host_ip, port, protocol)
    if error.errno == errno.EADDRINUSE:
        return in_use(host_ip, port, protocol)
    if error.errno in (errno.EACCES, errno.EPERM) and port < unprivileged_start():
        return Denied(
            f"{what} may not be bound by an ordinary user",
            hint=f"use a host port of {unprivileged_start()} or above, or lower the limit: "
            f"sudo sysctl net.ipv4.ip_unprivileged_port_start={port}",
        )
    if error.errno == errno.EADDRNOTAVAIL or not isinstance(error.errno, int) or error.errno < 0:
        # A negative number comes from getaddrinfo, for what is no address at all.
        return InvalidArgument(f"{what}: {host_ip} is not an address of this machine")
    return SystemFailure(f"{what} can't be bound: {(error.strerror or str(error)).lower()}")
