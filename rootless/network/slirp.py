"""slirp4netns: user-mode networking for one network namespace.

It is ready in a few milliseconds and is not waited for when it ends: it watches a pipe
whose other end we hold, so that it goes when its monitor goes, however that happens.
"""

from __future__ import annotations

import os
import select
import time

from rootless import jsonlite
from rootless.errors import MissingHelper, RlError, SystemFailure, Unsupported
from rootless.linux import commands, process, sockets
from rootless.network import ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CIDR = "10.0.2.0/24"
ADDRESS = "10.0.2.100"
PREFIX = 24
GATEWAY = "10.0.2.2"
RESOLVER = "10.0.2.3"
TAP = "tap0"
MTU = 65520

_WITHOUT = "or do without it: --network none, or --network host"


def argv(
    pid: int,
    *,
    ready_fd: int,
    exit_fd: int,
    api_socket: str = "",
    netns_path: str = "",
    userns_path: str = "",
    tap: str = TAP,
    cidr: str = "",
    configure: bool = True,
    sandbox: bool = True,
) -> list[str]:
    """Return the command line that gives a network to process ``pid`` (or to ``netns_path``).

    ``configure`` brings up the interface with ``ADDRESS`` and a default route. ``sandbox``
    takes file system, capabilities and system calls away from the helper.
    """
    command = ["slirp4netns", f"--mtu={MTU}", f"--ready-fd={ready_fd}", f"--exit-fd={exit_fd}"]
    # The container must not reach what listens on the host's loopback for the host alone.
    command.append("--disable-host-loopback")
    if configure:
        command.append("--configure")
    if sandbox:
        command += ["--enable-sandbox", "--enable-seccomp"]
    if cidr:
        command.append(f"--cidr={cidr}")
    if api_socket:
        command.append(f"--api-socket={api_socket}")
    if userns_path:
        command.append(f"--userns-path={userns_path}")
    if netns_path:
        return [*command, "--netns-type=path", netns_path, tap]
    return [*command, str(pid), tap]


class Slirp:
    """A running helper; the caller is its parent. It ends when ``close`` is called or its holder dies."""

    def __init__(self, pid: int, *, api_socket: str = "", sandbox: bool = True, **options: Any) -> None:
        """Start the helper; ``options`` are those of ``argv``. Does not wait.

        Raises ``MissingHelper``.
        """
        self.api_socket = api_socket
        self._target = pid
        self._options = options
        self._sandbox = sandbox
        self._spawn()

    def _spawn(self) -> None:
        ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
        exit_read, exit_write = os.pipe2(os.O_CLOEXEC)
        error_read, error_write = os.pipe2(os.O_CLOEXEC)
        directory = -1
        passed: tuple[int, ...] = (ready_write, exit_read)
        try:
            api_socket = self.api_socket
            if len(os.fsencode(api_socket)) > 107:
                # sun_path is short (unix(7)), and a container's directory may not be.
                parent, _, name = api_socket.rpartition("/")
                directory = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                passed = (*passed, directory)
                api_socket = f"/proc/self/fd/{directory}/{name}"
            command = argv(
                self._target,
                ready_fd=ready_write,
                exit_fd=exit_read,
                api_socket=api_socket,
                sandbox=self._sandbox,
                **self._options,
            )
            try:
                self.pid = commands.spawn(command, stderr=error_write, pass_fds=passed)
            except MissingHelper as error:
                raise MissingHelper(str(error), hint=f"{error.hint}, {_WITHOUT}") from error
        except BaseException:
            for fd in (ready_read, exit_write, error_read):
                os.close(fd)
            raise
        finally:
            for fd in (ready_write, exit_read, error_write, directory):
                if fd >= 0:
                    os.close(fd)
        self._ready, self._exit, self._errors = ready_read, exit_write, error_read

    def wait_ready(self, timeout: float = 10.0) -> None:
        """Wait until the interface is up and the API socket listens.

        Where the sandbox is refused (a kernel or a container around us that forbids
        mounting), the helper runs without. Raises ``SystemFailure`` with the remedy; the
        helper is then gone.
        """
        deadline = time.monotonic() + timeout
        while not self._is_ready(deadline):
            text = self._bury()
            if not self._sandbox or "/dev/net/tun" in text or "TUNSETIFF" in text:
                raise explain(text)
            self._sandbox = False
            self._spawn()
        # From now on its messages go nowhere: it ignores SIGPIPE, and a full pipe would stop it.
        os.close(self._errors)
        os.close(self._ready)
        self._errors = self._ready = -1

    def _is_ready(self, deadline: float) -> bool:
        poller = select.poll()
        poller.register(self._ready, select.POLLIN)
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            self._bury()
            raise SystemFailure("slirp4netns did not set up the network in time")
        # End of file without a byte: it has failed.
        return bool(os.read(self._ready, 1))

    def _bury(self) -> str:
        process.terminate(self.pid)
        with open(self._errors, "rb") as stream:
            text = stream.read().decode("utf-8", "replace")
        self._errors = -1
        self.close()
        return text

    def close(self) -> None:
        """Let the helper end, without waiting for it; its pid is the caller's to reap."""
        for fd in (self._exit, self._ready, self._errors):
            if fd >= 0:
                os.close(fd)
        self._exit = self._ready = self._errors = -1


