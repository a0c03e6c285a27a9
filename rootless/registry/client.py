"""One repository at one host: a method for each endpoint of the distribution API.

Finds out by itself whether the host speaks HTTPS or (where allowed) plain HTTP,
answers challenges, follows redirects, and turns statuses into rl's errors. It verifies
the digests of manifests; those of blobs are verified by whoever stores them.
"""

from __future__ import annotations

import threading
import time
from urllib.parse import urljoin

from rootless import jsonlite
from rootless.errors import Corrupt, Denied, NoSuchImage, RlError, TooManyRequests, Unavailable
from rootless.oci import digests, image, media_types
from rootless.record import Record
from rootless.registry import auth, credentials
from rootless.registry.endpoints import is_insecure
from rootless.registry.http import ConnectionFailed, host_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from urllib3 import BaseHTTPResponse

    from rootless.oci.references import Reference
    from rootless.registry.endpoints import Base, Endpoint
    from rootless.registry.http import HttpClient

_MAXIMUM_REDIRECTS = 5
_MAXIMUM_ERROR = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 1024 * 1024


class ServerFailed(Unavailable):
    """HTTP 5xx."""


class RateLimited(TooManyRequests):
    """HTTP 429; ``retry_after`` is None if the server did not say."""

    def __init__(self, message: str, *, hint: str, retry_after: float | None, quota: bool) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.quota = quota  # a quota is used up: waiting a moment does not help


class ManifestAnswer(Record):
    """A manifest or an index as it was sent, its digest verified."""

    body: bytes
    media_type: str
    digest: str


