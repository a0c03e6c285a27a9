"""From options and an image's configuration to an OCI runtime specification.

The only place where the two meet. ``generate`` is a function of its arguments, but for
looking at bind sources (which must exist) and, for privileged containers, at /dev. What
has to wait for the root file system stays text: ``process.user.username`` is what
``--user`` or the image says, and the runtime looks it up in the container's own
/etc/passwd, and sets HOME from there unless ``process.env`` has it.

What the specification has no place for are annotations:

``io.rootless.seccomp``
    ``default``, ``unconfined`` or the JSON text of a profile in Docker's format; the
    runtime compiles it (``linux.seccomp`` is left out).
``io.rootless.init``
    ``true``: rl's own init is process 1 and the payload its child.

Read-only binds carry ``ro`` and ``rro``: an ``rro`` mount is read-only with all mounts
below it (mount_setattr with AT_RECURSIVE), which also keeps flags that a user namespace
may not clear.
"""

from __future__ import annotations

import os

from rootless.engine.options import PortMapping
from rootless.engine.values import PROPAGATIONS, parse_hostname, parse_signal, security
from rootless.errors import Denied, InvalidArgument, NoSuchFile, NoSuchNetwork
from rootless.record import Record
from rootless.runtime import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from rootless.engine.options import Bind, ContainerOptions, ExecOptions, Tmpfs, Ulimit

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SECCOMP = "io.rootless.seccomp"
INIT = "io.rootless.init"

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
# Stay writable below a read-only root file system, as in Docker.
_ALWAYS_WRITABLE = ("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
_UNLIMITED = 2**64 - 1


class SpecContext(Record):
    """What ``generate`` cannot know from options and image."""

    container_id: str
    directory: str  # of the container, on the host; holds hosts, hostname, resolv.conf
    uid_map: tuple[tuple[int, int, int], ...] = ()  # (inside, outside, length)
    gid_map: tuple[tuple[int, int, int], ...] = ()
    volumes: Mapping[str, str] = {}  # target in the container: directory on the host
    default_ulimits: tuple[Ulimit, ...] = ()
    default_seccomp: str = ""  # config "seccomp-profile": path of a profile
    default_init: bool = False
    host_name: str = ""  # of this machine, for --network host
    extra_masked_paths: tuple[str, ...] | None = None  # None: look at this machine


class VolumeRequest(Record):
    """A volume that a container mounts; ``name`` is empty for an anonymous one."""

    name: str
    target: str
    readonly: bool = False
    copy: bool = True  # fill an empty volume with what the image has there
    options: tuple[str, ...] = ()
    from_image: bool = False


# -- what the image and the options say together ------------------------------------


def command(options: ContainerOptions, image_config: Mapping[str, Any]) -> list[str]:
    """Combine entry point and command by Docker's rules.

    An entry point given by the user discards the image's command too. Raises
    ``InvalidArgument`` if nothing is left to run.
    """
    inner = _inner(image_config)
    given = list(options.command)
    if options.entrypoint is None:
        entrypoint = _strings(inner.get("Entrypoint"))
        given = given or _strings(inner.get("Cmd"))
    else:
        entrypoint = list(options.entrypoint)
    if entrypoint == [""]:
        entrypoint = []
    if not entrypoint + given:
        raise InvalidArgument(
            "no command specified", hint=f"the image {options.image} has no default command: name one after it"
        )
    return entrypoint + given


def environment(options: ContainerOptions, image_config: Mapping[str, Any], hostname: str) -> list[str]:
    """Return the payload's environment: Docker's defaults, the image's, the user's, last wins."""
    inner = _inner(image_config)
    mine = {item.partition("=")[0] for item in options.env}
    configured = list(options.env)
    configured += [item for item in _strings(inner.get("Env")) if item.partition("=")[0] not in mine]
    defaults = [f"PATH={DEFAULT_PATH}", f"HOSTNAME={hostname}"]
    if options.tty:
        defaults.append("TERM=xterm")
    return merge_env(defaults, configured)


def merge_env(base: Iterable[str], overrides: Iterable[str]) -> list[str]:
    """Override ``NAME=value`` strings in place, append new ones; a bare name removes."""
    values = {item.partition("=")[0]: item for item in base}
    for item in overrides:
        name, equals, _ = item.partition("=")
        if equals:
            values[name] = item
        else:
            values.pop(name, None)
    return list(values.values())


def network_mode(options: ContainerOptions) -> str:
    """Return ``default``, ``none`` or ``host``."""
    return mode_of(options.network)


def mode_of(network: str) -> str:
    """Return ``default``, ``none`` or ``host`` for what ``--network`` says; raises ``NoSuchNetwork``."""
    mode = "default" if network in ("", "default", "bridge", "slirp4netns") else network
    if mode not in ("default", "none", "host"):
        raise NoSuchNetwork(f"network {network} not found", hint="known: default, none, host")
    return mode


def hostname(options: ContainerOptions, context: SpecContext) -> str:
    """Return the name that the container has: as asked, the machine's, or its short ID."""
    if options.hostname:
        return parse_hostname(options.hostname)
    if network_mode(options) == "host":
        return context.host_name or os.uname().nodename
    return context.container_id[:12]


def labels(options: ContainerOptions, image_config: Mapping[str, Any]) -> dict[str, str]:
    """Return the image's labels overridden by the user's."""
    return {**(_inner(image_config).get("Labels") or {}), **options.labels}


def user(options: ContainerOptions, image_config: Mapping[str, Any]) -> str:
    """Return the user as text: the option, else the image's, else ``""`` (root)."""
    return options.user or _inner(image_config).get("User") or ""


def working_directory(options: ContainerOptions, image_config: Mapping[str, Any]) -> str:
    """Return the absolute, clean working directory."""
    path = options.workdir or _inner(image_config).get("WorkingDir") or "/"
    if not path.startswith("/"):
        raise InvalidArgument(f"the working directory '{path}' is invalid, it needs to be an absolute path")
    return _clean(path)


def stop_signal(options: ContainerOptions, image_config: Mapping[str, Any]) -> int:
    """Return the number of the signal that asks the payload to stop."""
    return parse_signal(options.stop_signal or _inner(image_config).get("StopSignal") or "SIGTERM")


def exposed_ports(options: ContainerOptions, image_config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return ``80/tcp`` strings of the image, of --expose and of -p."""
    from rootless.engine.portspec import parse_exposed

    published = [f"{port.container_port}/{port.protocol}" for port in options.ports]
    return parse_exposed([*published, *options.exposed, *(_inner(image_config).get("ExposedPorts") or {})])


def published_ports(options: ContainerOptions, image_config: Mapping[str, Any]) -> tuple[PortMapping, ...]:
    """Return the mappings of -p, and with -P one for each other exposed port (host port 0)."""
    if not options.publish_all:
        return options.ports
    result = list(options.ports)
    have = {(port.container_port, port.protocol) for port in result}
    for exposed in exposed_ports(options, image_config):
        number, _, protocol = exposed.partition("/")
        if (int(number), protocol) not in have and protocol in ("tcp", "udp"):
            result.append(PortMapping(container_port=int(number), protocol=protocol))
    return tuple(result)


def volumes(options: ContainerOptions, image_config: Mapping[str, Any]) -> list[VolumeRequest]:
    """Return the volumes to find or make before ``generate``; the context brings their paths.

    Those of -v first, then anonymous ones for the image's VOLUMEs that nothing covers.
    """
    requests = []
    covered = {bind.target for bind in options.binds} | {tmpfs.target for tmpfs in options.tmpfs}
    for bind in options.binds:
        if not bind.source.startswith("/"):
            requests.append(
                VolumeRequest(
                    name=bind.source,
                    target=bind.target,
                    readonly=bind.readonly,
                    copy="nocopy" not in bind.options,
                    options=bind.options,
                )
            )
    for target in sorted(_inner(image_config).get("Volumes") or {}):
        path = _clean(f"/{target}")
        if path not in covered and path != "/":
            covered.add(path)
            requests.append(VolumeRequest(name="", target=path, from_image=True))
    return requests


# -- the specification ---------------------------------------------------------------


def generate(options: ContainerOptions, image_config: Mapping[str, Any], context: SpecContext) -> dict[str, Any]:
    """Return the ``config.json`` of a container.

    ``image_config`` is the image's configuration blob (with ``config`` inside). Raises
    ``InvalidArgument`` for what cannot be, ``NoSuchFile`` and ``Denied`` for bind sources.
    """
    chosen = security(options.security_opt)
    mode = network_mode(options)
    name = hostname(options, context)
    open_paths = options.privileged or chosen.systempaths_unconfined
    annotations = {SECCOMP: _seccomp(options, chosen.seccomp, context)}
    if options.init or context.default_init:
        annotations[INIT] = "true"
    namespaces = ["user", "mount", "pid", "ipc", "uts", "cgroup"]
    sysctl = {}
    if mode != "host":
        namespaces.append("network")
        sysctl["net.ipv4.ip_unprivileged_port_start"] = "0"
        last = _last_id(context.gid_map)
        if last:
            # The kernel refuses a group that the user namespace does not map (EINVAL).
            sysctl["net.ipv4.ping_group_range"] = f"0 {last}"
    linux: dict[str, Any] = {
        "namespaces": [{"type": kind} for kind in namespaces],
        "uidMappings": _mappings(context.uid_map),
        "gidMappings": _mappings(context.gid_map),
        "sysctl": sysctl,
        "devices": host_devices() if options.privileged else [],
        "maskedPaths": [] if open_paths else [*MASKED_PATHS, *_machine_paths(context)],
        "readonlyPaths": [] if open_paths else list(READONLY_PATHS),
    }
    propagation = _root_propagation(options.binds)
    if propagation:
        linux["rootfsPropagation"] = propagation
    return {
        "ociVersion": "1.1.0",
        "process": {
            "terminal": options.tty,
            "user": {"uid": 0, "gid": 0, "username": user(options, image_config)},
            "args": command(options, image_config),
            "env": environment(options, image_config, name),
            "cwd": working_directory(options, image_config),
            "capabilities": _capability_sets(
                capabilities.resolve(options.cap_add, options.cap_drop, options.privileged)
            ),
            "rlimits": _rlimits(options.ulimits, context.default_ulimits),
            "noNewPrivileges": chosen.no_new_privileges,
        },
        "root": {"path": "rootfs", "readonly": options.read_only},
        "hostname": name,
        "mounts": _mounts(options, image_config, context),
        "annotations": annotations,
        "linux": linux,
    }


def exec_process(spec: Mapping[str, Any], options: ExecOptions) -> dict[str, Any]:
    """Return the ``process`` of an exec in a container that runs ``spec``."""
    if not options.command or not options.command[0]:
        raise InvalidArgument("no exec command specified")
    base = spec["process"]
    cwd = options.workdir or base["cwd"]
    if not cwd.startswith("/"):
        raise InvalidArgument(f"the working directory '{cwd}' is invalid, it needs to be an absolute path")
    env = merge_env(base["env"], ["TERM=xterm"] if options.tty and not _has(base["env"], "TERM") else [])
    caps = base["capabilities"]
    if options.privileged:
        caps = _capability_sets(capabilities.resolve((), (), True))
    return {
        "terminal": options.tty,
        "user": {"uid": 0, "gid": 0, "username": options.user or base["user"].get("username", "")},
        "args": list(options.command),
        "env": merge_env(env, options.env),
        "cwd": _clean(cwd),
        "capabilities": caps,
        "rlimits": base.get("rlimits", []),
        "noNewPrivileges": base.get("noNewPrivileges", False),
    }


def mount_points(
    options: ContainerOptions, image_config: Mapping[str, Any], names: Mapping[str, str], paths: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return Docker's ``Mounts``: ``names`` and ``paths`` of volumes are keyed by target."""
    result = []
    for bind in options.binds:
        if bind.source.startswith("/"):
            mode = ",".join((*(["ro"] if bind.readonly else []), *bind.options))
            result.append(
                {
                    "Type": "bind",
                    "Source": bind.source,
                    "Destination": bind.target,
                    "Mode": mode,
                    "RW": not bind.readonly,
                    "Propagation": _propagation(bind.options),
                }
            )
    for request in volumes(options, image_config):
        mode = ",".join((*(["ro"] if request.readonly else []), *request.options))
        result.append(
            {
                "Type": "volume",
                "Name": names.get(request.target, request.name),
                "Source": paths.get(request.target, ""),
                "Destination": request.target,
                "Driver": "local",
                "Mode": mode or ("z" if request.name else ""),
                "RW": not request.readonly,
                "Propagation": "",
            }
        )
    return result


def check_bind_sources(binds: Iterable[Bind]) -> None:
    """Refuse binds whose source is missing or hidden from this user.

    Docker's -v makes a missing directory; as a source is nearly always misspelt then, and
    nobody but the user could own it here, that is an error instead.
    """
    for bind in binds:
        if not bind.source.startswith("/"):
            continue
        try:
            os.stat(bind.source)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchFile(
                f"bind source path does not exist: {bind.source}", hint=f"mkdir -p {bind.source}"
            ) from None
        except OSError as error:
            raise Denied(
                f"bind source path is not accessible: {bind.source}: {(error.strerror or '').lower()}",
                hint="the directories above it need search permission for your user",
            ) from error
        if not os.access(bind.source, os.R_OK):
            raise Denied(
                f"bind source is not readable: {bind.source}",
                hint=f"your user (uid {os.getuid()}) has no permission for it, so the container has none either",
            )


def host_devices(root: str = "/dev") -> list[dict[str, Any]]:
    """Return the machine's device nodes that this user can read, for a privileged container."""
    import stat

    found = []
    waiting = [root]
    while waiting:
        try:
            entries = sorted(os.scandir(waiting.pop()), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in ("pts", "shm", "fd", "mqueue", ".udev"):
                    waiting.append(entry.path)
                continue
            if entry.name in ("console", "ptmx", "tty"):
                continue
            status = entry.stat(follow_symlinks=False)
            kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(status.st_mode))
            if kind and os.access(entry.path, os.R_OK):
                found.append(
                    {
                        "path": entry.path,
                        "type": kind,
                        "major": os.major(status.st_rdev),
                        "minor": os.minor(status.st_rdev),
                        "fileMode": stat.S_IMODE(status.st_mode),
                        "uid": 0,
                        "gid": 0,
                    }
                )
    return found


# -- parts -----------------------------------------------------------------------------


def _mounts(options: ContainerOptions, image_config: Mapping[str, Any], context: SpecContext) -> list[dict[str, Any]]:
    mine = _user_mounts(options, image_config, context)
    targets = {entry["destination"] for entry in mine}
    result = []
    for entry in _default_mounts(options, context):
        target = entry["destination"]
        if target in targets or ("/dev" in targets and target.startswith("/dev/")):
            continue
        if options.read_only and target not in _ALWAYS_WRITABLE and "ro" not in entry["options"]:
            entry["options"].append("ro")
        result.append(entry)
    for name in ("resolv.conf", "hostname", "hosts"):
        if f"/etc/{name}" not in targets:
            readonly = ["ro", "rro"] if options.read_only else []
            mine.append(_mount(f"/etc/{name}", "bind", f"{context.directory}/{name}", "bind", "rprivate", *readonly))
    # A mount comes after those on the way to it.
    return result + sorted(mine, key=lambda entry: entry["destination"].count("/"))


def _default_mounts(options: ContainerOptions, context: SpecContext) -> list[dict[str, Any]]:
    safe = ("nosuid", "noexec", "nodev")
    readonly = () if options.privileged else ("ro",)
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if not context.gid_map or _is_mapped(5, context.gid_map):
        pts.append("gid=5")
    if network_mode(options) == "host":
        # sysfs belongs to the network namespace: only its owner may mount another (EPERM).
        recursive = ("rro",) if readonly else ()
        sys = _mount("/sys", "bind", "/sys", "rbind", "rslave", *safe, *readonly, *recursive)
    else:
        sys = _mount("/sys", "sysfs", "sysfs", *safe, *readonly)
    return [
        _mount("/proc", "proc", "proc", *safe),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", *pts),
        sys,
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", *safe, *readonly),
        _mount("/dev/mqueue", "mqueue", "mqueue", *safe),
        _mount("/dev/shm", "tmpfs", "shm", *safe, "mode=1777", f"size={options.shm_size}"),
    ]


def _user_mounts(
    options: ContainerOptions, image_config: Mapping[str, Any], context: SpecContext
) -> list[dict[str, Any]]:
    seen: set[str] = set()
    for target in (*(bind.target for bind in options.binds), *(tmpfs.target for tmpfs in options.tmpfs)):
        if target in seen:
            raise InvalidArgument(f"duplicate mount point: {target}")
        seen.add(target)
    check_bind_sources(options.binds)
    result = [
        _bind_mount(bind.target, bind.source, bind.options, readonly=bind.readonly)
        for bind in options.binds
        if bind.source.startswith("/")
    ]
    for request in volumes(options, image_config):
        source = context.volumes[request.target]
        result.append(_bind_mount(request.target, source, request.options, readonly=request.readonly))
    result += [_tmpfs_mount(mount) for mount in options.tmpfs]
    return result


def _bind_mount(target: str, source: str, words: Iterable[str], *, readonly: bool) -> dict[str, Any]:
    options = ["rbind", _propagation(words)]
    if readonly:
        options += ["ro", "rro"]
    return _mount(target, "bind", source, *options)


def _tmpfs_mount(mount: Tmpfs) -> dict[str, Any]:
    options: dict[str, str] = {"exec": "noexec", "suid": "nosuid", "dev": "nodev"}
    for word in mount.options:
        name = word.partition("=")[0]
        key = "propagation" if name in PROPAGATIONS else name.removeprefix("no")
        if key in ("ro", "rw"):
            key = "access"
        options.pop(key, None)
        options[key] = word
    return _mount(mount.target, "tmpfs", "tmpfs", *options.values())


def _mount(target: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def _propagation(words: Iterable[str]) -> str:
    return next((word for word in words if word in PROPAGATIONS), "rprivate")


def _root_propagation(binds: Iterable[Bind]) -> str:
    found = {_propagation(bind.options).removeprefix("r") for bind in binds}
    return "shared" if "shared" in found else "rslave" if "slave" in found else ""


def _rlimits(given: Iterable[Ulimit], defaults: Iterable[Ulimit]) -> list[dict[str, Any]]:
    chosen = {limit.name: limit for limit in (*defaults, *given)}
    return [
        {
            "type": f"RLIMIT_{limit.name.upper()}",
            "hard": _UNLIMITED if limit.hard == -1 else limit.hard,
            "soft": _UNLIMITED if limit.soft == -1 else limit.soft,
        }
        for limit in chosen.values()
    ]


def _capability_sets(names: list[str]) -> dict[str, list[str]]:
    # No inheritable set: it would survive an exec by a user other than root (CVE-2022-24769).
    return {"bounding": names, "effective": names, "permitted": names}


def _seccomp(options: ContainerOptions, chosen: str, context: SpecContext) -> str:
    if chosen != "default" or any(option.startswith("seccomp=") for option in options.security_opt):
        return chosen
    if options.privileged:
        return "unconfined"
    if context.default_seccomp:
        return security((f"seccomp={context.default_seccomp}",)).seccomp
    return "default"


def _machine_paths(context: SpecContext) -> list[str]:
    """Return the thermal counters of each processor, a side channel that Docker masks too."""
    if context.extra_masked_paths is not None:
        return list(context.extra_masked_paths)
    base = "/sys/devices/system/cpu"
    if not os.path.exists(f"{base}/cpu0/thermal_throttle"):
        return []
    names = (name for name in os.listdir(base) if name[:3] == "cpu" and name[3:].isdecimal())
    paths = (f"{base}/{name}/thermal_throttle" for name in sorted(names, key=lambda name: int(name[3:])))
    return [path for path in paths if os.path.exists(path)]


def _mappings(table: Iterable[tuple[int, int, int]]) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": length} for inside, outside, length in table]


def _is_mapped(number: int, table: Iterable[tuple[int, int, int]]) -> bool:
    return any(inside <= number < inside + length for inside, _, length in table)


def _last_id(table: Iterable[tuple[int, int, int]]) -> int:
    """Return the last ID of the unbroken range that begins at 0."""
    end = 0
    for inside, _, length in sorted(table):
        if inside > end:
            break
        end = max(end, inside + length)
    return end - 1 if end else 0


def _clean(path: str) -> str:
    return "/" + os.path.normpath(path).lstrip("/")


def _has(env: Iterable[str], name: str) -> bool:
    return any(item.startswith(f"{name}=") for item in env)


def _inner(image_config: Mapping[str, Any]) -> Mapping[str, Any]:
    return image_config.get("config") or {}


def _strings(value: Any) -> list[str]:
    """Return a list of Docker's string-or-list fields."""
    if not value:
        return []
    return [value] if isinstance(value, str) else list(value)
