"""/etc/resolv.conf of a container: the host's, with the nameservers that work in there."""

from __future__ import annotations

from rootless.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def read_host(path: str = "/etc/resolv.conf") -> str:
    """Return the host's file, "" if there is none; raises ``InvalidArgument`` for an unreadable one."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {(error.strerror or '').lower()}") from error


def build(
    host: str,
    *,
    forwarder: str = "",
    keep_loopback: bool = False,
    dns: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
) -> str:
    """Return the file for a container; ``host`` is the content of the host's.

    Nameservers are ``dns``, else ``forwarder`` (a network of its own: slirp's resolver,
    which asks the host's), else the host's: all of them with ``keep_loopback`` (the
    host's network), or those that aren't loopback addresses (no network). ``search`` and
    ``options`` take the place of the host's; a search of "." is none at all.
    """
    if keep_loopback and not (dns or search or options):
        return host
    host_nameservers: list[str] = []
    host_search: list[str] = []
    host_options: list[str] = []
    for line in host.split("\n"):
        # A comment starts in the first column, or after a nameserver: resolv.conf(5).
        if line[:1] in ("#", ";"):
            continue
        words = line.split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            host_nameservers.append(words[1])
        elif words[0] in ("search", "domain"):
            host_search = words[1:]
        elif words[0] == "options":
            host_options += words[1:]
    if dns:
        nameservers = list(dns)
    elif forwarder:
        nameservers = [forwarder]
    else:
        nameservers = [name for name in host_nameservers if keep_loopback or not _is_loopback(name)]
    domains = list(search) or host_search
    if list(search) == ["."]:
        domains = []
    lines = [f"nameserver {name}" for name in nameservers]
    if domains:
        lines.append(f"search {' '.join(domains)}")
    if list(options) or host_options:
        lines.append(f"options {' '.join(options or host_options)}")
    return "".join(f"{line}\n" for line in lines)


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address.partition("%")[0] == "::1"
