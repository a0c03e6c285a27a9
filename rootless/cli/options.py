"""The options of run, create and exec, declared once, and the records made of them."""

from __future__ import annotations

import os

from rootless.cgroups.resources import Resources
from rootless.cli.parser import UsageError
from rootless.engine.options import ContainerOptions, ExecOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rootless.cli.parser import Row, Values
    from rootless.config import Settings

CREATE: tuple[Row, ...] = (
    ("add-host", "", "list", "Add a custom host-to-IP mapping (host:ip)"),
    ("annotation", "", "!map", ""),
    ("attach", "a", "!list", ""),
    ("blkio-weight", "", "int", "Block IO (relative weight), between 10 and 1000"),
    ("blkio-weight-device", "", "!list", ""),
    ("cap-add", "", "list", "Add Linux capabilities"),
    ("cap-drop", "", "list", "Drop Linux capabilities"),
    ("cgroup-parent", "", "string", "Parent cgroup of the container's: a path, or a slice with systemd"),
    ("cgroupns", "", "!string", ""),
    ("cidfile", "", "string", "Write the container ID to the file"),
    ("cpu-count", "", "!int", ""),
    ("cpu-percent", "", "!int", ""),
    ("cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
    ("cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    ("cpu-rt-period", "", "!int", ""),
    ("cpu-rt-runtime", "", "!int", ""),
    ("cpu-shares", "c", "int", "CPU shares (relative weight)"),
    ("cpus", "", "decimal", "Number of CPUs"),
    ("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    ("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    ("device", "", "!list", ""),
    ("device-cgroup-rule", "", "!list", ""),
    ("device-read-bps", "", "list", "Limit read rate (bytes per second) from a device, or the disk of a path"),
    ("device-read-iops", "", "list", "Limit read rate (IO per second) from a device, or the disk of a path"),
    ("device-write-bps", "", "list", "Limit write rate (bytes per second) to a device, or the disk of a path"),
    ("device-write-iops", "", "list", "Limit write rate (IO per second) to a device, or the disk of a path"),
    ("disable-content-trust", "", "!bool", ""),
    ("dns", "", "list", "Set custom DNS servers"),
    ("dns-opt", "", "=dns-option", ""),
    ("dns-option", "", "list", "Set DNS options"),
    ("dns-search", "", "list", "Set custom DNS search domains"),
    ("domainname", "", "!string", ""),
    ("entrypoint", "", "string", "Overwrite the default ENTRYPOINT of the image"),
    ("env", "e", "list", "Set environment variables"),
    ("env-file", "", "list", "Read in a file of environment variables"),
    ("expose", "", "list", "Expose a port or a range of ports"),
    ("gpus", "", "!gpu-request", ""),
    ("group-add", "", "!list", ""),
    ("health-cmd", "", "!string", ""),
    ("health-interval", "", "!duration", ""),
    ("health-retries", "", "!int", ""),
    ("health-start-interval", "", "!duration", ""),
    ("health-start-period", "", "!duration", ""),
    ("health-timeout", "", "!duration", ""),
    ("hostname", "h", "string", "Container host name"),
    ("init", "", "bool", "Run an init inside the container that forwards signals and reaps processes"),
    ("interactive", "i", "bool", "Keep STDIN open even if not attached"),
    ("io-maxbandwidth", "", "!bytes", ""),
    ("io-maxiops", "", "!uint", ""),
    ("ip", "", "!string", ""),
    ("ip6", "", "!string", ""),
    ("ipc", "", "!string", ""),
    ("isolation", "", "!string", ""),
    ("kernel-memory", "", "!bytes", ""),
    ("label", "l", "list", "Set meta data on a container"),
    ("label-file", "", "list", "Read in a line delimited file of labels"),
    ("link", "", "!list", ""),
    ("limits", "", "string", 'What to do where a limit cannot be enforced ("strict", "best-effort")'),
    ("link-local-ip", "", "!list", ""),
    ("log-driver", "", "!string", ""),
    ("log-opt", "", "!list", ""),
    ("mac-address", "", "!string", ""),
    ("memory", "m", "bytes", "Memory limit"),
    ("memory-reservation", "", "bytes", "Memory soft limit"),
    ("memory-swap", "", "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
    ("memory-swappiness", "", "!int", ""),
    ("mount", "", "!mount", ""),
    ("name", "", "string", "Assign a name to the container"),
    ("net", "", "=network", ""),
    ("net-alias", "", "=network-alias", ""),
    ("network", "", "network", 'Connect a container to a network ("default", "none", "host")'),
    ("network-alias", "", "!list", ""),
    ("no-healthcheck", "", "!bool", ""),
    ("oom-kill-disable", "", "bool", "Disable OOM Killer (refused: cgroup version 2 always kills)"),
    ("oom-score-adj", "", "!int", ""),
    ("pid", "", "!string", ""),
    ("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)"),
    ("platform", "", "string", "Set platform of the image (os/arch[/variant])"),
    ("privileged", "", "bool", "Give extended privileges to this container"),
    ("publish", "p", "list", "Publish a container's port(s) to the host"),
    ("publish-all", "P", "bool", "Publish all exposed ports to random ports"),
    ("pull", "", "string", 'Pull image before creating ("always", "missing", "never") (default "missing")'),
    ("quiet", "q", "bool", "Suppress the pull output"),
    ("read-only", "", "bool", "Mount the container's root filesystem as read only"),
    ("restart", "", "string", 'Restart policy to apply when a container exits (default "no")'),
    ("rm", "", "bool", "Automatically remove the container and its anonymous volumes when it exits"),
    ("runtime", "", "!string", ""),
    ("security-opt", "", "list", "Security Options"),
    ("shm-size", "", "bytes", "Size of /dev/shm"),
    ("stop-signal", "", "string", "Signal to stop the container"),
    ("stop-timeout", "", "int", "Timeout (in seconds) to stop a container"),
    ("storage-opt", "", "!list", ""),
    ("sysctl", "", "!map", ""),
    ("tmpfs", "", "list", "Mount a tmpfs directory"),
    ("tty", "t", "bool", "Allocate a pseudo-TTY"),
    ("ulimit", "", "ulimit", "Ulimit options"),
    ("use-api-socket", "", "!bool", ""),
    ("user", "u", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    ("userns", "", "!string", ""),
    ("uts", "", "!string", ""),
    ("volume", "v", "list", "Bind mount a volume"),
    ("volume-driver", "", "!string", ""),
    ("volumes-from", "", "!list", ""),
    ("workdir", "w", "string", "Working directory inside the container"),
)
RUN: tuple[Row, ...] = (
    *CREATE,
    ("detach", "d", "bool", "Run container in background and print container ID"),
    ("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    ("sig-proxy", "", "bool", "Proxy received signals to the process (default true)"),
)
EXEC: tuple[Row, ...] = (
    ("detach", "d", "bool", "Detached mode: run command in the background"),
    ("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    ("env", "e", "list", "Set environment variables"),
    ("env-file", "", "list", "Read in a file of environment variables"),
    ("interactive", "i", "bool", "Keep STDIN open even if not attached"),
    ("privileged", "", "bool", "Give extended privileges to the command"),
    ("tty", "t", "bool", "Allocate a pseudo-TTY"),
    ("user", "u", "string", 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
    ("workdir", "w", "string", "Working directory inside the container"),
)
_LIMITS = frozenset(
    (
        *("blkio-weight", "cpu-period", "cpu-quota", "cpu-rt-period", "cpu-rt-runtime", "cpu-shares", "cpus"),
        *("cpuset-cpus", "cpuset-mems", "device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops"),
        *("kernel-memory", "limits", "memory", "memory-reservation", "memory-swap", "pids-limit"),
    )
)
UPDATE: tuple[Row, ...] = (
    *(row for row in CREATE if row[0] in _LIMITS),
    ("restart", "", "string", "Restart policy to apply when a container exits"),
)
# Values of refused options that ask for what every container gets.
HARMLESS: dict[str, tuple[str, ...]] = {
    "cgroupns": ("", "private"),
    "disable-content-trust": ("true",),
    "ipc": ("", "private"),
    "isolation": ("", "default"),
    "log-driver": ("", "json-file"),
    "memory-swappiness": ("-1",),
    "no-healthcheck": ("true",),  # no check runs yet
    "pid": ("",),
    "userns": ("",),
    "uts": ("",),
    "volume-driver": ("", "local"),
}
PULL_POLICIES = ("always", "missing", "never")


def container_options(values: Values, arguments: Sequence[str], settings: Settings) -> ContainerOptions:
    """Return the record for run and create; ``arguments`` are the image and its command.

    Reads ``--env-file`` and ``--label-file``, and takes ``-e NAME`` from our own environment.
    Settings give the default only where the record has no way to say "not given"; the engine
    applies the others (dns, ulimits). Raises ``InvalidArgument`` or ``NoSuchFile``.
    """
    fields: dict[str, Any] = {"image": arguments[0], "command": tuple(arguments[1:])}
    for name, field in _PLAIN:
        if name in values:
            fields[field] = values[name]
    for name, field in _REPEATED:
        if name in values:
            fields[field] = tuple(values[name])
    if "entrypoint" in values:
        # `--entrypoint=` clears the image's.
        fields["entrypoint"] = (values["entrypoint"],) if values["entrypoint"] else ()
    fields["env"] = environment(values)
    if values.get("pull", "missing") not in PULL_POLICIES:
        raise UsageError(f'invalid pull option: \'{values["pull"]}\': must be one of "always", "missing" or "never"')
    if "network" in values:
        if len(set(values["network"])) > 1:
            raise UsageError("conflicting options: a container can join one network only")
        fields["network"] = values["network"][-1]
    if "platform" not in fields:
        fields["platform"] = os.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    _parsed(values, fields, settings)
    if fields.get("auto_remove") and fields["restart"].name != "no":
        raise UsageError("conflicting options: cannot specify both --restart and --rm")
    return ContainerOptions(**fields)


# Option: field of ContainerOptions that takes its value as it is.
_PLAIN = (
    ("name", "name"),
    ("workdir", "workdir"),
    ("user", "user"),
    ("hostname", "hostname"),
    ("interactive", "interactive"),
    ("tty", "tty"),
    ("rm", "auto_remove"),
    ("publish-all", "publish_all"),
    ("read-only", "read_only"),
    ("privileged", "privileged"),
    ("init", "init"),
    ("pull", "pull"),
    ("platform", "platform"),
    ("stop-signal", "stop_signal"),
    ("stop-timeout", "stop_timeout"),
    ("cgroup-parent", "cgroup_parent"),
    ("limits", "limits"),
)
_REPEATED = (
    ("dns-option", "dns_options"),
    ("cap-add", "cap_add"),
    ("cap-drop", "cap_drop"),
)


def _parsed(values: Values, fields: dict[str, Any], settings: Settings) -> None:
    """Fill the fields whose text the engine's parsers understand."""
    from rootless.engine import values as parse

    if "volume" in values:
        base = os.getcwd()
        fields["binds"] = tuple(parse.parse_bind(text, base=base) for text in values["volume"])
    if "publish" in values or "expose" in values:
        from rootless.engine import portspec

        fields["ports"] = portspec.parse_ports(values.get("publish", ()))
        fields["exposed"] = portspec.parse_exposed(values.get("expose", ()))
    if "label" in values or "label-file" in values:
        fields["labels"] = parse.parse_labels(values.get("label", ()), values.get("label-file", ()))
    for name, field, function in (
        ("add-host", "add_hosts", parse.parse_add_host),
        ("dns", "dns", parse.parse_ip_address),
        ("dns-search", "dns_search", parse.parse_dns_search),
        ("security-opt", "security_opt", parse.parse_security_opt),
        ("tmpfs", "tmpfs", parse.parse_tmpfs),
        ("ulimit", "ulimits", parse.parse_ulimit),
    ):
        if name in values:
            fields[field] = tuple(function(text) for text in values[name])
    if "hostname" in values:
        fields["hostname"] = parse.parse_hostname(values["hostname"])
    if "stop-signal" in values:
        parse.parse_signal(values["stop-signal"])
    limits = resources(values)
    if limits:
        fields["resources"] = Resources(**limits)
    fields["restart"] = parse.parse_restart(values.get("restart", "no"))
    fields["shm_size"] = parse.parse_size(values.get("shm-size") or settings["default-shm-size"])


# Option: field of cgroups.resources.Resources, and how its text is read.
_SIZES = (("memory", "memory"), ("memory-reservation", "memory_reservation"), ("memory-swap", "memory_swap"))
_NUMBERS = (
    ("blkio-weight", "blkio_weight"),
    ("cpu-period", "cpu_period"),
    ("cpu-quota", "cpu_quota"),
    ("cpu-shares", "cpu_shares"),
    ("cpuset-cpus", "cpuset_cpus"),
    ("cpuset-mems", "cpuset_mems"),
    ("oom-kill-disable", "oom_kill_disable"),
    ("pids-limit", "pids_limit"),
)
_RATES = (
    ("device-read-bps", "read_bps"),
    ("device-write-bps", "write_bps"),
    ("device-read-iops", "read_iops"),
    ("device-write-iops", "write_iops"),
)


def resources(values: Values) -> dict[str, Any]:
    """Return the limits that were given, as fields of ``Resources``; also for update.

    Raises ``InvalidArgument``.
    """
    from rootless.cgroups import resources as parse
    from rootless.engine.values import parse_size

    fields = {field: values[name] for name, field in _NUMBERS if name in values}
    for name, field in _SIZES:
        if name in values:
            fields[field] = -1 if values[name] == "-1" else parse_size(values[name])
    if "cpus" in values:
        fields["nano_cpus"] = parse.parse_cpus(values["cpus"])
    for name, field in _RATES:
        if name in values:
            size = name.endswith("bps")
            fields[field] = tuple(parse.parse_device_rate(text, size=size) for text in values[name])
    return fields


def environment(values: Values) -> tuple[str, ...]:
    """Return ``--env-file`` and then ``-e`` as "NAME=value"; the last of a name wins."""
    if "env" not in values and "env-file" not in values:
        return ()
    from rootless.engine.values import parse_env

    return parse_env(values.get("env", ()), values.get("env-file", ()), os.environ)


def exec_options(values: Values, command: Sequence[str]) -> ExecOptions:
    """Return the record for exec."""
    return ExecOptions(
        command=tuple(command),
        interactive=values.get("interactive", False),
        tty=values.get("tty", False),
        env=environment(values),
        user=values.get("user", ""),
        workdir=values.get("workdir", ""),
        privileged=values.get("privileged", False),
        detach=values.get("detach", False),
    )
