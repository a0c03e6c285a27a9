"""Images that are not what they seem: links where rl mounts, makes and reads. Nothing leaves the container."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tests.support.layers import Archive
from tests.support.stores import altered

NET = ("--network", "none")


@pytest.fixture(scope="module")
def base(rootfs: Path) -> bytes:
    return gzip.decompress(rootfs.read_bytes())


@pytest.fixture
def victim(tmp_path_factory) -> Path:
    """A directory of the host that all may use, where nothing may appear or change."""
    directory = tmp_path_factory.mktemp("victim")
    directory.chmod(0o777)
    (directory / "file").write_text("the host's\n")
    (directory / "file").chmod(0o666)
    return directory


@pytest.fixture
def image(box, base, tmp_path):
    """Make an image of busybox's files without some and with others."""
    count = 0

    def make(members: Archive, *without: str, changes: tuple[str, ...] = ()) -> str:
        nonlocal count
        count += 1
        path = tmp_path / f"{count}.tar"
        path.write_bytes(altered(base, members, *without))
        name = f"trick-{tmp_path.name.replace('_', '-').lower()[:20].strip('-')}-{count}"
        box.ok("import", *(word for change in changes for word in ("--change", change)), path, name)
        return name

    yield make
    unused = box.ok("images", "-q", "--filter", "reference=trick-*").split()
    if unused:
        box.ok("rmi", "-f", *unused)


def untouched(victim: Path) -> bool:
    return os.listdir(victim) == ["file"] and (victim / "file").read_text() == "the host's\n"


def sh(box, image: str, script: str, *options: str) -> str:
    return box.ok("run", "--rm", *NET, *options, image, "sh", "-c", script)


@pytest.mark.parametrize("name", ["resolv.conf", "hosts", "hostname"])
@pytest.mark.parametrize("up", ["", "../../../../../.."])
@pytest.mark.parametrize("target", ["file", "missing"])
def test_a_file_of_etc_that_points_to_the_host(box, image, victim, name, up, target):
    made = image(Archive().symlink(f"etc/{name}", f"{up}{victim}/{target}"), f"etc/{name}")
    out = sh(box, made, f"cat /etc/{name}; readlink -f /etc/{name}; echo changed >/etc/{name}")
    assert "the host's" not in out
    assert out.splitlines()[-1] == f"{victim}/{target}", "the link is the image's own, and leads nowhere else"
    assert out.count("\n") >= 1, "rl's file is there"
    assert untouched(victim)


def test_a_dangling_resolv_conf_works_as_on_many_distributions(box, image):
    members = Archive().symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
    out = box.ok("run", "--rm", image(members), "cat", "/etc/resolv.conf")
    assert "nameserver 10.0.2.3" in out


def test_etc_itself_points_to_the_host(box, image, victim):
    made = image(Archive().symlink("etc", str(victim)), "etc")
    assert "127.0.0.1" in sh(box, made, "cat /etc/hosts; touch /etc/new; ls -a /etc")
    assert untouched(victim)


@pytest.mark.parametrize("place", ["proc", "sys"])
@pytest.mark.parametrize("target", ["/victim", "tmp"])
def test_proc_and_sys_must_be_directories(box, image, victim, place, target):
    target = target.replace("/victim", str(victim))
    made = image(Archive().dir("tmp").symlink(place, target), place, "tmp")
    message = box.fails(125, "run", "--rm", *NET, made, "true")
    assert f"/{place}: is a symbolic link" in message
    assert untouched(victim)


def test_proc_in_a_volume_behind_a_link_is_refused_too(box, image):
    """Else a volume could hide the masks of /proc (CVE-2019-16884)."""
    made = image(Archive().dir("vol").symlink("proc", "vol/proc"), "proc", changes=("VOLUME /vol",))
    assert "is a symbolic link" in box.fails(125, "run", "--rm", *NET, made, "true")


def test_dev_points_to_the_host(box, image, victim):
    made = image(Archive().symlink("dev", str(victim)), "dev")
    assert (
        sh(box, made, "echo x >/dev/null; ls /dev/pts /dev/shm; stat -c %t:%T /dev/null")
        == "/dev/pts:\nptmx\n\n/dev/shm:\n1:3"
    )
    assert untouched(victim)


@pytest.mark.parametrize("name", ["null", "pts", "shm", "console", "fd"])
def test_links_inside_the_images_dev_are_covered(box, image, victim, name):
    made = image(Archive().dir("dev").symlink(f"dev/{name}", f"{victim}/file"), "dev")
    assert sh(box, made, "echo x >/dev/null; test -d /dev/pts -a -d /dev/shm && echo ok", "-t") == "ok\r"
    assert untouched(victim)


