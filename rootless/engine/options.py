"""What a caller may ask of the engine, as records shared by the CLI and the API.

Values are already parsed (a port is a number, a bind is split) but not yet resolved:
no image is looked up, no path opened. ``engine/specgen.py`` turns them into an OCI
runtime specification.
"""

from __future__ import annotations

from rootless.cgroups.resources import Resources
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Bind(Record):
    """``-v SOURCE:TARGET[:OPTIONS]``; an absolute source is a path, anything else a volume's name."""

    source: str  # "" for an anonymous volume
    target: str
    readonly: bool = False
    options: tuple[str, ...] = ()  # as given, without ro and rw: "rslave", "z", "noexec" …


class Tmpfs(Record):
    """``--tmpfs TARGET[:OPTIONS]``."""

    target: str
    options: tuple[str, ...] = ()  # "size=64m", "mode=1777", "noexec" …


class PortMapping(Record):
    """One published port; ranges are already expanded."""

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""  # "" is every address
    host_port: int = 0  # 0 asks for a free one


class Ulimit(Record):
    """``--ulimit NAME=SOFT[:HARD]``; -1 is unlimited."""

    name: str  # as setrlimit(2) without RLIMIT_, lower case: "nofile"
    soft: int
    hard: int


class RestartPolicy(Record):
    """``--restart``; stored with the container."""

    name: str = "no"  # no, on-failure, always, unless-stopped
    maximum_retries: int = 0


class ContainerOptions(Record):
    """Everything that ``create`` needs; empty values mean "as the image says"."""

    image: str
    command: tuple[str, ...] = ()
    name: str = ""
    entrypoint: tuple[str, ...] | None = None  # None: the image's; (): none
    env: tuple[str, ...] = ()  # "NAME=value"; inheritance and --env-file already resolved
    workdir: str = ""
    user: str = ""
    hostname: str = ""
    interactive: bool = False
    tty: bool = False
    auto_remove: bool = False
    labels: dict[str, str] = {}
    binds: tuple[Bind, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    network: str = "default"  # default, none, host
    ports: tuple[PortMapping, ...] = ()
    publish_all: bool = False
    exposed: tuple[str, ...] = ()  # "80/tcp", from --expose
    add_hosts: tuple[str, ...] = ()  # "name:address"
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    read_only: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    privileged: bool = False
    init: bool = False
    pull: str = "missing"  # always, missing, never
    platform: str = ""
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int = 64 * 1024 * 1024  # bytes
    stop_signal: str = ""
    stop_timeout: int | None = None  # seconds
    restart: RestartPolicy = RestartPolicy()
    resources: Resources = Resources()
    cgroup_parent: str = ""
    limits: str = ""  # strict, best-effort; "": as configured
    storage_driver: str = ""


class ExecOptions(Record):
    """What ``exec`` needs."""

    command: tuple[str, ...]
    interactive: bool = False
    tty: bool = False
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    privileged: bool = False
    detach: bool = False


def to_record(value: Any) -> Any:
    """Turn records, and the records inside them, into JSON values."""
    if hasattr(value, "as_dict"):
        return {name: to_record(item) for name, item in value.as_dict().items()}
    if isinstance(value, (tuple, list)):
        return [to_record(item) for item in value]
    return value
