"""``info`` and ``version``: what rl is, what this machine lets it do, and what is missing.

Everything is probed, nothing assumed: a line under Warnings names what the machine lacks,
what that costs, and the remedy. Nothing is changed; only asking for the storage driver
may make the user's namespace, as any container would.
"""

from __future__ import annotations

import os
import sys

from rootless import __version__
from rootless.engine import times
from rootless.errors import RlError
from rootless.linux import commands, idmap
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rootless.cgroups.detect import Host
    from rootless.cgroups.placement import Placement
    from rootless.engine.engine import Engine
    from rootless.engine.inspect import ContainerView

API_VERSION = "1.47"
MINIMUM_API_VERSION = "1.24"
_NETWORK_FILE_SYSTEMS = frozenset(("nfs", "nfs4", "cifs", "smb3", "gpfs", "lustre", "ceph", "9p", "fuse.sshfs"))


class Finding(Record):
    """Something that this machine lacks."""

    lack: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return one line."""
        return f"WARNING: {self.lack}" + (f" ({self.remedy})" if self.remedy else "")


class Cgroups(Record):
    """What control groups there are for this user."""

    version: int  # 2, 1, or 0 for none
    manager: str = "none"  # systemd, cgroupfs, none
    parent: str = ""  # the cgroup above rl's, below /sys/fs/cgroup
    controllers: tuple[str, ...] = ()  # that a container can be limited by
    missing: tuple[str, ...] = ()  # the others that rl knows
    reason: str = ""  # why they are
    remedy: str = ""
    swap: bool = False


class Storage(Record):
    """The storage driver in use and the reason for it."""

    name: str
    reason: str


def info(engine: Engine) -> dict[str, Any]:
    """Return Docker's ``/info`` with an additional member ``Rl``."""
    from rootless.engine import containers

    return collect(engine, containers.list_all(engine))


