"""Names and identifiers: making them, checking them, finding what they mean."""

from __future__ import annotations

import os

from rootless.engine.values import is_restricted_name
from rootless.errors import InvalidArgument, NoSuchContainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rootless.storage.layout import Layout

_ADJECTIVES = (
    "agile amber ample azure blithe bold brave bright brisk calm candid cheery civil clear clever cosmic crisp"
    " curious daring dapper deft eager earnest easy fair fearless fleet fond frank fresh gallant gentle glad golden"
    " graceful hardy hearty honest humble jolly jovial keen kind lively loyal lucid lucky mellow merry mild mindful"
    " modest neat nimble noble patient placid plucky polite prudent quiet ready robust rosy serene sharp shiny silent"
    " sincere sleek smart snug sober spry stable steady sunny swift tender tidy tranquil trusty upbeat valiant vivid"
    " warm wise witty zesty"
)
_SURNAMES = (
    "abel aiken ampere archimedes babbage bardeen bell bernoulli bessel bohr boole bose brahe cantor carson cassini"
    " cauchy cerf chandrasekhar clarke cori curie darwin diffie dirac dijkstra einstein engelbart erdos euclid euler"
    " faraday fermat fermi feynman fibonacci fourier franklin galileo galois gauss germain goedel goodall hamilton"
    " hawking heisenberg herschel hertz hilbert hodgkin hopper hubble huygens hypatia jemison johnson joule kepler"
    " kirch knuth kowalevski lagrange lamarr laplace leavitt leibniz lovelace mach maxwell mayer mclean meitner"
    " mendel mirzakhani napier newton noether ohm pascal pasteur payne planck poincare ptolemy ramanujan riemann"
    " ritchie rubin rutherford sagan shannon tesla thompson torvalds turing volta wilson wing wozniak wu yalow"
)


def new_id() -> str:
    """Return 64 random hexadecimal digits whose first twelve are not all decimal.

    A short ID of digits alone would be taken for a number by some tools.
    """
    while True:
        text = os.urandom(32).hex()
        if not text[:12].isdecimal():
            return text


def short_id(identifier: str) -> str:
    """Return the twelve digits that people see, of an ID or a digest."""
    return identifier.rpartition(":")[2][:12]


def random_name(is_taken: Callable[[str], bool] = lambda _: False) -> str:
    """Return a name like ``brave_noether`` that is not taken; after some tries, with a number."""
    adjectives, surnames = _ADJECTIVES.split(), _SURNAMES.split()
    for attempt in range(64):
        noise = os.urandom(5)
        adjective = adjectives[int.from_bytes(noise[:2], "big") % len(adjectives)]
        surname = surnames[int.from_bytes(noise[2:4], "big") % len(surnames)]
        name = f"{adjective}_{surname}"
        if attempt >= 8:
            name += str(int.from_bytes(os.urandom(1 + attempt // 16), "big"))
        if not is_taken(name):
            return name
    return f"container_{new_id()[:12]}"


def check_name(name: str) -> str:
    """Return a container's name without Docker's leading slash; refuse what cannot be one."""
    bare = name.removeprefix("/")
    if not is_restricted_name(bare) or len(bare) > 255:
        raise InvalidArgument(f"invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return bare


def is_hex(text: str) -> bool:
    """Say whether ``text`` consists of lower-case hexadecimal digits."""
    return bool(text) and not text.strip("0123456789abcdef")


def match_prefix(text: str, ids: Iterable[str], kind: str = "container") -> str | None:
    """Return the only ID that begins with ``text``, None if there is none.

    Raises ``InvalidArgument`` when several do.
    """
    found = [identifier for identifier in ids if identifier.startswith(text)]
    if len(found) > 1:
        raise InvalidArgument(
            f"multiple IDs found with provided prefix: {text}", hint=f"give more digits of the {kind}'s ID"
        )
    return found[0] if found else None


def resolve(layout: Layout, text: str) -> str:
    """Return the ID of the container meant by a full ID, a name or a unique ID prefix.

    In this order, which is Docker's. Raises ``NoSuchContainer``, ``InvalidArgument``.
    """
    name = text.removeprefix("/")
    if not name:
        raise InvalidArgument("invalid container name or ID: value is empty")
    if len(name) == 64 and is_hex(name) and os.path.isdir(layout.container(name)):
        return name
    if is_restricted_name(name):
        try:
            return os.readlink(f"{layout.names}/{name}").rpartition("/")[2]
        except OSError:
            pass
    if is_hex(name):
        try:
            found = match_prefix(name, os.listdir(layout.containers))
        except FileNotFoundError:
            found = None
        if found:
            return found
    raise NoSuchContainer(f"no such container: {text}")
