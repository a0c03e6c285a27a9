"""Names of images, read as Docker reads them.

::

    reference   := [domain "/"] path [":" tag] ["@" digest]
    domain      := host [":" port]         recognised by a dot, a colon, capitals or "localhost"
    path        := component ("/" component)*
    component   := [a-z0-9]+ ((. | _ | __ | -+) [a-z0-9]+)*
    tag         := [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}

``nginx`` is ``docker.io/library/nginx:latest``. Scanned by hand: this is on the way of
every ``rl run``, which must not import ``re``.
"""

from __future__ import annotations

from rootless.errors import InvalidArgument
from rootless.oci import digests
from rootless.record import Record

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
_OFFICIAL = "library/"
_MAXIMUM_NAME = 255
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_WORD = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS = frozenset("0123456789")
_TAG_FIRST = _WORD | {"_"}
_TAG_REST = _TAG_FIRST | {".", "-"}
_ADDRESS = frozenset("0123456789abcdefABCDEF:")


class Reference(Record):
    """A normalised name; ``tag`` and ``digest`` may be empty, the rest may not."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        """Return the canonical form, ``docker.io/library/nginx:latest``."""
        return self.name() + self._suffix()

    def name(self) -> str:
        """Return registry and repository, ``docker.io/library/nginx``."""
        return f"{self.registry}/{self.repository}"

    def familiar_name(self) -> str:
        """Return Docker's short form of the name, ``nginx``."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name()
        short = self.repository.removeprefix(_OFFICIAL)
        # library/a/b shortened to a/b would be read as another repository.
        return self.repository if "/" in short else short

    def familiar(self) -> str:
        """Return Docker's short form, ``nginx:latest``."""
        return self.familiar_name() + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str, *, default_tag: bool = True) -> Reference:
    """Read a reference; without tag and digest it means ``:latest`` unless ``default_tag`` is false.

    Raises ``InvalidArgument`` in Docker's words, and ``Unsupported`` for a digest that is
    not sha256.
    """
    if len(text) == 64 and digests.is_hex(text):
        raise InvalidArgument(
            f"invalid reference format: invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    rest, at, digest = text.partition("@")
    tag = ""
    colon = rest.rfind(":")
    tagged = colon > rest.rfind("/")
    if tagged:
        rest, tag = rest[:colon], rest[colon + 1 :]
    registry, repository = _split_domain(rest)
    if repository != repository.lower() and _is_path(repository.lower()):
        raise InvalidArgument(f"invalid reference format: repository name ({repository}) must be lowercase")
    if not _is_domain(registry) or not _is_path(repository) or (tagged and not is_tag(tag)) or (at and not digest):
        shown = text if text.isprintable() and len(text) <= 300 else repr(text[:300])
        raise InvalidArgument(f"invalid reference format: {shown}" if text else "invalid reference format")
    if len(registry) + 1 + len(repository) > _MAXIMUM_NAME:
        raise InvalidArgument(
            f"invalid reference format: repository name must not be more than {_MAXIMUM_NAME} characters"
        )
    if at:
        try:
            digests.validate(digest)
        except InvalidArgument as error:
            raise InvalidArgument(f"invalid reference format: {error}") from None
    elif not tagged and default_tag:
        tag = DEFAULT_TAG
    return Reference(registry=registry, repository=repository, tag=tag, digest=digest)


def is_tag(text: str) -> bool:
    """Tell whether ``text`` is a tag."""
    return 0 < len(text) <= 128 and text[0] in _TAG_FIRST and _TAG_REST.issuperset(text)


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, repository = first, rest
        if registry == "index.docker.io":
            registry = DEFAULT_REGISTRY
    else:
        registry, repository = DEFAULT_REGISTRY, name
    if registry == DEFAULT_REGISTRY and repository and "/" not in repository:
        repository = _OFFICIAL + repository
    return registry, repository


def _is_domain(text: str) -> bool:
    host, colon, port = text.partition(":")
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        if not bracket or len(host) < 3 or not _ADDRESS.issuperset(host[1:]):
            return False
        return not rest or (rest[0] == ":" and len(rest) > 1 and _DIGITS.issuperset(rest[1:]))
    if colon and (not port or not _DIGITS.issuperset(port)):
        return False
    for label in host.split("."):
        if not label or label[0] == "-" or label[-1] == "-" or not _WORD.issuperset(label.replace("-", "")):
            return False
    return True


def _is_path(text: str) -> bool:
    return all(map(_is_component, text.split("/")))


def _is_component(text: str) -> bool:
    if not text or text[0] not in _LOWER or text[-1] not in _LOWER:
        return False
    separator = ""
    for character in text:
        if character in _LOWER:
            separator = ""
            continue
        separator += character
        if separator not in (".", "_", "__") and separator.strip("-"):
            return False
    return True
