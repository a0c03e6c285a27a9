"""Commands in running containers: ``exec``.

The caller is the parent: it holds the pipes (or the terminal) and passes them on, so that
the payload never holds a descriptor of ours.
"""

from __future__ import annotations

import _signal
import os
import select

from rootless import events, jsonlite
from rootless.engine import attach, containers, specgen
from rootless.errors import Conflict
from rootless.linux import process
from rootless.runtime import seccomp, tenant
from rootless.storage import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rootless.engine.containers import Container
    from rootless.engine.engine import Engine
    from rootless.engine.options import ExecOptions
    from rootless.runtime.tenant import Tenant


def _start(
    engine: Engine,
    text: str,
    options: ExecOptions,
    stdio: tuple[int, int, int] | None,
    size: tuple[int, int] | None = None,
) -> Tenant:
    container = containers.find(engine, text)
    pidfd = process.open_pidfd(container.state["pid"], container.state.get("pid_start", 0))
    if not container.running or pidfd is None:
        raise Conflict(f"container {text} is not running", hint=f"start it first: rl start {container.name}")
    if container.paused:
        os.close(pidfd)
        raise Conflict(f"container {text} is paused, unpause the container before exec")
    try:
        spec = records.read(f"{container.directory}/config.json")
        section = specgen.exec_process(spec, options)
        if size:
            section["consoleSize"] = {"height": size[0], "width": size[1]}
        profile, program = spec["annotations"].get(specgen.SECCOMP, "unconfined"), None
        if profile != "unconfined" and not options.privileged:
            program = seccomp.program(
                None if profile == "default" else jsonlite.loads(profile),
                section["capabilities"]["bounding"],
                engine.layout.cache,
            )
        limits = _limits(container.state, section)
        end = _announce(engine, container, section["args"])
        try:
            return tenant.start(pidfd, section, program=program, stdio=stdio, limits=limits, end=end)
        finally:
            end.close()
    finally:
        os.close(pidfd)


def _announce(engine: Engine, container: Container, args: list[str]) -> events.Pending:
    """Write the events of a command that is about to start; returns that of its end."""
    log, command, exec_id = engine.layout.events, " ".join(args), os.urandom(32).hex()
    for action in ("exec_create", "exec_start"):
        events.container(log, container.record, f"{action}: {command}", execID=exec_id)
    attributes = {**events.attributes(container.record), "execID": exec_id}
    return events.Pending(log, "container", "exec_die", container.id, attributes)


def _limits(state: Mapping[str, Any], section: dict[str, Any]) -> tenant.Limits | None:
    """Return what holds for a container and therefore for what joins it; None if that is nothing."""
    weaker = state.get("weaker")
    if weaker:
        from rootless.cgroups import weaker as forms
        from rootless.cgroups.limits import Weaker

        section["rlimits"] = forms.rlimits(Weaker.from_plain(weaker), section["rlimits"])
    if not weaker and not state.get("cgroup"):
        return None
    return tenant.Limits(
        cgroup=state.get("cgroup", ""),
        placement=state.get("placement"),
        required=any(text == "enforced" for _, text in state.get("limits", ())),
        weaker=weaker,
        init_pid=state["pid"],
    )


