"""Machines that lack something: what is missing, why it is needed and what to do about it, in one line."""

from __future__ import annotations

import os
import pwd
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.faults import Host, nothing_left, refused
from tests.support.hosts import hidden, ordinary
from tests.support.rl import Rl

# Refuses CLONE_NEWUSER with EPERM, as outer containers and hardened machines do.
FORBID = """\
import os, sys
import pyseccomp as seccomp
new_user = 0x10000000
policy = seccomp.SyscallFilter(seccomp.ALLOW)
for call in ("clone", "unshare"):
    policy.add_rule(seccomp.ERRNO(1), call, seccomp.Arg(0, seccomp.MASKED_EQ, new_user, new_user))
policy.add_rule(seccomp.ERRNO(38), "clone3")
policy.load()
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def bare(bare_rl: Rl, busybox_archive: Path) -> Iterator[Rl]:
    """A store with busybox whose user namespace is yet to be made."""
    bare_rl.ok("load", "-i", busybox_archive)
    end_namespace(bare_rl)
    yield bare_rl
    bare_rl.prefix = []
    end_namespace(bare_rl)


def end_namespace(rl: Rl) -> None:
    processes.kill(rl.pause_processes())


def cannot_run(rl: Rl, *says: str, run: tuple[str, ...] = (), env: dict[str, str | None] | None = None) -> None:
    """Nothing can be run, in any way to ask for it; what needs no namespace works nevertheless."""
    for options in ((), ("-d",), ("--rm", "-v", "/data")):
        refused(rl, 125, "run", *run, *options, "busybox", "true", says=says, env=env)
    assert rl.ok("ps", "-aq", env=env) == ""
    assert "busybox" in rl.ok("images", env=env)
    assert rl("version", env=env).status == 0


@pytest.mark.parametrize("tool", ["newuidmap", "newgidmap"])
def test_without_newuidmap(bare, tool):
    bare.prefix = ordinary(hidden(tool))
    cannot_run(bare, f"{tool} is not installed", "apt install uidmap", "shadow-utils")
    assert f"{tool} is not installed" in bare("info").stderr


@pytest.mark.parametrize("tool", ["newuidmap", "newgidmap"])
def test_newuidmap_without_its_privilege(bare, path_with_copy, tool):
    env: dict[str, str | None] = {"PATH": path_with_copy(tool)}
    copy = f"{str(env['PATH']).partition(':')[0]}/{tool}"
    cannot_run(bare, f"{copy} is neither setuid root", f"chmod u+s {copy}", env=env)
    assert f"{copy} is neither setuid root" in bare("info", env=env).stderr


def test_a_process_that_may_not_gain_privileges(bare):
    bare.prefix = ["setpriv", "--no-new-privs"]
    cannot_run(bare, "newuidmap", "no_new_privs", "NoNewPrivileges=no")


@pytest.mark.nosub
def test_a_user_without_subordinate_ids(bare_rl, busybox_archive):
    name = pwd.getpwuid(os.getuid()).pw_name
    bare_rl.ok("images")
    says = (name, "/etc/subuid", "usermod --add-subuids", "--add-subgids")
    refused(bare_rl, 1, "load", "-i", busybox_archive, says=says)
    refused(bare_rl, 125, "run", "busybox", says=says)
    assert bare_rl.ok("ps", "-aq") == ""
    assert says[0] in bare_rl("info").stderr


def test_a_machine_without_user_namespaces(bare):
    with Host(bare, "echo 0 >/proc/sys/user/max_user_namespaces") as host:
        cannot_run(host, "no more user namespaces", "not about disk space", "sysctl -w user.max_user_namespaces=")
        assert "user.max_user_namespaces" in host("info").stderr


def test_a_machine_that_has_user_namespaces_for_rl_but_not_for_containers(bare):
    """The limit is met in the monitor, not in the command."""
    with Host(bare, "echo 1 >/proc/sys/user/max_user_namespaces") as host:
        cannot_run(host, "no more user namespaces", "sysctl -w user.max_user_namespaces=")


def test_a_machine_that_forbids_user_namespaces(bare):
    bare.prefix = [sys.executable, "-c", FORBID]
    cannot_run(bare, "user namespace", "allow")


def test_a_user_namespace_without_other_ids(bare):
    bare.prefix = ["unshare", "--user", "--map-root-user"]
    cannot_run(bare, "setgroups", "--map-auto")


@pytest.mark.parametrize(
    "setup",
    ["mount -t tmpfs none /dev/net", "mount --bind /dev/null /dev/net/tun"],
    ids=["missing", "another device"],
)
def test_without_a_tun_device(bare, setup):
    with Host(bare, setup) as host:
        cannot_run(host, "/dev/net/tun", "modprobe tun", "--network none")
        assert host.ok("run", "--rm", "--network", "none", "busybox", "echo", "hi") == "hi"
        assert host.ok("run", "--rm", "--network", "host", "busybox", "echo", "hi") == "hi"


def test_without_slirp4netns(bare):
    with Host(bare, hidden("slirp4netns")) as host:
        cannot_run(host, "slirp4netns is not installed", "apt install slirp4netns", "--network none")
        assert host.ok("run", "--rm", "--network", "none", "busybox", "echo", "hi") == "hi"
        assert "slirp4netns is not installed" in host("info").stderr


def on_overlay(rl: Rl) -> str:
    """Return a setup that puts the store on a file system that cannot be an upper layer."""
    place = rl.directory / "host"
    place.mkdir()
    return f"""
        mount -t tmpfs none {place}
        mkdir {place}/upper {place}/work {place}/lower
        mount -t overlay -o userxattr,lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work none {rl.home}
        mkdir -p {rl.data_root}
    """


@pytest.mark.parametrize("reason", ["covered", "not installed"])
def test_with_neither_overlay_nor_fuse_vfs_is_used_and_said_so(bare_rl, busybox_archive, reason):
    fuse = "mount --bind /dev/null /dev/fuse" if reason == "covered" else hidden("fuse-overlayfs")
    with Host(bare_rl, on_overlay(bare_rl) + fuse) as host:
        assert "full copy of its image (vfs)" in host("load", "-i", busybox_archive).stderr
        assert host.ok("info", "--format", "{{.Driver}}") == "vfs"
        said = host("info").stderr
        assert "vfs driver copies whole images" in said
        assert "apt install fuse-overlayfs" in said
        with nothing_left(host):
            assert host.ok("run", "--rm", "busybox", "sh", "-c", "echo hi >/file; cat /file") == "hi"
        host.ok("run", "--name", "kept", "busybox", "touch", "/mine")
        assert host.ok("start", "-a", "kept") == ""
        host.ok("rm", "kept")
        for driver in ("overlay", "fuse-overlayfs"):
            says = (f"storage driver {driver}", "vfs")
            refused(host, 125, "run", "busybox", says=says, env={"RL_STORAGE_DRIVER": driver})


def test_without_native_overlay_fuse_overlayfs_is_used(bare_rl, busybox_archive):
    # A tmpfs as upper and an overlay as the place to mount: what is asked for here is the driver by name.
    bare_rl.configure(storage_driver="fuse-overlayfs")
    bare_rl.ok("load", "-i", busybox_archive)
    assert bare_rl.ok("info", "--format", "{{.Driver}}") == "fuse-overlayfs"
    with nothing_left(bare_rl):
        assert bare_rl.ok("run", "--rm", "busybox", "sh", "-c", "echo hi >/file; cat /file") == "hi"
        refused(bare_rl, 127, "run", "busybox", "/no/such", says=("/no/such",))


@pytest.mark.parametrize("value", [None, "", "relative", "/nonexistent", "public"])
def test_without_a_usable_runtime_directory_one_below_tmp_is_used(bare, tmp_path, value):
    if value == "public":
        tmp_path.chmod(0o777)
        value = str(tmp_path)
    env = {"XDG_RUNTIME_DIR": value}
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    place = Path(f"/tmp/rl-{os.getuid()}-{boot}")
    with nothing_left(bare):
        assert bare.ok("run", "--rm", "busybox", "echo", "hi", env=env) == "hi"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert "XDG_RUNTIME_DIR" in bare("info", env=env).stderr
    bare.runtime_dir = place
    assert len(list((place / "containers").iterdir())) == 0


def test_a_runtime_directory_that_somebody_else_prepared(bare):
    """In /tmp everybody may make a directory of that name; rl does not put its sockets there."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    trap = Path(f"/tmp/rl-0-{boot}")
    env = {"XDG_RUNTIME_DIR": None}
    try:
        with Host(bare, f"mkdir -p {trap}; mount -t tmpfs -o mode=777 none {trap}") as host:
            refused(host, 1, "ps", says=(str(trap), "XDG_RUNTIME_DIR"), env=env)
            refused(host, 125, "run", "busybox", says=(str(trap), "XDG_RUNTIME_DIR"), env=env)
    finally:
        try:
            trap.rmdir()
        except OSError:
            pass  # it was there before


def test_a_data_root_that_cannot_be_written(bare_rl, tmp_path):
    tmp_path.chmod(0o500)
    try:
        refused(bare_rl, 1, "--root", tmp_path / "store", "ps", says=(str(tmp_path), "permission denied"))
    finally:
        tmp_path.chmod(0o700)
    file = tmp_path / "file"
    file.write_text("")
    refused(bare_rl, 125, "--root", file / "store", "run", "busybox", says=(str(file), "not a directory"))


def test_root_of_a_namespace_around_rl_needs_no_newuidmap(bare_rl, busybox_archive):
    with Host(bare_rl, hidden("newuidmap", "newgidmap")) as host:
        host.ok("load", "-i", busybox_archive)
        with nothing_left(host):
            assert host.ok("run", "--rm", "busybox", "id", "-u") == "0"
        assert "newuidmap" not in host("info").stderr
