from __future__ import annotations

import os
import resource

import pytest

from rootless.errors import InvalidArgument, SystemFailure
from rootless.runtime import rlimits


def in_child(function) -> str:
    """Run ``function`` in a forked child, without root's power over limits, and return its text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            os.write(write, str(function()).encode())
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return text


def test_names_as_in_oci_and_as_in_docker() -> None:
    assert rlimits.number("RLIMIT_NOFILE") == rlimits.number("nofile") == resource.RLIMIT_NOFILE
    assert rlimits.number("locks") == 10
    with pytest.raises(InvalidArgument, match="invalid ulimit type: files"):
        rlimits.number("files")


@pytest.mark.parametrize(
    ("soft", "hard", "ceiling", "expected"),
    [
        (10, 20, 100, (10, 20)),
        (10, 200, 100, (10, 100)),
        (150, 200, 100, (100, 100)),
        (-1, -1, 100, (100, 100)),
        (-1, -1, -1, (-1, -1)),
        (5, (1 << 64) - 1, 100, (5, 100)),
        (5, 6, -1, (5, 6)),
    ],
)
def test_clamping(soft: int, hard: int, ceiling: int, expected: tuple[int, int]) -> None:
    assert rlimits.clamp(soft, hard, ceiling) == expected


def test_a_limit_is_set() -> None:
    def act() -> object:
        rlimits.apply("RLIMIT_NOFILE", 64, 128)
        return resource.getrlimit(resource.RLIMIT_NOFILE)

    assert in_child(act) == "(64, 128)"


def test_a_limit_above_the_hard_one_is_lowered_to_it() -> None:
    def act() -> object:
        resource.setrlimit(resource.RLIMIT_NOFILE, (50, 100))
        rlimits.apply("RLIMIT_NOFILE", 1000, (1 << 64) - 1)
        return resource.getrlimit(resource.RLIMIT_NOFILE)

    assert in_child(act) == "(100, 100)"


def test_a_warning_says_beforehand_what_will_be_lowered() -> None:
    def act() -> object:
        resource.setrlimit(resource.RLIMIT_NOFILE, (50, 100))
        return rlimits.check([("nofile", 80, 100), ("RLIMIT_NOFILE", 80, -1), ("core", 0, 0)])

    assert in_child(act) == str(["ulimit nofile=80:unlimited is above this user's hard limit, 100 is used instead"])


def test_bad_limits() -> None:
    with pytest.raises(InvalidArgument, match="soft limit 5 is above hard limit 3"):
        rlimits.check([("nofile", 5, 3)])
    with pytest.raises(InvalidArgument, match="soft limit unlimited is above hard limit 3"):
        rlimits.check([("nofile", -1, 3)])
    with pytest.raises(InvalidArgument, match="out of range"):
        rlimits.check([("nofile", -2, 3)])
    with pytest.raises((InvalidArgument, SystemFailure)):
        rlimits.apply("nofile", 5, 3)
