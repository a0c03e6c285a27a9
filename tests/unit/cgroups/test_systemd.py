"""The two requests to systemd, answered by a stand-in that speaks the protocol over a real socket."""

import os
import socket
import threading

import pytest

from rootless.cgroups import systemd
from rootless.cgroups.placement import Placement
from rootless.errors import SystemFailure, Unavailable

jeepney = pytest.importorskip("jeepney")

FIELDS, TYPES = jeepney.HeaderFields, jeepney.MessageType
JOB = "/org/freedesktop/systemd1/job/7"


class Manager:
    """Answers one connection as a bus with systemd behind it (or systemd's own socket) would."""

    def __init__(self, path, *, answers=None, result="done", early_signal=False, lines=(b"DATA", b"OK 00")):
        self.path = path
        self.calls = []
        self.auth = []
        self.answers = answers or {}
        self.result = result
        self.early_signal = early_signal
        self.lines = lines
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(path)
        self.server.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        try:
            channel, _ = self.server.accept()
        except OSError:  # the test asked nothing
            return
        with channel:
            self.converse(channel)

    def converse(self, channel):
        parser = jeepney.Parser()
        rest = b""
        for line in self.lines:
            while b"\r\n" not in rest:
                rest += channel.recv(100)
            heard, _, rest = rest.partition(b"\r\n")
            self.auth.append(heard)
            channel.sendall(line + b"\r\n")
            if line.startswith(b"REJECTED"):
                return
        while b"BEGIN\r\n" not in rest:
            rest += channel.recv(100)
        parser.add_data(rest.partition(b"BEGIN\r\n")[2])
        while True:
            message = parser.get_next_message()
            if message is None:
                data = channel.recv(4096)
                if not data:
                    return
                parser.add_data(data)
                continue
            self.answer(channel, message)

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.server.close()

    def answer(self, channel, message):
        member = message.header.fields[FIELDS.member]
        self.calls.append((member, message.body))
        answer = self.answers.get(member, ("o", (JOB,)) if member == "StartTransientUnit" else ("", ()))
        if isinstance(answer, str):
            reply = jeepney.new_error(message, answer, "s", ("it is so",))
        else:
            reply = jeepney.new_method_return(message, *answer)
        manager = jeepney.DBusAddress("/org/freedesktop/systemd1", interface="org.freedesktop.systemd1.Manager")
        done = jeepney.new_signal(manager, "JobRemoved", "uoss", (7, JOB, "rl-0.scope", self.result))
        parts = [reply.serialise(serial=1)]
        if member == "StartTransientUnit" and not isinstance(answer, str):
            parts.insert(0 if self.early_signal else 1, done.serialise(serial=2))
        # In two pieces, as a stream may bring it.
        data = b"".join(parts)
        channel.sendall(data[:20])
        channel.sendall(data[20:])


@pytest.fixture
def place(tmp_path):
    managers = []

    def make(**options):
        name = options.pop("name", "bus")
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        manager = Manager(str(path), **options)
        managers.append(manager)
        return manager, Placement(
            manager="systemd",
            unit="rl-0.scope",
            slice="app.slice",
            base="/x",
            buses=(str(tmp_path / "nobody"), manager.path),
        )

    yield make
    for manager in managers:
        manager.close()


def ask(placement, method="StartTransientUnit"):
    connection = systemd.reach(placement)
    try:
        if method == "StartTransientUnit":
            connection.run_job(method, "ssa(sv)a(sa(sv))", ("u", "fail", [("PIDs", ("au", [1]))], []))
            return None
        return systemd._attach(connection, placement, 5, "/monitors")
    finally:
        connection.close()


@pytest.mark.parametrize("early_signal", [False, True])
def test_the_end_of_the_job_is_awaited_whenever_it_comes(place, early_signal):
    manager, placement = place(early_signal=early_signal)
    ask(placement)
    assert [name for name, _ in manager.calls] == ["Hello", "AddMatch", "GetNameOwner", "StartTransientUnit"]


def test_we_do_not_say_who_we_are(place):
    manager, placement = place()
    ask(placement)
    assert manager.auth == [b"\0AUTH EXTERNAL", b"DATA"]


def test_a_server_may_skip_the_challenge(place):
    _, placement = place(lines=(b"OK 00",))
    ask(placement)


def test_systemds_own_socket_has_no_bus_to_greet(place):
    manager, placement = place(name="systemd/private")
    ask(placement)
    assert [name for name, _ in manager.calls] == ["StartTransientUnit"]


def test_a_failed_job_is_an_error(place):
    _, placement = place(result="failed")
    with pytest.raises(SystemFailure, match="job failed"):
        ask(placement)


def test_a_bus_without_systemd_is_passed_over(place, tmp_path):
    first, _ = place(name="empty", answers={"GetNameOwner": "org.freedesktop.DBus.Error.NameHasNoOwner"})
    second, placement = place(name="full")
    ask(placement.replace(buses=(first.path, second.path)))
    assert ("StartTransientUnit" in [name for name, _ in second.calls]) is True


def test_a_refusal_of_all_names_each(place):
    _, placement = place(lines=(b"REJECTED EXTERNAL",))
    with pytest.raises(Unavailable, match=r"/nobody: no such file.*authentication refused"):
        ask(placement)


def test_a_scope_that_has_gone_is_told_from_other_failures(place):
    _, placement = place(answers={"AttachProcessesToUnit": "org.freedesktop.systemd1.NoSuchUnit"})
    assert ask(placement, "attach") == "gone"
    _, placement = place(name="other", answers={"AttachProcessesToUnit": "org.freedesktop.DBus.Error.AccessDenied"})
    with pytest.raises(systemd.CallFailed, match="it is so"):
        ask(placement, "attach")


def test_attaching_names_scope_leaf_and_process(place):
    manager, placement = place()
    assert systemd.attach(placement, "/monitors", 42) is True
    assert manager.calls[-1] == ("AttachProcessesToUnit", ("rl-0.scope", "/monitors", [42]))


def test_the_library_stays_out_of_the_caller(place):
    import subprocess
    import sys

    _, placement = place()
    program = (
        "import sys; sys.path += sys.argv[1:]\n"
        "from rootless.cgroups import systemd, placement\n"
        f"place = placement.Placement.from_plain({placement.plain()!r})\n"
        "print(systemd.attach(place, '/x', 1), 'jeepney' in sys.modules, 'socket' in sys.modules)"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(systemd.__file__)))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, root, os.path.dirname(os.path.dirname(jeepney.__file__))],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == ["True", "False", "False"], done.stderr


def test_errors_come_back_from_the_child(place):
    _, placement = place(result="timeout")
    with pytest.raises(SystemFailure, match="job timeout"):
        systemd.start_scope(placement, os.getpid())
    with pytest.raises(Unavailable):
        systemd.start_scope(placement.replace(buses=()), os.getpid())


def test_being_left_elsewhere_is_an_error(place):
    _, placement = place()
    with pytest.raises(SystemFailure, match=r"left process \d+ in"):
        systemd.start_scope(placement, os.getpid())
