"""Completion: the scripts, and the words they ask for by ``rl __complete WORD...``.

The scripts know nothing; verbs, options and the names of containers and images come from rl itself.
"""

from __future__ import annotations

import sys

from rootless.cli import fastpath, parser, verbs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

SCRIPTS = {
    "bash": """\
# bash completion for rl; put it into ~/.local/share/bash-completion/completions/rl
_rl() {
    local IFS=$' \\t\\n' cur line
    local -a words
    read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
    if [[ "${COMP_LINE:0:COMP_POINT}" == *[[:space:]] ]]; then words+=(""); fi
    cur="${words[-1]}"
    COMPREPLY=()
    while IFS= read -r line; do
        line="${line%%$'\\t'*}"
        if [[ "$line" == ':files' ]]; then
            compopt -o default
            return
        fi
        # readline replaces only what follows the last ':'
        if [[ "$cur" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then line="${line#"${cur%:*}:"}"; fi
        COMPREPLY+=("$line")
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _rl rl
""",
    "zsh": """\
#compdef rl
# zsh completion for rl; put it as _rl into a directory of $fpath
_rl() {
    local line
    local -a candidates
    while IFS= read -r line; do
        if [[ "$line" == ':files' ]]; then
            _files
            return
        fi
        line="${line//:/\\\\:}"
        candidates+=("${line/$'\\t'/:}")
    done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    _describe 'rl' candidates
}
if [[ "${funcstack[1]}" == _rl ]]; then _rl "$@"; else compdef _rl rl; fi
""",
    "fish": """\
# fish completion for rl; put it into ~/.config/fish/completions/rl.fish
function __rl_complete
    set -l words (commandline -opc)[2..-1]
    set -l current (commandline -ct)
    for line in (rl __complete $words "$current" 2>/dev/null)
        if test "$line" = ':files'
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end
complete -c rl -f -a '(__rl_complete)'
""",
}


def run(words: Sequence[str]) -> int:
    """Print the candidates for the last of ``words``, one a line, a tab before the explanation."""
    try:
        found = candidates(list(words))
    except Exception:
        return 1  # a completion that fails stays silent
    sys.stdout.write("".join(f"{name}\t{text}\n" if text else f"{name}\n" for name, text in found))
    return 0


def candidates(words: list[str]) -> list[tuple[str, str]]:
    """Return what the last word may become; ``:files`` asks the shell for file names."""
    before, current = words[:-1], words[-1] if words else ""
    position = _verb_position(before)
    if position is None:
        rows = (*verbs.GLOBALS, parser.HELP)
        return _starting(_option_names(rows) if current.startswith("-") else _top_level(), current)
    flags, _ = parser.parse(verbs.GLOBALS, before[:position], interspersed=False)
    before = before[position:]
    if before[0] in verbs.GROUPS and len(before) == 1:
        _, names, _ = verbs.GROUPS[before[0]]
        return _starting([(name, summary) for name, (_, summary) in names.items()], current)
    found = verbs.resolve(before)
    if found is None:
        return []
    _, module, _, rest = found
    command = fastpath.load(module)
    pending = _pending_option(command, rest)
    if pending is None and _only_arguments(command, rest):
        return [(":files", "")]
    if pending is not None:
        return _starting(_option_values(pending), current)
    if current.startswith("-"):
        return _starting(_option_names((*command.OPTIONS, parser.HELP)), current)
    return _starting(_names(flags, command.COMPLETES), current)


def _verb_position(words: list[str]) -> int | None:
    """Return where the verb is among ``words``, ``None`` if it is still to come."""
    takes_value = {f"--{row[0]}" for row in verbs.GLOBALS if row[2] != "bool"} | {"-l"}
    position = 0
    while position < len(words):
        if not words[position].startswith("-"):
            return position
        position += 2 if words[position] in takes_value else 1
    return None


def _top_level() -> list[tuple[str, str]]:
    return [(name, summary) for name, (_, summary) in verbs.VERBS.items()] + [
        (name, group[0]) for name, group in verbs.GROUPS.items()
    ]


def _option_names(rows: Sequence[parser.Row]) -> list[tuple[str, str]]:
    return [(f"--{name}", text) for name, _, kind, text in rows if kind[0] not in "=!"]


def _pending_option(command: Any, words: list[str]) -> str | None:
    """Return an option before the cursor that waits for its value."""
    if not words or not words[-1].startswith("-") or "=" in words[-1]:
        return None
    for name, short, kind, _ in command.OPTIONS:
        is_long = words[-1] == f"--{name}"
        is_short = short and not words[-1].startswith("--") and words[-1].endswith(short)
        if (is_long or is_short) and kind not in ("bool", "!bool"):
            return str(name)
    return None


def _only_arguments(command: Any, words: list[str]) -> bool:
    """Say whether the cursor is in the container's own command line."""
    if getattr(command, "INTERSPERSED", True):
        return False
    try:
        return len(parser.parse(command.OPTIONS, words, interspersed=False)[1]) > 0
    except (parser.UsageError, parser.RefusedOption):
        return False


def _option_values(name: str) -> list[tuple[str, str]]:
    closed = {
        "network": ("default", "none", "host"),
        "net": ("default", "none", "host"),
        "limits": ("strict", "best-effort"),
        "cgroup-manager": ("systemd", "cgroupfs", "none"),
        "pull": ("always", "missing", "never"),
        "restart": ("no", "on-failure", "always", "unless-stopped"),
        "signal": ("SIGHUP", "SIGINT", "SIGKILL", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"),
        "stop-signal": ("SIGHUP", "SIGINT", "SIGKILL", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"),
        "type": ("container", "image"),
    }
    if name in closed:
        return [(value, "") for value in closed[name]]
    if name in ("env-file", "label-file", "cidfile", "input", "volume"):
        return [(":files", "")]
    return []


def _names(flags: parser.Values, kind: str) -> list[tuple[str, str]]:
    """Return the names of existing containers or images."""
    from rootless.cli import reports
    from rootless.cli.context import Context

    context = Context(flags)
    found: list[tuple[str, str]] = []
    if kind == "files":
        return [(":files", "")]
    if kind in ("containers", "running", "paused", "stopped", "objects"):
        wanted = {"stopped": ("created", "exited"), "paused": ("paused",)}.get(kind)
        for row in reports.list_containers(context, {"all": kind not in ("running", "paused")}):
            if wanted is None or row["State"] in wanted:
                found.append((str(row["Names"]), str(row["Image"])))
    if kind in ("images", "objects"):
        for row in reports.list_images(context, {}, ""):
            if row["Repository"] != "<none>" and row["Tag"] != "<none>":
                found.append((f"{row['Repository']}:{row['Tag']}", str(row["ID"])))
    return found


def _starting(found: list[tuple[str, str]], prefix: str) -> list[tuple[str, str]]:
    return [(name, text) for name, text in found if name.startswith(prefix) or name == ":files"]
