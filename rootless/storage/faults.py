"""Translation of ``OSError`` into rl's errors, for the whole package."""

from __future__ import annotations

from rootless.errors import from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class translated:
    """Context manager that turns ``OSError`` into the fitting ``RlError`` prefixed with ``doing``."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Translate."""
        if isinstance(value, OSError):
            raise from_oserror(value, self._doing) from value