def explain(stderr: str) -> RlError:
    """Turn what slirp4netns said when it failed into an error with the remedy."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    tun = next((line for line in lines if "/dev/net/tun" in line or "TUNSETIFF" in line), "")
    if "ermission denied" in tun:
        return SystemFailure(
            "no permission to open /dev/net/tun, which the container's network needs",
            hint=f"sudo chmod 0666 /dev/net/tun, {_WITHOUT}",
        )
    if tun:
        return SystemFailure(
            "there is no usable /dev/net/tun, which the container's network needs",
            hint=f"sudo modprobe tun, {_WITHOUT}",
        )
    # The first complaint is the cause; "do_slirp failed" and the like follow it.
    noise = ("sent tapfd", "received tapfd", "do_slirp", "child failed", "parent failed", "WARNING")
    cause = next((line for line in lines if not line.startswith(noise)), "it ended without a word")
    return SystemFailure(f"slirp4netns failed: {cause}")


def request(api_socket: str, execute: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Ask the helper at ``api_socket``; raises ``SystemFailure`` with its answer if it refuses."""
    message = jsonlite.dumps({"execute": execute, "arguments": arguments}).encode()
    try:
        channel = sockets.connect(api_socket)
        try:
            channel.settimeout(10.0)
            channel.sendall(message)
            channel.shutdown(1)  # SHUT_WR: it reads to the end of file
            answer = b""
            while chunk := channel.recv(4096):
                answer += chunk
        finally:
            channel.close()
        reply = jsonlite.loads(answer)
    except (OSError, ValueError) as error:
        raise SystemFailure(f"slirp4netns does not answer: {error}") from error
    if not isinstance(reply, dict) or "error" in reply:
        description = reply.get("error", {}).get("desc", "") if isinstance(reply, dict) else ""
        raise SystemFailure(f"slirp4netns refused {execute}: {description or answer.decode('utf-8', 'replace')}")
    result: dict[str, Any] = reply.get("return", {})
    return result


def check_publishable(host_ip: str, port: int, protocol: str) -> None:
    """Raise ``Unsupported`` for addresses and protocols that the helper can't publish on."""
    if ":" in host_ip:
        raise Unsupported(
            f"{ports.describe(f'[{host_ip}]', port, protocol)}: rootless ports are published on IPv4 addresses only",
            hint=f"leave the address out, or use 127.0.0.1: -p 127.0.0.1:{port}:…",
        )
    if protocol not in ("tcp", "udp"):
        raise Unsupported(f"{ports.describe(host_ip, port, protocol)}: protocol {protocol} can't be published rootless")


def add_hostfwd(
    api_socket: str, *, protocol: str, host_ip: str, host_port: int, guest_port: int, guest_ip: str = ""
) -> int:
    """Publish a port and return the helper's number for it; "" is every address.

    ``guest_ip`` defaults to the container's. Raises ``PortInUse``, ``Denied``,
    ``InvalidArgument``, ``Unsupported`` or ``SystemFailure``, naming the port.
    """
    check_publishable(host_ip, host_port, protocol)
    arguments: dict[str, Any] = {
        "proto": protocol,
        "host_addr": host_ip or "0.0.0.0",
        "host_port": host_port,
        "guest_addr": guest_ip or ADDRESS,
        "guest_port": guest_port,
    }
    try:
        result = request(api_socket, "add_hostfwd", arguments)
    except SystemFailure as error:
        if "slirp_add_hostfwd failed" in error.message:
            # It doesn't say why. Trying ourselves does.
            ports.check_free(host_ip, host_port, protocol)
        raise SystemFailure(
            f"cannot publish {ports.describe(host_ip, host_port, protocol)}: {error.message}"
        ) from error
    number: int = result["id"]
    return number


def remove_hostfwd(api_socket: str, number: int) -> None:
    """Withdraw a published port; raises ``SystemFailure``."""
    request(api_socket, "remove_hostfwd", {"id": number})
