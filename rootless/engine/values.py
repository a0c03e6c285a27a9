"""From the strings of a command line or an API body to the records of ``options``.

One function for each kind of value, with Docker's grammar and, where they name the
fault, Docker's words. Everything raises ``InvalidArgument`` (or ``Unsupported`` for what
rl knows and cannot do). Nothing here looks at images, and files are read only where the
grammar says so: environment files, label files and seccomp profiles.
"""

from __future__ import annotations

import _signal
import os

from rootless.engine.options import Bind, RestartPolicy, Tmpfs, Ulimit
from rootless.errors import InvalidArgument, Unsupported
from rootless.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ULIMITS = "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack"
ULIMITS = frozenset(_ULIMITS.split())
PROPAGATIONS = frozenset(("private", "rprivate", "slave", "rslave", "shared", "rshared"))
RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")
_BIND_OPTION_KINDS = (
    frozenset(("rw", "ro")),
    frozenset(("z", "Z")),
    PROPAGATIONS,
    frozenset(("nocopy",)),
    frozenset(("consistent", "cached", "delegated")),
)
_FLAGS = (
    "ro rw suid nosuid dev nodev exec noexec sync async dirsync atime noatime diratime nodiratime relatime"
    " norelatime strictatime nostrictatime private rprivate shared rshared slave rslave"
)
_TMPFS_FLAGS = frozenset(_FLAGS.split())
_TMPFS_DATA = frozenset(("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"))
_FACTORS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


class Security(Record):
    """What the ``--security-opt`` values of a container amount to."""

    seccomp: str = "default"  # default, unconfined, or the JSON text of a profile
    no_new_privileges: bool = False
    systempaths_unconfined: bool = False


def parse_size(text: str) -> int:
    """Return the bytes meant by ``64m``, ``1.5GiB``, ``512`` …; units are powers of 1024."""
    end = len(text)
    while end and text[end - 1] not in "0123456789. ":
        end -= 1
    if not end:
        raise InvalidArgument(f"invalid size: '{text}'")
    number, suffix = text[:end].rstrip(" "), text[end:].lower()
    if len(text[:end]) - len(number) > 1 or not _is_decimal(number):
        raise InvalidArgument(f"invalid size: '{text}'")
    if suffix in ("", "b"):
        return int(float(number))
    if suffix[0] not in _FACTORS or suffix[1:] not in ("", "b", "ib"):
        raise InvalidArgument(f"invalid suffix: '{suffix}'", hint="sizes end in b, k, m or g, as in 64m")
    return int(float(number) * _FACTORS[suffix[0]])


def _is_decimal(text: str) -> bool:
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    return bool(digits) and digits.isascii() and digits.isdecimal()


def _integer(text: str) -> int | None:
    digits = text[1:] if text[:1] in ("-", "+") else text
    return int(text) if digits.isascii() and digits.isdecimal() else None


def is_ip_address(text: str) -> bool:
    """Say whether ``text`` is an IPv4 or IPv6 address (without brackets or zone)."""
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
            return True
        except (OSError, ValueError):
            continue
    return False


def parse_ip_address(text: str) -> str:
    """Check one address of ``--dns``."""
    address = text.strip()
    if not is_ip_address(address):
        raise InvalidArgument(f"IP address is not correctly formatted: {text}")
    return address


def parse_dns_search(text: str) -> str:
    """Check one domain of ``--dns-search``; ``.`` stands for no search list."""
    domain = text.strip(" ")
    if domain == ".":
        return domain
    bare = domain.removesuffix(".")
    labels = bare.split(".")
    letters = any(character.isascii() and character.isalpha() for character in domain)
    if not letters or len(bare) >= 255 or not all(_is_domain_label(label) for label in labels):
        raise InvalidArgument(f"{domain} is not a valid domain")
    return bare


def _is_domain_label(label: str) -> bool:
    body = label.replace("-", "").replace("_", "")
    return bool(body) and body.isascii() and body.isalnum() and label[0] != "-" and label[-1] != "-"


