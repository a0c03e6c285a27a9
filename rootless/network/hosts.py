"""/etc/hosts of a container."""

from __future__ import annotations

from rootless.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

GATEWAY_NAME = "host-gateway"

_DEFAULT = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)


def read_host(path: str = "/etc/hosts") -> str:
    """Return the host's file for a container in the host's network; "" if there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except OSError:
        return ""


def build(
    *,
    ip: str = "",
    hostname: str = "",
    add_hosts: Sequence[str] = (),
    gateway: str = "",
    base: str | None = None,
) -> str:
    """Return the file for a container: the usual names, ``add_hosts``, and its own.

    ``add_hosts`` are ``name:address`` (or ``name=address``); the address ``host-gateway``
    stands for ``gateway``. ``base`` takes the place of the usual names (the host's network).
    Without ``ip`` (no network) the container's name is left out, as Docker does. Raises
    ``InvalidArgument``.
    """
    if base is None:
        text = "".join(f"{address}\t{names}\n" for address, names in _DEFAULT)
    else:
        text = base if not base or base.endswith("\n") else f"{base}\n"
    for entry in add_hosts:
        name, address = split(entry)
        if address == GATEWAY_NAME:
            if not gateway:
                raise InvalidArgument(
                    f"unable to derive the address of host-gateway: {entry}", hint="this network has no gateway"
                )
            address = gateway
        text += f"{address}\t{name}\n"
    if ip and hostname:
        short = hostname.partition(".")[0]
        text += f"{ip}\t{hostname}{f' {short}' if short != hostname else ''}\n"
    return text


def split(entry: str) -> tuple[str, str]:
    """Return name and address of ``--add-host``; raises ``InvalidArgument``."""
    end = min((position for position in (entry.find(":"), entry.find("=")) if position > 0), default=-1)
    name, address = entry[:end], entry[end + 1 :]
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if end < 0 or not address or any(character.isspace() or character == "#" for character in name + address):
        raise InvalidArgument(f'bad format for add-host: "{entry}"', hint="it is NAME:ADDRESS")
    return name, address
