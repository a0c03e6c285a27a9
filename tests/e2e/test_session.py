"""What the user's session says must not change what containers get, nor whether they are found."""

from __future__ import annotations

import pytest

from tests.support.rl import Rl


@pytest.fixture
def strict(box: Rl):
    """The same store, used by somebody whose files are nobody else's business."""
    box.prefix = ["sh", "-c", 'umask 077; exec "$@"', "sh"]
    yield box
    box.prefix = []


def test_the_users_umask_is_not_the_containers(strict):
    seen = strict.ok("run", "--rm", "busybox", "sh", "-c", "umask; stat -c %a / /etc/hosts /etc/resolv.conf /dev/shm")
    assert seen.split() == ["0022", "755", "644", "644", "1777"]


def test_a_mount_point_made_for_a_bind_can_be_entered_by_other_users(strict, tmp_path):
    (tmp_path / "file").write_text("x")
    tmp_path.chmod(0o755)
    (tmp_path / "file").chmod(0o644)
    assert strict.ok("run", "--rm", "-u", "1000", "-v", f"{tmp_path}:/a/b/c", "busybox", "cat", "/a/b/c/file") == "x"


def test_a_session_with_another_runtime_directory_finds_the_container(box, tmp_path):
    box.ok("run", "-di", "--name", "there", "busybox", "sh", "-c", "read line; exit 3")
    other = {"XDG_RUNTIME_DIR": str(tmp_path)}
    tmp_path.chmod(0o700)
    waiting = box.spawn("wait", "there", env=other)
    assert box.ok("ps", "--format", "{{.Names}}", env=other) == "there"
    assert box.ok("exec", "there", "echo", "here", env=other) == "here"
    box.ok("kill", "there", env=other)
    out, _ = waiting.communicate(timeout=20)
    assert out.decode().strip() == "137"
