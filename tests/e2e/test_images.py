"""``rl pull``, ``images``, ``tag``, ``rmi``, ``import`` and ``load``."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import tarfile

import pytest

DIGEST = "sha256:[0-9a-f]{64}"


def listed(rl, *arguments):
    return rl.ok("images", *arguments, "--format", "{{.Repository}}:{{.Tag}}").split()


def image_id(rl, name):
    return rl.ok("inspect", "--type", "image", "-f", "{{.Id}}", name)


# -- pull --------------------------------------------------------------------------------


def test_pull_reports_as_docker_does_and_a_second_one_finds_nothing_new(rl):
    result = rl("pull", "busybox")
    assert (result.status, result.stderr) == (0, "")
    lines = result.lines
    assert lines[0] == "Using default tag: latest"
    assert any(re.fullmatch(r"[0-9a-f]{12}: Pull complete", line) for line in lines)
    assert re.fullmatch(f"Digest: {DIGEST}", lines[-3])
    assert lines[-2:] == ["Status: Downloaded newer image for busybox:latest", "docker.io/library/busybox:latest"]
    assert rl.ok("pull", "busybox:latest").splitlines()[-2] == "Status: Image is up to date for busybox:latest"


def test_pull_quiet_prints_the_name_only(rl):
    assert rl.ok("pull", "-q", "busybox") == "docker.io/library/busybox:latest"


def test_pull_shares_layers_between_names_and_formats(rl, registry):
    rl.ok("pull", "-q", "busybox")
    again = rl.ok("pull", "busybox:v2s2")
    assert "Already exists" in again
    assert sorted(listed(rl)) == ["busybox:latest", "busybox:v2s2"]
    layers = [rl.json("inspect", "-f", "{{json .RootFS.Layers}}", f"busybox:{tag}") for tag in ("latest", "v2s2")]
    assert layers[0] == layers[1]


def test_pull_by_digest_has_no_tag(rl):
    rl.ok("pull", "-q", "busybox")
    name = rl.ok("inspect", "-f", "{{index .RepoDigests 0}}", "busybox")
    rl.ok("rmi", "busybox")
    assert rl.ok("pull", "-q", name) == f"docker.io/library/{name}"
    assert rl.ok("images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}") == (
        f"busybox <none> {name.partition('@')[2]}"
    )
    assert rl.ok("run", "--rm", name, "echo", "ran") == "ran"


def test_pull_from_a_registry_by_its_address(bare_rl, registry):
    name = f"{registry.address}/library/busybox"
    assert bare_rl.ok("pull", "-q", name) == f"{name}:latest"
    assert listed(bare_rl) == [f"{name}:latest"]
    assert bare_rl.ok("run", "--rm", name, "echo", "ran") == "ran"


def test_pull_refuses_what_is_not_there_and_leaves_nothing(rl, registry):
    assert "absent" in rl.fails(1, "pull", "-q", f"{registry.address}/absent")
    assert "nope" in rl.fails(1, "pull", "-q", f"{registry.address}/library/busybox:nope")
    assert "invalid reference format" in rl.fails(1, "pull", "BusyBox")
    assert "linux/s390x" in rl.fails(1, "pull", "-q", "--platform", "linux/s390x", "busybox")
    assert rl.ok("images", "-q") == ""


def test_pull_of_an_unreachable_registry_names_it(bare_rl):
    assert "127.0.0.1:9" in bare_rl.fails(1, "pull", "-q", "127.0.0.1:9/busybox")


def test_pull_of_layers_compressed_with_zstd(rl, registry, busybox_archive):
    registry.push(busybox_archive, "library/zstd:latest", compress="zstd")
    rl.ok("pull", "-q", "zstd")
    assert rl.ok("run", "--rm", "--network", "none", "zstd", "echo", "ran") == "ran"


# -- images ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def album(store, rootfs):
    """busybox under two names, an image with labels, one without a name."""
    store.ok("tag", "busybox", "example.org/team/box:v1")
    store.ok("import", "-c", "LABEL kind=mine", "-c", "LABEL n=1", rootfs, "mine:1")
    store.ok("import", "-c", "LABEL kind=nameless", rootfs)


def test_the_table_has_dockers_columns(store, album):
    lines = store.ok("images", "busybox").splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    cells = re.split(r"\s{2,}", lines[1])
    assert cells[:2] == ["busybox", "latest"]
    assert re.fullmatch("[0-9a-f]{12}", cells[2])
    assert cells[3].endswith(" ago")
    assert re.fullmatch(r"[\d.]+MB", cells[4])
    heads = re.split(r"\s{2,}", store.ok("images", "--digests").splitlines()[0])
    assert heads == ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"]


def test_all_names_of_an_image_are_rows_and_newer_images_come_first(store, album):
    assert sorted(listed(store)[:2]) == ["<none>:<none>", "mine:1"]  # made within one second, perhaps
    assert sorted(listed(store)[2:]) == ["busybox:latest", "example.org/team/box:v1"]
    assert listed(store, "-a") == listed(store)


def test_quiet_and_no_trunc(store, album):
    identifier = image_id(store, "busybox")
    assert store.ok("images", "-q", "busybox") == identifier.removeprefix("sha256:")[:12]
    assert store.ok("images", "-q", "--no-trunc", "busybox") == identifier


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("busybox", ["busybox:latest"]),
        ("busybox:latest", ["busybox:latest"]),
        ("busybox:nope", []),
        ("example.org/team/*", ["example.org/team/box:v1"]),
        ("mine", ["mine:1"]),
        ("min*:*", ["mine:1"]),
    ],
)
def test_images_of_a_name_or_pattern(store, album, name, found):
    assert listed(store, name) == found
    assert listed(store, "--filter", f"reference={name}") == found


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["dangling=true"], ["<none>:<none>"]),
        (["dangling=false"], ["busybox:latest", "example.org/team/box:v1", "mine:1"]),
        (["label=kind"], ["<none>:<none>", "mine:1"]),
        (["label=kind=mine"], ["mine:1"]),
        (["label=kind", "label=n=1"], ["mine:1"]),
        (["before=mine:1"], ["busybox:latest", "example.org/team/box:v1"]),
        (["since=mine:1"], ["<none>:<none>"]),
        (["until=8760h"], ["busybox:latest", "example.org/team/box:v1"]),
    ],
)
def test_image_filters(store, album, filters, found):
    assert sorted(listed(store, *(word for item in filters for word in ("-f", item)))) == found


def test_image_filters_that_cannot_be_are_refused(store):
    assert "invalid filter 'nope'" in store.fails(1, "images", "-f", "nope=1")
    assert "dangling=maybe" in store.fails(1, "images", "-f", "dangling=maybe")


def test_image_formats(store, album):
    row = json.loads(store.ok("images", "--format", "json", "mine"))
    assert (row["Repository"], row["Tag"]) == ("mine", "1")
    assert set(row) >= {"ID", "Repository", "Tag", "Digest", "CreatedSince", "CreatedAt", "Size", "Containers"}
    table = store.ok("images", "--format", "table {{.Repository}}\t{{.ID}}", "mine").splitlines()
    assert table[0].split() == ["REPOSITORY", "IMAGE", "ID"]
    assert re.fullmatch(r"mine\s+[0-9a-f]{12}", table[1])
    created = store.ok("images", "--format", "{{.CreatedAt}}", "mine")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} \w+", created)


# -- tag and rmi -------------------------------------------------------------------------


def test_tag_gives_a_name_that_runs_and_prints_nothing(busybox):
    assert busybox.ok("tag", "busybox", "again:v2") == ""
    assert image_id(busybox, "again:v2") == image_id(busybox, "busybox")
    assert busybox.ok("run", "--rm", "--network", "none", "again:v2", "echo", "ran") == "ran"


def test_tag_moves_a_name_and_leaves_the_old_image_untagged(busybox, rootfs):
    busybox.ok("import", rootfs, "mine")
    old = image_id(busybox, "mine")
    busybox.ok("tag", "busybox", "mine")
    assert image_id(busybox, "mine") == image_id(busybox, "busybox")
    assert busybox.ok("images", "-q", "--no-trunc", "-f", "dangling=true") == old


def test_tag_refusals(busybox):
    assert "no such image: absent" in busybox.fails(1, "tag", "absent", "x")
    assert "invalid reference format" in busybox.fails(1, "tag", "busybox", "Not Good")
    digest = busybox.ok("inspect", "-f", "{{index .RepoDigests 0}}", "busybox")
    assert "refusing to create a tag with a digest reference" in busybox.fails(1, "tag", "busybox", digest)


def test_rmi_untags_first_and_deletes_with_the_last_name(busybox):
    busybox.ok("tag", "busybox", "second:v1")
    identifier = image_id(busybox, "busybox")
    assert busybox.ok("rmi", "second:v1") == "Untagged: second:v1"
    lines = busybox.ok("rmi", "busybox").splitlines()
    assert lines[0] == "Untagged: busybox:latest"
    assert re.fullmatch(f"Untagged: busybox@{DIGEST}", lines[1])
    assert lines[2] == f"Deleted: {identifier}"
    assert all(re.fullmatch(f"Deleted: {DIGEST}", line) for line in lines[3:])
    assert busybox.ok("images", "-q") == ""
    assert list((busybox.data_root / "blobs/sha256").iterdir()) == []


def test_rmi_by_id_wants_force_for_several_names(busybox):
    busybox.ok("tag", "busybox", "second:v1")
    short = busybox.ok("images", "-q", "busybox")
    assert "image is referenced in multiple repositories" in busybox.fails(1, "rmi", short)
    lines = busybox.ok("rmi", "-f", short).splitlines()
    assert {"Untagged: busybox:latest", "Untagged: second:v1"} < set(lines)
    assert busybox.ok("images", "-q") == ""


def test_rmi_refuses_images_in_use(busybox):
    made = busybox.ok("create", "--name", "user", "busybox", "sleep", "1000")
    message = busybox.fails(1, "rmi", "busybox")
    assert "unable to remove repository reference" in message
    assert made[:12] in message
    short = busybox.ok("images", "-q")
    assert "image is being used by stopped container" in busybox.fails(1, "rmi", short)
    busybox.ok("start", "user")
    assert "image is being used by running container" in busybox.fails(1, "rmi", "-f", short)
    busybox.ok("rm", "-f", "user")
    busybox.ok("rmi", short)


def test_rmi_force_untags_an_image_in_use_and_its_container_still_starts(busybox):
    busybox.ok("create", "--name", "user", "busybox", "echo", "alive")
    busybox.ok("rmi", "-f", "busybox")
    assert listed(busybox) in ([], ["<none>:<none>"])
    assert busybox.ok("start", "-a", "user") == "alive"
    assert busybox.ok("inspect", "-f", "{{.Config.Image}}", "user") == "busybox"


def test_rmi_of_several_goes_on_after_a_failure(busybox):
    busybox.ok("tag", "busybox", "second:v1")
    result = busybox("rmi", "second:v1", "absent", "busybox")
    assert result.status == 1
    assert result.stderr == "rl: no such image: absent\n" or "no such image: absent" in result.stderr
    assert busybox.ok("images", "-q") == ""
    assert busybox("rmi", "-f", "absent").status == 0


def test_layers_that_another_image_needs_stay(busybox, rootfs):
    busybox.ok("import", "-c", "CMD echo ran", rootfs, "one")
    busybox.ok("import", "-c", "CMD echo two", rootfs, "two")
    busybox.ok("rmi", "one")
    assert busybox.ok("run", "--rm", "two") == "two"
    assert busybox.ok("run", "--rm", "busybox", "echo", "ran") == "ran"


# -- import ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(rootfs):
    return gzip.decompress(rootfs.read_bytes())


def test_import_prints_the_id_and_the_image_runs(rl, rootfs):
    identifier = rl.ok("import", rootfs, "imported:v1")
    assert re.fullmatch(DIGEST, identifier)
    assert image_id(rl, "imported:v1") == identifier
    assert rl.ok("run", "--rm", "--network", "none", "imported:v1", "echo", "ran") == "ran"


def test_import_from_stdin_in_every_compression(rl, plain):
    for compress in ([], ["gzip", "-1"], ["bzip2", "-1"], ["xz", "-0"], ["zstd", "-1"]):
        data = subprocess.run(compress, input=plain, capture_output=True, check=True).stdout if compress else plain
        name = f"from-{compress[0] if compress else 'plain'}"
        rl.ok("import", "-", name, input=data)
        assert rl.ok("run", "--rm", "--network", "none", name, "echo", name) == name


def test_import_changes_message_and_platform(rl, rootfs):
    changes = [
        'CMD ["sh", "-c", "echo $A; pwd"]',
        "ENV A=1",
        "WORKDIR /w",
        "USER 5:6",
        "EXPOSE 80 90/udp",
        "VOLUME /v",
        "LABEL a=b",
        "STOPSIGNAL INT",
        "ENTRYPOINT []",
    ]
    options = [word for change in changes for word in ("-c", change)]
    rl.ok("import", *options, "-m", "why", "--platform", "linux/arm64", rootfs, "full")
    image = rl.json("inspect", "full")[0]
    config = image["Config"]
    assert config["Cmd"] == ["sh", "-c", "echo $A; pwd"]
    assert "A=1" in config["Env"]
    assert (config["WorkingDir"], config["User"], config["StopSignal"]) == ("/w", "5:6", "INT")
    assert config["ExposedPorts"] == {"80/tcp": {}, "90/udp": {}}
    assert (config["Volumes"], config["Labels"]) == ({"/v": {}}, {"a": "b"})
    assert (image["Comment"], image["Architecture"], image["Os"]) == ("why", "arm64", "linux")


def test_import_refusals_leave_nothing(rl, rootfs, tmp_path):
    assert "/nope: no such file" in rl.fails(1, "import", "/nope", "x")
    assert "INVALID" in rl.fails(1, "import", "-c", "INVALID x", rootfs, "x")
    (tmp_path / "text").write_text("this is not an archive" * 100)
    rl.fails(1, "import", tmp_path / "text", "x")
    (tmp_path / "cut.tar.gz").write_bytes(rootfs.read_bytes()[:50000])
    rl.fails(1, "import", tmp_path / "cut.tar.gz", "x")
    assert rl.ok("images", "-q") == ""


# -- load --------------------------------------------------------------------------------


def test_load_of_a_file_and_of_stdin(bare_rl, busybox_archive):
    assert bare_rl.ok("load", "-i", busybox_archive) == "Loaded image: busybox:latest"
    bare_rl.ok("rmi", "busybox")
    assert bare_rl.ok("load", "-q", input=busybox_archive.read_bytes()) == "Loaded image: busybox:latest"
    assert bare_rl.ok("run", "--rm", "busybox", "echo", "ran") == "ran"


def converted(registry, archive, target, name):
    """Return the busybox of the registry as skopeo writes it."""
    registry.skopeo(
        "copy",
        "--src-tls-verify=false",
        f"docker://{registry.address}/library/busybox:latest",
        f"{target}:{archive}:{name}",
    )
    return archive


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
@pytest.mark.parametrize("compress", ["plain", "gzip", "zstd"])
def test_load_of_archives_that_skopeo_wrote(bare_rl, registry, tmp_path, kind, compress):
    path = converted(registry, tmp_path / "image.tar", kind, "from/skopeo:v1")
    data = path.read_bytes()
    if compress != "plain":
        data = subprocess.run([compress, "-1"], input=data, capture_output=True, check=True).stdout
    assert bare_rl.ok("load", input=data).startswith("Loaded image: ")
    (name,) = listed(bare_rl)
    assert name.endswith("from/skopeo:v1") or kind == "oci-archive", name
    assert bare_rl.ok("run", "--rm", "--network", "none", name, "echo", "ran") == "ran"


def test_load_of_an_archive_with_several_images(bare_rl, registry, tmp_path):
    path = tmp_path / "both.tar"
    source = ("copy", "--src-tls-verify=false", f"docker://{registry.address}/library/busybox:latest")
    registry.skopeo(*source, f"docker-archive:{path}:one:v1", "--additional-tag", "two:v2")
    assert sorted(bare_rl.ok("load", "-i", path).splitlines()) == ["Loaded image: one:v1", "Loaded image: two:v2"]
    assert image_id(bare_rl, "one:v1") == image_id(bare_rl, "two:v2")


def test_load_takes_a_name_from_another_image_and_says_so(rl, busybox_archive, rootfs):
    rl.ok("import", rootfs, "busybox")
    old = image_id(rl, "busybox")
    result = rl("load", "-i", busybox_archive)
    assert result.status == 0
    assert image_id(rl, "busybox") != old
    assert rl.ok("images", "-q", "--no-trunc", "-f", "dangling=true") == old


def test_load_refuses_damaged_archives_and_leaves_nothing(bare_rl, busybox_archive, tmp_path):
    data = busybox_archive.read_bytes()
    for damaged in (data[: len(data) // 2], data[:100], b"", b"text" * 1000):
        assert bare_rl("load", input=damaged).status == 1
    middle = bytearray(data)
    middle[len(data) // 2] ^= 0xFF
    assert bare_rl("load", input=bytes(middle)).status == 1
    assert "/nope: no such file" in bare_rl.fails(1, "load", "-i", "/nope")
    assert bare_rl.ok("images", "-q") == ""


def test_load_names_what_an_archive_lacks(bare_rl):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("unrelated"))
    assert "manifest.json" in bare_rl.fails(1, "load", input=buffer.getvalue())
