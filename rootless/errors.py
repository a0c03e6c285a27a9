"""What can go wrong, sorted by what a caller can do about it.

::

    RlError
    ├── InvalidArgument          the request is malformed: change it
    │   ├── CommandNotFound      the payload does not exist in the image (exit 127)
    │   └── CommandNotExecutable the payload may not be executed (exit 126)
    ├── NotFound                 the named object does not exist
    │   ├── NoSuchImage  NoSuchContainer  NoSuchVolume  NoSuchNetwork  NoSuchFile
    ├── Conflict                 the object's state does not allow the request
    │   ├── NameInUse  PortInUse  ImageInUse
    ├── NotModified              nothing to do, which some callers need to know
    ├── Denied                   somebody refused: credentials, permissions, policy
    ├── Unavailable              a peer does not answer or asks to come back later
    │   └── TooManyRequests
    ├── Unsupported              rl, or this machine, cannot do that
    ├── Corrupt                  data does not match its digest, size or format
    └── SystemFailure            the machine failed us
        ├── MissingHelper        an external program is absent or unusable
        └── NoSpace              the file system is full

A message is lower case, names the object and carries no final period. A hint says
what to do about it: a package, a sysctl, a file, a flag. ``cli/exits.py`` maps
classes to exit statuses. Only ``cli`` prints.
"""

from __future__ import annotations


class RlError(Exception):
    """Base of everything that rl reports; ``hint`` may hold the remedy."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class InvalidArgument(RlError):
    """The request is malformed."""


class CommandNotFound(InvalidArgument):
    """The container's command does not exist (exit status 127)."""


class CommandNotExecutable(InvalidArgument):
    """The container's command exists but may not be executed (exit status 126)."""


class NotFound(RlError):
    """The named object does not exist."""


class NoSuchImage(NotFound):
    """No such image, here or in the registry."""


class NoSuchContainer(NotFound):
    """No such container."""


class NoSuchVolume(NotFound):
    """No such volume."""


class NoSuchNetwork(NotFound):
    """No such network."""


class NoSuchFile(NotFound):
    """A file on the host that the user named does not exist."""


class Conflict(RlError):
    """The object's state does not allow the request."""


class NameInUse(Conflict):
    """A container (volume, network) of that name exists."""


class PortInUse(Conflict):
    """A host port is taken."""


class ImageInUse(Conflict):
    """A container still uses the image."""


class NotModified(RlError):
    """The object is already in the wanted state."""


class Denied(RlError):
    """Credentials, permissions or policy refused the request."""


class Unavailable(RlError):
    """A peer does not answer, or failed."""


class TooManyRequests(Unavailable):
    """A registry asks to come back later (HTTP 429)."""


class Unsupported(RlError):
    """rl or this machine cannot do that."""


class Corrupt(RlError):
    """Data does not match its digest, size or format."""


class SystemFailure(RlError):
    """The machine failed us: a system call, a helper, a resource."""


class MissingHelper(SystemFailure):
    """An external program is absent, or lacks a privilege it needs."""


class NoSpace(SystemFailure):
    """A file system is full (ENOSPC, EDQUOT)."""


def from_oserror(error: OSError, doing: str) -> SystemFailure:
    """Translate ``error`` into the class that fits, prefixed with the intent ``doing``."""
    import errno

    where = f": {error.filename}" if error.filename else ""
    text = f"{doing}{where}: {(error.strerror or str(error)).lower()}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(text, hint="free some space; `rl image prune` removes images without a name")
    return SystemFailure(text)
