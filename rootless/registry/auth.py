"""Authentication: the challenge of a 401 and the token that answers it.

::

    GET /v2/…                      → 401, WWW-Authenticate: Bearer realm="…",service="…",scope="…"
    GET realm?service=…&scope=…    → {"token": …}         (with basic credentials, if there are any)
    GET /v2/…  Authorization: Bearer …

Credentials and tokens are sent over TLS, or to places that may be used without it
(loopback, insecure-registries), and never follow a redirect to another host.
"""

from __future__ import annotations

import time
from urllib.parse import urlencode

from rootless import jsonlite
from rootless.errors import Denied, Unavailable
from rootless.record import Record
from rootless.registry.credentials import Credentials
from rootless.registry.endpoints import is_insecure
from rootless.registry.http import host_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.registry.endpoints import Endpoint
    from rootless.registry.http import HttpClient

_MAXIMUM_ANSWER = 1024 * 1024
_DEFAULT_LIFE = 60.0
_MARGIN = 10.0
_BLANK = " \t"


class Challenge(Record):
    """One challenge of a WWW-Authenticate header; the scheme is in lower case."""

    scheme: str
    parameters: dict[str, str]


class Authorization(Record):
    """The value of an Authorization header and until when (monotonic clock) it is good."""

    header: str
    expires: float = float("inf")

    def fresh(self) -> bool:
        """Tell whether it is still good."""
        return time.monotonic() < self.expires


def parse_challenges(header: str) -> list[Challenge]:
    """Read a WWW-Authenticate header; what cannot be read ends the list."""
    result: list[Challenge] = []
    position, length = 0, len(header)

    def skip(characters: str) -> None:
        nonlocal position
        while position < length and header[position] in characters:
            position += 1

    def token() -> str:
        nonlocal position
        start = position
        while position < length and header[position] not in ' \t,="':
            position += 1
        return header[start:position]

    while position < length:
        skip(_BLANK + ",")
        name = token()
        if not name:
            break
        skip(_BLANK)
        if header[position : position + 1] != "=":
            result.append(Challenge(scheme=name.lower(), parameters={}))
            continue
        position += 1
        skip(_BLANK)
        if header[position : position + 1] == '"':
            position += 1
            value = ""
            while position < length and header[position] != '"':
                if header[position] == "\\":
                    position += 1
                value += header[position : position + 1]
                position += 1
            position += 1
        else:
            value = token()
        if result:
            result[-1].parameters[name.lower()] = value
    return result


def answer(
    http: HttpClient, endpoint: Endpoint, challenges: list[Challenge], credentials: Credentials, *, scope: str
) -> Authorization:
    """Return what satisfies one of the challenges.

    Raises ``Denied`` if nothing does, or if the credentials are refused.
    """
    for challenge in challenges:
        if challenge.scheme == "bearer":
            return _bearer(http, endpoint, challenge, credentials, scope)
    for challenge in challenges:
        if challenge.scheme == "basic":
            if credentials.username:
                return Authorization(header=credentials.basic())
            raise Denied(f"{endpoint.host} requires a login", hint=login_hint(endpoint, credentials))
    offered = ", ".join(challenge.scheme for challenge in challenges) or "nothing"
    raise Denied(
        f"{endpoint.host} denies access and offers no way to log in that rl knows",
        hint=f"it must offer Basic or Bearer authentication, and offers {offered}",
    )


def login_hint(endpoint: Endpoint, credentials: Credentials) -> str:
    """Return what to do about a refusal, naming where the credentials came from, if from anywhere."""
    command = "rl login" if "index.docker.io" in endpoint.credentials_key else f"rl login {endpoint.host}"
    if credentials:
        return f"the credentials for {endpoint.host} came from {credentials.source}; `{command}` replaces them"
    return f"no credentials for {endpoint.host} were found; use `{command}`"


def _bearer(
    http: HttpClient, endpoint: Endpoint, challenge: Challenge, credentials: Credentials, scope: str
) -> Authorization:
    if credentials.registry_token:
        return Authorization(header=f"Bearer {credentials.registry_token}")
    realm = challenge.parameters.get("realm", "")
    service = challenge.parameters.get("service", "")
    scope = challenge.parameters.get("scope") or scope
    _check_realm(http, endpoint, realm)
    fields = {"service": service, "scope": scope}
    headers = {"Accept": "application/json"}
    body = None
    verify = not is_insecure(host_of(realm), http.transport.insecure_registries)
    if credentials.identity_token:
        method, url = "POST", realm
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(
            {"grant_type": "refresh_token", "client_id": "rl", "refresh_token": credentials.identity_token, **fields}
        ).encode()
    else:
        method = "GET"
        if credentials.username:
            headers["Authorization"] = credentials.basic()
            fields["account"] = credentials.username
        query = urlencode({name: value for name, value in fields.items() if value})
        url = f"{realm}{'&' if '?' in realm else '?'}{query}"
    response = http.request(method, url, headers=headers, body=body, verify=verify)
    host = host_of(realm)
    content = http.finish(response, host, _MAXIMUM_ANSWER)
    if response.status in (401, 403):
        raise Denied(f"{host} refused to give a token for {endpoint.host}", hint=login_hint(endpoint, credentials))
    if response.status != 200:
        raise Unavailable(f"{host} gave no token for {endpoint.host}: HTTP {response.status}")
    return _read_token(content, host)


def _check_realm(http: HttpClient, endpoint: Endpoint, realm: str) -> None:
    secure = realm.startswith("https://")
    allowed = endpoint.insecure or is_insecure(host_of(realm), http.transport.insecure_registries)
    if not secure and not (realm.startswith("http://") and allowed):
        raise Denied(f"{endpoint.host} names a place for tokens that rl does not trust: {realm[:200]!r}")


def _read_token(content: bytes, host: str) -> Authorization:
    try:
        answered = jsonlite.loads(content)
        token = answered.get("token") or answered.get("access_token")
        life = float(answered.get("expires_in") or _DEFAULT_LIFE)
    except (ValueError, AttributeError, TypeError):
        token, life = None, 0.0
    if not isinstance(token, str) or not token or not token.isprintable():
        raise Unavailable(f"{host} sent no token")
    return Authorization(header=f"Bearer {token}", expires=time.monotonic() + max(life - _MARGIN, _MARGIN))
