"""Containers: made, started, stopped, removed.

A container is a directory (``storage/layout.py``): ``container.json`` says what was asked
for and is replaced as a whole by ``update`` alone, ``state.json`` what happened and is its
monitor's. A state that says "running" is believed only while that monitor lives; otherwise it is healed by
whoever reads it.
"""

from __future__ import annotations

import os
import time

from rootless import events, jsonlite, log
from rootless.engine import names, specgen
from rootless.engine.options import to_record
from rootless.errors import Conflict, NameInUse, NoSuchContainer, NoSuchImage, NotModified, RlError, from_oserror
from rootless.linux import process
from rootless.monitor.logs import timestamp
from rootless.storage import records
from rootless.storage.leases import content_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Mapping
    from typing import Any

    from rootless.engine.engine import Engine
    from rootless.engine.options import ContainerOptions
    from rootless.registry.seams import Progress

KILLED = 137  # 128 + SIGKILL: what a container's end is worth when nobody saw it


class Container:
    """One container on disk; ``state`` is as it was when loaded, healed if it was stale."""

    def __init__(self, identifier: str, directory: str, record: dict[str, Any], state: dict[str, Any]) -> None:
        self.id = identifier
        self.directory = directory
        self.record = record
        self.state = state

    @property
    def name(self) -> str:
        """Return the container's name."""
        return str(self.record["name"])

    @property
    def running(self) -> bool:
        """Say whether its first process was alive when the container was loaded."""
        return self.state["status"] in ("running", "paused")

    @property
    def paused(self) -> bool:
        """Say whether its processes stood still then."""
        return bool(self.state["status"] == "paused")

    @property
    def auto_remove(self) -> bool:
        """Say whether it is removed at its end."""
        return bool(self.record["options"].get("auto_remove"))


# --- finding -----------------------------------------------------------------------------


def load(engine: Engine, identifier: str) -> Container:
    """Return the container with this full ID; raises ``NoSuchContainer`` or ``Corrupt``."""
    directory = engine.layout.container(identifier)
    try:
        record = records.read(f"{directory}/container.json")
    except FileNotFoundError:
        raise NoSuchContainer(f"no such container: {identifier}") from None
    return Container(identifier, directory, record, _read_state(directory))


def find(engine: Engine, text: str) -> Container:
    """Return the container meant by a name, an ID or a unique prefix of one; raises ``NoSuchContainer``."""
    try:
        return load(engine, names.resolve(engine.layout, text))
    except NoSuchContainer:
        raise NoSuchContainer(f"no such container: {text}") from None


def list_all(engine: Engine) -> list[Container]:
    """Return all containers, newest first; what vanishes meanwhile is left out."""
    found = []
    for identifier in os.listdir(engine.layout.containers):
        try:
            container = load(engine, identifier)
        except (NoSuchContainer, RlError):
            continue
        if container.state.get("lost") and container.auto_remove:
            # Its monitor was killed before it could do this.
            discard(engine, container, volumes=True)
            continue
        found.append(container)
    found.sort(key=lambda container: str(container.record["created"]), reverse=True)
    return found


def _read_state(directory: str) -> dict[str, Any]:
    try:
        state = jsonlite.load_file(f"{directory}/state.json")
    except FileNotFoundError:
        return {"version": 1, "status": "created", "pid": 0, "exit_code": 0, "ports": []}
    except ValueError:  # a power loss may have emptied it
        state = {"version": 1, "status": "running", "exit_code": 0}
    if state["status"] in ("running", "paused") and not _monitor_lives(state):
        state.update(
            status="exited",
            pid=0,
            ports=[],
            exit_code=KILLED,
            lost=True,
            error="the monitor of this container was killed, or the machine went down",
            finished_at=state.get("finished_at") or timestamp(time.time_ns()),
        )
    return dict(state)


def _monitor_lives(state: Mapping[str, Any]) -> bool:
    if state.get("boot_id") != process.boot_id():
        return False
    return process.is_alive(state.get("monitor_pid", 0), state.get("monitor_start", 0))


# --- making ------------------------------------------------------------------------------


