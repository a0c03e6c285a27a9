"""Images that other programs wrote: pushed by skopeo, archived by skopeo and by podman."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.images import build

SHOW = ("--network", "none")


def works(rl, image: str) -> bool:
    """Run a program of the image, and look at its file system."""
    out = rl.ok(
        "run", "--rm", *SHOW, image, "sh", "-c", "cat /etc/passwd | head -n 1; ls -i /bin/ls /bin/sh | cut -d/ -f1"
    )
    lines = out.splitlines()
    assert lines[0] == "root:x:0:0:root:/root:/bin/sh"
    assert lines[1].split() == lines[2].split(), "hard links of the image stay links"
    return True


@pytest.mark.parametrize(
    ("tag", "options"),
    [
        ("oci", ("--format", "oci")),
        ("v2s2", ("--format", "v2s2")),
        ("zstd", ("--format", "oci", "--dest-compress-format", "zstd")),
        ("plain", ("--format", "v2s2", "--dest-decompress")),
    ],
)
def test_an_image_pushed_by_skopeo(rl, registry, busybox_archive, tag, options):
    source = f"docker://{registry.address}/library/busybox:latest"
    if tag == "plain":
        registry.skopeo(
            "copy", "--src-tls-verify=false", "--dest-decompress", source, f"dir:{registry.directory}/plain"
        )
        source = f"dir:{registry.directory}/plain"
        options = ("--format", "v2s2")
    target = f"docker://{registry.address}/foreign/skopeo:{tag}"
    registry.skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", *options, source, target)
    name = f"{registry.address}/foreign/skopeo:{tag}"
    assert works(rl, name)
    assert rl.ok("images", "--format", "{{.Repository}}:{{.Tag}}") == name


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
@pytest.mark.parametrize("way", ["file", "stdin", "gzip"])
def test_an_archive_written_by_skopeo(bare_rl, registry, tmp_path, kind, way):
    path = tmp_path / "image.tar"
    reference = "docker.io/library/from-skopeo:1.0"
    source = f"docker://{registry.address}/library/busybox:latest"
    registry.skopeo("copy", "--src-tls-verify=false", source, f"{kind}:{path}:{reference}")
    if way == "gzip":
        subprocess.run(["gzip", "-1", path], check=True)
        path = path.with_suffix(".tar.gz")
    if way == "stdin":
        said = bare_rl.ok("load", input=path.read_bytes())
    else:
        said = bare_rl.ok("load", "-i", path)
    assert said == "Loaded image: from-skopeo:1.0"
    assert works(bare_rl, "from-skopeo:1.0")


def test_an_archive_of_two_images_that_share_layers(bare_rl, registry, tmp_path):
    """What `skopeo copy` into one archive twice gives, as `docker save one two` does."""
    for name in ("one", "two"):
        registry.skopeo(
            *("copy", "--src-tls-verify=false", f"docker://{registry.address}/library/busybox:latest"),
            f"oci:{tmp_path}/layout:docker.io/library/{name}:latest",
        )
    subprocess.run(["tar", "-cf", tmp_path / "both.tar", "-C", tmp_path / "layout", "."], check=True)
    said = bare_rl.ok("load", "-i", tmp_path / "both.tar")
    assert sorted(said.splitlines()) == ["Loaded image: one:latest", "Loaded image: two:latest"]
    assert works(bare_rl, "one")
    assert works(bare_rl, "two")


# Podman as root of a namespace of ours, where cgroups are version 2: it needs both to start.
AS_ROOT = ["unshare", "--user", "--map-auto", "--map-root-user", "--mount", "--cgroup", "sh", "-ec"]
PODMAN = """
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /dev/shm  # its locks have one name for all users
cd "$HOME"
podman() { command podman --root $HOME/root --runroot $HOME/runroot --tmpdir $HOME/tmp --storage-driver vfs \
  --cgroup-manager cgroupfs --events-backend none "$@"; }
podman load -q -i "$1" >&2
podman tag docker.io/library/busybox:latest localhost/from-podman:2.0
podman save -q --format docker-archive -o docker.tar localhost/from-podman:2.0
podman save -q --format oci-archive -o oci.tar localhost/from-podman:2.0
podman save -q -m --format docker-archive -o several.tar localhost/from-podman:2.0 docker.io/library/busybox:latest
chmod a+r *.tar
"""


@pytest.fixture(scope="module")
def podman():
    """A directory with archives that podman saved."""
    with tempfile.TemporaryDirectory(prefix="rlp-") as name:
        directory = Path(name)
        result = subprocess.run(
            [*AS_ROOT, PODMAN, "sh", build("busybox")],
            env={"HOME": name, "TMPDIR": name, "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": name},
            capture_output=True,
            text=True,
            timeout=120,
        )
        try:
            assert result.returncode == 0, result.stderr
            yield directory
        finally:
            subprocess.run(
                ["unshare", "--user", "--map-auto", "--map-root-user", "sh", "-c", 'rm -rf "$1"/*', "sh", name],
                check=True,
            )


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_an_archive_written_by_podman(bare_rl, podman, kind):
    assert bare_rl.ok("load", "-i", podman / f"{kind}.tar") == "Loaded image: localhost/from-podman:2.0"
    assert works(bare_rl, "localhost/from-podman:2.0")


def test_an_archive_of_several_images_written_by_podman(bare_rl, podman):
    said = bare_rl.ok("load", "-i", podman / "several.tar")
    assert sorted(said.splitlines()) == ["Loaded image: busybox:latest", "Loaded image: localhost/from-podman:2.0"]
    assert works(bare_rl, "busybox")


def test_skopeo_reads_our_store_in_place(rl, registry):
    rl.ok("pull", "-q", "busybox")
    layout = rl.data_root
    assert (layout / "oci-layout").exists()
    inspected = registry.skopeo("inspect", f"oci:{layout}:docker.io/library/busybox:latest")
    assert '"Architecture"' in inspected