# -- mounts ------------------------------------------------------------------------


def parse_bind(text: str, *, base: str | None = None) -> Bind:
    """Parse ``[SOURCE:]TARGET[:OPTIONS]`` of ``-v``.

    A relative source (``./site``) is taken from ``base``, the caller's working directory;
    without ``base``, as in the API, it is refused.
    """
    parts = text.split(":")
    if not text or not all(parts) or len(parts) > 3:
        raise InvalidArgument(f"invalid volume specification: '{text}'", hint="write SOURCE:TARGET[:OPTIONS]")
    source, target, mode = "", parts[-1], ""
    if len(parts) == 2:
        source, target = parts
        if not target.startswith("/") and _is_bind_mode(target):
            raise InvalidArgument(f"invalid volume specification: '{text}'", hint="name the target too")
    elif len(parts) == 3:
        source, target, mode = parts
    if not _is_bind_mode(mode):
        raise InvalidArgument(f"invalid mode: {mode}", hint="for example ro, rw, rslave, nocopy")
    target = _container_path(target, text)
    if source.startswith("/"):
        source = os.path.normpath(source)
    elif source.startswith(".") and base is not None:
        source = os.path.normpath(f"{base}/{source}")
    elif source:
        check_volume_name(source)
    options = tuple(word for word in mode.split(",") if word and word not in ("ro", "rw"))
    return Bind(source=source, target=target, readonly="ro" in mode.split(","), options=options)


def _is_bind_mode(mode: str) -> bool:
    if not mode:
        return True
    words = mode.split(",")
    if not all(any(word in kind for kind in _BIND_OPTION_KINDS) for word in words):
        return False
    return all(sum(word in kind for word in words) <= 1 for kind in _BIND_OPTION_KINDS)


def _container_path(target: str, text: str) -> str:
    if not target.startswith("/"):
        raise InvalidArgument(
            f"invalid volume specification: '{text}': invalid mount path: '{target}' mount path must be absolute"
        )
    clean = "/" + os.path.normpath(target).lstrip("/")
    if clean == "/":
        raise InvalidArgument(
            f"invalid volume specification: '{text}': invalid specification: destination can't be '/'"
        )
    return clean


def check_volume_name(name: str) -> None:
    """Refuse what cannot name a volume."""
    if len(name) == 1:
        raise InvalidArgument(f"volume name is too short, names should be at least two alphanumeric characters: {name}")
    if not is_restricted_name(name):
        raise InvalidArgument(
            f'"{name}" includes invalid characters for a local volume name,'
            ' only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed',
            hint="if you intended to pass a host directory, use an absolute path",
        )


def is_restricted_name(name: str) -> bool:
    """Say whether ``name`` matches Docker's ``[a-zA-Z0-9][a-zA-Z0-9_.-]+``."""
    body = name.replace("_", "").replace(".", "").replace("-", "")
    return len(name) > 1 and name.isascii() and name[0].isalnum() and (body == "" or body.isalnum())


def parse_tmpfs(text: str) -> Tmpfs:
    """Parse ``TARGET[:OPTIONS]`` of ``--tmpfs``."""
    target, _, data = text.partition(":")
    target = _container_path(target, text)
    options = tuple(word for word in data.split(",") if word and word != "defaults")
    for option in options:
        name, equals, value = option.partition("=")
        if not (name in _TMPFS_DATA and value if equals else name in _TMPFS_FLAGS):
            raise InvalidArgument(f'invalid tmpfs option "{option}"')
    return Tmpfs(target=target, options=options)


# -- limits, policies, signals -----------------------------------------------------