def create(engine: Engine, options: ContainerOptions, progress: Progress | None = None) -> Container:
    """Make a container from an image, which is pulled if need be.

    Raises ``NameInUse``, ``NoSuchImage`` and what pulling or the options are refused for. On
    failure nothing is left.
    """
    if options.name:
        names.check_name(options.name)
        _check_name_free(engine, options.name)
    identifier = names.new_id()
    name = options.name or names.random_name(lambda text: os.path.lexists(f"{engine.layout.names}/{text}"))
    _ensure_image(engine, options, progress)
    with content_lock(engine.layout):
        # Looked up again under the lock: until the record below refers to it, a prune may take it.
        entry = _find_image(engine, options)
        config = engine.images.config(entry)
        directory = engine.layout.container(identifier)
        volumes = _make_volumes(engine, options, config)
        try:
            _check_limits(engine, identifier, options)
            context = specgen.SpecContext(
                container_id=identifier,
                directory=directory,
                uid_map=engine.userns.map.uids,
                gid_map=engine.userns.map.gids,
                volumes={target: str(volume["path"]) for target, volume in volumes.items()},
                default_seccomp=engine.settings["seccomp-profile"],
                default_init=engine.settings["init"],
                default_ulimits=_default_ulimits(engine),
                host_name=os.uname().nodename,
            )
            spec = specgen.generate(options, config, context)
            _warn_of_limits(spec)
            record = {
                "id": identifier,
                "name": name,
                "created": timestamp(time.time_ns()),
                "image": options.image,
                "image_id": entry.image_id,
                "manifest_digest": entry.manifest_digest,
                "reference": entry.reference,
                "chain_ids": _chain_ids(config),
                "driver": engine.snapshotter.name,
                "options": to_record(options),
                "command": spec["process"]["args"],
                "labels": specgen.labels(options, config),
                "stop_signal": specgen.stop_signal(options, config),
                "ports": [to_record(port) for port in specgen.published_ports(options, config)],
                "exposed": list(specgen.exposed_ports(options, config)),
                "volumes": list(volumes.values()),
                "mounts": specgen.mount_points(
                    options,
                    config,
                    {target: str(volume["name"]) for target, volume in volumes.items()},
                    {target: str(volume["path"]) for target, volume in volumes.items()},
                ),
                "hostname": spec["hostname"],
                "log_path": f"{directory}/container.log" if engine.settings["log-driver"] != "none" else "",
                "log_options": engine.settings["log-opts"],
            }
            _write_directory(engine, directory, record, spec, durable=not options.auto_remove)
        except BaseException:
            _drop_volumes(engine, volumes.values())
            raise
    events.container(engine.layout.events, record, "create")
    return Container(identifier, directory, record, _read_state(directory))


def _check_limits(engine: Engine, identifier: str, options: ContainerOptions) -> None:
    """Refuse limits that make no sense, or that nobody here can keep; say which are kept in part."""
    from rootless.cgroups import resources

    resources.validate(options.resources)
    if resources.asked(options.resources):
        from rootless.engine import limiting

        limiting.warn(limiting.decide(engine, identifier, to_record(options)))


def _warn_of_limits(spec: dict[str, Any]) -> None:
    """Say which resource limits the payload will not get, since this user has less."""
    wanted = spec["process"]["rlimits"]
    if wanted:
        from rootless.runtime import rlimits

        for line in rlimits.check((limit["type"], limit["soft"], limit["hard"]) for limit in wanted):
            log.warn(line)


def _default_ulimits(engine: Engine) -> tuple[Any, ...]:
    configured = engine.settings["default-ulimits"]
    if not configured:
        return ()
    from rootless.engine.values import parse_ulimit

    limits = []
    for name, value in configured.items():
        if isinstance(value, dict):  # daemon.json's form: {"Name": …, "Soft": …, "Hard": …}
            value = f"{value.get('Soft', value.get('Hard'))}:{value.get('Hard', value.get('Soft'))}"
        limits.append(parse_ulimit(f"{name}={value}"))
    return tuple(limits)


