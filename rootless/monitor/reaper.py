"""The monitor process: starts one container, stays with it, and records its end.

::

    launch (a dict)  ──→  enter the user namespace, mount with FUSE if need be
                          clone init, write its id map, start slirp4netns
                          publish ports, write the state, let the payload go
                          poll: output → log and clients, input → payload, new clients, the end
                          drain, unmount, record the exit, remove if asked, tell the clients

Every descriptor has its handler in one table; nothing blocks but poll.
"""

from __future__ import annotations

import _signal
import _socket
import errno
import os
import select
import time

from rootless import errors, events, jsonlite
from rootless.cgroups import membership
from rootless.linux import commands, idmap, process, sockets, syscalls, trees
from rootless.monitor import logs, protocol
from rootless.network import slirp
from rootless.runtime import parent, plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.linux.userns import UserNamespace

HIGH_WATER = 1 << 20  # bytes that may wait for a slow client before the payload has to
INPUT_WATER = 1 << 17  # bytes that may wait for a slow payload before the clients have to


class Client:
    """Somebody attached: a socket, what still has to be sent, and whether its input counts."""

    def __init__(self, channel: _socket.socket, *, first: bool) -> None:
        self.socket = channel
        self.fd = channel.fileno()
        self.decoder = protocol.Decoder()
        self.pending = bytearray()
        self.first = first
        channel.setblocking(False)


