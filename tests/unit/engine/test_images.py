"""Tagging and removing images by Docker's rules, and what the rest of images.py decides alone."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rootless.engine import changes, images
from rootless.errors import Conflict, ImageInUse, InvalidArgument, NoSuchImage, RlError
from rootless.storage import records
from rootless.storage.content import BlobStore
from rootless.storage.images import ImageEntry, ImageStore
from rootless.storage.layout import Layout

DIGEST = "sha256:" + "d" * 64


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    layout = Layout(str(tmp_path))
    layout.create()
    blobs = BlobStore(layout)
    return SimpleNamespace(layout=layout, blobs=blobs, images=ImageStore(layout, blobs), userns=None)


def add(engine: Any, reference: str, *, repo_digest: str = "", number: int = 0, **config: Any) -> ImageEntry:
    diff_id = f"sha256:{number:064x}"
    body = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}, **config}
    config_digest = engine.blobs.put(json.dumps(body).encode())
    manifest = {
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": 1},
        "layers": [],
    }
    digest = engine.blobs.put(json.dumps(manifest).encode())
    entry = engine.images.describe(digest, reference=reference, repo_digest=repo_digest)
    engine.images.add(entry)
    return entry


def run(engine: Any, entry: ImageEntry, *, status: str = "exited", digit: str = "c") -> str:
    identifier = digit * 64
    directory = Path(engine.layout.container(identifier))
    directory.mkdir()
    record = {
        "id": identifier,
        "name": "x",
        "created": "2026-01-01T00:00:00Z",
        "image_id": entry.image_id,
        "manifest_digest": entry.manifest_digest,
        "options": {},
    }
    records.write(f"{directory}/container.json", record)
    state: dict[str, Any] = {"version": 1, "status": status, "pid": 0, "exit_code": 0}
    if status == "running":
        import os

        from rootless.linux import process

        pid = os.getpid()
        state.update(boot_id=process.boot_id(), monitor_pid=pid, monitor_start=process.start_time(pid))
    (directory / "state.json").write_text(json.dumps(state))
    return identifier[:12]


def lines(result: list[tuple[str, str]]) -> list[str]:
    return [f"{kind}: {what}" for kind, what in result]


def test_the_last_name_takes_the_image_with_it(engine: Any) -> None:
    entry = add(engine, "docker.io/library/nginx:latest", repo_digest=f"docker.io/library/nginx@{DIGEST}", number=7)
    assert lines(images.remove(engine, "nginx")) == [
        "Untagged: nginx:latest",
        f"Untagged: nginx@{DIGEST}",
        f"Deleted: {entry.image_id}",
        f"Deleted: sha256:{7:064x}",
    ]
    assert engine.images.list() == []
    assert engine.blobs.list() == []


def test_a_name_among_several_is_only_untagged(engine: Any) -> None:
    entry = add(engine, "docker.io/library/nginx:latest")
    images.tag(engine, "nginx", "web:1")
    assert lines(images.remove(engine, "nginx:latest")) == ["Untagged: nginx:latest"]
    assert engine.images.lookup("web:1").image_id == entry.image_id


def test_layers_of_other_images_are_not_reported_as_deleted(engine: Any) -> None:
    first = add(engine, "docker.io/library/a:latest", number=1, author="one")
    add(engine, "docker.io/library/b:latest", number=1, author="two")
    assert lines(images.remove(engine, "a")) == ["Untagged: a:latest", f"Deleted: {first.image_id}"]


def test_a_name_in_use_by_a_stopped_container_takes_force(engine: Any) -> None:
    entry = add(engine, "docker.io/library/nginx:latest")
    container = run(engine, entry)
    with pytest.raises(ImageInUse) as caught:
        images.remove(engine, "nginx")
    assert str(caught.value) == (
        f'conflict: unable to remove repository reference "nginx" (must force) - container {container}'
        f" is using its referenced image {entry.image_id[7:19]}"
    )
    assert f"Deleted: {entry.image_id}" in lines(images.remove(engine, "nginx", force=True))
    # The container's own content stays.
    assert engine.blobs.has(entry.config_digest)


def test_an_image_of_a_running_container_loses_its_name_at_most(engine: Any) -> None:
    entry = add(engine, "docker.io/library/nginx:latest")
    container = run(engine, entry, status="running")
    assert lines(images.remove(engine, "nginx", force=True)) == ["Untagged: nginx:latest"]
    assert engine.images.lookup(entry.image_id).reference == ""
    for force in (False, True):
        with pytest.raises(ImageInUse) as caught:
            images.remove(engine, entry.image_id[7:15], force=force)
        assert str(caught.value) == (
            f"conflict: unable to delete {entry.image_id[7:19]} (cannot be forced)"
            f" - image is being used by running container {container}"
        )


def test_an_image_by_id_in_use_by_a_stopped_container_takes_force(engine: Any) -> None:
    entry = add(engine, "docker.io/library/nginx:latest")
    run(engine, entry)
    with pytest.raises(ImageInUse, match=r"\(must be forced\) - image is being used by stopped container"):
        images.remove(engine, entry.image_id)
    assert lines(images.remove(engine, entry.image_id, force=True))[0] == "Untagged: nginx:latest"


def test_an_id_with_several_names_takes_force(engine: Any) -> None:
    entry = add(engine, "docker.io/library/nginx:latest")
    images.tag(engine, "nginx", "web:1")
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is referenced in multiple repositories"):
        images.remove(engine, entry.image_id[7:19])
    assert lines(images.remove(engine, entry.image_id[7:19], force=True))[:2] == [
        "Untagged: nginx:latest",
        "Untagged: web:1",
    ]
    assert engine.images.list() == []


def test_unknown_images_are_named(engine: Any) -> None:
    with pytest.raises(NoSuchImage, match="no such image: nginx:latest"):
        images.remove(engine, "nginx")


def test_a_digest_reference_is_untagged_alone(engine: Any) -> None:
    add(engine, "docker.io/library/nginx:latest", repo_digest=f"docker.io/library/nginx@{DIGEST}")
    assert lines(images.remove(engine, f"nginx@{DIGEST}")) == [f"Untagged: nginx@{DIGEST}"]
    (entry,) = engine.images.list()
    assert entry.reference.endswith("nginx:latest")
    assert entry.repo_digest == ""


def test_tags_cannot_be_digests(engine: Any) -> None:
    add(engine, "docker.io/library/nginx:latest")
    with pytest.raises(InvalidArgument, match="refusing to create a tag with a digest reference"):
        images.tag(engine, "nginx", f"web@{DIGEST}")
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        images.tag(engine, "nginx", "Web")


def test_prune_keeps_names_and_images_in_use(engine: Any) -> None:
    add(engine, "docker.io/library/named:latest", number=1)
    used = add(engine, "", number=2)
    loose = add(engine, "", number=3, config={"Labels": {"keep": "no"}})
    run(engine, used)
    assert images.prune(engine, filters=["label=keep=yes"])[0] == []
    assert images.prune(engine, filters=["label!=keep"])[0] == []
    removed, freed = images.prune(engine)
    assert removed == [("Deleted", loose.image_id)]
    assert freed > 0
    removed, _ = images.prune(engine, all=True)
    assert removed[0] == ("Untagged", "named:latest")
    assert [entry.image_id for entry in engine.images.list()] == [used.image_id]


def test_policies_without_a_registry(engine: Any) -> None:
    engine.snapshotter = SimpleNamespace(has=lambda _: True)
    entry = add(engine, "docker.io/library/nginx:latest")
    assert images.ensure(engine, "nginx", policy="missing").image_id == entry.image_id
    assert images.ensure(engine, "nginx", policy="never", platform="linux/amd64").image_id == entry.image_id
    for text, platform in (("redis", ""), ("nginx", "linux/arm64")):
        with pytest.raises(NoSuchImage) as caught:
            images.ensure(engine, text, policy="never", platform=platform)
        assert "rl pull" in caught.value.hint
    with pytest.raises(InvalidArgument, match="invalid pull option"):
        images.ensure(engine, "nginx", policy="sometimes")


def test_changes_alter_a_configuration() -> None:
    config: dict[str, Any] = {"Env": ["A=1"], "WorkingDir": "/srv"}
    changes.apply(
        config,
        [
            'CMD ["nginx", "-g"]',
            "entrypoint /bin/sh -c x",
            "ENV A=2 B='x y'",
            "ENV C some words",
            'LABEL a=b c="d e"',
            "EXPOSE 80 53/udp",
            'VOLUME ["/data"]',
            "VOLUME /x /y",
            "USER web:www",
            "WORKDIR sub",
            "STOPSIGNAL SIGQUIT",
            "ONBUILD RUN true",
        ],
    )
    assert config == {
        "Env": ["A=2", "B=x y", "C=some words"],
        "WorkingDir": "/srv/sub",
        "Cmd": ["nginx", "-g"],
        "Entrypoint": ["/bin/sh", "-c", "/bin/sh -c x"],
        "Labels": {"a": "b", "c": "d e"},
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Volumes": {"/data": {}, "/x": {}, "/y": {}},
        "User": "web:www",
        "StopSignal": "SIGQUIT",
        "OnBuild": ["RUN true"],
    }


@pytest.mark.parametrize("change", ["", "CMD", "RUN true", "ENV A", "LABEL a=b c", 'ENV A="x', "EXPOSE x"])
def test_bad_changes_are_refused(change: str) -> None:
    with pytest.raises(RlError):
        changes.apply({}, [change])
