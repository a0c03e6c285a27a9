"""The client's side of a container's streams: the terminal, its signals, its size.

A foreground ``run`` is a client of the monitor like any other. With a terminal of its own
the payload gets every key (our terminal is raw); without, its output keeps its two
streams and our signals are passed on.
"""

from __future__ import annotations

import _signal
import os
import select
import sys

from rootless import jsonlite
from rootless.engine.launching import raise_failure
from rootless.errors import InvalidArgument, SystemFailure
from rootless.linux import sockets
from rootless.monitor import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterator
    from typing import Any

DEFAULT_KEYS = "ctrl-p,ctrl-q"
HOLD_SECONDS = 0.5  # how long the first keys of the detach sequence wait for the next
TIOCGWINSZ = 0x5413
# Passed on by --sig-proxy: what ends or notifies a program, not what a kernel does with us.
PROXIED = tuple(
    number
    for number in range(1, 32)
    if number
    not in (_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, _signal.SIGPIPE, _signal.SIGWINCH, 18, 20, 21, 22, 23)
)


class Detached(Exception):
    """The user typed the detach sequence."""


def parse_detach_keys(text: str) -> bytes:
    """Return the bytes of ``ctrl-p,ctrl-q`` or ``a,ctrl-[``; raises ``InvalidArgument``."""
    keys = bytearray()
    for key in text.split(","):
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif key.startswith("ctrl-") and len(key) == 6 and key[5] in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
            keys.append(ord(key[5].upper()) & 0x1F)
        else:
            raise InvalidArgument(f"invalid detach keys ({text}) provided", hint="for example: ctrl-p,ctrl-q")
    return bytes(keys)


class KeyFilter:
    """Finds the detach sequence in what is typed; a prefix of it waits for the next key."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self.held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what may be passed on; raises ``Detached``."""
        if not self._sequence or (not self.held and self._sequence[0] not in data):
            return data
        passed = bytearray()
        for byte in data:
            self.held += bytes((byte,))
            while self.held and not self._sequence.startswith(self.held):
                passed.append(self.held[0])
                self.held = self.held[1:]
            if self._sequence and self.held == self._sequence:
                raise Detached
        return bytes(passed)

    def release(self) -> bytes:
        """Give up waiting: return what was held back."""
        held, self.held = self.held, b""
        return held


