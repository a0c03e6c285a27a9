"""HTTP connections: pools, proxies, TLS, errors in rl's words, and cancelling from another thread.

The only importer of urllib3. Redirects, retries and authentication are decided by the
caller: urllib3's own are off.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import threading
import weakref
from contextlib import contextmanager

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import parse_url

from rootless.errors import InvalidArgument, SystemFailure, Unavailable
from rootless.record import Record
from rootless.registry.endpoints import is_loopback, split_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any


class Transport(Record):
    """Settings of transfers; the first four are keys of the configuration."""

    mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    max_concurrent_downloads: int = 3
    max_download_attempts: int = 5
    user_agent: str = "rl"
    environment: Mapping[str, str] | None = None  # None: this process's
    connect_timeout: float = 15.0  # seconds
    read_timeout: float = 60.0  # seconds without a byte
    backoff: float = 0.5  # seconds before the second attempt, doubled for each further one
    patience: float = 30.0  # the longest Retry-After that is waited for

    def variables(self) -> Mapping[str, str]:
        """Return the environment that holds proxies and the place of credentials."""
        return os.environ if self.environment is None else self.environment


class ConnectionFailed(Unavailable):
    """No connection was made: name, route, refusal or TLS."""


class Interrupted(Unavailable):
    """The connection broke off, or fell silent, after it was made."""


class Cancelled(Exception):
    """``HttpClient.cancel`` was called; never leaves this package."""


class HttpClient:
    """Connections to any host; safe to use from several threads."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, bool], urllib3.PoolManager] = {}
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._cancelled = threading.Event()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.clear()

    def cancel(self) -> None:
        """Make every request, now and later, end at once with ``Cancelled``; may be called from any thread."""
        self._cancelled.set()
        with self._lock:
            sockets = list(self._sockets)
        for one in sockets:
            try:
                # Not SSLSocket.shutdown: that takes the TLS state away from under the reading thread.
                socket.socket.shutdown(one, socket.SHUT_RDWR)
            except OSError:
                pass

    def check(self) -> None:
        """Raise ``Cancelled`` if that has been asked for."""
        if self._cancelled.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Wait before another attempt; raises ``Cancelled``."""
        if self._cancelled.wait(seconds):
            raise Cancelled

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None, verify: bool = True
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and return the response with its body unread; the caller closes it.

        Raises ``ConnectionFailed``, ``Interrupted`` or ``Cancelled``; an HTTP status is no error here.
        """
        self.check()
        timeout = urllib3.Timeout(connect=self.transport.connect_timeout, read=self.transport.read_timeout)
        with self.translated(host_of(url)):
            return self._pool(url, verify).request(
                method,
                url,
                body=body,
                headers={"User-Agent": self.transport.user_agent, "Accept-Encoding": "identity", **headers},
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
                timeout=timeout,
            )

    def finish(self, response: urllib3.BaseHTTPResponse, host: str, limit: int) -> bytes:
        """Return at most ``limit`` bytes of a small body; the connection is kept if that was all of it."""
        data = b""
        try:
            with self.translated(host):
                while len(data) < limit:
                    chunk = response.read(limit - len(data))
                    if not chunk:
                        response.release_conn()
                        return data
                    data += chunk
        except BaseException:
            response.close()
            raise
        response.close()
        return data

    @contextmanager
    def translated(self, host: str) -> Iterator[None]:
        """Turn urllib3's and the socket's exceptions into rl's; use it around reading a body too."""
        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self.check()
            raise _translate(error, host) from error

    # --- pools ---------------------------------------------------------------------------

    def _pool(self, url: str, verify: bool) -> urllib3.PoolManager:
        proxy = proxy_for(url, self.transport.variables())
        key = (proxy, verify)
        with self._lock:
            if key not in self._pools:
                self._pools[key] = self._make_pool(proxy, verify)
            return self._pools[key]

    def _make_pool(self, proxy: str, verify: bool) -> urllib3.PoolManager:
        options: dict[str, Any] = {"num_pools": 16, "maxsize": 16, "block": False}
        options["ssl_context"] = self._tls(verify)
        if not verify:
            options["assert_hostname"] = False
        pool: urllib3.PoolManager
        if proxy:
            parsed = parse_url(proxy)
            headers = urllib3.make_headers(proxy_basic_auth=parsed.auth) if parsed.auth else {}
            try:
                pool = urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
            except urllib3.exceptions.ProxySchemeUnknown:
                shown = _without_password(proxy)
                raise InvalidArgument(f"unsupported proxy: {shown}", hint="use an http or https proxy") from None
        else:
            pool = urllib3.PoolManager(**options)
        pool.pool_classes_by_scheme = self._pool_classes()
        return pool

    def _tls(self, verify: bool) -> ssl.SSLContext:
        try:
            context = urllib3.util.create_urllib3_context()
            if verify:
                context.load_default_certs()
            else:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
        except (OSError, ssl.SSLError) as error:
            raise SystemFailure(f"cannot load the system's certificates: {error}") from error
        return context

    def _pool_classes(self) -> dict[str, type[Any]]:
        register = self._register

        class PlainConnection(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                register(self.sock)

        class TlsConnection(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                # Where nothing is verified that was decided by the user: urllib3 need not warn.
                self.is_verified = True
                register(self.sock)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = PlainConnection

        class TlsPool(HTTPSConnectionPool):
            ConnectionCls = TlsConnection

        return {"http": PlainPool, "https": TlsPool}

    def _register(self, sock: socket.socket | None) -> None:
        if sock is None:
            return
        with self._lock:
            self._sockets.add(sock)
        if self._cancelled.is_set():
            raise OSError("cancelled")


def host_of(url: str) -> str:
    """Return ``host[:port]`` of a URL."""
    return url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]


def proxy_for(url: str, environment: Mapping[str, str]) -> str:
    """Return the URL of the proxy for ``url``, or ``""``; the rules are those of Go's net/http.

    Loopback hosts are never asked for through a proxy.
    """
    scheme = url.partition(":")[0]
    name = f"{scheme}_proxy"
    proxy = environment.get(name.upper()) or environment.get(name) or ""
    if not proxy:
        return ""
    host = host_of(url)
    if is_loopback(host) or _bypasses(host, scheme, environment.get("NO_PROXY") or environment.get("no_proxy") or ""):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _bypasses(host: str, scheme: str, rules: str) -> bool:
    name, port = split_host(host.lower())
    port = port or {"http": "80", "https": "443"}.get(scheme, "")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        address = None
    for rule in rules.lower().split(","):
        rule = rule.strip()
        if not rule:
            continue
        if rule == "*":
            return True
        if "/" in rule:
            try:
                if address is not None and address in ipaddress.ip_network(rule, strict=False):
                    return True
            except ValueError:
                pass
            continue
        wanted, wanted_port = split_host(rule) if rule.count(":") < 2 or rule[0] == "[" else (rule, "")
        if wanted_port and wanted_port != port:
            continue
        wanted = wanted.removeprefix("*")
        if name == wanted.removeprefix(".") and not (address is None and wanted.startswith(".")):
            return True
        if address is None and name.endswith(wanted if wanted.startswith(".") else f".{wanted}"):
            return True
    return False


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return scheme + separator + rest.rpartition("@")[2]


def _translate(error: Exception, host: str) -> Unavailable:
    """Find out what happened from the chain of causes, the innermost being the most telling."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        inner = getattr(one, "original_error", None)
        one = inner or one.__cause__ or one.__context__
    kinds = urllib3.exceptions
    for link in chain:
        if isinstance(link, ssl.SSLCertVerificationError):
            return ConnectionFailed(
                f"the certificate of {host} cannot be verified: {link.verify_message}",
                hint="install its CA on this machine, or list the host in insecure-registries",
            )
    if isinstance(error, kinds.LocationValueError):
        return ConnectionFailed(f"invalid URL of {host}: {str(error).lower()}")
    for link in chain:
        if isinstance(link, (kinds.NameResolutionError, socket.gaierror)):
            return ConnectionFailed(
                f"cannot resolve the name of {host}", hint="check the name, the network and the DNS of this machine"
            )
        if isinstance(link, kinds.ProxyError):
            return ConnectionFailed(f"cannot reach {host} through the proxy: {_root_text(chain)}")
        if isinstance(link, (kinds.SSLError, ssl.SSLError)):
            return ConnectionFailed(f"TLS with {host} failed: {_root_text(chain)}")
        if isinstance(link, (kinds.NewConnectionError, kinds.ConnectTimeoutError)):
            timed_out = isinstance(link, kinds.ConnectTimeoutError) and not isinstance(link, kinds.NewConnectionError)
            return ConnectionFailed(f"cannot connect to {host}: {'timed out' if timed_out else _root_text(chain)}")
    if any(isinstance(link, (kinds.ReadTimeoutError, TimeoutError)) for link in chain):
        return Interrupted(f"{host} stopped sending data")
    return Interrupted(f"the connection to {host} broke off: {_root_text(chain)}")


def _root_text(chain: list[BaseException]) -> str:
    for link in reversed(chain):
        if isinstance(link, ssl.SSLError):
            return (link.reason or str(link)).lower().replace("_", " ")
        if isinstance(link, OSError) and link.strerror:
            return link.strerror.lower()
    last = chain[-1]
    if isinstance(last, urllib3.exceptions.IncompleteRead):
        return f"{last.partial} bytes read, {last.expected} more expected"
    return str(last).lower() or type(last).__name__