class BlobBody:
    """The body of a blob from ``offset`` on; closing early drops the connection."""

    def __init__(self, http: HttpClient, response: BaseHTTPResponse, host: str, offset: int, total: int | None) -> None:
        self.offset = offset
        self.total = total  # size of the whole blob, if the server says
        self._http = http
        self._response = response
        self._host = host

    def __enter__(self) -> BlobBody:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield chunks until the body ends; raises ``Interrupted`` if it is cut short, or ``Cancelled``."""
        while True:
            self._http.check()
            with self._http.translated(self._host):
                # What there is: a slow connection shows progress, and a broken one loses nothing.
                chunk = self._response.read1(_CHUNK, decode_content=False)
            if not chunk:
                self._http.check()
                # The whole body was read, so the connection can serve the next request.
                self._response.release_conn()
                return
            yield chunk


class RegistryClient:
    """A repository at an endpoint; used by several threads at once."""

    def __init__(self, http: HttpClient, endpoint: Endpoint, reference: Reference) -> None:
        self.endpoint = endpoint
        self._http = http
        self._reference = reference
        self._repository = reference.repository
        self._base: Base | None = None
        self._authorization: auth.Authorization | None = None
        self._credentials: credentials.Credentials | None = None
        self._lock = threading.Lock()

    # --- endpoints -----------------------------------------------------------------------

    def manifest(self, reference: str) -> ManifestAnswer:
        """Fetch a manifest or index by tag or digest.

        Raises ``NoSuchImage``, ``Denied``, ``Unavailable`` or ``Corrupt``.
        """
        headers = {"Accept": ", ".join(media_types.ACCEPTED)}
        response = self._call("GET", f"manifests/{reference}", headers)
        body = self._http.finish(response, self.endpoint.host, image.MAXIMUM_MANIFEST + 1)
        if len(body) > image.MAXIMUM_MANIFEST:
            raise Corrupt(f"{self.endpoint.host} sent a manifest of more than {image.MAXIMUM_MANIFEST} bytes")
        digest = digests.sha256_bytes(body)
        promised = reference if ":" in reference else response.headers.get("Docker-Content-Digest", "")
        if digests.is_valid(promised) and promised != digest:
            raise Corrupt(f"{self.endpoint.host} sent a manifest with digest {digest} instead of {promised}")
        return ManifestAnswer(body=body, media_type=response.headers.get("Content-Type", ""), digest=digest)

    def manifest_digest(self, reference: str) -> str:
        """Ask for a tag's digest without fetching (Docker Hub does not count that); ``""`` if not told."""
        response = self._call("HEAD", f"manifests/{reference}", {"Accept": ", ".join(media_types.ACCEPTED)})
        response.release_conn()
        promised = response.headers.get("Docker-Content-Digest", "")
        return promised if digests.is_valid(promised) else ""

    def blob(self, digest: str, offset: int = 0) -> BlobBody:
        """Begin to fetch a blob; the answer's ``offset`` is 0 if the server ignored the range."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._call("GET", f"blobs/{digest}", headers, expect=(200, 206))
        start, total = 0, _natural(response.headers.get("Content-Length", ""))
        if response.status == 206:
            start, total = _content_range(response.headers.get("Content-Range", ""))
            if start != offset:
                response.close()
                raise Corrupt(f"{self.endpoint.host} answered a range that was not asked for")
        return BlobBody(self._http, response, self.endpoint.host, start, total)

    # --- requests ------------------------------------------------------------------------

    def _call(
        self, method: str, path: str, headers: dict[str, str], *, expect: tuple[int, ...] = (200,)
    ) -> BaseHTTPResponse:
        response = self._send(method, path, headers)
        if response.status == 401:
            self._authenticate(response)
            response = self._send(method, path, headers)
        if response.status in expect:
            return response
        raise self._error(response, method, path)

    def _send(self, method: str, path: str, headers: dict[str, str]) -> BaseHTTPResponse:
        """Send to the base that works, or find out which one does."""
        if self._base is not None:
            return self._follow(self._base, method, path, headers)
        failure: ConnectionFailed | None = None
        for base in self.endpoint.bases:
            try:
                response = self._follow(base, method, path, headers)
            except ConnectionFailed as error:
                failure = error
                continue
            self._base = base
            return response
        assert failure is not None  # an endpoint has at least one base
        raise failure

    def _follow(self, base: Base, method: str, path: str, headers: dict[str, str]) -> BaseHTTPResponse:
        url = f"{base.url}/v2/{self._repository}/{path}"
        verify = base.verify
        authorization = self._authorization
        sent = dict(headers)
        if authorization is not None and authorization.fresh():
            sent["Authorization"] = authorization.header
        for _ in range(_MAXIMUM_REDIRECTS + 1):
            response = self._http.request(method, url, headers=sent, verify=verify)
            if response.status not in _REDIRECTS:
                return response
            location = response.headers.get("Location", "")
            self._http.finish(response, host_of(url), _MAXIMUM_ERROR)
            target = urljoin(url, location)
            self._check_redirect(url, target)
            if _origin(target) != _origin(url):
                # Storage behind a registry authorises by its URL; our token is none of its business.
                sent.pop("Authorization", None)
                verify = not is_insecure(host_of(target), self._http.transport.insecure_registries)
            url = target
        raise Unavailable(f"{self.endpoint.host} redirects without end")

    def _check_redirect(self, url: str, target: str) -> None:
        scheme = target.partition("://")[0]
        if scheme == "https":
            return
        downgrade = url.startswith("https://") and not is_insecure(
            host_of(target), self._http.transport.insecure_registries
        )
        loopback_escape = not self.endpoint.insecure and is_insecure(host_of(target), ())
        if scheme != "http" or downgrade or loopback_escape:
            raise Denied(f"{self.endpoint.host} redirects to a place that rl does not trust: {target[:200]!r}")

    def _authenticate(self, response: BaseHTTPResponse) -> None:
        """Get an authorization for the challenge, once for all threads that met it."""
        stale = self._authorization
        challenges = auth.parse_challenges(", ".join(response.headers.getlist("WWW-Authenticate")))
        self._http.finish(response, self.endpoint.host, _MAXIMUM_ERROR)
        with self._lock:
            if self._authorization is not stale:
                return
            self._authorization = auth.answer(
                self._http,
                self.endpoint,
                challenges,
                self._find_credentials(),
                scope=f"repository:{self._repository}:pull",
            )

    def _find_credentials(self) -> credentials.Credentials:
        if self._credentials is None:
            path = credentials.config_file(self._http.transport.variables())
            self._credentials = credentials.lookup(self.endpoint.credentials_key, path=path)
        return self._credentials

    # --- errors --------------------------------------------------------------------------

    def _error(self, response: BaseHTTPResponse, method: str, path: str) -> RlError:
        status = response.status
        code, message = "", ""
        try:
            code, message = _error_body(self._http.finish(response, self.endpoint.host, _MAXIMUM_ERROR))
        except Unavailable:
            pass  # the status says enough
        host, name = self.endpoint.host, self._reference.familiar_name()
        if status in (401, 403):
            return Denied(
                f"pull access denied for {name}, repository does not exist or may require 'rl login'",
                hint=auth.login_hint(self.endpoint, self._find_credentials()),
            )
        if status == 404 and path.startswith("manifests/"):
            if code == "NAME_UNKNOWN":
                return NoSuchImage(f"repository {name} not found at {host}")
            return NoSuchImage(f"manifest for {self._reference.familiar()} not found at {host}: manifest unknown")
        if status == 404:
            return NoSuchImage(f"{host} does not have {path.replace('blobs/', 'blob ')} of {name}")
        if status == 429:
            return self._rate_limited(response, message)
        said = f": {message}" if message else ""
        if status >= 500:
            return ServerFailed(f"{host} failed with HTTP {status}{said}", hint="try again later")
        return Unavailable(f"{host} answered {method} {path} with HTTP {status}{said}")

    def _rate_limited(self, response: BaseHTTPResponse, message: str) -> RateLimited:
        after = _retry_after(response.headers.get("Retry-After", ""))
        remaining = response.headers.get("RateLimit-Remaining", "").partition(";")[0]
        quota = "pull rate limit" in message.lower() or remaining == "0"
        hint = f"try again in {after:.0f} seconds" if after is not None else "try again later"
        if not self._find_credentials():
            hint += ", or log in with `rl login`, which may raise the limit"
        said = f": {message}" if message else ""
        text = f"too many requests to {self.endpoint.host}{said}"
        return RateLimited(text, hint=hint, retry_after=after, quota=quota)


def _error_body(data: bytes) -> tuple[str, str]:
    """Return code and message of the first error of the API's error body."""
    try:
        first: Any = jsonlite.loads(data)["errors"][0]
        code, message = str(first.get("code") or ""), str(first.get("message") or "")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return "", ""
    clean = "".join(character for character in message if character.isprintable())
    return code, clean[:300]


def _natural(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _content_range(text: str) -> tuple[int, int | None]:
    """Read ``bytes FIRST-LAST/TOTAL``; an unreadable one begins at -1."""
    unit, _, rest = text.strip().partition(" ")
    span, _, total = rest.partition("/")
    first = _natural(span.partition("-")[0])
    if unit != "bytes" or first is None:
        return -1, None
    return first, _natural(total)


def _retry_after(text: str) -> float | None:
    seconds = _natural(text.strip())
    if seconds is not None:
        return float(seconds)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _origin(url: str) -> str:
    return "/".join(url.split("/", 3)[:3]).lower()
