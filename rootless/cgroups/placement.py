"""Where containers' cgroups go: which manager, below which cgroup, with which controllers.

Decided by the command, outside of rl's user namespace; the monitor carries it out (``manager``), so that all of
it is plain data.
"""

from __future__ import annotations

import os

from rootless.cgroups import detect
from rootless.errors import InvalidArgument, Unsupported
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.cgroups.detect import Host

MANAGERS = ("systemd", "cgroupfs", "none")
SLICE = "app.slice"


class Placement(Record):
    """The place of all containers of a user, a data root and a parent."""

    manager: str
    chosen: bool = False  # the user named the manager
    mount: str = detect.ROOT
    parent: str = ""  # the cgroup above base
    base: str = ""  # absolute directory in which each container has its own; "" for manager none
    controllers: tuple[str, ...] = ()  # that a container can be limited by
    unit: str = ""  # systemd: the scope's name
    slice: str = ""
    buses: tuple[str, ...] = ()
    lock: str = ""  # file that serialises making the scope
    modules: tuple[str, ...] = ()  # sys.path of the command, where the D-Bus library is

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        return self.as_dict()

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Placement:
        """Return the record in JSON values."""
        lists: dict[str, Any] = {
            name: tuple(values[name]) for name in ("controllers", "buses", "modules") if name in values
        }
        return cls(**{**values, **lists})


def choose(
    host: Host,
    *,
    manager: str = "",
    parent: str = "",
    data_root: str,
    lock: str = "",
    modules: tuple[str, ...] = (),
    may: Callable[[str], bool] = detect.is_managed,
) -> Placement:
    """Return the placement for ``--cgroup-manager`` and ``--cgroup-parent``, "" meaning what works best.

    Raises ``InvalidArgument``, or ``Unsupported`` when what was named does not exist here.
    """
    if manager not in ("", *MANAGERS):
        raise InvalidArgument(f"invalid cgroup manager: {manager}", hint=f"one of {', '.join(MANAGERS)}")
    is_slice = parent.endswith(".slice") and "/" not in parent
    if manager == "systemd" and parent and (not is_slice or len(parent) <= 6):
        raise InvalidArgument('cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"')
    chosen = bool(manager)
    if manager == "none" or (host.version != 2 and not chosen and not parent):
        return Placement(manager="none", chosen=chosen, mount=host.mount)
    if host.version != 2:
        raise Unsupported(
            f"cgroup {f'manager {manager}' if manager else f'parent {parent}'} needs cgroup version 2",
            hint="as root: boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line",
        )
    token = root_token(data_root)
    if manager == "systemd" or (not manager and host.service and host.buses and (is_slice or not parent)):
        return _systemd(host, parent or SLICE, token, chosen, lock, modules)
    if is_slice:
        raise Unsupported(f"cgroup parent {parent} is a slice, and no systemd user manager runs", hint=_LOG_IN)
    found = _cgroupfs(host, parent, token, chosen, may)
    if found is not None:
        return found
    if manager or parent:
        raise Unsupported(
            f"cgroup {parent or host.own or 'of this process'} is not delegated to this user",
            hint="its directory, cgroup.procs and cgroup.subtree_control must be writable; "
            "under systemd: --cgroup-manager systemd",
        )
    return Placement(manager="none", mount=host.mount)


_LOG_IN = "log in by ssh or on a console instead of su, or root runs: loginctl enable-linger USER"


def root_token(data_root: str) -> str:
    """Return eight digits that tell data roots apart."""
    import binascii

    return f"{binascii.crc32(os.path.realpath(data_root).encode('utf-8', 'surrogateescape')):08x}"


def _systemd(host: Host, slice_name: str, token: str, chosen: bool, lock: str, modules: tuple[str, ...]) -> Placement:
    if not host.service or not host.buses:
        raise Unsupported("cgroup manager systemd: no systemd user manager of this user runs", hint=_LOG_IN)
    parent = f"{host.service}{slice_path(slice_name)}"
    # One scope can be in one slice only.
    unit = f"rl-{token}.scope" if slice_name == SLICE else f"rl-{token}-{slice_name.removesuffix('.slice')}.scope"
    return Placement(
        manager="systemd",
        chosen=chosen,
        mount=host.mount,
        parent=parent,
        base=f"{host.directory(parent)}/{unit}",
        controllers=tuple(name for name in host.granted if name in detect.CONTROLLERS),
        unit=unit,
        slice=slice_name,
        buses=host.buses,
        lock=lock,
        modules=modules,
    )


def slice_path(name: str) -> str:
    """Return the cgroup of a slice: ``a-b.slice`` lies in ``a.slice`` (systemd.slice(5))."""
    stem = name.removesuffix(".slice")
    if stem in ("", "-"):
        return ""
    if stem.startswith("-") or stem.endswith("-") or "--" in stem:
        raise InvalidArgument(f"invalid slice name: {name}")
    parts = stem.split("-")
    return "".join(f"/{'-'.join(parts[: count + 1])}.slice" for count in range(len(parts)))


def _cgroupfs(host: Host, parent: str, token: str, chosen: bool, may: Callable[[str], bool]) -> Placement | None:
    if parent:
        if ".." in parent.split("/"):
            raise InvalidArgument(f"invalid cgroup parent: {parent}")
        above = parent if parent.startswith("/") else f"{(_inner(host) or host.own).rstrip('/')}/{parent}"
        above = f"/{above.strip('/')}"
        existing = above
        while existing != "/" and not os.path.isdir(host.directory(existing)):
            existing = detect.parent_of(existing)
        if not may(host.directory(existing)):
            return None
    else:
        if not host.top:
            return None
        above = existing = _inner(host) or host.own
    return Placement(
        manager="cgroupfs",
        chosen=chosen,
        mount=host.mount,
        parent=above,
        base=f"{host.directory(above)}/rl-{token}",
        controllers=tuple(name for name in _reachable(host, existing, may) if name in detect.CONTROLLERS),
    )


def _inner(host: Host) -> str:
    """Return the nearest of our ancestors that passes controllers on already, as it holds no processes."""
    path = host.own
    while path and path != host.top:
        path = detect.parent_of(path)
        if detect.words(f"{host.directory(path)}/cgroup.subtree_control"):
            return path
    return ""


def _reachable(host: Host, path: str, may: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the controllers that can be passed down to ``path``: those of its highest ancestor that is ours."""
    while (above := detect.parent_of(path)) and may(host.directory(above)):
        path = above
    return detect.words(f"{host.directory(path)}/cgroup.controllers")
