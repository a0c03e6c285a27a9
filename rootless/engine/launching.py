"""From a container on disk to a running monitor: what ``start`` and ``run`` share."""

from __future__ import annotations

import os

from rootless import errors, events, jsonlite, log
from rootless.engine import containers, limiting, specgen
from rootless.errors import NotModified, from_oserror
from rootless.linux import process
from rootless.monitor import launch, protocol
from rootless.network import hosts, ports, resolvconf
from rootless.runtime import seccomp
from rootless.storage import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from types import TracebackType
    from typing import Any

    from rootless.engine.containers import Container
    from rootless.engine.engine import Engine

GUEST_IP, GATEWAY_IP, RESOLVER_IP = "10.0.2.100", "10.0.2.2", "10.0.2.3"  # slirp4netns(1)


class starting:
    """Start the monitor of a container; gives the socket on which it will speak.

    Only one command starts (or removes) a container at a time: the directory is locked
    until the block ends. With ``attached`` the container's input ends with whoever holds the
    socket; ``size`` are rows and columns of its terminal. Raises ``NotModified`` for a running container.
    """

    def __init__(
        self, engine: Engine, container: Container, *, attached: bool = False, size: tuple[int, int] | None = None
    ) -> None:
        self._attached = attached
        self._size = size
        self._engine = engine
        self._container = container
        self._lock = -1

    def __enter__(self) -> _socket.socket:
        """Lock, look at the state again, and start."""
        import fcntl

        try:
            self._lock = os.open(self._container.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise errors.NoSuchContainer(f"no such container: {self._container.id[:12]}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            current = containers.load(self._engine, self._container.id)
            if current.running:
                raise NotModified(f"container {current.name} is running already")
            try:
                record = _launch_record(self._engine, current, self._attached)
                if self._size:
                    # Known from the start: a payload that asks at once must not hear 0 by 0.
                    rows, columns = self._size
                    record["spec"]["process"]["consoleSize"] = {"height": rows, "width": columns}
                return launch.start(record)
            except OSError as error:
                raise from_oserror(error, f"cannot start container {current.name}") from error
        except BaseException as error:
            os.close(self._lock)
            if self._container.auto_remove and not isinstance(error, NotModified):
                containers.discard(self._engine, self._container, volumes=True)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Unlock."""
        if self._lock >= 0:
            os.close(self._lock)


def await_started(channel: _socket.socket) -> None:
    """Wait for the monitor's first word; raises the error that it reports."""
    decoder = protocol.Decoder()
    while True:
        data = channel.recv(65536)
        if not data:
            raise errors.SystemFailure("the monitor of the container ended before the container started")
        for kind, content in decoder.feed(data):
            if kind == protocol.CONTROL:
                message = jsonlite.loads(content)
                raise_failure(message)
                return


def raise_failure(message: dict[str, Any]) -> None:
    """Raise the error in a ``failed`` message, if it is one."""
    if "failed" in message:
        name, text, hint = message["failed"]
        raise getattr(errors, name)(text, hint=hint)


def _launch_record(engine: Engine, container: Container, attached: bool) -> dict[str, Any]:
    record = container.record
    options = record["options"]
    try:
        spec = records.read(f"{container.directory}/config.json")
    except FileNotFoundError:
        raise errors.Corrupt(f"container {container.name} has lost its config.json", hint="remove it") from None
    mode = specgen.mode_of(options["network"])
    network, published = None, []
    if mode == "default":
        published = _choose_ports(record["ports"])
        network = {
            "ports": [
                {
                    "protocol": port["protocol"],
                    "host_ip": port["host_ip"],
                    "host_port": port["host_port"],
                    "guest_port": port["container_port"],
                }
                for port in published
            ]
        }
    _write_network_files(engine, container, mode)
    rw_dir = f"{container.directory}/rw"
    engine.snapshotter.prepare_rw(rw_dir, record["chain_ids"])
    mount = engine.snapshotter.mounts(record["chain_ids"], rw_dir, volatile=container.auto_remove)
    rootfs = {"kind": mount.type, "source": mount.source, "data": mount.data, "cwd": mount.cwd}
    if record["volumes"]:
        from rootless.engine import volumes

        volumes.fill(engine, container)
    if log.level == "debug":
        _describe(spec, rootfs)
    profile, program = spec["annotations"].get(specgen.SECCOMP, "unconfined"), b""
    if profile != "unconfined":
        program = seccomp.program(
            None if profile == "default" else jsonlite.loads(profile),
            spec["process"]["capabilities"]["bounding"],
            engine.layout.cache,
        )
    decision = limiting.decide(engine, container.id, options)
    limiting.apply_rlimits(decision, spec["process"])
    return {
        "id": container.id,
        "directory": container.directory,
        "runtime_dir": engine.runtime_directory(container.id),
        "namespace": engine.userns.directory,
        "spec": spec,
        "rootfs": rootfs,
        "program": program.decode("latin-1"),
        "terminal": options["tty"],
        "interactive": options["interactive"],
        "attached": attached,
        "network": network,
        "log": _log(record),
        "remove": _removal(engine, container),
        "cgroup": decision.record,
        "events": engine.layout.events,
        "attributes": events.attributes(record),
        "state": {
            "version": 1,
            "limits": [list(limit) for limit in decision.limits],
            "warnings": list(decision.warnings),
            # For exec, which joins the cgroup and takes the weaker forms.
            "placement": decision.record and decision.record["placement"],
            "weaker": decision.record and decision.record["weaker"],
            "boot_id": process.boot_id(),
            "exit_code": 0,
            "error": "",
            "oom_killed": False,
            "ports": published,
            "ip": GUEST_IP if network else "",
            "gateway": GATEWAY_IP if network else "",
            "finished_at": container.state.get("finished_at", ""),
            # Recorded: a command from another session may have another XDG_RUNTIME_DIR.
            "runtime_dir": engine.runtime_directory(container.id),
        },
    }


def _describe(spec: dict[str, Any], rootfs: dict[str, str]) -> None:
    """Say what the container's first process is going to do."""
    from rootless.runtime import plan

    for step in plan.build(spec, plan.Rootfs(**rootfs)):
        log.debug(step.describe())


def _log(record: dict[str, Any]) -> dict[str, Any] | None:
    if not record["log_path"]:
        return None
    given = record["log_options"]
    limits = {"max_size": 0, "max_file": 1}
    if given:
        from rootless.engine.values import parse_size

        if "max-size" in given:
            limits["max_size"] = parse_size(given["max-size"])
        limits["max_file"] = int(given.get("max-file", 1))
    return {"path": record["log_path"], **limits}


def _removal(engine: Engine, container: Container) -> dict[str, Any] | None:
    if not container.auto_remove:
        return None
    volumes = [volume["name"] for volume in container.record["volumes"] if volume.get("anonymous")]
    return {
        "trash": engine.layout.trash,
        "name": f"{engine.layout.names}/{container.name}",
        "volumes": [f"{engine.layout.volumes}/{name}" for name in volumes],
    }


def _choose_ports(wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Check the host ports that were asked for and choose the others; raises ``PortInUse`` or ``Denied``."""
    from rootless.network import slirp

    chosen: list[dict[str, Any]] = []
    for port in wanted:
        slirp.check_publishable(port["host_ip"], port["host_port"], port["protocol"])
        number = port["host_port"]
        if number:
            ports.check_free(port["host_ip"], number, port["protocol"])
        else:
            taken = [other["host_port"] for other in chosen if other["protocol"] == port["protocol"]]
            number = ports.choose_free(port["host_ip"], port["protocol"], taken=taken)
        chosen.append({**port, "host_port": number})
    return chosen


def _write_network_files(engine: Engine, container: Container, mode: str) -> None:
    """Write hosts, hostname and resolv.conf anew: the host's resolvers may be others by now."""
    options, settings = container.record["options"], engine.settings
    own_network, host_network = mode == "default", mode == "host"
    name = container.record["hostname"]
    files = {
        "hostname": f"{name}\n",
        "hosts": hosts.build(
            ip=GUEST_IP if own_network else "",
            hostname=name,
            add_hosts=options["add_hosts"],
            gateway=GATEWAY_IP if own_network else "127.0.0.1",
            base=hosts.read_host() if host_network else None,
        ),
        "resolv.conf": resolvconf.build(
            resolvconf.read_host(),
            forwarder=RESOLVER_IP if own_network else "",
            keep_loopback=host_network,
            dns=options["dns"] or settings["dns"],
            search=options["dns_search"] or settings["dns-search"],
            options=options["dns_options"] or settings["dns-opts"],
        ),
    }
    for filename, content in files.items():
        path = f"{container.directory}/{filename}"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            with open(fd, "wb") as stream:
                stream.write(content.encode("utf-8", "surrogateescape"))
            os.chmod(path, 0o644)
        except OSError as error:
            raise from_oserror(error, f"cannot write {filename} of container {container.name}") from error
