"""What every verb is given: the settings and the engine, opened when first asked for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cli.parser import Values
    from rootless.config import Settings
    from rootless.engine.engine import Engine


class Context:
    """One invocation of rl."""

    def __init__(self, flags: Values | None = None) -> None:
        flags = flags or {}
        self.debug: bool = flags.get("debug", False)
        self._config: str | None = flags.get("config")
        self._overrides: dict[str, Any] = {}
        if "root" in flags:
            import os

            self._overrides["data-root"] = os.path.abspath(flags["root"])
        for name in ("storage-driver", "cgroup-manager"):
            if name in flags:
                self._overrides[name] = flags[name]
        if self.debug:
            self._overrides["log-level"] = "debug"
        elif "log-level" in flags:
            self._overrides["log-level"] = flags["log-level"]
        self._settings: Settings | None = None
        self._engine: Engine | None = None

    @property
    def settings(self) -> Settings:
        """The effective settings; raises ``InvalidArgument`` for a faulty file, variable or flag."""
        if self._settings is None:
            import os

            from rootless import config, log

            environ: dict[str, str] | os._Environ[str] = os.environ
            if self._config is not None:
                environ = {**os.environ, "RL_CONFIG": _existing_config(self._config)}
            self._settings = config.load(overrides=self._overrides, environ=environ)
            log.level = self._settings["log-level"]
        return self._settings

    @property
    def engine(self) -> Engine:
        """The engine over those settings."""
        if self._engine is None:
            from rootless.engine.engine import Engine

            self._engine = Engine.open(self.settings)
        return self._engine


def _existing_config(path: str) -> str:
    """Return the file that ``--config`` names; Docker's takes a directory, which is understood too."""
    import os

    from rootless.errors import NoSuchFile

    if os.path.isdir(path):
        path = f"{path}/config.json"
    if not os.path.exists(path):
        raise NoSuchFile(f"no such configuration file: {path}")
    return path