@pytest.mark.parametrize("kind", ["bind", "file", "volume", "tmpfs"])
def test_a_mount_point_behind_a_link(box, image, victim, kind):
    made = image(Archive().symlink("link", str(victim)))
    shared = box.home / f"shared-{kind}"
    shared.mkdir()
    (shared / "mine").write_text("mine\n")
    option = {
        "bind": ("-v", f"{shared}:/link/sub"),
        "file": ("-v", f"{shared}/mine:/link/sub/mine"),
        "volume": ("-v", "/link/sub"),
        "tmpfs": ("--tmpfs", "/link/sub"),
    }[kind]
    out = sh(box, made, f"ls -d /link/sub; ls /link/sub; touch /link/sub/new; ls {victim}/sub", *option)
    assert out.splitlines()[0] == "/link/sub"
    assert ("mine" in out) == (kind in ("bind", "file"))
    assert untouched(victim)


def test_a_volume_is_not_filled_from_the_host_through_a_link(box, image, victim):
    made = image(Archive().symlink("data", str(victim)), changes=("VOLUME /data",))
    assert "file" not in sh(box, made, "ls /data; echo x >/data/file")
    assert untouched(victim)
    assert "file" not in sh(box, made, "ls /data", "-v", "named:/data")
    box.ok("volume", "rm", "named") if box("volume", "ls").status == 0 else None


@pytest.mark.parametrize("path", ["/link", "/link/made/deeper", "/up/../../../../.."])
def test_a_working_directory_behind_a_link(box, image, victim, path):
    members = Archive().symlink("link", str(victim)).symlink("up", "/../../..")
    made = image(members, changes=(f"WORKDIR {path}",))
    assert "the host's" not in sh(box, made, "cat file ./*/file 2>/dev/null; pwd -P; touch x")
    assert untouched(victim)


def test_a_working_directory_in_proc_leads_into_no_descriptor(box, image):
    made = image(Archive(), changes=("WORKDIR /proc/self/fd/3",))
    result = box("run", "--rm", *NET, made, "ls")
    assert result.status in (125, 126), result
    assert result.stdout == ""


def test_passwd_may_be_a_fifo(box, image):
    """Reading it would wait for ever."""
    made = image(Archive().add("etc/passwd", b"6").add("etc/group", b"6"), "etc/passwd", "etc/group")
    owner = "stat -c %u /proc/self/."  # id(1) would wait itself
    assert sh(box, made, owner) == "0"
    assert sh(box, made, owner, "-u", "33:33") == "33"
    message = box.fails(125, "run", "--rm", *NET, "-u", "nobody", made, "id")
    assert "unable to find user nobody" in message


@pytest.mark.parametrize("target", ["/victim/passwd", "/proc/1/environ", "/dev/zero", "passwd"])
def test_passwd_may_be_a_link(box, image, tmp_path_factory, target):
    host = tmp_path_factory.mktemp("victim")
    host.chmod(0o755)
    (host / "passwd").write_text("evil:x:4242:4242::/:/bin/sh\n")
    made = image(Archive().symlink("etc/passwd", target.replace("/victim", str(host))), "etc/passwd")
    assert "unable to find user evil" in box.fails(125, "run", "--rm", *NET, "-u", "evil", made, "id")
    assert sh(box, made, "stat -c %u /proc/self/.") == "0"


def test_passwd_may_be_huge(box, image):
    line = b"x" * 60 + b":x:1:1::/:/bin/sh\n"
    made = image(Archive().file("etc/passwd", line * 100_000), "etc/passwd")
    assert sh(box, made, "id -u") == "0"


def test_the_program_behind_a_link_is_the_containers(box, image):
    """/usr/bin/python3 exists on the host only."""
    made = image(Archive().symlink("python", "/usr/bin/python3").symlink("loop", "loop"))
    assert "/python" in box.fails(127, "run", "--rm", *NET, made, "/python")
    assert box("run", "--rm", *NET, made, "/loop").status in (126, 127)


def test_what_rl_tells_of_an_image_cannot_move_a_cursor(box, image):
    """Control characters in labels or names of an image do not reach the terminal as they are."""
    made = image(Archive().file("etc/evil\x1b[2Jname", b"x"))
    assert "evil" in sh(box, made, "ls /etc")