def parse_ulimit(text: str) -> Ulimit:
    """Parse ``NAME=SOFT[:HARD]`` of ``--ulimit``."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise InvalidArgument(f"invalid ulimit argument: {text}", hint="write NAME=SOFT[:HARD], as in nofile=1024:2048")
    if name not in ULIMITS:
        raise InvalidArgument(f"invalid ulimit type: {name}", hint=f"known types: {', '.join(sorted(ULIMITS))}")
    words = limits.split(":")
    if len(words) > 2:
        raise InvalidArgument(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    numbers = [_integer(word) for word in words]
    for number, word in zip(numbers, words, strict=True):
        if number is None or number < -1 or number >= 1 << 63:
            raise InvalidArgument(f"invalid ulimit argument: {text}: not a limit: {word or 'empty'}")
    soft, hard = numbers[0], numbers[-1]
    assert soft is not None
    assert hard is not None
    if hard != -1 and (soft == -1 or soft > hard):
        shown = "-1 (unlimited)" if soft == -1 else str(soft)
        raise InvalidArgument(f"ulimit soft limit must be less than or equal to hard limit: {shown} > {hard}")
    return Ulimit(name=name, soft=soft, hard=hard)


def parse_restart(text: str) -> RestartPolicy:
    """Parse ``no``, ``always``, ``unless-stopped``, ``on-failure[:N]``."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise InvalidArgument("invalid restart policy format: no policy provided before colon")
    retries = 0
    if count:
        number = _integer(count)
        if number is None:
            raise InvalidArgument("invalid restart policy format: maximum retry count must be an integer")
        retries = number
    name = name or "no"
    if name not in RESTART_POLICIES:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure',"
            " or 'unless-stopped'"
        )
    if name != "on-failure" and retries:
        raise InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if retries < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    return RestartPolicy(name=name, maximum_retries=retries)


def parse_signal(text: str) -> int:
    """Return the number of ``SIGTERM``, ``term``, ``15`` or ``RTMIN+3``."""
    number = _integer(text)
    if number is None:
        name, plus, offset = text.upper().removeprefix("SIG").partition("+")
        if name == "RTMAX-" or name.startswith("RTMAX-"):
            name, offset = "RTMAX", "-" + name[6:]
        value = getattr(_signal, f"SIG{name}", None) if name and name[0] != "_" else None
        number = int(value) if isinstance(value, int) else None
        if number is not None and (plus or offset):
            step = _integer(offset)
            number = number + step if step is not None and name in ("RTMIN", "RTMAX") else None
    if number is None or not 0 < number < 65:
        raise InvalidArgument(f"invalid signal: {text}")
    return number


def signal_name(number: int) -> str:
    """Return ``SIGTERM`` for 15, the number as text where there is no name."""
    for name in sorted(vars(_signal)):
        if name[:3] == "SIG" and name[3:4] != "_" and getattr(_signal, name) == number and name != "SIGCLD":
            return str(name)
    return str(number)


# -- environment, labels, hosts ----------------------------------------------------


