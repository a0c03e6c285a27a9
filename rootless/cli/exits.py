"""Errors become exit statuses and one line on standard error, here and nowhere else.

==================================  =====  ============  ==============  ======
what went wrong                     run    create        exec            others
==================================  =====  ============  ==============  ======
the command line                    125    125           125             2
the payload does not exist          127    127           127             127
the payload may not be executed     126    126           126             126
anything else                       125    1             1               1
==================================  =====  ============  ==============  ======

A payload that ran gives its own status. 130 is Ctrl-C, 141 a reader of our output that left.
"""

from __future__ import annotations

from rootless.errors import CommandNotExecutable, CommandNotFound, RlError

INTERRUPTED = 130
BROKEN_PIPE = 141


def status(error: BaseException, module: str) -> int:
    """Return the exit status for ``error``, raised by the verb of ``module`` (``""``: no verb yet)."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    if isinstance(error, CommandNotFound):
        return 127
    if isinstance(error, CommandNotExecutable):
        return 126
    if module == "run":
        return 125
    if _is_usage(error):
        return 125 if module in ("create", "exec") else 2
    return 1


def _is_usage(error: BaseException) -> bool:
    from rootless.cli.parser import RefusedOption, UsageError

    return isinstance(error, (UsageError, RefusedOption))


def line(error: BaseException) -> str:
    """Return the one line that reports ``error``; a hint follows after a semicolon."""
    if isinstance(error, RlError):
        text = f"{error.message}; {error.hint}" if error.hint else error.message
    elif isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        text = f"{(error.strerror or str(error)).lower()}{where}"
    else:
        detail = f": {error}" if str(error) else ""
        text = f"internal error: {type(error).__name__}{detail}; `rl --debug` shows where"
    return f"rl: {' '.join(text.split())}"


def report(error: BaseException, *, debug: bool = False) -> None:
    """Write the line for ``error`` to standard error, with the traceback if ``debug``."""
    import sys

    if debug:
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    try:
        sys.stderr.write(line(error) + "\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody listens, and there is nobody else to tell
