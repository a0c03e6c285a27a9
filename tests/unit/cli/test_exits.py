import pytest

from rootless import errors
from rootless.cli import exits, parser

ABSENT = errors.CommandNotFound("x")
DENIED = errors.CommandNotExecutable("x")
USAGE = parser.UsageError("x")
REFUSED = parser.RefusedOption("x")
OTHER = errors.NoSuchImage("x")


@pytest.mark.parametrize(
    ("module", "usage", "other"), [("run", 125, 125), ("create", 125, 1), ("exec", 125, 1), ("ps", 2, 1), ("", 2, 1)]
)
def test_exit_statuses_are_those_of_docker(module, usage, other):
    assert exits.status(ABSENT, module) == 127
    assert exits.status(DENIED, module) == 126
    assert exits.status(USAGE, module) == usage
    assert exits.status(REFUSED, module) == usage
    assert exits.status(OTHER, module) == other
    assert exits.status(KeyboardInterrupt(), module) == 130
    assert exits.status(BrokenPipeError(), module) == 141


def test_message_and_hint_are_one_line():
    error = errors.Denied("no\nrange", hint="edit\n/etc/subuid")
    assert exits.line(error) == "rl: no range; edit /etc/subuid"


def test_error_of_the_system_names_the_file():
    assert exits.line(PermissionError(13, "Permission denied", "/x")) == "rl: permission denied: /x"


def test_our_own_faults_are_called_that():
    assert exits.line(ValueError("oops")) == "rl: internal error: ValueError: oops; `rl --debug` shows where"
