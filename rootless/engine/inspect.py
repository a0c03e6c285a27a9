"""What ``inspect`` shows: Docker's API objects (version 1.47) made from rl's records.

A container's ``Config`` is made from its options and its image's configuration. The
configuration of an image that was removed by force is not there any more: what the
bundle says takes its place.
"""

from __future__ import annotations

from rootless.cgroups.resources import DeviceRate, Resources
from rootless.engine import specgen, times
from rootless.engine.options import (
    Bind,
    ContainerOptions,
    PortMapping,
    RestartPolicy,
    Tmpfs,
    Ulimit,
    to_record,
)
from rootless.engine.values import Security, security

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    from rootless.storage.images import ImageEntry

    class ContainerView(Protocol):
        """What is needed of ``containers.Container``."""

        @property
        def id(self) -> str: ...  # noqa: D102
        @property
        def name(self) -> str: ...  # noqa: D102
        @property
        def directory(self) -> str: ...  # noqa: D102
        @property
        def record(self) -> Mapping[str, Any]: ...  # noqa: D102
        @property
        def state(self) -> Mapping[str, Any]: ...  # noqa: D102


# -- options in records ------------------------------------------------------------


def options_to_record(options: ContainerOptions) -> dict[str, Any]:
    """Return options as plain JSON values."""
    return {name: to_record(value) for name, value in options.as_dict().items()}


def options_from_record(record: Mapping[str, Any]) -> ContainerOptions:
    """Return the options of a record; unknown fields (of a newer rl) are left out."""
    fields = {name: record[name] for name in _fields(ContainerOptions) if name in record}
    for name, kind in (("binds", Bind), ("tmpfs", Tmpfs), ("ports", PortMapping), ("ulimits", Ulimit)):
        if name in fields:
            fields[name] = tuple(_revive(kind, item) for item in fields[name])
    if "restart" in fields:
        fields["restart"] = _revive(RestartPolicy, fields["restart"])
    if "resources" in fields:
        fields["resources"] = Resources.from_plain(to_record(fields["resources"]))
    return ContainerOptions(**{name: _tuple(value) for name, value in fields.items()})


def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(kind._fields)


def _revive(kind: Any, item: Any) -> Any:
    if isinstance(item, kind):
        return item
    return kind(**{name: _tuple(value) for name, value in item.items() if name in _fields(kind)})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# -- containers ----------------------------------------------------------------------


def container_config(options: ContainerOptions, image_config: Mapping[str, Any], hostname: str) -> dict[str, Any]:
    """Return Docker's ``Config``: the image's defaults with the user's choices."""
    inner = image_config.get("config") or {}
    entrypoint = options.entrypoint
    if entrypoint is None:
        shown_entrypoint = inner.get("Entrypoint")
    else:
        shown_entrypoint = [word for word in entrypoint if word] or None
    command = list(options.command) or (inner.get("Cmd") if entrypoint is None else None)
    user_env = list(options.env)
    names = {item.partition("=")[0] for item in user_env}
    env = user_env + [item for item in inner.get("Env") or [] if item.partition("=")[0] not in names]
    targets = [bind.target for bind in options.binds if not bind.source]
    volumes: dict[str, Any] = {target: {} for target in (*targets, *(inner.get("Volumes") or {}))}
    exposed: dict[str, Any] = {port: {} for port in specgen.exposed_ports(options, image_config)}
    config: dict[str, Any] = {
        "Hostname": hostname,
        "Domainname": "",
        "User": specgen.user(options, image_config),
        "AttachStdin": options.interactive,
        "AttachStdout": True,
        "AttachStderr": True,
        "ExposedPorts": exposed,
        "Tty": options.tty,
        "OpenStdin": options.interactive,
        "StdinOnce": options.interactive,
        "Env": [item for item in env if "=" in item],
        "Cmd": command,
        "Image": options.image,
        "Volumes": volumes or None,
        "WorkingDir": options.workdir or inner.get("WorkingDir") or "",
        "Entrypoint": shown_entrypoint,
        "OnBuild": None,
        "Labels": specgen.labels(options, image_config),
    }
    if not exposed:
        del config["ExposedPorts"]
    stop_signal = options.stop_signal or inner.get("StopSignal")
    if stop_signal:
        config["StopSignal"] = stop_signal
    if options.stop_timeout is not None:
        config["StopTimeout"] = options.stop_timeout
    for key in ("Healthcheck", "Shell"):
        if inner.get(key):
            config[key] = inner[key]
    return config


