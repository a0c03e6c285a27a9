"""Immutable records that cost nothing at start-up.

``dataclasses`` imports ``inspect`` (16 ms on the machines rl was measured on) and compiles
an ``__init__`` for each class. A ``Record`` gives the same frozen, keyword-only value
types from the annotations alone; type checkers understand it through
``dataclass_transform``. See docs/decisions/0003-records.md.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_: object):  # noqa: D103
        return lambda cls: cls


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record:
    """A frozen value with named fields; fields and defaults come from annotations.

    Mutable defaults are not copied: use tuples, or ``{}`` that nobody changes.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _required: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        """Collect the fields of the class and its bases, in order of definition."""
        names = dict.fromkeys(cls._fields)
        # Not inspect.get_annotations, which costs what this class is there to save.
        own = cls.__dict__.get("__annotations__", {})  # noqa: RUF063
        names.update(dict.fromkeys(name for name in own if name[0] != "_"))
        cls._fields = tuple(names)
        cls._required = frozenset(name for name in names if not hasattr(cls, name))

    if not TYPE_CHECKING:

        def __init__(self, **values):
            for name in values:
                if name not in self._fields:
                    raise TypeError(f"{type(self).__name__} has no field {name!r}")
            missing = self._required - values.keys()
            if missing:
                raise TypeError(f"{type(self).__name__} lacks {', '.join(sorted(missing))}")
            self.__dict__.update(values)

        def __setattr__(self, name, value):
            raise AttributeError(f"{type(self).__name__}.{name} is read-only")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return type(self)(**{**self.as_dict(), **changes})

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dict (shallow)."""
        return {name: getattr(self, name) for name in self._fields}

    def __eq__(self, other: object) -> bool:
        """Equal when of one class and equal in every field."""
        return isinstance(other, Record) and type(self) is type(other) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        """Hash of all fields; fails for records that hold dicts."""
        return hash(tuple(self.as_dict().values()))

    def __repr__(self) -> str:
        """Show all fields that differ from their defaults."""
        shown = (
            f"{name}={getattr(self, name)!r}"
            for name in self._fields
            if name in self._required or getattr(self, name) != getattr(type(self), name)
        )
        return f"{type(self).__name__}({', '.join(shown)})"
