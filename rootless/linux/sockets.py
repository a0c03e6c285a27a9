"""Unix sockets on the raw ``_socket`` module, whose wrapper costs 8 ms to import."""

from __future__ import annotations

import _socket
import errno
import os
import struct

AF_UNIX, SOCK_STREAM, SOCK_SEQPACKET = _socket.AF_UNIX, _socket.SOCK_STREAM, _socket.SOCK_SEQPACKET
SOCK_CLOEXEC = _socket.SOCK_CLOEXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    Socket = _socket.socket


def pair(kind: int = SOCK_STREAM) -> tuple[_socket.socket, _socket.socket]:
    """Return two connected sockets, close-on-exec."""
    first, second = _socket.socketpair(AF_UNIX, kind | SOCK_CLOEXEC)
    return first, second


def _short(path: str) -> tuple[str, int]:
    """Return a name of ``path`` that fits sun_path, and the descriptor that it goes through.

    sun_path holds 108 bytes (unix(7)); /proc/self/fd/N is a short way to any directory.
    """
    directory, _, name = path.rpartition("/")
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{fd}/{name}", fd


def listen(path: str) -> _socket.socket:
    """Listen at ``path`` with mode 0600, replacing what is there; raises ``OSError``."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    server = _socket.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    name, fd = _short(path)
    mask = os.umask(0o177)
    try:
        server.bind(name)
    finally:
        os.umask(mask)
        os.close(fd)
    server.listen(16)
    return server


def connect(path: str) -> _socket.socket:
    """Connect to the socket at ``path``; raises ``OSError``."""
    name, fd = _short(path)
    client = _socket.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        client.connect(name)
    except OSError as error:
        client.close()
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)
    return client


def accept(server: _socket.socket) -> _socket.socket:
    """Accept a connection; refuses (EACCES) a peer of another user."""
    fd, _ = server._accept()  # type: ignore[attr-defined,unused-ignore]
    client = _socket.socket(AF_UNIX, SOCK_STREAM, 0, fileno=fd)
    os.set_inheritable(fd, False)
    _, uid, _ = struct.unpack("3i", client.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))
    if uid not in (os.getuid(), os.geteuid()):
        client.close()
        raise OSError(errno.EACCES, f"connection from user {uid} refused")
    return client


def send_fd(channel: _socket.socket, message: bytes, fd: int) -> None:
    """Send a message with a descriptor (SCM_RIGHTS)."""
    channel.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", fd))])


def receive(channel: _socket.socket, size: int = 65536) -> tuple[bytes, int]:
    """Receive a message and the descriptor that came with it, or -1."""
    message, ancillary, _, _ = channel.recvmsg(size, 64, _socket.MSG_CMSG_CLOEXEC)
    fd = -1
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            (fd,) = struct.unpack("i", data[:4])
    return message, fd
