"""``--change``: instructions of a Dockerfile that alter an image's configuration.

::

    CMD ENTRYPOINT ENV EXPOSE LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR
"""

from __future__ import annotations

from rootless.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def apply(config: dict[str, Any], changes: Iterable[str]) -> None:
    """Change ``config`` (the inner one) in place; raises ``InvalidArgument``."""
    for change in changes:
        name, _, rest = change.strip().partition(" ")
        rest = rest.strip()
        name = name.upper()
        if not rest:
            raise InvalidArgument(f"invalid change: {change}", hint='for example "CMD [\\"nginx\\"]" or "ENV A=b"')
        if name in ("CMD", "ENTRYPOINT"):
            config["Cmd" if name == "CMD" else "Entrypoint"] = _list(rest) or ["/bin/sh", "-c", rest]
        elif name == "ENV":
            from rootless.engine.specgen import merge_env

            pairs = [f"{key}={value}" for key, value in _pairs(rest, change)]
            config["Env"] = merge_env(config.get("Env") or [], pairs)
        elif name == "LABEL":
            config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(rest, change))}
        elif name == "EXPOSE":
            from rootless.engine.portspec import parse_exposed

            added: dict[str, Any] = {port: {} for port in parse_exposed(rest.split())}
            config["ExposedPorts"] = {**(config.get("ExposedPorts") or {}), **added}
        elif name == "VOLUME":
            config["Volumes"] = {
                **(config.get("Volumes") or {}),
                **{path: {} for path in _list(rest) or rest.split()},
            }
        elif name == "USER":
            config["User"] = rest
        elif name == "WORKDIR":
            import posixpath

            config["WorkingDir"] = posixpath.normpath(posixpath.join(config.get("WorkingDir") or "/", rest))
        elif name == "STOPSIGNAL":
            from rootless.engine.values import parse_signal

            parse_signal(rest)
            config["StopSignal"] = rest
        elif name == "ONBUILD":
            config["OnBuild"] = [*(config.get("OnBuild") or []), rest]
        else:
            raise InvalidArgument(f"{name} is not a valid change command", hint=f"in the change: {change}")


def _list(text: str) -> list[str]:
    """Return the strings of a JSON list; nothing if ``text`` is none."""
    from rootless import jsonlite

    if not text.startswith("["):
        return []
    try:
        value = jsonlite.loads(text)
    except ValueError:
        return []
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else []


def _pairs(text: str, change: str) -> list[tuple[str, str]]:
    """Read ``KEY=VALUE …`` with quotes, or the old form ``KEY VALUE``."""
    import shlex

    head = text.split(None, 1)
    if "=" not in head[0]:
        if len(head) < 2:
            raise InvalidArgument(f"invalid change: {change}", hint="write KEY=VALUE")
        return [(head[0], head[1])]
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidArgument(f"invalid change: {change}: {str(error).lower()}") from error
    result = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"invalid change: {change}", hint="write KEY=VALUE")
        result.append((key, value))
    return result
