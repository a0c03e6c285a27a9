"""Credentials from Docker's configuration: ``auths``, ``credHelpers`` and ``credsStore``.

The file is ``$DOCKER_CONFIG/config.json``, else ``~/.docker/config.json``, shared with
docker. A helper is the program ``docker-credential-NAME``, asked with ``get``.
"""

from __future__ import annotations

import base64
import os

from rootless import jsonlite
from rootless.errors import InvalidArgument, MissingHelper, SystemFailure
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_HELPER_SECONDS = 60.0


class Credentials(Record):
    """What to tell a registry; ``source`` says who supplied it, for messages."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    source: str = ""

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Credentials(username={self.username!r}, source={self.source!r})"

    def basic(self) -> str:
        """Return the value of a basic Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")


def config_file(environment: Mapping[str, str]) -> str:
    """Return the path of Docker's configuration."""
    directory = environment.get("DOCKER_CONFIG") or f"{environment.get('HOME') or os.path.expanduser('~')}/.docker"
    return f"{directory}/config.json"


def lookup(key: str, *, path: str) -> Credentials:
    """Return the credentials for a registry's key (``host[:port]``, or Docker Hub's URL).

    An empty value, which is false, if there are none. Raises ``InvalidArgument`` for a
    malformed file and ``MissingHelper`` or ``SystemFailure`` for a helper that fails.
    """
    config = _load(path)
    helpers = config.get("credHelpers")
    helper = _find(helpers, key) if isinstance(helpers, dict) else None
    if helper is None:
        helper = config.get("credsStore")
    if helper and isinstance(helper, str):
        found = _ask(helper, key, path)
        if found:
            return found
    auths = config.get("auths")
    entry = _find(auths, key) if isinstance(auths, dict) else None
    return _from_entry(entry, key, path) if isinstance(entry, dict) else Credentials(source=path)


def _load(path: str) -> dict[str, Any]:
    try:
        config = jsonlite.load_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {(error.strerror or '').lower()}") from error
    except ValueError as error:
        raise InvalidArgument(f"{path} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise InvalidArgument(f"{path} is not a JSON object")
    return config


def _host(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _find(table: dict[str, Any], key: str) -> Any:
    if key in table:
        return table[key]
    wanted = _host(key)
    for name, value in table.items():
        if _host(name) == wanted:
            return value
    # docker.io itself is what people write who edit the file by hand.
    return table.get("docker.io") if wanted == "index.docker.io" else None


def _from_entry(entry: dict[str, Any], key: str, path: str) -> Credentials:
    def text(name: str) -> str:
        value = entry.get(name)
        return value if isinstance(value, str) else ""

    username, password = text("username"), text("password")
    if text("auth"):
        try:
            decoded = base64.b64decode(text("auth"), validate=True).decode("utf-8")
        except ValueError:
            raise InvalidArgument(f"{path}: auths[{key}].auth is not base64") from None
        username, colon, password = decoded.partition(":")
        if not colon:
            raise InvalidArgument(f"{path}: auths[{key}].auth is not user:password in base64")
        password = password.rstrip("\0")
    return Credentials(
        username=username,
        password=password,
        identity_token=text("identitytoken"),
        registry_token=text("registrytoken"),
        source=path,
    )


def _ask(helper: str, key: str, path: str) -> Credentials:
    from rootless.linux import commands

    program = f"docker-credential-{helper}"
    if "/" in helper:
        raise InvalidArgument(f"{path}: invalid name of a credential helper: {helper}")
    try:
        # A helper may need anything of the user's session: a display, an agent, a bus.
        env = dict(os.environ)
        result = commands.run([program, "get"], stdin=f"{key}\n".encode(), timeout=_HELPER_SECONDS, env=env)
    except MissingHelper:
        raise MissingHelper(
            f"credential helper {program} is not installed", hint=f"{path} names it: install it or remove that line"
        ) from None
    except TimeoutError:
        raise SystemFailure(f"credential helper {program} did not answer in {_HELPER_SECONDS:g} seconds") from None
    output = result.stdout.decode("utf-8", "replace").strip()
    if result.status != 0:
        if "credentials not found" in output:
            return Credentials()
        raise SystemFailure(f"credential helper {program} failed: {output or result.reason()}")
    try:
        answer = jsonlite.loads(output)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError):
        raise SystemFailure(f"credential helper {program} gave an answer that is not credentials") from None
    if username == "<token>":
        return Credentials(identity_token=str(secret), source=program)
    return Credentials(username=str(username), password=str(secret), source=program)