def _chain_ids(config: dict[str, Any]) -> list[str]:
    from rootless.oci import digests, image

    return digests.chain_ids(image.diff_ids(config))  # type: ignore[arg-type,unused-ignore]


def _find_image(engine: Engine, options: ContainerOptions) -> Any:
    entry = engine.images.lookup(options.image)
    if options.platform and entry.platform and not _platform_fits(options.platform, entry.platform):
        raise NoSuchImage(f"no such image: {options.image} for {options.platform}")
    return entry


def _platform_fits(wanted: str, found: str) -> bool:
    if wanted == found:
        return True
    from rootless.oci import platforms

    first, second = platforms.parse(wanted), platforms.parse(found)
    return str(first) == str(second)


def _ensure_image(engine: Engine, options: ContainerOptions, progress: Progress | None) -> None:
    if options.pull in ("missing", "never", ""):
        try:
            entry = _find_image(engine, options)
        except NoSuchImage:
            if options.pull == "never":
                raise
        else:
            if entry.chain_id and not engine.snapshotter.has(entry.chain_id):
                # Another storage driver than before, or another program wrote the image into our layout.
                from rootless.engine import images

                images.ensure_unpacked(engine, entry, progress=progress)
            return
    from rootless.engine import images

    images.ensure(engine, options.image, policy=options.pull, platform=options.platform, progress=progress)


def _write_directory(
    engine: Engine, directory: str, record: dict[str, Any], spec: dict[str, Any], *, durable: bool
) -> None:
    """Fill the container's directory under another name, then rename it: there is no half of one.

    Raises ``NameInUse``.
    """
    from rootless.storage import workspace
    from rootless.storage.locks import Lock

    try:
        made, held = workspace.make_directory(engine.layout.tmp, "container")
        try:
            os.mkdir(f"{made}/rootfs", 0o700)
            records.write(f"{made}/container.json", record, durable=durable)
            records.write(f"{made}/config.json", spec, durable=durable)
            # The name comes first, so that no container is ever without; until the container is there
            # as well, the lock tells the link from one that a killed command left.
            with Lock(f"{engine.layout.locks}/names"):
                _take_name(engine, str(record["name"]), os.path.basename(directory))
                try:
                    os.rename(made, directory)
                except BaseException:
                    os.unlink(f"{engine.layout.names}/{record['name']}")
                    raise
        except BaseException:
            from rootless.linux.trees import remove_tree

            remove_tree(made)
            raise
        finally:
            os.close(held)
    except OSError as error:
        raise from_oserror(error, "cannot create the container") from error


def _check_name_free(engine: Engine, name: str) -> None:
    try:
        owner = os.readlink(f"{engine.layout.names}/{name}").rpartition("/")[2]
    except OSError:
        return
    if os.path.isdir(engine.layout.container(owner)):
        raise NameInUse(
            f'the container name "/{name}" is already in use by container "{owner[:12]}"',
            hint=f"remove that container (rl rm -f {name}) or choose another name",
        )


def _take_name(engine: Engine, name: str, identifier: str) -> None:
    """Link the name to a container that is about to appear; call it under the lock of the names."""
    path = f"{engine.layout.names}/{name}"
    while True:
        try:
            os.symlink(f"../containers/{identifier}", path)
            return
        except FileExistsError:
            _check_name_free(engine, name)
            # It points to nothing: whoever had the name was removed half-way.
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
        except OSError as error:
            raise from_oserror(error, "cannot record the container's name") from error