def detached(engine: Engine, text: str, options: ExecOptions) -> None:
    """Start a command in a container and leave it to itself."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        if options.tty:
            # Its terminal lives as long as somebody holds the master: the tenant's parent does not wait.
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            pid = os.fork()
            if pid == 0:
                _hold_terminal(engine, text, options, read_end, write_end)
            os.close(write_end)
            with open(read_end, "rb") as stream:
                answer = stream.read()
            if answer:
                from rootless.engine.launching import raise_failure

                raise_failure(jsonlite.loads(answer))
            return
        _start(engine, text, options, (null, null, null))
    finally:
        os.close(null)


def _hold_terminal(engine: Engine, text: str, options: ExecOptions, read_end: int, write_end: int) -> None:
    """Body of the process that keeps the terminal of a detached exec; never returns."""
    from rootless.errors import RlError

    try:
        os.close(read_end)
        os.setsid()
        try:
            running = _start(engine, text, options, None)
        except RlError as error:
            message = {"failed": [type(error).__name__, error.message, error.hint]}
            os.write(write_end, jsonlite.dumps(message).encode())
            os._exit(1)
        os.close(write_end)
        _drain(running.terminal)
    finally:
        os._exit(0)


def _drain(terminal: int) -> None:
    """Keep a terminal alive, reading what nobody wants, until its other side is closed; never returns."""
    try:
        null = os.open("/dev/null", os.O_RDWR)
        for target in range(3):
            os.dup2(null, target)
        os.set_blocking(terminal, True)
        while os.read(terminal, 65536):
            pass
    finally:
        os._exit(0)


def run(
    engine: Engine,
    text: str,
    options: ExecOptions,
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    detach_keys: str = "",
) -> int:
    """Run a command in a container with the given descriptors as its streams; return its exit status.

    ``stdin`` of -1 gives it none.
    """
    if options.tty:
        return _run_terminal(engine, text, options, stdin, stdout, detach_keys)
    in_read, in_write = os.pipe2(os.O_CLOEXEC)
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    for fd in (out_write, err_write):
        os.fchmod(fd, 0o622)  # whoever the payload is, it may reopen /dev/stdout
    if stdin < 0:
        os.close(in_write)
        in_write = -1
    try:
        running = _start(engine, text, options, (in_read, out_write, err_write))
    finally:
        for fd in (in_read, out_write, err_write):
            os.close(fd)
    _pump(running.pid, stdin, in_write, {out_read: stdout, err_read: stderr})
    return running.wait()


def _pump(pid: int, stdin: int, into: int, outputs: dict[int, int]) -> None:
    """Copy input and outputs until the command has ended and its outputs are empty.

    What it left running in the background may hold the pipes; Docker does not wait for it either.
    """
    poller = select.poll()
    pidfd = process.open_pidfd(pid)
    waiting = set(outputs)
    if pidfd is not None:
        poller.register(pidfd, select.POLLIN)
    for fd in outputs:
        os.set_blocking(fd, False)
        poller.register(fd, select.POLLIN)
    pending = bytearray()
    if into >= 0:
        os.set_blocking(into, False)
        poller.register(stdin, select.POLLIN)
        poller.register(into, 0)
    ended = pidfd is None
    while waiting:
        events = poller.poll(0 if ended else None)
        if ended and not any(fd in waiting for fd, _ in events):
            break
        for fd, _ in events:
            if fd in waiting:
                try:
                    data = os.read(fd, 65536)
                except BlockingIOError:
                    continue
                if data:
                    attach.write(outputs[fd], data)
                else:
                    poller.unregister(fd)
                    waiting.discard(fd)
            elif fd == pidfd:
                ended = True
                poller.unregister(fd)
            elif fd in (into, stdin):
                if fd == stdin and stdin >= 0:
                    data = os.read(stdin, 65536)
                    pending += data
                    if not data:
                        poller.unregister(stdin)
                        stdin = -1
                into = _push(poller, into, pending, closing=stdin < 0)
                if into < 0 and stdin >= 0:
                    poller.unregister(stdin)
                    stdin = -1
                elif stdin >= 0:
                    poller.modify(stdin, 0 if len(pending) > 65536 else select.POLLIN)
    for fd in (*outputs, into, -1 if pidfd is None else pidfd):
        if fd >= 0:
            os.close(fd)


def _push(poller: select.poll, into: int, pending: bytearray, *, closing: bool) -> int:
    """Write what the command's input takes now; returns -1 when that is closed."""
    if into < 0:
        return -1
    try:
        while pending:
            del pending[: os.write(into, pending)]
    except BlockingIOError:
        poller.modify(into, select.POLLOUT)
        return into
    except OSError:
        pending.clear()
        closing = True
    if closing:
        poller.unregister(into)
        os.close(into)
        return -1
    poller.modify(into, 0)
    return into


def _run_terminal(engine: Engine, text: str, options: ExecOptions, stdin: int, stdout: int, detach_keys: str) -> int:
    keys = attach.KeyFilter(attach.parse_detach_keys(detach_keys or attach.DEFAULT_KEYS))
    running = _start(engine, text, options, None, attach.terminal_size(stdout, stdin))
    try:
        attach.relay_terminal(running.terminal, stdin=stdin, stdout=stdout, keys=keys, pid=running.pid)
    except attach.Detached:
        # When we end, the kernel hangs up on our session, in which the child is for a moment longer.
        _signal.signal(_signal.SIGHUP, _signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
            _drain(running.terminal)
        return 0
    finally:
        os.close(running.terminal)
    return running.wait()
