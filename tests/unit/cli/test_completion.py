import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rootless.cli import completion

ROOT = Path(__file__).resolve().parents[3]


def names(*words):
    return [name for name, _ in completion.candidates(list(words))]


def test_verbs_and_groups_come_first():
    assert names("pu") == ["pull"]
    assert {"run", "ps", "container", "image"} <= set(names(""))


def test_verbs_of_a_group():
    assert names("image", "pr") == ["prune"]
    assert "bash" in names("completion", "")


def test_options_of_a_verb_without_those_rl_lacks():
    found = names("run", "--mo")
    assert found == []
    assert names("run", "--detach") == ["--detach", "--detach-keys"]
    assert names("--root", "/x", "ps", "--no") == ["--no-trunc"]
    assert "--help" in names("ps", "--")


def test_global_options():
    assert names("--log") == ["--log-level"]


def test_closed_sets_of_values():
    assert names("run", "--network", "") == ["default", "none", "host"]
    assert names("run", "-it", "--pull", "n") == ["never"]
    assert names("kill", "-s", "SIGT") == ["SIGTERM"]
    assert names("update", "--limits", "b") == ["best-effort"]


def test_values_and_command_lines_that_are_files():
    assert names("run", "-v", "/e") == [":files"]
    assert names("run", "--rm", "busybox", "") == [":files"]
    assert names("import", "") == [":files"]


def test_failure_is_silent(capsys):
    assert completion.run(["--config", "/nonexistent", "rm", ""]) == 1
    assert capsys.readouterr() == ("", "")


def test_candidates_are_lines_with_an_explanation(capsys):
    assert completion.run(["tag", "--h"]) == 0
    assert capsys.readouterr().out == "--help\tPrint usage\n"


@pytest.mark.optional_on_ci(reason="not every machine has zsh and fish")
@pytest.mark.parametrize("shell", sorted(completion.SCRIPTS))
def test_script_is_printed_and_valid(shell):
    script = subprocess.run(
        [sys.executable, "-m", "rootless", "completion", shell], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert script == completion.SCRIPTS[shell]
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([program, "-n", "/dev/stdin"], input=script, text=True, check=True)


BASH = """
set -u
rl() {{ {python} -m rootless "$@"; }}
{script}
COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}
_rl
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("line", "expected"), [("rl image pr", ["prune"]), ("rl run --network ", ["default", "none", "host"])]
)
def test_bash_completes(line, expected):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    code = BASH.format(python=sys.executable, script=completion.SCRIPTS["bash"], line=line)
    done = subprocess.run([bash, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected
