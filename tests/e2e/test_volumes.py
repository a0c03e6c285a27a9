"""Volumes: ``-v NAME:/path``, anonymous ones, and those that images declare."""

from __future__ import annotations

import os

import pytest


def volumes(box):
    directory = box.data_root / "volumes"
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


def shell(box, script, *options, image="busybox"):
    return box.ok("run", "--rm", "--network", "none", *options, image, "sh", "-c", script)


def test_a_named_volume_is_made_and_keeps_what_containers_write(box):
    shell(box, "echo kept >/data/file", "-v", "keeps:/data")
    assert shell(box, "cat /other/file", "-v", "keeps:/other") == "kept"
    assert "keeps" in volumes(box)


def test_two_containers_share_a_named_volume(box, until):
    box.ok(
        "run", "-d", "--name", "writer", "-v", "shared:/d", "busybox", "sh", "-c", "mkfifo /d/pipe; echo hello >/d/pipe"
    )
    until(lambda: box("exec", "writer", "test", "-p", "/d/pipe").status == 0)
    assert shell(box, "cat /d/pipe", "-v", "shared:/d") == "hello"


def test_a_read_only_volume_cannot_be_written(box):
    result = box("run", "--rm", "-v", "sealed:/data:ro", "busybox", "touch", "/data/x")
    assert result.status == 1
    assert "Read-only file system" in result.stderr


def test_an_empty_volume_gets_the_files_of_the_image_with_their_owners(box):
    copied = shell(box, "stat -c '%U %a' /var/spool/mail; ls /etc | wc -l; stat -c %a /etc/shadow", "-v", "filled:/etc")
    original = shell(box, "stat -c '%U %a' /var/spool/mail; ls /etc | wc -l; stat -c %a /etc/shadow")
    assert copied == original
    shell(box, "echo changed >/etc/group", "-v", "filled:/etc")
    assert shell(box, "cat /etc/group", "-v", "filled:/etc") == "changed"


def test_nocopy_leaves_it_empty(box):
    assert shell(box, "ls -A /var/spool", "-v", "copied:/var/spool") == "mail"
    assert shell(box, "ls -A /var/spool", "-v", "bare:/var/spool:nocopy") == ""


def test_an_anonymous_volume_goes_with_rm_and_stays_without(box):
    before = volumes(box)
    shell(box, "touch /data/x", "-v", "/data")
    assert volumes(box) == before
    box.ok("run", "--name", "stays", "-v", "/data", "busybox", "touch", "/data/x")
    (made,) = set(volumes(box)) - set(before)
    assert len(made) == 64
    assert box.ok("start", "-a", "stays") == ""
    box.ok("rm", "stays")
    assert made in volumes(box)


def test_the_images_volume_is_anonymous_filled_and_replaceable(box, make_image, tmp_path):
    make_image("declares", "VOLUME /var/www", "VOLUME /fresh", "CMD true")
    query = "stat -c %d / /var/www /fresh | sort -u | wc -l; grep -c -e ' /var/www ' -e ' /fresh ' /proc/mounts"
    assert shell(box, query, image="declares").splitlines()[1] == "2"
    (tmp_path / "mine").touch()
    assert shell(box, "ls /fresh", "-v", f"{tmp_path}:/fresh", image="declares") == "mine"
    box.ok("create", "--name", "made", "declares")
    mounts = box.json("inspect", "-f", "{{json .Mounts}}", "made")
    assert sorted(mount["Destination"] for mount in mounts) == ["/fresh", "/var/www"]
    assert {mount["Type"] for mount in mounts} == {"volume"}


def test_a_user_of_the_container_may_own_a_volume(box, make_image):
    assert shell(box, "chown 33:33 /data; touch /data/root", "-v", "owned:/data") == ""
    assert shell(box, "touch /data/mine && stat -c %u /data/mine", "-v", "owned:/data", "-u", "33") == "33"


def test_several_mounts_nest(box, tmp_path):
    (tmp_path / "outer").mkdir(mode=0o755)
    options = ["-v", f"{tmp_path}/outer:/a", "-v", "nested:/a/b", "--tmpfs", "/a/b/c"]
    assert shell(box, "touch /a/1 /a/b/2 /a/b/c/3; ls /a /a/b | xargs", *options) == "/a: 1 b /a/b: 2 c"
    assert sorted(os.listdir(tmp_path / "outer")) == ["1", "b"]
    assert os.listdir(tmp_path / "outer/b") == []


@pytest.mark.parametrize("name", ["x", "-dash", "with space", "sla/sh"])
def test_a_name_that_cannot_be_is_refused(box, name):
    assert box("run", "--rm", "-v", f"{name}:/data", "busybox", "true").status == 125
    assert name not in volumes(box)


def test_bind_options_change_what_the_mount_may_do(box, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "inner").mkdir()
    for option in ("rw", "z", "Z", "rprivate", "rslave", "cached", "ro,z"):
        assert shell(box, "ls /data", "-v", f"{tmp_path}:/data:{option}") == "inner", option
    assert "invalid mode: ro,rw" in box.fails(125, "run", "--rm", "-v", f"{tmp_path}:/data:ro,rw", "busybox")


def test_a_symlink_of_the_image_does_not_lead_a_mount_outside(box, make_image, tmp_path):
    box.ok("run", "--name", "linked", "busybox", "true")
    (tmp_path / "file").write_text("content")
    options = ["-v", f"{tmp_path}:/proc/self/../../evil/../target"]
    assert shell(box, "cat /target/file", *options) == "content"


def test_mounting_over_the_root_is_refused(box, tmp_path):
    assert "destination can't be '/'" in box.fails(125, "run", "--rm", "-v", f"{tmp_path}:/", "busybox")
