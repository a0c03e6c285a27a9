"""Two requests to the systemd user manager, over D-Bus.

::

    StartTransientUnit(scope, Delegate=yes, PIDs=[pid])  →  job  →  JobRemoved "done"
    AttachProcessesToUnit(scope, "/monitors", [pid])

A process of a login session (ssh, console) is in a cgroup that belongs to root, which its user may not move it
out of; the user manager can, with the system manager's help.

The requests are made by a short-lived child, so that a monitor does not carry the D-Bus library (jeepney, see
docs/decisions/0009) for the rest of its life. Authentication says nothing of who we are and leaves that to the
socket: in rl's user namespace we would claim to be root.
"""

from __future__ import annotations

import os
import sys
import time

from rootless.cgroups import detect
from rootless.errors import MissingHelper, RlError, SystemFailure, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

    from rootless.cgroups.placement import Placement

TIMEOUT = 25.0  # seconds, as D-Bus clients have it
_UNLIMITED = 2**64 - 1
_NAME = "org.freedesktop.systemd1"
_GONE = (f"{_NAME}.NoSuchUnit", f"{_NAME}.ScopeNotRunning", f"{_NAME}.UnitInactive", f"{_NAME}.NoSuchProcess")


class CallFailed(Exception):
    """The manager answered with an error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{text} ({name})")
        self.name = name


def start_scope(placement: Placement, pid: int) -> str:
    """Make the scope with process ``pid`` in it; return its cgroup's path.

    Raises ``SystemFailure``, ``Unavailable`` or ``MissingHelper``.
    """
    return _in_child(_start_scope, placement, pid)


def attach(placement: Placement, below: str, pid: int) -> bool:
    """Move process ``pid`` into the cgroup ``below`` the scope; False if there is no such scope any more.

    Raises as ``start_scope``.
    """
    return _in_child(_attach, placement, pid, below) == "done"


def _start_scope(connection: Connection, placement: Placement, pid: int) -> str:
    properties = [
        ("Description", ("s", "containers of rl")),
        ("Slice", ("s", placement.slice)),
        ("Delegate", ("b", True)),
        # The whole of rl shall not have what systemd gives a single unit.
        ("TasksMax", ("t", _UNLIMITED)),
        # A scope that failed would keep its name taken.
        ("CollectMode", ("s", "inactive-or-failed")),
        ("PIDs", ("au", [pid])),
    ]
    try:
        connection.run_job("StartTransientUnit", "ssa(sv)a(sa(sv))", (placement.unit, "fail", properties, []))
    except CallFailed as error:
        # Somebody without our lock was quicker, or it is not where we looked for it.
        if error.name != f"{_NAME}.UnitExists":
            raise
        if all(_attach(connection, placement, pid, below) == "gone" for below in ("/monitors", "")):
            raise
    path = detect.own_cgroup(f"/proc/{pid}/cgroup")
    index = path.find(f"/{placement.unit}")
    if index < 0:
        raise SystemFailure(f"systemd made {placement.unit} but left process {pid} in {path or 'another cgroup'}")
    return path[: index + 1 + len(placement.unit)]


def _attach(connection: Connection, placement: Placement, pid: int, below: str) -> str:
    try:
        connection.call("AttachProcessesToUnit", "ssau", (placement.unit, below, [pid]))
    except CallFailed as error:
        if error.name in _GONE or "No such file" in str(error):
            return "gone"
        raise
    return "done"


def reach(placement: Placement) -> Connection:
    """Connect to the user manager by the first socket where it answers; raises ``Unavailable``."""
    reasons = []
    for path in placement.buses:
        try:
            return Connection(path, direct=path.endswith("/systemd/private"))
        except OSError as error:
            reasons.append(f"{path}: {(error.strerror or str(error)).lower()}")
    raise Unavailable(
        f"the systemd user manager cannot be reached ({'; '.join(reasons) or 'no socket of it'})",
        hint="log in by ssh or on a console instead of su, or use --cgroup-manager cgroupfs or none",
    )


class Connection:
    """A connection to a bus, or (``direct``) to systemd's own socket, which is one without a bus between."""

    def __init__(self, path: str, *, direct: bool = False) -> None:
        from rootless.linux import sockets

        try:
            import jeepney  # type: ignore[import-untyped,import-not-found,unused-ignore]
        except ImportError as error:
            raise MissingHelper(
                "limits under systemd need the Python package jeepney",
                hint="install python3-jeepney, or: pip install jeepney",
            ) from error
        self._jeepney: Any = jeepney
        self._serial = 0
        self._jobs: dict[str, str] = {}
        self._parser: Any = jeepney.Parser()
        self._deadline = time.monotonic() + TIMEOUT
        self._socket: _socket.socket = sockets.connect(path)
        try:
            self._authenticate()
            if not direct:
                self._exchange(jeepney.message_bus.Hello())
                rule = jeepney.MatchRule(
                    type="signal", interface=f"{_NAME}.Manager", member="JobRemoved", path="/org/freedesktop/systemd1"
                )
                self._exchange(jeepney.message_bus.AddMatch(rule))
                # A bus may be there without systemd behind it.
                self._exchange(jeepney.message_bus.GetNameOwner(_NAME))
        except CallFailed as error:
            self._socket.close()
            raise OSError(0, str(error)) from error
        except BaseException:
            self._socket.close()
            raise

    def call(self, method: str, signature: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Call a method of the manager; raises ``CallFailed``."""
        address = self._jeepney.DBusAddress("/org/freedesktop/systemd1", _NAME, f"{_NAME}.Manager")
        return self._exchange(self._jeepney.new_method_call(address, method, signature, arguments))

    def run_job(self, method: str, signature: str, arguments: tuple[Any, ...]) -> None:
        """Call a method that returns a job and wait for the end of it; raises ``SystemFailure`` unless it is done."""
        (job,) = self.call(method, signature, arguments)
        while job not in self._jobs:
            self._sort(self._receive())
        if self._jobs[job] != "done":
            raise SystemFailure(
                f"systemd could not start the scope for containers: job {self._jobs[job]}",
                hint="journalctl --user -e says why",
            )

    def _authenticate(self) -> None:
        """Have the server take our identity from the socket: sd-bus does the same."""
        self._socket.sendall(b"\0AUTH EXTERNAL\r\n")
        received = b""
        while True:
            while b"\r\n" not in received:
                received += self._read()
            line, _, received = received.partition(b"\r\n")
            if line.startswith(b"DATA"):
                self._socket.sendall(b"DATA\r\n")
            elif line.startswith(b"OK"):
                self._socket.sendall(b"BEGIN\r\n")
                return
            else:
                raise PermissionError(13, f"authentication refused: {line[:80].decode('ascii', 'replace')}")

    def _exchange(self, message: Any) -> tuple[Any, ...]:
        self._serial += 1
        serial = self._serial
        self._socket.sendall(message.serialise(serial=serial))
        fields, kinds = self._jeepney.HeaderFields, self._jeepney.MessageType
        while True:
            answer = self._receive()
            if answer.header.fields.get(fields.reply_serial) != serial:
                self._sort(answer)
            elif answer.header.message_type is kinds.error:
                text = answer.body[0] if answer.body and isinstance(answer.body[0], str) else ""
                raise CallFailed(answer.header.fields.get(fields.error_name, ""), text)
            else:
                return tuple(answer.body)

    def _sort(self, message: Any) -> None:
        """Keep the ends of jobs, which may come before we know that they are ours."""
        if message.header.fields.get(self._jeepney.HeaderFields.member) == "JobRemoved" and len(message.body) == 4:
            self._jobs[message.body[1]] = message.body[3]

    def _receive(self) -> Any:
        while (message := self._parser.get_next_message()) is None:
            self._parser.add_data(self._read())
        return message

    def _read(self) -> bytes:
        import select

        poller = select.poll()
        poller.register(self._socket.fileno(), select.POLLIN)
        if not poller.poll(max(0.0, self._deadline - time.monotonic()) * 1000):
            raise Unavailable(f"the systemd user manager did not answer within {TIMEOUT:g} seconds")
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError(104, "the connection was closed")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def _in_child(function: Any, placement: Placement, *arguments: Any) -> str:
    """Run ``function(connection, placement, …)`` in a child and return its text."""
    import marshal

    from rootless import errors
    from rootless.linux import fds

    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read_end)
            # A monitor started afresh knows our own modules only.
            sys.path += [path for path in placement.modules if path not in sys.path]
            try:
                connection = reach(placement)
                answer: tuple[str, ...] = ("", function(connection, placement, *arguments))
            except RlError as error:
                answer = (type(error).__name__, error.message, error.hint)
            except Exception as error:
                answer = ("SystemFailure", f"asking systemd for the control group of containers: {error}", "")
            fds.write_all(write_end, marshal.dumps(answer))
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as stream:
        content = stream.read()
    os.waitpid(pid, 0)
    if not content:
        raise SystemFailure("the process that asked systemd for a control group ended without an answer")
    kind, *values = marshal.loads(content)
    if kind:
        raise getattr(errors, kind)(values[0], hint=values[1])
    return str(values[0])