class RawTerminal:
    """Our terminal in raw mode, as it was before at the end (context manager)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved: list[Any] | None = None

    def __enter__(self) -> None:
        """Set raw mode: cfmakeraw(3)."""
        import termios

        self._saved = termios.tcgetattr(self._fd)
        mode = termios.tcgetattr(self._fd)
        mode[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
            | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        mode[1] &= ~termios.OPOST
        mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)

    def __exit__(self, *_: object) -> None:
        """Restore."""
        import termios

        if self._saved is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)


def window_size(fd: int) -> tuple[int, int] | None:
    """Return rows and columns of a terminal, None for anything else."""
    import fcntl
    import struct

    try:
        rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(fd, TIOCGWINSZ, bytes(8)))
    except OSError:
        return None
    return rows, columns


def terminal_size(*fds: int) -> tuple[int, int] | None:
    """Return rows and columns of the first of our descriptors that is a terminal with a size."""
    for fd in fds:
        size = window_size(fd) if fd >= 0 else None
        if size and size != (0, 0):
            return size
    return None


class _Signals:
    """Turns signals into bytes on a descriptor while a relay runs."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.read_end, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._old: dict[int, Any] = {}
        for number in numbers:
            try:
                self._old[number] = _signal.signal(number, lambda *_: None)
            except (OSError, ValueError, RuntimeError):
                continue
        self._wakeup = _signal.set_wakeup_fd(self._write_end)

    def numbers(self) -> Iterator[int]:
        """Yield the signals that came."""
        try:
            yield from os.read(self.read_end, 512)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Give the signals back."""
        _signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._old.items():
            if handler is not None:
                _signal.signal(number, handler)
        os.close(self.read_end)
        os.close(self._write_end)


def relay(
    channel: _socket.socket,
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    tty: bool,
    detach_keys: str = "",
    on_signal: Callable[[int], None] | None = None,
) -> int:
    """Pass streams, signals and sizes between us and a monitor until the container ends.

    Returns its exit status, or 0 after the detach sequence; raises what kept it from starting.
    """
    raw = tty and stdin >= 0 and os.isatty(stdin)
    keys = KeyFilter(parse_detach_keys(detach_keys or DEFAULT_KEYS) if tty else b"")
    signals = _Signals((_signal.SIGWINCH, *(PROXIED if on_signal else ())))
    try:
        if raw:
            with RawTerminal(stdin):
                return _Relay(channel, stdin, stdout, stderr, keys, signals, on_signal, tty).run()
        return _Relay(channel, stdin, stdout, stderr, keys, signals, on_signal, tty).run()
    except Detached:
        return 0
    finally:
        signals.close()
        channel.close()


class _Relay:
    def __init__(
        self,
        channel: _socket.socket,
        stdin: int,
        stdout: int,
        stderr: int,
        keys: KeyFilter,
        signals: _Signals,
        on_signal: Callable[[int], None] | None,
        tty: bool,
    ) -> None:
        self._channel = channel
        self._stdin = stdin
        self._outputs = {protocol.STDOUT: stdout, protocol.STDERR: stderr}
        self._keys = keys
        self._signals = signals
        self._on_signal = on_signal
        self._tty = tty
        self._started = False
        self._early: list[int] = []
        self._decoder = protocol.Decoder()
        self._poller = select.poll()
        self._outgoing = bytearray()

    def run(self) -> int:
        """Loop until the last frame."""
        channel, poller = self._channel, self._poller
        channel.setblocking(False)
        poller.register(channel.fileno(), select.POLLIN)
        poller.register(self._signals.read_end, select.POLLIN)
        if self._stdin >= 0:
            poller.register(self._stdin, select.POLLIN)
        while True:
            events = poller.poll(HOLD_SECONDS * 1000 if self._keys.held else None)
            if not events:
                self._queue(protocol.frame(protocol.STDIN, self._keys.release()))
            for fd, what in events:
                if fd == channel.fileno():
                    if what & select.POLLOUT:
                        self._flush()
                    if what & ~select.POLLOUT:
                        status = self._receive()
                        if status is not None:
                            return status
                elif fd == self._signals.read_end:
                    self._handle_signals()
                else:
                    self._read_input()

    def _queue(self, data: bytes) -> None:
        self._outgoing += data
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: self._channel.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self._outgoing.clear()  # the answer to why is on its way
        self._poller.register(self._channel.fileno(), select.POLLIN | (select.POLLOUT if self._outgoing else 0))
        if self._stdin >= 0:
            # No more input than the container takes.
            self._poller.register(self._stdin, 0 if len(self._outgoing) > 65536 else select.POLLIN)

    def _read_input(self) -> None:
        try:
            data = os.read(self._stdin, 32768)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            passed = self._keys.feed(data)
            if passed:
                self._queue(protocol.frame(protocol.STDIN, passed))
            return
        self._poller.unregister(self._stdin)
        self._stdin = -1
        self._queue(protocol.frame(protocol.STDIN, b""))

    def _handle_signals(self) -> None:
        for number in self._signals.numbers():
            if number == _signal.SIGWINCH:
                self._send_size()
            elif self._on_signal is None:
                continue
            elif self._started:
                self._on_signal(number)
            else:
                self._early.append(number)

    def _send_size(self) -> None:
        if not self._tty:
            return
        size = terminal_size(self._outputs[protocol.STDOUT], self._stdin)
        if size:
            self._queue(protocol.control(resize=list(size)))

    def _receive(self) -> int | None:
        try:
            data = self._channel.recv(262144)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            raise SystemFailure(
                "the monitor of the container was killed, and the container with it", hint="rl ps -a shows what is left"
            )
        for kind, content in self._decoder.feed(data):
            if kind in self._outputs:
                write(self._outputs[kind], content)
            elif kind == protocol.CONTROL:
                message = jsonlite.loads(content)
                raise_failure(message)
                if "started" in message:
                    self._started = True
                    self._send_size()
                    if self._on_signal:
                        for number in self._early:
                            self._on_signal(number)
                elif "exited" in message:
                    return int(message["exited"])
        return None


def relay_terminal(master: int, *, stdin: int, stdout: int, keys: KeyFilter, pid: int) -> None:
    """Pass keys, output and window size between our terminal and the one behind ``master``.

    Returns when nobody holds the other side any more, or the process ``pid`` has ended.
    Raises ``Detached``.
    """
    signals = _Signals((_signal.SIGWINCH,))
    pidfd = os.pidfd_open(pid)
    try:
        if stdin >= 0 and os.isatty(stdin):
            with RawTerminal(stdin):
                _relay_terminal(master, stdin, stdout, keys, signals, pidfd)
        else:
            _relay_terminal(master, stdin, stdout, keys, signals, pidfd)
    finally:
        os.close(pidfd)
        signals.close()


def _relay_terminal(master: int, stdin: int, stdout: int, keys: KeyFilter, signals: _Signals, pidfd: int) -> None:
    import fcntl
    import struct

    def resize() -> None:
        size = terminal_size(stdout, stdin)
        if size:
            fcntl.ioctl(master, 0x5414, struct.pack("4H", *size, 0, 0))

    poller = select.poll()
    for fd in (master, signals.read_end, pidfd, *((stdin,) if stdin >= 0 else ())):
        poller.register(fd, select.POLLIN)
    os.set_blocking(master, False)
    outgoing = bytearray()
    resize()
    while True:
        poller.modify(master, select.POLLIN | (select.POLLOUT if outgoing else 0))
        events = dict(poller.poll(HOLD_SECONDS * 1000 if keys.held else None))
        if not events:
            outgoing += keys.release()
        if signals.read_end in events:
            list(signals.numbers())
            resize()
        if stdin in events:
            data = os.read(stdin, 32768)
            outgoing += keys.feed(data) if data else b"\x04"
            if not data:
                poller.unregister(stdin)
        if outgoing:
            try:
                del outgoing[: os.write(master, outgoing)]
            except OSError:
                pass
        if master in events or pidfd in events:
            try:
                while data := os.read(master, 65536):
                    write(stdout, data)
            except BlockingIOError:
                if pidfd not in events:
                    continue
                return
            except OSError:  # EIO: the other side is closed
                return


def write(fd: int, data: bytes) -> None:
    """Write all of ``data`` to a stream of ours that somebody may have made non-blocking."""
    view = memoryview(data)
    poller = None
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            # Somebody else made our output non-blocking (a terminal is shared).
            if poller is None:
                poller = select.poll()
                poller.register(fd, select.POLLOUT)
            poller.poll()
        except BrokenPipeError:
            # Nobody reads any more: like any program, we end. The container goes on.
            sys.stderr.flush()
            _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
            _signal.raise_signal(_signal.SIGPIPE)


def wait(path: str) -> int | None:
    """Wait at a monitor's socket for the container's end; None if there is no monitor (any more)."""
    try:
        channel = sockets.connect(path)
    except OSError:
        return None
    decoder = protocol.Decoder()
    try:
        while True:
            try:
                data = channel.recv(65536)
            except OSError:
                return None
            if not data:
                return None
            for kind, content in decoder.feed(data):
                if kind == protocol.CONTROL:
                    message = jsonlite.loads(content)
                    if "exited" in message:
                        return int(message["exited"])
    finally:
        channel.close()
