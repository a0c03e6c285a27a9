"""The effective settings: defaults, then the file, then the environment, then flags.

``~/.config/rl/config.json`` uses daemon.json's key names. Each key can be overridden by
``RL_`` and its name in capitals (``registry-mirrors`` is ``RL_REGISTRY_MIRRORS``; lists are
separated by commas, maps written ``k=v,k=v``). An unknown key or a wrong type is an error
that names the file and the key.
"""

from __future__ import annotations

import os

from rootless import jsonlite
from rootless.errors import InvalidArgument, SystemFailure
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Key: (type, default). The order is that of `rl config show`.
KEYS: dict[str, tuple[type, Any]] = {
    "data-root": (str, ""),
    "storage-driver": (str, ""),
    "registry-mirrors": (list, []),
    "insecure-registries": (list, []),
    "log-level": (str, "info"),
    "log-driver": (str, "json-file"),
    "log-opts": (dict, {}),
    "dns": (list, []),
    "dns-search": (list, []),
    "dns-opts": (list, []),
    "default-ulimits": (dict, {}),
    "default-shm-size": (str, "64m"),
    "init": (bool, False),
    "seccomp-profile": (str, ""),
    "cgroup-manager": (str, ""),
    "cgroup-parent": (str, ""),
    "limits": (str, "strict"),
    "max-concurrent-downloads": (int, 3),
    "max-download-attempts": (int, 5),
    "shutdown-timeout": (int, 10),
}
STORAGE_DRIVERS = ("overlay", "fuse-overlayfs", "vfs")
LOG_LEVELS = ("debug", "info", "warn", "error")
LOG_DRIVERS = ("json-file", "none")
_CLOSED: dict[str, tuple[str, ...]] = {
    "storage-driver": ("", *STORAGE_DRIVERS),
    "log-level": LOG_LEVELS,
    "log-driver": LOG_DRIVERS,
    "cgroup-manager": ("", "systemd", "cgroupfs", "none"),
    "limits": ("strict", "best-effort"),
}


class Settings(Record):
    """Effective settings; ``origins`` says for each key where its value came from."""

    data_root: str
    runtime_dir: str
    values: dict[str, Any]
    origins: dict[str, str]

    def __getitem__(self, key: str) -> Any:
        """Return the value of a key of ``KEYS``."""
        return self.values[key]


def config_path(environ: dict[str, str] | os._Environ[str] = os.environ) -> str:
    """Return the path of the configuration file: ``RL_CONFIG``, else under XDG_CONFIG_HOME."""
    if environ.get("RL_CONFIG"):
        return environ["RL_CONFIG"]
    home = environ.get("XDG_CONFIG_HOME") or f"{home_directory(environ)}/.config"
    return f"{home}/rl/config.json"


def home_directory(environ: dict[str, str] | os._Environ[str] = os.environ) -> str:
    """Return $HOME, else the password database's answer."""
    home = environ.get("HOME")
    if home:
        return home
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise SystemFailure(
            f"user {os.getuid()} has no home directory", hint="set HOME, or --root to a directory of yours"
        ) from None


def load(
    *, overrides: dict[str, Any] | None = None, environ: dict[str, str] | os._Environ[str] = os.environ
) -> Settings:
    """Read the configuration; ``overrides`` are values from flags.

    Raises ``InvalidArgument`` naming the file (or variable) and the key at fault.
    """
    values = {key: default for key, (_, default) in KEYS.items()}
    origins = dict.fromkeys(KEYS, "default")
    path = config_path(environ)
    for key, value in _read(path).items():
        _check(key, value, f"{path}: ")
        values[key] = value
        origins[key] = path
    for key in KEYS:
        variable = "RL_" + key.upper().replace("-", "_")
        if variable in environ:
            values[key] = _from_text(key, environ[variable], variable)
            origins[key] = variable
    for key, value in (overrides or {}).items():
        _check(key, value, "")
        values[key] = value
        origins[key] = f"--{key}"
    data_root = values["data-root"]
    if data_root.startswith("~/"):
        data_root = home_directory(environ) + data_root[1:]
    if not data_root:
        base = environ.get("XDG_DATA_HOME") or f"{home_directory(environ)}/.local/share"
        data_root = f"{base}/rl"
    elif not data_root.startswith("/"):
        raise InvalidArgument(f"{origins['data-root']}: data-root is not an absolute path: {data_root}")
    data_root = os.path.normpath(data_root)
    values["data-root"] = data_root
    return Settings(data_root=data_root, runtime_dir=runtime_directory(environ), values=values, origins=origins)


def runtime_directory(environ: dict[str, str] | os._Environ[str] = os.environ) -> str:
    """Return the directory for sockets and pids, which is made (0700) if it is missing.

    ``$XDG_RUNTIME_DIR/rl`` if that variable names a directory of ours; else a directory
    under /tmp keyed by user and boot, so that nothing stale survives a restart.
    """
    base = environ.get("XDG_RUNTIME_DIR", "")
    if base.startswith("/"):
        try:
            status = os.stat(base)
            if status.st_uid == os.getuid() and status.st_mode & 0o077 == 0 and os.access(base, os.W_OK):
                path = f"{base}/rl"
                _make_private(path)
                return path
        except OSError:
            pass
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        boot = stream.read(8)
    path = f"/tmp/rl-{os.getuid()}-{boot}"
    _make_private(path)
    return path


def _make_private(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        status = os.lstat(path)
        if status.st_uid != os.getuid() or status.st_mode & 0o170077 != 0o040000:
            raise SystemFailure(
                f"{path} is not a private directory of user {os.getuid()}",
                hint=f"remove {path}, or set XDG_RUNTIME_DIR to a directory of yours with mode 0700",
            ) from None


def _read(path: str) -> dict[str, Any]:
    try:
        content = jsonlite.load_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {(error.strerror or '').lower()}") from error
    except ValueError as error:
        raise InvalidArgument(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise InvalidArgument(f"{path}: the configuration must be a JSON object")
    return content


def _check(key: str, value: Any, where: str) -> None:
    if key not in KEYS:
        import difflib

        close = difflib.get_close_matches(key, KEYS, 1)
        hint = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(KEYS)}"
        raise InvalidArgument(f"{where}unknown key: {key}", hint=hint)
    wanted = KEYS[key][0]
    if type(value) is not wanted:
        names = {str: "a string", list: "a list of strings", dict: "an object", bool: "true or false", int: "a number"}
        raise InvalidArgument(f"{where}{key} must be {names[wanted]}, not {jsonlite.dumps(value)}")
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"{where}{key} must be a list of strings, not {jsonlite.dumps(value)}")
    closed: tuple[str, ...] = _CLOSED.get(key, ())
    if closed and value not in closed:
        allowed = ", ".join(name for name in closed if name)
        raise InvalidArgument(f"{where}{key} must be one of {allowed}, not {value}")


def _from_text(key: str, text: str, variable: str) -> Any:
    wanted = KEYS[key][0]
    value: Any = text
    if wanted is list:
        value = [item.strip() for item in text.split(",") if item.strip()]
    elif wanted is dict:
        pairs = [item.partition("=") for item in text.split(",") if item.strip()]
        value = {name.strip(): content for name, _, content in pairs}
    elif wanted is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise InvalidArgument(f"{variable} must be true or false, not {text}")
        value = text.lower() in ("true", "1")
    elif wanted is int:
        if not text.isdecimal():
            raise InvalidArgument(f"{variable} must be a number, not {text}")
        value = int(text)
    _check(key, value, f"{variable}: ")
    return value
