"""The way of every command line that is not plain: help, mistakes, groups without a verb.

A lazy click group over the tables of ``verbs``: a verb's module is imported when the verb is
asked for, and ``--help`` of the group imports none. Click lists and prints; options are read by
``cli/parser.py``, because ``--flag=false`` and ``-dp 80:80`` are Docker's grammar, not click's.
"""
# ruff: noqa: ARG002 (click calls these)

from __future__ import annotations

import click

from rootless.cli import exits, fastpath, parser, verbs
from rootless.cli.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Row = parser.Row

DESCRIPTION = "A rootless container engine that needs no daemon"


class Verb(click.Command):
    """A command of ``cli/commands``; click sees its options for the help only."""

    def __init__(self, path: str, module: str, summary: str) -> None:
        super().__init__(path.rpartition(" ")[2], help=summary, add_help_option=False)
        self._path = path
        self._module = module
        self._command = fastpath.load(module)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse by the verb's tables."""
        values, arguments = fastpath.parse_verb(self._path, self._command, args)
        if "help" in values:
            click.echo(self.get_help(ctx))
            ctx.exit(0)
        ctx.params = {"values": values, "arguments": arguments}
        return []

    def invoke(self, ctx: click.Context) -> int:
        """Run the verb; its errors are reported here."""
        context: Context = ctx.obj
        return fastpath.execute(context, self._module, self._command, **ctx.params)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write usage, summary, spellings and options in Docker's order."""
        formatter.write(f"Usage:  {self._path} {self._command.USAGE}".rstrip() + "\n")
        formatter.write(f"\n{self.help}\n")
        spellings = verbs.spellings(self._module)
        if len(spellings) > 1:
            formatter.write("\nAliases:\n")
            formatter.write_text(f"  {', '.join(spellings)}")
        _write_options(formatter, self._command.OPTIONS)


class Group(click.Group):
    """The root (``rl``) or a management command (``rl image``)."""

    def __init__(self, path: str, summary: str, table: dict[str, tuple[str, str]], aliases: dict[str, str]) -> None:
        super().__init__(path.rpartition(" ")[2], help=summary, add_help_option=False)
        self._path = path
        self._table = table
        self._aliases = aliases
        self._is_root = path == "rl"

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the help."""
        return [*self._table, *verbs.GROUPS] if self._is_root else list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb, or make a management command."""
        name = self._aliases.get(cmd_name, cmd_name)
        if name in self._table:
            return Verb(f"{self._path} {cmd_name}", *self._table[name])
        if self._is_root and name in verbs.GROUPS:
            return Group(f"rl {name}", *verbs.GROUPS[name])
        return None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the global options (only the root has any) and find the verb's name."""
        flags, rest = parser.parse(verbs.GLOBALS if self._is_root else (), args, interspersed=False)
        if "version" in flags:
            from rootless import __version__

            click.echo(f"rl version {__version__}")
            ctx.exit(0)
        if "help" in flags or not rest:
            click.echo(self.get_help(ctx))
            ctx.exit(0)
        if self._is_root:
            ctx.obj = Context(flags)
        ctx.args = rest
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb, or the group, that the first argument names."""
        name, command, rest = self.resolve_command(ctx, ctx.args)
        with command.make_context(name, rest, parent=ctx) as inner:
            return command.invoke(inner)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str, click.Command, list[str]]:
        """Find the verb, or say which one may have been meant."""
        command = self.get_command(ctx, args[0])
        if command is None:
            import difflib

            close = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f"did you mean {self._path} {close[0]}?" if close else f"see '{self._path} --help'"
            raise parser.UsageError(f"unknown command: {self._path} {args[0]}", hint=hint)
        return args[0], command, args[1:]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs from the tables alone."""
        usage = "[OPTIONS] COMMAND" if self._is_root else "COMMAND"
        formatter.write(f"Usage:  {self._path} {usage}\n\n{self.help}\n")
        if self._is_root:
            _write_verbs(formatter, "Common Commands", {name: self._table[name] for name in verbs.COMMON})
            groups = {name: ("", summary) for name, (summary, _, _) in verbs.GROUPS.items()}
            _write_verbs(formatter, "Management Commands", groups)
            others = {name: entry for name, entry in sorted(self._table.items()) if name not in verbs.COMMON}
            _write_verbs(formatter, "Commands", others)
            _write_options(formatter, verbs.GLOBALS, "Global Options")
        else:
            _write_verbs(formatter, "Commands", dict(sorted(self._table.items())))
        formatter.write(f"\nRun '{self._path} COMMAND --help' for more information on a command.\n")


def _write_verbs(formatter: click.HelpFormatter, title: str, table: dict[str, tuple[str, str]]) -> None:
    formatter.write(f"\n{title}:\n")
    width = max(11, *(len(name) for name in table))
    for name, (_, summary) in table.items():
        formatter.write(f"  {name:<{width}} {summary}\n")


def _write_options(formatter: click.HelpFormatter, rows: Sequence[Row], title: str = "Options") -> None:
    shown = [row for row in rows if row[2][0] not in "=!"]
    if not shown:
        return
    entries = []
    for name, short, kind, text in sorted(shown):
        kind = "" if kind == "bool" else f" {kind}"
        entries.append((f"{f'-{short}, ' if short else '    '}--{name}{kind}", text))
    formatter.write(f"\n{title}:\n")
    formatter.indent()
    formatter.write_dl(entries, col_max=40, col_spacing=3)
    formatter.dedent()


def run(argv: Sequence[str]) -> int:
    """Run a command line through click and return the exit status."""
    root = Group("rl", DESCRIPTION, verbs.VERBS, {})
    try:
        # Not root.main(), which turns a reader that left into an exit status of its own.
        with root.make_context("rl", list(argv)) as ctx:
            status: int = root.invoke(ctx)
        return status
    except (parser.UsageError, parser.RefusedOption) as error:
        path, module = _place(argv)
        if not error.hint and isinstance(error, parser.UsageError):
            error.hint = f"see '{path} --help'"
        exits.report(error)
        return exits.status(error, module)
    except click.exceptions.Exit as error:
        return error.exit_code
    except KeyboardInterrupt:
        return exits.INTERRUPTED


def _place(argv: Sequence[str]) -> tuple[str, str]:
    """Return the path and the module of the verb that ``argv`` names, for the help and the exit status."""
    try:
        _, rest = parser.parse(verbs.GLOBALS, argv, interspersed=False)
    except (parser.UsageError, parser.RefusedOption):
        return "rl", ""
    found = verbs.resolve(rest)
    if found is not None:
        return found[0], found[1]
    return (f"rl {rest[0]}" if rest and rest[0] in verbs.GROUPS else "rl"), ""