def parse_env(
    items: Iterable[str], files: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Combine ``--env-file`` and then ``-e`` into ``NAME=value`` strings.

    A bare ``NAME`` takes its value from ``environ``; where that has none, it stays bare in
    the result (from ``-e``), which removes the variable of that name that the image sets.
    """
    from rootless.engine.envfile import read_env_file

    source = os.environ if environ is None else environ
    result: list[str] = []
    for path in files:
        result += read_env_file(path, source)
    for item in items:
        name, equals, _ = item.partition("=")
        if not name or "\0" in item:
            raise InvalidArgument(f"invalid environment variable: {item}")
        result.append(item if equals or name not in source else f"{name}={source[name]}")
    return tuple(result)


def parse_labels(items: Iterable[str], files: Iterable[str] = ()) -> dict[str, str]:
    """Combine ``--label-file`` and then ``--label`` into a map; a bare name has no value."""
    from rootless.engine.envfile import read_label_file

    result: dict[str, str] = {}
    for path in files:
        for line in read_label_file(path):
            name, _, value = line.partition("=")
            result[name] = value
    for item in items:
        name, _, value = item.partition("=")
        name = name.lstrip(" \t")
        if not name:
            raise InvalidArgument(f"invalid label '{item}': empty name")
        if " " in name or "\t" in name:
            raise InvalidArgument(f"label '{name}' contains whitespaces")
        result[name] = value
    return result


def parse_add_host(text: str) -> str:
    """Return ``NAME:ADDRESS`` for ``NAME:ADDRESS``, ``NAME=ADDRESS``, ``NAME:[ADDRESS]``."""
    separator = "=" if "=" in text else ":"
    name, found, address = text.partition(separator)
    if not found or not name or ":" in name:
        raise InvalidArgument(f'bad format for add-host: "{text}"', hint="write NAME:ADDRESS")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address != "host-gateway" and not is_ip_address(address.strip()):
        raise InvalidArgument(f'invalid IP address in add-host: "{address}"')
    return f"{name}:{address}"


def parse_hostname(text: str) -> str:
    """Check a ``--hostname``; the kernel takes 64 bytes."""
    if not text or len(text) > 64 or not text.isascii() or not all(_is_domain_label(part) for part in text.split(".")):
        raise InvalidArgument(f"invalid hostname: {text}", hint="letters, digits, '-' and '.', at most 64 characters")
    return text


# -- security ----------------------------------------------------------------------


def parse_security_opt(text: str) -> str:
    """Check one ``--security-opt`` and return it as ``KEY=VALUE``.

    The file of ``seccomp=FILE`` is read here: the result carries the profile itself, as
    Docker's API wants it, so that the container does not depend on the file later.
    """
    key, separator, value = text.partition("=")
    if not separator and text != "no-new-privileges":
        key, separator, value = text.partition(":")
    if key == "no-new-privileges":
        if value not in ("", "true", "false", "1", "0", "t", "f", "T", "F", "TRUE", "FALSE", "True", "False"):
            raise InvalidArgument(f'invalid --security-opt: "{text}"')
        return f"no-new-privileges={'false' if value[:1] in ('f', 'F', '0') else 'true'}"
    if not value:
        raise InvalidArgument(f'invalid --security-opt: "{text}"', hint="write KEY=VALUE")
    if key == "seccomp":
        return f"seccomp={_seccomp(value)}"
    if key == "systempaths":
        if value != "unconfined":
            raise InvalidArgument(f'invalid --security-opt: "{text}"', hint="the only value is unconfined")
    elif key == "label":
        if value != "disable":
            raise Unsupported(f"SELinux labels are not supported: {text}", hint="only label=disable is accepted")
    elif key == "apparmor":
        if value != "unconfined":
            raise Unsupported(
                f"AppArmor profiles are not supported without root: {text}", hint="only apparmor=unconfined is accepted"
            )
    else:
        raise InvalidArgument(
            f'invalid --security-opt: "{text}"',
            hint="known: seccomp, no-new-privileges, systempaths, label, apparmor",
        )
    return f"{key}={value}"


def _seccomp(value: str) -> str:
    if value == "builtin":
        value = "default"
    if value in ("default", "unconfined"):
        return value
    from rootless import jsonlite

    text: str | bytes = value
    where = "seccomp profile"
    if not value.lstrip().startswith("{"):
        where = f"seccomp profile {value}"
        try:
            with open(value, "rb") as stream:
                text = stream.read()
        except OSError as error:
            raise InvalidArgument(
                f"opening seccomp profile ({value}) failed: {(error.strerror or '').lower()}"
            ) from error
    try:
        profile = jsonlite.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"{where} is not valid JSON: {error}") from error
    if not isinstance(profile, dict) or "defaultAction" not in profile:
        raise InvalidArgument(f"{where} is not a seccomp profile: defaultAction is missing")
    return jsonlite.dumps(profile)


def security(options: Iterable[str]) -> Security:
    """Combine security options (``KEY=VALUE``, as checked above) into one record."""
    values: dict[str, str] = {}
    for option in options:
        key, _, value = parse_security_opt(option).partition("=")
        values[key] = value
    return Security(
        seccomp=values.get("seccomp", "default"),
        no_new_privileges=values.get("no-new-privileges") == "true",
        systempaths_unconfined="systempaths" in values,
    )
