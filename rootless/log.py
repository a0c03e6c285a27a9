"""Messages that are no errors, one line each on standard error.

``logging`` costs 12 ms to import and is made for programs that stay; rl says a line and goes
on. The CLI sets ``level`` from the configuration (``log-level``) before it does anything.
"""

from __future__ import annotations

import sys

LEVELS = ("debug", "info", "warn", "error")
level = "info"


def debug(text: str) -> None:
    """Say what is being done; shown with ``--debug``."""
    _say("debug", text)


def info(text: str) -> None:
    """Say something that the user may want to know."""
    _say("info", text)


def warn(text: str) -> None:
    """Say that something is not as it was asked for."""
    _say("warn", text)


def _say(kind: str, text: str) -> None:
    if LEVELS.index(kind) >= LEVELS.index(level) and sys.stderr is not None:
        label = "" if kind == "info" else "warning: " if kind == "warn" else "debug: "
        sys.stderr.write(f"rl: {label}{text}\n")
        sys.stderr.flush()