class Monitor:
    """One container's monitor; ``launch`` is described in ``monitor/launch.py``."""

    def __init__(self, launch: dict[str, Any], namespace: UserNamespace, first: _socket.socket | None) -> None:
        self.launch = launch
        self.namespace = namespace
        self.directory: str = launch["directory"]
        self.clients: list[Client] = []
        self.poller = select.poll()
        self.handlers: dict[int, Callable[[int], None]] = {}
        self.child: parent.Child | None = None
        self.pidfd = -1
        self.slirp: slirp.Slirp | None = None
        self.log: logs.JsonFileLog | None = None
        self.outputs: dict[int, tuple[int, str]] = {}  # descriptor → frame kind, stream name
        self.input_fd = -1
        self.input_pending = bytearray()
        self.input_closing = False
        self.input_full = False
        self.status = -1
        self.started = 0.0
        self.ooms = 0  # processes killed for memory of which the event is written
        self.member = membership.Membership(launch.get("cgroup"))
        self.state: dict[str, Any] = dict(launch["state"])
        self.server: _socket.socket | None = None
        if first is not None:
            self._add_client(first, first=True)

    # --- start ---------------------------------------------------------------------------

    def run(self) -> None:
        """Live the life of the monitor; never raises."""
        try:
            self._start()
        except errors.RlError as error:
            self._give_up(error)
        except OSError as error:
            self._give_up(errors.from_oserror(error, "starting the container"))
        except Exception as error:  # a mistake of ours must reach the user, not vanish
            self._give_up(errors.SystemFailure(f"{type(error).__name__}: {error}"))
        else:
            try:
                self._loop()
            except Exception as error:  # likewise; the payload does not outlive it
                self.state["error"] = f"monitor: {type(error).__name__}: {error}"
                self._kill()
            self._finish()
        self._flush_clients()

    def _start(self) -> None:
        launch = self.launch
        id_map = self.namespace.map
        # Outside of the user namespace: systemd knows the user by name, and cgroups by their owner.
        self.member.enter()
        self.namespace.enter()
        os.makedirs(launch["runtime_dir"], mode=0o700, exist_ok=True)
        rootfs = self._mount_rootfs(launch["rootfs"])
        log = launch.get("log")
        if log:
            self.log = logs.JsonFileLog(log["path"], max_size=log["max_size"], max_file=log["max_file"])
        program = launch["program"].encode("latin-1") or None
        stdio, ours = self._streams()
        try:
            self.child = child = parent.start(
                launch["spec"],
                rootfs,
                f"{self.directory}/rootfs",
                program=program,
                stdio=stdio,
                cgroup_fd=self.member.fd,
            )
        finally:
            for fd in stdio or ():
                os.close(fd)
        self.pidfd = os.pidfd_open(child.pid)
        idmap.write(child.pid, id_map.identity())
        if launch["network"]:
            self.slirp = slirp.Slirp(child.pid, api_socket=f"{launch['runtime_dir']}/slirp.sock")
        child.mapped()
        self.server = sockets.listen(f"{launch['runtime_dir']}/attach.sock")
        child.wait_ready()
        if self.slirp:
            self.slirp.wait_ready()
            for port in launch["network"]["ports"]:
                slirp.add_hostfwd(self.slirp.api_socket, **port)
        for warning in self.member.limit(child.pid):
            self.state.setdefault("warnings", []).append(warning)
        # Written before the payload can do anything, so that nobody ever finds it unrecorded.
        self.state.update(
            cgroup=self.member.path,
            status="running",
            pid=child.pid,
            pid_start=process.start_time(child.pid),
            monitor_pid=os.getpid(),
            monitor_start=process.start_time(os.getpid()),
            started_at=logs.timestamp(time.time_ns()),
        )
        self._write_state()
        child.go()
        self.started = time.monotonic()
        self._event("start")
        # What follows may last for months: keep nothing that only the start needed.
        launch["spec"] = launch["program"] = None
        del program
        syscalls.trim_memory()
        self._watch(ours)
        self._broadcast(protocol.control(started=child.pid))

    def _mount_rootfs(self, rootfs: dict[str, str]) -> plan.Rootfs:
        if rootfs["kind"] != "fuse-overlayfs":
            return plan.Rootfs(
                kind=rootfs["kind"], source=rootfs.get("source", ""), data=rootfs.get("data", ""), cwd=rootfs["cwd"]
            )
        # The daemon outlives the program that starts it: as a subreaper we become its parent.
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        os.chdir(rootfs["cwd"])
        target = f"{self.directory}/rootfs"
        result = commands.run(["fuse-overlayfs", "-o", rootfs["data"], target], timeout=30)
        os.chdir("/")
        if result.status:
            raise errors.SystemFailure(f"fuse-overlayfs failed: {result.reason()}")
        return plan.Rootfs(kind="mounted")

    def _streams(self) -> tuple[tuple[int, int, int] | None, tuple[int, int, int]]:
        """Make the payload's standard streams; returns its ends (None for a terminal) and ours."""
        if self.launch["terminal"]:
            return None, (-1, -1, -1)
        if self.launch["interactive"]:
            in_read, in_write = os.pipe2(os.O_CLOEXEC)
        else:
            in_read, in_write = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), -1
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        # The payload may run as any user and reopens /dev/stdout by name.
        user = os.getuid()
        for fd in (out_write, err_write, in_read):
            try:
                os.fchmod(fd, 0o622 if fd != in_read else 0o644)
                os.fchown(fd, user, -1)
            except OSError:
                pass  # /dev/null is not ours to change
        return (in_read, out_write, err_write), (in_write, out_read, err_read)

    def _watch(self, ours: tuple[int, int, int]) -> None:
        assert self.child is not None
        assert self.server is not None
        if self.child.terminal >= 0:
            master = self.child.terminal
            os.set_blocking(master, False)
            self.outputs = {master: (protocol.STDOUT, "stdout")}
            self.input_fd = master
        else:
            self.input_fd = ours[0]
            self.outputs = {ours[1]: (protocol.STDOUT, "stdout"), ours[2]: (protocol.STDERR, "stderr")}
            for fd in ours:
                if fd >= 0:
                    os.set_blocking(fd, False)
        self._update_outputs()
        self._register(self.pidfd, select.POLLIN, self._on_exit)
        self._register(self.server.fileno(), select.POLLIN, self._on_connect)
        if self.member.oom:
            self._register(self.member.oom.fd, select.POLLPRI, self._on_oom)

    # --- the loop ------------------------------------------------------------------------

    def _register(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        self.handlers[fd] = handler
        self.poller.register(fd, events)

    def _unregister(self, fd: int) -> None:
        if self.handlers.pop(fd, None) is not None:
            self.poller.unregister(fd)

    def _loop(self) -> None:
        due = 0.0
        while self.status < 0:
            interval = self.member.interval  # an update may change it
            timeout = None if interval is None else max(0.0, due - time.monotonic()) * 1000
            for fd, ready in self.poller.poll(timeout):
                handler = self.handlers.get(fd)
                if handler is not None:
                    handler(ready)
            if interval is not None and self.status < 0 and time.monotonic() >= due:
                self._watch_limits()
                due = time.monotonic() + interval

    def _watch_limits(self) -> None:
        """Look whether the container keeps the limits that no controller keeps for it."""
        reason = self.member.check()
        if reason and self.child:
            self.state["error"] = reason
            self.state["oom_killed"] = "memory" in reason
            if "memory" in reason:
                self._event("oom")
            os.kill(self.child.pid, 9)

    def _on_oom(self, _events: int) -> None:
        if self.member.oom:
            self._record_oom(self.ooms + self.member.oom.kills())

    def _record_oom(self, kills: int) -> None:
        """Record that so many processes were killed for memory by now; an event for each that is new."""
        if kills:
            self.state["oom_killed"] = True
        while self.ooms < kills:
            self.ooms += 1
            self._event("oom")

    def _event(self, action: str, **more: str) -> None:
        events.write(
            self.launch["events"], "container", action, self.launch["id"], {**self.launch["attributes"], **more}
        )

    def _update_outputs(self) -> None:
        """Read the payload's output only while no client lags too far behind; input when some waits."""
        waiting = any(len(client.pending) > HIGH_WATER for client in self.clients)
        for fd in self.outputs:
            events = 0 if waiting else select.POLLIN
            if fd == self.input_fd and self.input_pending:
                events |= select.POLLOUT
            self._register(fd, events, self._reader(fd))
        full = len(self.input_pending) > INPUT_WATER
        if full != self.input_full:
            self.input_full = full
            for client in self.clients:
                self.poller.modify(client.fd, self._client_events(client))
        if self.input_fd >= 0 and self.input_fd not in self.outputs:
            if self.input_pending or self.input_closing:
                self._register(self.input_fd, select.POLLOUT, self._on_writable)
            else:
                # POLLERR still tells when the payload has closed its input.
                self._register(self.input_fd, 0, self._on_writable)

    def _reader(self, fd: int) -> Callable[[int], None]:
        def handle(events: int) -> None:
            if events & select.POLLOUT:  # a terminal: one descriptor for both ways
                self._on_writable(events)
            if events & ~select.POLLOUT:
                self._on_output(fd)

        return handle

    def _on_output(self, fd: int) -> bool:
        """Pass on one chunk; False when there is none now."""
        kind, stream = self.outputs[fd]
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal's way to say that nobody holds it any more
                raise
            data = b""
        if not data:
            if fd == self.input_fd:
                # A terminal without readers may get one again; only the end of the payload closes it.
                self._unregister(fd)
                return False
            self._unregister(fd)
            del self.outputs[fd]
            os.close(fd)
            return False
        if self.log:
            self.log.write(stream, data)
        self._broadcast(protocol.frame(kind, data))
        return True

    def _on_writable(self, events: int) -> None:
        if self.input_fd < 0:
            return
        try:
            if self.input_pending:
                written = os.write(self.input_fd, self.input_pending[:65536])
                del self.input_pending[:written]
            gone = bool(events & select.POLLERR) and self.input_fd not in self.outputs
        except BlockingIOError:
            return
        except OSError:
            gone = True
        if gone or (self.input_closing and not self.input_pending):
            self._close_input()
        else:
            self._update_outputs()

    def _close_input(self) -> None:
        self.input_pending.clear()
        if self.input_fd in self.outputs:
            if self.input_closing and self.input_fd >= 0:
                self.input_closing = False
                self._write_input(b"\x04")  # a terminal's end of file
            return
        if self.input_fd >= 0:
            self._unregister(self.input_fd)
            os.close(self.input_fd)
            self.input_fd = -1
        self._update_outputs()

    def _write_input(self, data: bytes) -> None:
        if self.input_fd < 0:
            return
        self.input_pending += data
        self._update_outputs()

    # --- clients -------------------------------------------------------------------------

    def _add_client(self, channel: _socket.socket, *, first: bool = False) -> None:
        client = Client(channel, first=first)
        self.clients.append(client)
        self._register(client.fd, self._client_events(client), lambda events: self._on_client(client, events))

    def _client_events(self, client: Client) -> int:
        return (0 if self.input_full else select.POLLIN) | (select.POLLOUT if client.pending else 0)

    def _on_connect(self, _events: int) -> None:
        assert self.server is not None
        try:
            channel = sockets.accept(self.server)
        except OSError:
            return
        self._add_client(channel)
        if self.child:
            self._send(self.clients[-1], protocol.control(started=self.child.pid))

    def _on_client(self, client: Client, events: int) -> None:
        if events & select.POLLOUT:
            self._send(client, b"")
        if not events & (select.POLLIN | select.POLLHUP | select.POLLERR) or client not in self.clients:
            return
        try:
            data = client.socket.recv(65536)
            if not data:
                self._drop(client)
                return
            for kind, content in client.decoder.feed(data):
                self._on_frame(client, kind, content)
        except BlockingIOError:
            pass
        except (OSError, ValueError):
            self._drop(client)

    def _on_frame(self, client: Client, kind: int, content: bytes) -> None:
        if kind == protocol.STDIN:
            if content:
                self._write_input(content)
            elif self.input_fd >= 0:
                self.input_closing = True
                if not self.input_pending:
                    self._close_input()
        elif kind == protocol.CONTROL:
            message = jsonlite.loads(content)
            if "resize" in message and self.child and self.child.terminal >= 0:
                import fcntl
                import struct

                rows, columns = message["resize"]
                fcntl.ioctl(self.child.terminal, 0x5414, struct.pack("4H", rows, columns, 0, 0))
            elif "pause" in message or "update" in message:
                self._answer(client, message)

    def _answer(self, client: Client, message: dict[str, Any]) -> None:
        """Do what a client asks for, record it and say so."""
        try:
            if "pause" in message:
                self._pause(message["pause"])
                warnings = []
            else:
                assert self.child is not None
                warnings = self.member.update(message["update"], self.child.pid)
                record = message["update"] or {}
                self.state.update(limits=message["limits"], weaker=record.get("weaker"), warnings=warnings)
            self._write_state()
            self._event("update" if "update" in message else "pause" if message["pause"] else "unpause")
        except errors.RlError as error:
            self._send(client, _failed(error))
        except OSError as error:
            self._send(client, _failed(errors.from_oserror(error, "changing the container")))
        else:
            self._send(client, protocol.control(done=warnings))

    def _pause(self, wanted: bool) -> None:
        assert self.child is not None
        if wanted == (self.state["status"] == "paused"):
            raise errors.Conflict(f"container {self.launch['id'][:12]} is {'already' if wanted else 'not'} paused")
        if wanted:
            self.state["paused_by"] = self.member.freeze(self.child.pid)
            self.state["status"] = "paused"
        else:
            self.member.thaw(self.child.pid)
            self.state["status"] = "running"

    def _drop(self, client: Client) -> None:
        self._unregister(client.fd)
        self.clients.remove(client)
        client.socket.close()
        if client.first and self.launch["attached"] and self.input_fd not in self.outputs:
            # Docker's StdinOnce: the input ends with the one who brought it.
            self.input_closing = True
            if not self.input_pending:
                self._close_input()
        self._update_outputs()

    def _send(self, client: Client, data: bytes) -> None:
        client.pending += data
        before = len(client.pending) > HIGH_WATER
        try:
            while client.pending:
                sent = client.socket.send(memoryview(client.pending)[:262144].tobytes())
                del client.pending[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        self.poller.modify(client.fd, self._client_events(client))
        if before != (len(client.pending) > HIGH_WATER) or before:
            self._update_outputs()

    def _broadcast(self, data: bytes) -> None:
        for client in list(self.clients):
            self._send(client, data)

    def _flush_clients(self) -> None:
        """Wait until each client has what it is owed, or has gone."""
        for client in list(self.clients):
            try:
                client.socket.setblocking(True)
                client.socket.sendall(client.pending)
                client.socket.close()
            except OSError:
                pass

    # --- the end -------------------------------------------------------------------------

    def _on_exit(self, _events: int) -> None:
        assert self.child is not None
        _, status = os.waitpid(self.child.pid, 0)
        # All its processes are gone by now (pid_namespaces(7)): what they wrote is in the pipes.
        for fd in list(self.outputs):
            while fd in self.outputs and self._on_output(fd):
                pass
        self.status = process.exit_status(status)

    def _kill(self) -> None:
        assert self.child is not None
        self.status = max(self.status, 0)
        try:
            os.kill(self.child.pid, 9)
            self.status = process.exit_status(os.waitpid(self.child.pid, 0)[1])
        except (ProcessLookupError, ChildProcessError):
            pass  # it was its end that went wrong

    def _finish(self) -> None:
        assert self.child is not None
        if self.log:
            self.log.close()
        self._cleanup()
        self.state.update(
            status="exited", pid=0, exit_code=self.status, finished_at=logs.timestamp(time.time_ns()), ports=[]
        )
        remove = self.launch.get("remove")
        try:
            if not remove:
                self._write_state()
        except OSError:
            pass  # whoever finds the old state sees that we are gone
        self._event("die", execDuration=str(int(time.monotonic() - self.started)), exitCode=str(self.status))
        if remove:
            self._remove(remove)
        self._broadcast(protocol.control(exited=self.status))

    def _cleanup(self) -> None:
        """Let go of helpers, mounts, sockets and the cgroup; safe to repeat."""
        try:
            if self.member.oom:
                self._unregister(self.member.oom.fd)
            self._record_oom(self.member.oom_kills())
            self.member.close()
        except (errors.RlError, OSError):
            pass  # whoever removes the container tries again
        if self.slirp:
            self.slirp.close()
            self.slirp = None
        if self.server:
            self.server.close()
            self.server = None
        if self.launch["rootfs"]["kind"] == "fuse-overlayfs":
            try:
                syscalls.umount(f"{self.directory}/rootfs", syscalls.MNT_DETACH)
            except OSError:
                pass
        try:
            for name in os.listdir(self.launch["runtime_dir"]):
                os.unlink(f"{self.launch['runtime_dir']}/{name}")
            os.rmdir(self.launch["runtime_dir"])
        except OSError:
            pass

    def _remove(self, remove: dict[str, Any]) -> None:
        """Remove the container as ``rm -v`` would; what fails is left in the trash for the next prune."""
        trash = f"{remove['trash']}/{self.launch['id']}"
        try:
            os.rename(self.directory, trash)
            # Free from here on: it may be another container's already.
            if os.readlink(remove["name"]).endswith(f"/{self.launch['id']}"):
                os.unlink(remove["name"])
            trees.remove_tree(trash)
            for path in remove["volumes"]:
                trees.remove_tree(path)
                name = path.rpartition("/")[2]
                events.write(self.launch["events"], "volume", "destroy", name, {"driver": "local"})
            self._event("destroy")
        except OSError:
            pass

    def _give_up(self, error: errors.RlError) -> None:
        if self.child:
            self.child.kill()
        self._cleanup()
        if self.log:
            self.log.close()
        code = 127 if isinstance(error, errors.CommandNotFound) else 126
        if not isinstance(error, errors.CommandNotFound | errors.CommandNotExecutable):
            code = 128
        # Docker leaves a container that failed to start in state "created".
        self.state.update(status="created", pid=0, exit_code=code, error=error.message, ports=[])
        remove = self.launch.get("remove")
        try:
            if remove:
                self._remove(remove)
            else:
                self._write_state()
        except OSError:
            pass
        self._broadcast(_failed(error))

    def _write_state(self) -> None:
        path = f"{self.directory}/state.json"
        temporary = f"{path}.new"
        text = jsonlite.dumps(self.state).encode()
        try:
            _write(temporary, text, os.O_CREAT | os.O_TRUNC)
            os.rename(temporary, path)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            os.unlink(temporary)
            # The file that is there has its block already.
            _write(path, text, 0)


def _failed(error: errors.RlError) -> bytes:
    return protocol.control(failed=[type(error).__name__, error.message, error.hint])


def _write(path: str, data: bytes, flags: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
    try:
        if os.write(fd, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def main(launch: dict[str, Any], namespace: UserNamespace, first: _socket.socket | None) -> None:
    """Be the monitor of one container; never returns.

    Runs in a process of its own, in a session of its own, whose standard streams are
    /dev/null. ``first`` is the socket of the client that starts the container.
    """
    try:
        syscalls.set_name("rl-monitor")
        for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGTSTP):
            _signal.signal(number, _signal.SIG_IGN)
        Monitor(launch, namespace, first).run()
    finally:
        os._exit(0)