def container(
    view: ContainerView, image_config: Mapping[str, Any] | None, *, sizes: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Return Docker's object for a container.

    ``image_config`` is None if the image is gone. ``sizes`` are those of --size: the
    container's own, and with its image.
    """
    record, state = view.record, view.state
    options = options_from_record(record["options"])
    command = list(record.get("command") or [""])
    if image_config is None:
        image_config = _config_of_bundle(view)
    config = container_config(options, image_config, record.get("hostname", ""))
    result = {
        "Id": view.id,
        "Created": record["created"],
        "Path": command[0],
        "Args": command[1:],
        "State": container_state(state),
        "Image": record.get("image_id", ""),
        "ResolvConfPath": f"{view.directory}/resolv.conf",
        "HostnamePath": f"{view.directory}/hostname",
        "HostsPath": f"{view.directory}/hosts",
        "LogPath": record.get("log_path", ""),
        "Name": f"/{view.name}",
        "RestartCount": state.get("restart_count", 0),
        "Driver": record.get("driver", ""),
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": host_config(options, record),
        "GraphDriver": {"Name": record.get("driver", ""), "Data": _graph(view)},
        "Mounts": list(record.get("mounts") or []),
        "Config": config,
        "NetworkSettings": network_settings(options, state, config),
        "Rl": _own(state),
    }
    if sizes is not None:
        result["SizeRw"], result["SizeRootFs"] = sizes
    return result


def _own(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Docker has no field for: how limits are kept since the last start."""
    return {
        "Limits": dict(state.get("limits") or ()),
        "Warnings": list(state.get("warnings") or ()),
        "CgroupPath": state.get("cgroup") or "",
        "PausedBy": state.get("paused_by", "") if state.get("status") == "paused" else "",
    }


def _config_of_bundle(view: ContainerView) -> dict[str, Any]:
    """Return as much of an image's configuration as the container keeps."""
    from rootless import jsonlite

    labels, exposed = view.record.get("labels") or {}, view.record.get("exposed") or ()
    inner: dict[str, Any] = {"Labels": labels, "ExposedPorts": {port: {} for port in exposed}}
    try:
        process = jsonlite.load_file(f"{view.directory}/config.json")["process"]
    except (OSError, ValueError, LookupError):
        return {"config": inner}
    inner |= {"Env": process["env"], "WorkingDir": process["cwd"], "User": process["user"].get("username", "")}
    return {"config": {**inner, "Cmd": list(view.record.get("command") or ())}}


def container_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return Docker's ``State``."""
    status = state.get("status", "created")
    shown = {
        "Status": status,
        "Running": status in ("running", "paused", "restarting"),
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": bool(state.get("oom_killed")),
        "Dead": status == "dead",
        "Pid": state.get("pid", 0) if status in ("running", "paused") else 0,
        "ExitCode": state.get("exit_code") or 0,
        "Error": state.get("error") or "",
        "StartedAt": state.get("started_at") or times.NEVER,
        "FinishedAt": state.get("finished_at") or times.NEVER,
    }
    if state.get("health"):
        shown["Health"] = state["health"]
    return shown


def host_config(options: ContainerOptions, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return Docker's ``HostConfig``; resources that are not limited have Docker's "no limit" values."""
    limits = options.resources
    chosen = security(options.security_opt) if options.security_opt else Security()
    masked: list[str] | None = list(specgen.MASKED_PATHS)
    readonly: list[str] | None = list(specgen.READONLY_PATHS)
    if chosen.systempaths_unconfined:
        masked, readonly = [], []
    elif options.privileged:
        masked = readonly = None
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in options.ports:
        bindings.setdefault(f"{port.container_port}/{port.protocol}", []).append(
            {"HostIp": port.host_ip, "HostPort": str(port.host_port) if port.host_port else ""}
        )
    return {
        "Binds": [_bind_text(bind) for bind in options.binds if bind.source] or None,
        "ContainerIDFile": record.get("cidfile", ""),
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": specgen.network_mode(options),
        "PortBindings": bindings,
        "RestartPolicy": {
            "Name": options.restart.name,
            "MaximumRetryCount": options.restart.maximum_retries,
        },
        "AutoRemove": options.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": None,
        "ConsoleSize": [0, 0],
        "CapAdd": list(options.cap_add) or None,
        "CapDrop": list(options.cap_drop) or None,
        "CgroupnsMode": "private",
        "Dns": list(options.dns),
        "DnsOptions": list(options.dns_options),
        "DnsSearch": list(options.dns_search),
        "ExtraHosts": list(options.add_hosts) or None,
        "GroupAdd": None,
        "IpcMode": "private",
        "Cgroup": "",
        "Links": None,
        "OomScoreAdj": 0,
        "PidMode": "",
        "Privileged": options.privileged,
        "PublishAllPorts": options.publish_all,
        "ReadonlyRootfs": options.read_only,
        "SecurityOpt": [item for item in options.security_opt if item != "systempaths=unconfined"] or None,
        "Tmpfs": {tmpfs.target: ",".join(tmpfs.options) for tmpfs in options.tmpfs},
        "UTSMode": "",
        "UsernsMode": "",
        "ShmSize": options.shm_size,
        "Runtime": "rl",
        "Isolation": "",
        "CpuShares": limits.cpu_shares,
        "Memory": limits.memory,
        "NanoCpus": limits.nano_cpus,
        "CgroupParent": options.cgroup_parent,
        "BlkioWeight": limits.blkio_weight,
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": _rates(limits.read_bps),
        "BlkioDeviceWriteBps": _rates(limits.write_bps),
        "BlkioDeviceReadIOps": _rates(limits.read_iops),
        "BlkioDeviceWriteIOps": _rates(limits.write_iops),
        "CpuPeriod": limits.cpu_period,
        "CpuQuota": limits.cpu_quota,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "Devices": [],
        "DeviceCgroupRules": None,
        "DeviceRequests": None,
        "MemoryReservation": limits.memory_reservation,
        # Docker's default: as much swap as memory.
        "MemorySwap": limits.memory_swap or 2 * limits.memory,
        "MemorySwappiness": None,
        "OomKillDisable": limits.oom_kill_disable or None,
        "PidsLimit": limits.pids_limit or None,
        "Ulimits": [{"Name": limit.name, "Hard": limit.hard, "Soft": limit.soft} for limit in options.ulimits],
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        "MaskedPaths": masked,
        "ReadonlyPaths": readonly,
        "Init": options.init,
    }


def _rates(rates: tuple[DeviceRate, ...]) -> list[dict[str, Any]]:
    return [{"Path": rate.path, "Rate": rate.rate} for rate in rates]


def network_settings(options: ContainerOptions, state: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return Docker's ``NetworkSettings`` of a container."""
    running = state.get("status") in ("running", "paused")
    mode = specgen.network_mode(options)
    name = "bridge" if mode == "default" else mode
    address = (state.get("ip") or "") if running else ""
    gateway = (state.get("gateway") or "") if running else ""
    ports: dict[str, list[dict[str, str]] | None] = {}
    if running and mode != "host":
        ports = dict.fromkeys(config.get("ExposedPorts") or {})
        for port in state.get("ports") or []:
            key = f"{port['container_port']}/{port.get('protocol', 'tcp')}"
            bindings = ports.get(key) or []
            address_shown = port.get("host_ip") or "0.0.0.0"
            ports[key] = [*bindings, {"HostIp": address_shown, "HostPort": str(port["host_port"])}]
    length = 24 if address else 0
    pid = state.get("pid", 0) if running else 0
    endpoint = {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": None,
        "MacAddress": "",
        "DriverOpts": None,
        "NetworkID": "",
        "EndpointID": "",
        "Gateway": gateway,
        "IPAddress": address,
        "IPPrefixLen": length,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": None,
    }
    return {
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": f"/proc/{pid}/ns/net" if pid else "",
        "Ports": ports,
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": "",
        "Gateway": gateway,
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": address,
        "IPPrefixLen": length,
        "IPv6Gateway": "",
        "MacAddress": "",
        "Networks": {name: endpoint},
    }


def _graph(view: ContainerView) -> dict[str, str]:
    return {
        "UpperDir": f"{view.directory}/rw/upper",
        "WorkDir": f"{view.directory}/rw/work",
        "MergedDir": f"{view.directory}/rootfs",
    }


def _bind_text(bind: Bind) -> str:
    words = (*(("ro",) if bind.readonly else ()), *bind.options)
    return f"{bind.source}:{bind.target}" + (f":{','.join(words)}" if words else "")


# -- images --------------------------------------------------------------------------


def image(
    entries: list[ImageEntry],
    config: Mapping[str, Any],
    *,
    driver: str = "",
) -> dict[str, Any]:
    """Return Docker's object for an image, which has one entry for each of its names."""
    from rootless.oci import references

    first = entries[0]
    tags = [references.parse(entry.reference).familiar() for entry in entries if entry.reference]
    digests: dict[str, None] = {}
    for entry in entries:
        if entry.repo_digest:
            digests[references.parse(entry.repo_digest).familiar()] = None
    inner = dict(config.get("config") or {})
    shown_config = {
        "Hostname": "",
        "Domainname": "",
        "User": "",
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": None,
        "Cmd": None,
        "Image": "",
        "Volumes": None,
        "WorkingDir": "",
        "Entrypoint": None,
        "OnBuild": None,
        "Labels": None,
        **inner,
    }
    history = config.get("history") or []
    result = {
        "Id": first.image_id,
        "RepoTags": tags,
        "RepoDigests": list(digests),
        "Parent": "",
        "Comment": str(history[-1].get("comment", "")) if history else "",
        "Created": config.get("created") or times.NEVER,
        "DockerVersion": config.get("docker_version", ""),
        "Author": config.get("author", ""),
        "Config": shown_config,
        "Architecture": config.get("architecture", ""),
        "Os": config.get("os", ""),
        "Size": first.size,
        "VirtualSize": first.size,
        "GraphDriver": {"Name": driver, "Data": None},
        "RootFS": {"Type": "layers", "Layers": list((config.get("rootfs") or {}).get("diff_ids") or [])},
        "Metadata": {"LastTagTime": max((entry.tagged_at for entry in entries), default="") or times.NEVER},
        "Descriptor": {
            "mediaType": first.media_type,
            "digest": first.manifest_digest,
            "size": first.manifest_size,
        },
    }
    if config.get("variant"):
        result["Variant"] = config["variant"]
    return result