def collect(engine: Engine, containers: Sequence[ContainerView]) -> dict[str, Any]:
    """Do the same with containers that are known already."""
    settings = engine.settings
    findings: list[Finding] = []
    cgroups = probe_cgroups(engine)
    storage = _storage(engine, findings)
    findings += _lacks_for_namespaces()
    findings += _lacks_for_network()
    findings += _lacks_for_storage(engine, storage)
    findings += _lacks_for_cgroups(cgroups)
    seccomp = _seccomp(findings)
    if settings.runtime_dir.startswith(f"/tmp/rl-{os.getuid()}-"):
        findings.append(
            Finding(
                lack=f"XDG_RUNTIME_DIR is not a private directory of yours: using {settings.runtime_dir}",
                remedy="log in through PAM, or set it to a directory with mode 0700",
            )
        )
    states = [str(view.state.get("status", "created")) for view in containers]
    system = os.uname()
    security = ["name=rootless", "name=cgroupns"]
    if seccomp:
        security.insert(0, f"name=seccomp,profile={settings['seccomp-profile'] or 'builtin'}")
    return {
        "ID": _identity(engine),
        "Containers": len(states),
        "ContainersRunning": states.count("running"),
        "ContainersPaused": states.count("paused"),
        "ContainersStopped": len(states) - states.count("running") - states.count("paused"),
        "Images": len({entry.image_id for entry in engine.images.list()}),
        "Driver": storage.name,
        "DriverStatus": [
            ["Reason", storage.reason],
            ["Backing Filesystem", _file_system(settings.data_root)],
            ["Data Root", settings.data_root],
        ],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["default", "host", "none"],
            "Authorization": None,
            "Log": ["json-file", "none"],
        },
        # Enforced, that is: what --limits best-effort does instead is no limit to rely on.
        "MemoryLimit": "memory" in cgroups.controllers,
        "SwapLimit": cgroups.swap,
        "CpuCfsPeriod": "cpu" in cgroups.controllers,
        "CpuCfsQuota": "cpu" in cgroups.controllers,
        "CPUShares": "cpu" in cgroups.controllers,
        "CPUSet": "cpuset" in cgroups.controllers,
        "PidsLimit": "pids" in cgroups.controllers,
        "OomKillDisable": False,
        "IPv4Forwarding": True,
        "Debug": settings["log-level"] == "debug",
        "NFd": 0,
        "NGoroutines": 0,
        "NEventsListener": 0,
        "SystemTime": times.now_text(),
        "LoggingDriver": settings["log-driver"],
        "CgroupDriver": cgroups.manager,
        "CgroupVersion": str(cgroups.version),
        "KernelVersion": system.release,
        "OperatingSystem": _os_release("PRETTY_NAME") or system.sysname,
        "OSVersion": _os_release("VERSION_ID"),
        "OSType": "linux",
        "Architecture": system.machine,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": _registries(settings),
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": _memory(),
        "GenericResources": None,
        "DockerRootDir": settings.data_root,
        "HttpProxy": _variable("http_proxy"),
        "HttpsProxy": _variable("https_proxy"),
        "NoProxy": _variable("no_proxy"),
        "Name": system.nodename,
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": __version__,
        "Runtimes": {"rl": {"path": "rl"}},
        "DefaultRuntime": "rl",
        "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False, "Error": ""},
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "",
        "SecurityOptions": security,
        "Warnings": [str(finding) for finding in findings],
        "Rl": {
            "RuntimeDir": settings.runtime_dir,
            "CgroupParent": cgroups.parent,
            "CgroupControllers": list(cgroups.controllers),
            "CgroupControllersMissing": list(cgroups.missing),
            "CgroupReason": cgroups.reason,
            "CgroupRemedy": cgroups.remedy,
            "Limits": settings["limits"],
            "SubordinateIds": {kind: _range_size(kind) for kind in ("uid", "gid")},
            "Helpers": {
                name: commands.which(name) or "" for name in ("newuidmap", "newgidmap", "slirp4netns", "fuse-overlayfs")
            },
            "UnprivilegedPortStart": _sysctl("net/ipv4/ip_unprivileged_port_start") or "0",
            "Findings": [finding.as_dict() for finding in findings],
        },
    }


def version(_engine: Engine | None = None) -> dict[str, Any]:
    """Return Docker's ``/version``, which needs no engine."""
    from rootless.oci import platforms

    system = os.uname()
    architecture = platforms.host().architecture
    python = sys.version.partition(" ")[0]
    details = {
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MINIMUM_API_VERSION,
        "Os": "linux",
        "Arch": architecture,
        "KernelVersion": system.release,
        "Experimental": "false",
        "PythonVersion": python,
    }
    return {
        "Platform": {"Name": f"rl {__version__} (rootless)"},
        "Components": [{"Name": "Engine", "Version": __version__, "Details": details}],
        "Version": __version__,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MINIMUM_API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": architecture,
        "KernelVersion": system.release,
        "BuildTime": "",
        "Experimental": False,
    }


# -- probes ----------------------------------------------------------------------------


def probe_cgroups(engine: Engine) -> Cgroups:
    """Find out where containers' cgroups go and what they can be limited by."""
    from rootless.cgroups import detect
    from rootless.engine import limiting

    try:
        host, place = limiting.place(engine)
    except RlError as error:  # what the configuration names does not exist here
        return Cgroups(
            version=detect.host().version, missing=detect.CONTROLLERS, reason=error.message, remedy=error.hint
        )
    return describe_cgroups(host, place)


