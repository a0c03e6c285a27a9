"""From ``sys.argv`` to a verb without click, json or re.

Every well-formed command line comes this way. Help, mistakes and unknown verbs return
``None`` and are dealt with by ``cli/main.py``, which may take its time.
"""

from __future__ import annotations

from rootless.cli import exits, parser, verbs
from rootless.cli.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


# Verbs that start a container. Their monitor is forked here, while the process is small.
_STARTERS = ("run", "start")


def load(module: str) -> Any:
    """Import the module of a verb."""
    import sys

    name = f"rootless.cli.commands.{module}"
    __import__(name)
    return sys.modules[name]


def parse_verb(path: str, command: Any, argv: Sequence[str]) -> tuple[parser.Values, list[str]]:
    """Parse what follows a verb by the tables of its module; raises ``UsageError`` or ``RefusedOption``."""
    values, arguments = parser.parse(
        command.OPTIONS,
        argv,
        interspersed=getattr(command, "INTERSPERSED", True),
        harmless=getattr(command, "HARMLESS", None),
    )
    if "help" not in values:
        parser.check_arguments(path, command.ARGUMENTS, arguments)
    return values, arguments


def run(argv: Sequence[str]) -> int | None:
    """Run a well-formed command line and return its exit status; ``None`` if it is not well-formed."""
    try:
        flags, rest = parser.parse(verbs.GLOBALS, argv, interspersed=False)
        found = verbs.resolve(rest)
        if found is None or "help" in flags or "version" in flags:
            return None
        path, module, _, rest = found
        if module in _STARTERS:
            from rootless.engine import ahead

            ahead.prepare_start()
        command = load(module)
        values, arguments = parse_verb(path, command, rest)
        if "help" in values:
            return None
    except (parser.UsageError, parser.RefusedOption):
        return None
    return execute(Context(flags), module, command, values, arguments)


def execute(context: Context, module: str, command: Any, values: parser.Values, arguments: list[str]) -> int:
    """Run a verb; errors become a line on standard error and an exit status."""
    try:
        status: int = command.execute(context, values, arguments)
        return status
    except KeyboardInterrupt as error:
        return exits.status(error, module)
    except BrokenPipeError:
        raise
    except Exception as error:
        exits.report(error, debug=context.debug)
        return exits.status(error, module)
