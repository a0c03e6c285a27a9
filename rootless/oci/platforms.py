"""Platforms, ``os/architecture[/variant]``, and the choice of a manifest from an index.

Follows containerd's rules: an ``amd64`` machine also runs ``386``, an ``arm64/v8`` machine
also runs ``arm/v7`` and below, and a machine runs the lower variants of its architecture.
"""

from __future__ import annotations

import os
import sys

from rootless.errors import InvalidArgument, NotFound
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.oci.image import Descriptor, ImageConfig, Index

_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "loongarch64": ("loong64", ""),
    "mips": ("mips", ""),
    "mips64": ("mips64le" if sys.byteorder == "little" else "mips64", ""),
    "ppc64le": ("ppc64le", ""),
    "riscv64": ("riscv64", ""),
    "s390x": ("s390x", ""),
}
_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
# Words that are an architecture when they stand alone: "--platform arm64".
_ARCHITECTURES = frozenset(
    ("386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x")
)
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class Platform(Record):
    """A normalised platform; the default variant of an architecture is ``""`` (``v7`` for arm)."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        """Return ``linux/arm/v7``."""
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")


def normalise(system: str, architecture: str, variant: str = "") -> Platform:
    """Return a platform with aliases resolved and the default variant dropped."""
    system, architecture, variant = system.lower(), architecture.lower(), variant.lower()
    if architecture in _ALIASES:
        architecture, implied = _ALIASES[architecture]
        variant = variant or implied
    if variant and variant[0].isdigit():
        variant = "v" + variant
    if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    elif architecture == "arm" and not variant:
        variant = "v7"
    return Platform(os=system, architecture=architecture, variant=variant)


def host() -> Platform:
    """Return the platform of this machine."""
    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return normalise("linux", architecture, variant)


def parse(text: str) -> Platform:
    """Read ``linux/arm64/v8``, ``linux/amd64``, ``arm64`` or ``linux``; raises ``InvalidArgument``."""
    parts = text.split("/")
    if len(parts) > 3 or not all(part and _ALLOWED.issuperset(part) for part in parts):
        raise InvalidArgument(f"invalid platform: {text!r}", hint="write it as os/architecture[/variant]: linux/arm64")
    if len(parts) > 1:
        return normalise(*parts)
    word = parts[0].lower()
    if word in _ALIASES or word in _ARCHITECTURES:
        return normalise("linux", word)
    if word == "linux":
        return host()
    raise InvalidArgument(
        f"unknown operating system or architecture: {text!r}", hint="write it as os/architecture: linux/arm64"
    )


def candidates(platform: Platform) -> list[Platform]:
    """Return what a machine of ``platform`` can run, the best first."""
    system, architecture, variant = platform.os, platform.architecture, platform.variant

    def below(name: str, top: str, last: int) -> list[Platform]:
        number = int(top[1:]) if top[:1] == "v" and top[1:].isdecimal() else 0
        return [normalise(system, name, f"v{version}") for version in range(number, last - 1, -1)]

    result = [platform]
    if architecture == "amd64":
        result += below("amd64", variant, 1)
        result.append(Platform(os=system, architecture="386"))
    elif architecture == "arm64":
        result += below("arm64", variant, 8)
        result += [*below("arm", "v8", 5)]
    elif architecture == "arm":
        result += below("arm", variant, 5)
    return list(dict.fromkeys(result))


def of_config(config: ImageConfig) -> Platform:
    """Return the platform that an image configuration declares."""
    return normalise(config.get("os") or "linux", config.get("architecture") or "", config.get("variant") or "")


def satisfies(have: Platform, want: Platform) -> bool:
    """Tell whether a machine of platform ``want`` runs an image of platform ``have``."""
    return have in candidates(want)


def select(index: Index, platform: Platform) -> Descriptor:
    """Return the descriptor in an index that suits ``platform`` best, the first among equals.

    Entries without a platform are the last resort; attestations (platform ``unknown``)
    never match. Raises ``NotFound`` naming what there is.
    """
    order = {candidate: rank for rank, candidate in enumerate(candidates(platform))}
    best: Descriptor | None = None
    best_rank = len(order) + 1
    offered: list[str] = []
    for descriptor in index["manifests"]:
        declared = descriptor.get("platform")
        if not declared:
            rank = len(order)
        else:
            one = normalise(
                declared.get("os") or "linux", declared.get("architecture") or "", declared.get("variant") or ""
            )
            if one.os != "unknown":
                offered.append(str(one))
            rank = order.get(one, len(order) + 1)
        if rank < best_rank:
            best, best_rank = descriptor, rank
    if best is None:
        there = ", ".join(dict.fromkeys(offered))
        raise NotFound(
            f"no matching manifest for {platform} in the manifest list entries",
            hint=f"there is one for {there}; choose with --platform" if there else "",
        )
    return best