def describe_cgroups(host: Host, place: Placement) -> Cgroups:
    """Return what a placement offers, and who can grant the rest."""
    from rootless.cgroups import detect, limits

    missing = [name for name in detect.CONTROLLERS if name not in place.controllers]
    reason, remedy = limits.explain(missing, host, place) if missing else ("", "")
    # The root of a hierarchy has no such file, and the scope does not exist before the first container.
    swap = any(
        os.path.exists(f"{host.directory(path)}/memory.swap.max") for path in (place.parent, host.service) if path
    )
    return Cgroups(
        version=host.version,
        manager=place.manager,
        parent=place.parent,
        controllers=place.controllers,
        missing=tuple(missing),
        reason=reason,
        remedy=remedy,
        swap=swap and "memory" in place.controllers,
    )


def _storage(engine: Engine, findings: list[Finding]) -> Storage:
    configured = engine.settings["storage-driver"]
    try:
        snapshotter = engine.snapshotter
    except RlError as error:
        findings.append(Finding(lack=f"containers cannot be run: {error.message}", remedy=error.hint))
        return Storage(name=configured or "none", reason=error.message)
    if configured:
        origin = engine.settings.origins.get("storage-driver", "")
        return Storage(name=snapshotter.name, reason=f"configured in {origin}" if origin else "configured")
    return Storage(name=snapshotter.name, reason="; ".join(snapshotter.notes) or "the best that works on this machine")


def _lacks_for_namespaces() -> list[Finding]:
    # Root of a namespace around us writes maps itself.
    helped = os.geteuid() != 0
    found = []
    for tool in ("newuidmap", "newgidmap") if helped else ():
        path = commands.which(tool)
        if path is None:
            found.append(
                Finding(
                    lack=f"{tool} is not installed: containers cannot be run",
                    remedy="apt install uidmap (dnf: shadow-utils)",
                )
            )
        elif not _is_privileged(path):
            found.append(
                Finding(
                    lack=f"{path} is neither setuid root nor has it a capability: containers cannot be run",
                    remedy=f"as root: chmod u+s {path}",
                )
            )
    for kind in ("uid", "gid") if helped else ():
        try:
            size = sum(count for _, count in idmap.subordinate_ranges(kind))
        except RlError as error:
            found.append(Finding(lack=error.message, remedy=error.hint))
            continue
        if size < 65536:
            found.append(
                Finding(
                    lack=f"only {size} subordinate {kind}s: images with higher {kind}s are squashed",
                    remedy=f"grant 65536 in /etc/sub{kind}",
                )
            )
    if _sysctl("user/max_user_namespaces") == "0":
        found.append(
            Finding(lack="user namespaces are disabled", remedy="as root: sysctl -w user.max_user_namespaces=15000")
        )
    for name, wanted in (
        ("kernel/unprivileged_userns_clone", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "0"),
    ):
        value = _sysctl(name)
        if value not in ("", wanted):
            dotted = name.replace("/", ".")
            found.append(
                Finding(
                    lack=f"user namespaces are denied to ordinary users ({dotted} is {value})",
                    remedy=f"as root: sysctl -w {dotted}={wanted}",
                )
            )
    return found


def _lacks_for_network() -> list[Finding]:
    found = []
    if commands.which("slirp4netns") is None:
        found.append(
            Finding(
                lack="slirp4netns is not installed: only --network none and host work",
                remedy="apt install slirp4netns (dnf: slirp4netns)",
            )
        )
    device = _device_fault("/dev/net/tun", "as root: modprobe tun")
    if device is not None:
        found.append(Finding(lack=f"{device.lack}: only --network none and host work", remedy=device.remedy))
    return found


def _lacks_for_storage(engine: Engine, storage: Storage) -> list[Finding]:
    found = []
    if storage.name == "vfs" and not engine.settings["storage-driver"]:
        found.append(
            Finding(
                lack="neither native overlay nor fuse-overlayfs works: the vfs driver copies whole images",
                remedy="kernel 5.11 or later for native overlay, or apt install fuse-overlayfs",
            )
        )
        device = _device_fault("/dev/fuse", "as root: modprobe fuse")
        if device is not None:
            found.append(device)
    kind = _file_system(engine.settings.data_root)
    if kind in _NETWORK_FILE_SYSTEMS:
        found.append(
            Finding(
                lack=f"{engine.settings.data_root} is on a network file system ({kind}), which refuses subordinate ids",
                remedy='set "data-root" in the configuration to a local directory',
            )
        )
    return found


