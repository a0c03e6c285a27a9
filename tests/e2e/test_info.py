"""``rl info``, ``rl version``, and the management spellings of all commands."""

from __future__ import annotations

import json
import os
import re

import pytest

import rootless
from tests.support.hosts import nested


def test_info_counts_containers_and_images(box):
    box.ok("run", "-d", "--name", "up", "busybox", "sleep", "1000")
    box.ok("run", "--name", "over", "busybox", "true")
    box.ok("create", "--name", "made", "busybox")
    data = json.loads(box.ok("info", "--format", "json"))
    counts = [data[f"Containers{kind}"] for kind in ("", "Running", "Paused", "Stopped")]
    assert (counts, data["Images"]) == ([3, 1, 0, 2], 1)
    text = box.ok("info")
    assert " Containers: 3\n  Running: 1\n  Paused: 0\n  Stopped: 2\n Images: 1\n" in text


def test_info_names_driver_and_its_reason_and_directories(store):
    data = json.loads(store.ok("info", "--format", "json"))
    assert data["Driver"] in ("overlay", "fuse-overlayfs", "vfs")
    status = dict(data["DriverStatus"])
    assert status["Reason"]
    assert data["DockerRootDir"] == str(store.data_root)
    assert data["Rl"]["RuntimeDir"] == str(store.runtime_dir)
    assert data["ServerVersion"] == rootless.__version__
    assert data["NCPU"] == len(os.sched_getaffinity(0))
    assert data["Rl"]["Helpers"]["slirp4netns"].startswith("/")
    assert "name=rootless" in data["SecurityOptions"]
    assert f" Storage Driver: {data['Driver']}\n" in store.ok("info")


def test_info_warns_of_what_is_missing_with_the_remedy(store):
    poor = store.using(store.command)
    poor.prefix = nested("mount --bind /dev/null /usr/bin/slirp4netns")
    result = poor("info")
    assert result.status == 0
    (line,) = [line for line in result.stderr.splitlines() if "slirp4netns" in line]
    assert line.startswith("WARNING: ")
    assert "install" in line
    healthy = store("info").stderr
    assert "slirp4netns" not in healthy
    assert "XDG_RUNTIME_DIR" not in healthy


def test_info_format_takes_templates(store):
    assert store.ok("info", "-f", "{{.OSType}} {{.Driver}} {{len .Warnings}}").startswith("linux ")
    assert store.ok("info", "--format", "{{json .Plugins.Network}}").startswith("[")
    assert store.fails(1, "info", "--format", "{{.Nope}}")


def test_info_takes_the_storage_driver_of_the_configuration(rl):
    rl.configure(storage_driver="vfs")
    assert rl.ok("info", "-f", "{{.Driver}}") == "vfs"
    assert rl.ok("run", "--rm", "--network", "none", "busybox", "echo", "copied") == "copied"
    assert rl.ok("--storage-driver", "fuse-overlayfs", "info", "-f", "{{.Driver}}") == "fuse-overlayfs"


def test_version_shows_client_and_server(store):
    text = store.ok("version")
    assert re.search(rf"^Client:\n Version: +{re.escape(rootless.__version__)}\n API version: +1\.\d+$", text, re.M)
    assert re.search(r"^Server: rl .*\n Engine:$", text, re.M)
    assert re.search(r"^  API version: +1\.\d+ \(minimum version 1\.24\)$", text, re.M)
    assert store.ok("--version") == f"rl version {rootless.__version__}"
    assert store.ok("-v") == store.ok("--version")


def test_version_formats(store):
    assert store.ok("version", "--format", "{{.Server.Version}}") == rootless.__version__
    assert store.ok("version", "-f", "{{.Client.Os}}/{{.Client.Arch}}").startswith("linux/")
    assert set(json.loads(store.ok("version", "--format", "json"))) == {"Client", "Server"}


def test_version_needs_no_store(store, tmp_path):
    assert store("version", env={"HOME": str(tmp_path / "absent"), "XDG_RUNTIME_DIR": None}).status == 0
    assert not (tmp_path / "absent").exists()


def test_images_spellings(rl, rootfs, busybox_archive):
    rl.ok("image", "pull", "-q", "busybox")
    for verb in ("ls", "list"):
        assert rl.ok("image", verb, "-q") == rl.ok("images", "-q")
    rl.ok("image", "tag", "busybox", "other")
    assert rl.ok("image", "inspect", "-f", "{{.RepoTags}}", "other") == "[busybox:latest other:latest]"
    for verb in ("rm", "remove", "rmi"):
        rl.ok("tag", "busybox", "third")
        assert rl.ok("image", verb, "third") == "Untagged: third:latest"
    rl.ok("image", "import", rootfs, "imported")
    rl.ok("image", "load", "-i", busybox_archive)
    assert rl.ok("images", "-q", "imported")


def test_image_prune(rl, rootfs):
    rl.ok("pull", "-q", "busybox")
    rl.ok("import", rootfs)
    text = rl.ok("image", "prune", "-f")
    assert text.startswith("Deleted Images:\ndeleted: sha256:")
    assert re.search(r"^Total reclaimed space: [\d.]+(B|kB|MB)$", text, re.M)
    assert rl.ok("images", "--format", "{{.Repository}}") == "busybox"
    rl.ok("image", "prune", "-a", "-f")
    assert rl.ok("images", "-q") == ""


def test_container_spellings(box):
    assert box.ok("container", "run", "--rm", "busybox", "echo", "ran") == "ran"
    box.ok("container", "create", "--name", "managed", "busybox", "sh", "-c", "echo logged; exec sleep 1000")
    assert box.ok("container", "start", "managed") == "managed"
    assert box.ok("container", "exec", "managed", "echo", "inside") == "inside"
    for verb in ("ls", "list", "ps"):
        assert box.ok("container", verb, "--format", "{{.Names}}") == "managed"
    assert box.ok("container", "inspect", "-f", "{{.Name}}", "managed") == "/managed"
    assert box.ok("container", "stop", "-t", "0", "managed") == "managed"
    assert box.ok("container", "wait", "managed") == "137"
    assert box.ok("container", "logs", "managed") == "logged"
    box.ok("container", "start", "managed")
    assert box.ok("container", "kill", "managed") == "managed"
    assert box.ok("container", "rm", "managed") == "managed"
    box.ok("create", "--name", "managed", "busybox")
    assert box.ok("container", "remove", "managed") == "managed"


def test_system_info_is_info(store):
    assert store.ok("system", "info", "-f", "{{.ID}}") == store.ok("info", "-f", "{{.ID}}")


@pytest.mark.parametrize("arguments", [["nope"], ["container", "nope"], ["image", "nope"]])
def test_an_unknown_command_is_a_usage_error_with_one_line(store, arguments):
    assert "unknown command: rl " + " ".join(arguments) in store.fails(2, *arguments)


@pytest.mark.parametrize("group", [[], ["container"], ["image"], ["system"]])
def test_a_group_alone_prints_its_help(store, group):
    assert store.ok(*group).startswith("Usage:  rl")
    assert store.ok(*group, "--help") == store.ok(*group)


def test_root_chooses_another_store(store, tmp_path):
    other = tmp_path / "other"
    assert store.ok("--root", other, "images", "-q") == ""
    assert store.ok("images", "-q") != ""
    assert other.is_dir()