def _make_volumes(engine: Engine, options: ContainerOptions, config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Find or make the volumes that a container mounts, keyed by target."""
    requests = specgen.volumes(options, config)
    if not requests:
        return {}
    from rootless.engine import volumes

    return volumes.prepare(engine, requests)


def _drop_volumes(engine: Engine, volumes: Any) -> None:
    made = [volume["name"] for volume in volumes if volume["made"]]
    if made:
        from rootless.engine import volumes as volume_store

        volume_store.discard(engine, made)


# --- running -----------------------------------------------------------------------------


def start(engine: Engine, container: Container) -> None:
    """Start a container in the background and return once its payload runs.

    Raises ``NotModified`` if it runs already, and what kept it from starting.
    """
    from rootless.engine import launching

    _check_startable(container)
    if container.running:
        # Whoever runs it in the foreground holds the lock until its end.
        raise NotModified(f"container {container.name} is running already")
    with launching.starting(engine, container) as channel:
        launching.await_started(channel)
        channel.close()


def _check_startable(container: Container) -> None:
    if container.paused:
        raise Conflict(
            "cannot start a paused container, try unpause instead", hint=f"resume it: rl unpause {container.name}"
        )


def run_foreground(
    engine: Engine,
    container: Container,
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    tty: bool,
    detach_keys: str = "",
    sig_proxy: bool = True,
) -> int:
    """Start a container with the given descriptors as its streams; return its exit status.

    One that runs already is attached to. ``stdin`` of -1 gives it none. Raises what kept it
    from starting.
    """
    from rootless.engine import attach, launching
    from rootless.linux import sockets

    def relay(channel: _socket.socket) -> int:
        return attach.relay(
            channel,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            tty=tty,
            detach_keys=detach_keys,
            on_signal=(lambda number: _signal(engine, container.id, number)) if sig_proxy else None,
        )

    _check_startable(container)
    size = attach.terminal_size(stdout, stdin) if tty else None
    try:
        if container.running:
            raise NotModified(f"container {container.name} is running already")
        with launching.starting(engine, container, attached=stdin >= 0, size=size) as channel:
            return relay(channel)
    except NotModified:
        try:
            channel = sockets.connect(f"{load(engine, container.id).state['runtime_dir']}/attach.sock")
        except (OSError, KeyError):
            raise Conflict(f"container {container.name} has ended meanwhile") from None
        return relay(channel)


def _signal(engine: Engine, identifier: str, number: int) -> None:
    try:
        current = load(engine, identifier)
    except RlError:
        return
    pidfd = process.open_pidfd(current.state["pid"], current.state.get("pid_start", 0))
    if pidfd is not None:
        process.send_signal(pidfd, number)
        os.close(pidfd)
        events.container(engine.layout.events, current.record, "kill", signal=str(number))


def kill(engine: Engine, text: str, signal: str = "KILL") -> None:
    """Send a signal to a container's first process; raises ``Conflict`` if it does not run."""
    from rootless.engine.values import parse_signal

    number = parse_signal(signal)
    container = find(engine, text)
    pidfd = process.open_pidfd(container.state["pid"], container.state.get("pid_start", 0))
    if not container.running or pidfd is None:
        raise Conflict(f"cannot kill container: {text}: container {container.id[:12]} is not running")
    events.container(engine.layout.events, container.record, "kill", signal=str(number))
    process.send_signal(pidfd, number)
    if number == container.record["stop_signal"]:
        _thaw(container)
    if number == 9:
        process.wait_pidfd(pidfd, None)
        _await_record(container)
    os.close(pidfd)


def stop(engine: Engine, text: str, timeout: int | None = None, signal: str | None = None) -> None:
    """Ask a container's first process to end, and end it after ``timeout`` seconds (-1: never).

    One that does not run is left as it is, as Docker does.
    """
    from rootless.engine.values import parse_signal

    container = find(engine, text)
    pidfd = process.open_pidfd(container.state["pid"], container.state.get("pid_start", 0))
    if not container.running or pidfd is None:
        return
    number = parse_signal(signal) if signal else container.record["stop_signal"]
    if timeout is None:
        timeout = container.record["options"].get("stop_timeout")
    if timeout is None:
        timeout = engine.settings["shutdown-timeout"]
    events.container(engine.layout.events, container.record, "kill", signal=str(number))
    process.send_signal(pidfd, number)
    _thaw(container)
    if not process.wait_pidfd(pidfd, None if timeout < 0 else timeout):
        events.container(engine.layout.events, container.record, "kill", signal="9")
        process.send_signal(pidfd, 9)
        process.wait_pidfd(pidfd, None)
    os.close(pidfd)
    _await_record(container)
    events.container(engine.layout.events, container.record, "stop")


def _thaw(container: Container) -> None:
    """Let a paused container hear a signal that asks it to end."""
    if container.paused:
        from rootless.engine import control

        try:
            control.ask(container, pause=False)
        except Conflict:
            pass  # somebody else did, or it has ended


def _await_record(container: Container) -> None:
    """Wait until the monitor has recorded the end: it ends right after."""
    pidfd = process.open_pidfd(container.state["monitor_pid"], container.state["monitor_start"])
    if pidfd is not None:
        process.wait_pidfd(pidfd, None)
        os.close(pidfd)


def wait(engine: Engine, text: str) -> int:
    """Wait for the end of a container and return its exit status; at once if it does not run."""
    from rootless.engine import attach

    container = find(engine, text)
    if container.running:
        status = attach.wait(f"{container.state['runtime_dir']}/attach.sock")
        if status is not None:
            return status
        _await_record(container)  # it has closed its socket, which is not yet the end
        container = load(engine, container.id)
    return int(container.state["exit_code"])


# --- removing ----------------------------------------------------------------------------


def remove(engine: Engine, text: str, *, force: bool = False, volumes: bool = False) -> None:
    """Remove a container; ``force`` kills it first, ``volumes`` takes its anonymous volumes too.

    Raises ``Conflict`` for a running container without ``force``.
    """
    container = find(engine, text)
    if container.running:
        if not force and container.paused:
            raise Conflict(
                f'cannot remove container "/{container.name}": container is paused and must be unpaused first',
                hint=f"resume and stop it before, or force it: rl rm -f {container.name}",
            )
        if not force:
            raise Conflict(
                f'cannot remove container "/{container.name}": container is running',
                hint=f"stop it before, or force it: rl rm -f {container.name}",
            )
        try:
            kill(engine, container.id)
        except Conflict:
            pass  # it ended by itself
        except NoSuchContainer:
            return
    try:
        discard(engine, container, volumes=volumes or container.auto_remove)
    except NoSuchContainer:
        if not container.auto_remove:  # a monitor removes those itself
            raise


def _forget_cgroup(container: Container) -> None:
    """Kill and remove what a killed monitor left of a container's cgroup."""
    if container.state.get("cgroup") and container.state.get("lost"):
        from rootless.cgroups import manager

        manager.forget(container.state["cgroup"])


def withdraw(engine: Engine, container: Container) -> bool:
    """Remove a container of ``run`` that could not be started; says whether it is gone. One that ran stays."""
    try:
        current = load(engine, container.id)
        if current.state["status"] != "created":
            return False
        discard(engine, current, volumes=True)
    except NoSuchContainer:
        pass  # its monitor removed it (--rm)
    except (RlError, OSError):
        return False  # what kept it from starting is the better thing to report
    return True


def discard(engine: Engine, container: Container, *, volumes: bool) -> None:
    """Take a container that does not run out of sight, then delete it."""
    from rootless.linux.trees import remove_tree
    from rootless.storage import gc

    try:
        os.rename(container.directory, f"{engine.layout.trash}/{container.id}")
    except FileNotFoundError:
        raise NoSuchContainer(f"no such container: {container.id[:12]}") from None
    link = f"{engine.layout.names}/{container.name}"
    try:
        if os.readlink(link).rpartition("/")[2] == container.id:
            os.unlink(link)
    except OSError:
        pass
    if volumes:
        anonymous = [volume["name"] for volume in container.record.get("volumes", ()) if volume.get("anonymous")]
        if anonymous:
            from rootless.engine import volumes as volume_store

            volume_store.discard(engine, anonymous)
    _forget_cgroup(container)
    # Sockets that a killed monitor left behind.
    remove_tree(engine.runtime_directory(container.id))
    gc.tidy(engine.layout, engine.userns)
    events.container(engine.layout.events, container.record, "destroy")


def logs(engine: Engine, text: str, **options: Any) -> None:
    """Write a container's log; the options are those of ``engine.logs.show``."""
    from rootless.engine import logs as log_files

    log_files.show(engine, text, **options)