def _lacks_for_cgroups(cgroups: Cgroups) -> list[Finding]:
    if not cgroups.missing:
        return []
    whole = f"limits of {', '.join(cgroups.missing)} cannot be enforced"
    return [Finding(lack=f"{whole}: {cgroups.reason}", remedy=cgroups.remedy)]


def _seccomp(findings: list[Finding]) -> bool:
    """Say whether system call filters work."""
    if not _sysctl("kernel/seccomp/actions_avail"):
        findings.append(
            Finding(
                lack="the kernel has no seccomp filters", remedy="containers need --security-opt seccomp=unconfined"
            )
        )
        return False
    try:
        import pyseccomp  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        findings.append(
            Finding(
                lack="libseccomp is not installed: a container without a compiled filter in the cache cannot start",
                remedy="apt install libseccomp2 (dnf: libseccomp)",
            )
        )
        return False
    return True


def _device_fault(path: str, remedy: str) -> Finding | None:
    if not os.path.exists(path):
        return Finding(lack=f"{path} does not exist", remedy=remedy)
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding(lack=f"{path} may not be opened by this user", remedy=f"as root: chmod 0666 {path}")
    return None


def _is_privileged(path: str) -> bool:
    import stat

    status = os.stat(path)
    if status.st_mode & stat.S_ISUID and status.st_uid == 0:
        return True
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def _range_size(kind: str) -> int:
    try:
        return sum(count for _, count in idmap.subordinate_ranges(kind))
    except RlError:
        return 0


def _file_system(path: str) -> str:
    """Return the type of the file system that holds ``path``."""
    best, kind = "", ""
    real = os.path.realpath(path)
    for target, found in _mounts("/proc/self/mountinfo"):
        inside = real == target or real.startswith(target.rstrip("/") + "/")
        if inside and len(target) >= len(best):
            best, kind = target, found
    return kind


def _mounts(path: str) -> list[tuple[str, str]]:
    """Return mount points and their types, later ones on top (proc_pid_mountinfo(5))."""
    result = []
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            for line in stream:
                fields = line.split()
                target = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
                result.append((target, fields[fields.index("-") + 1]))
    except (OSError, ValueError, IndexError):
        pass
    return result


def _identity(engine: Engine) -> str:
    """Return a name for this store that stays the same: derived from its place and its owner."""
    import hashlib

    text = f"{_first_line('/etc/machine-id')} {os.getuid()} {engine.settings.data_root}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"


def _registries(settings: Any) -> dict[str, Any]:
    insecure = settings["insecure-registries"]
    mirrors = list(settings["registry-mirrors"])
    hosts = [name for name in insecure if "/" not in name]
    configs: dict[str, Any] = {"docker.io": {"Name": "docker.io", "Mirrors": mirrors, "Secure": True, "Official": True}}
    for name in hosts:
        configs[name] = {"Name": name, "Mirrors": [], "Secure": False, "Official": False}
    return {
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8", *(name for name in insecure if "/" in name)],
        "IndexConfigs": configs,
        "Mirrors": mirrors,
    }


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _variable(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.upper()) or ""


def _os_release(key: str) -> str:
    try:
        with open("/etc/os-release", encoding="utf-8") as stream:
            for line in stream:
                name, _, value = line.rstrip("\n").partition("=")
                if name == key:
                    return value.strip("\"'")
    except OSError:
        pass
    return ""


def _sysctl(name: str) -> str:
    return _first_line(f"/proc/sys/{name}")


def _first_line(path: str) -> str:
    """Return the first line of a small file; nothing if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.readline().strip()
    except OSError:
        return ""
