"""Rows of ps and images."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rootless.engine import filters, listing, times
from rootless.engine.listing import display_ports
from rootless.errors import InvalidArgument, NoSuchContainer
from rootless.storage.content import BlobStore
from rootless.storage.images import ImageEntry, ImageStore
from rootless.storage.layout import Layout

NOW = times.from_text("2026-01-02T00:00:00Z")
NGINX = "sha256:" + "a" * 64


class View:
    """A container as the lists see it."""

    def __init__(self, identifier: str, name: str, created: str, state: dict[str, Any], **record: Any) -> None:
        self.id = identifier.ljust(64, "0")
        self.name = name
        self.directory = f"/data/{self.id}"
        self.record = {"created": created, "image": "nginx", "image_id": NGINX, "command": ["nginx"], **record}
        self.state = state


WEB = View(
    "aa1",
    "web",
    "2026-01-01T23:00:00.000000000Z",
    {
        "status": "running",
        "started_at": "2026-01-01T23:00:01Z",
        "ip": "10.0.2.100",
        "gateway": "10.0.2.2",
        "ports": [{"container_port": 80, "host_port": 8080, "protocol": "tcp", "host_ip": ""}],
    },
    labels={"tier": "front", "app": "shop"},
    exposed=["80/tcp", "443/tcp"],
    command=["/docker-entrypoint.sh", "nginx", "-g", 'daemon "off";'],
    mounts=[{"Type": "volume", "Name": "a-very-long-volume-name", "Destination": "/d", "Driver": "local"}],
)
DONE = View(
    "aa2",
    "job",
    "2026-01-01T22:00:00.000000000Z",
    {
        "status": "exited",
        "exit_code": 3,
        "started_at": "2026-01-01T22:00:00Z",
        "finished_at": "2026-01-01T22:30:00Z",
    },
    options={"network": "none"},
    mounts=[{"Type": "bind", "Source": "/srv", "Destination": "/x"}],
)
NEW = View("bb3", "later", "2026-01-01T23:30:00.000000000Z", {"status": "created"}, image_id="sha256:" + "b" * 64)
ALL = [WEB, DONE, NEW]


def ps(*items: str, **options: Any) -> list[str]:
    chosen = filters.parse(items, filters.CONTAINERS)

    def find(text: str) -> str | None:
        return NGINX if text == "nginx" else None

    summaries = listing.containers(ALL, filters=chosen, find_image=find, now=NOW, **options)
    return [listing.container_row(summary, now=NOW)["Names"] for summary in summaries]


def test_only_running_containers_unless_all() -> None:
    assert ps() == ["web"]
    assert ps(every=True) == ["later", "web", "job"]
    assert ps(last=2) == ["later", "web"]


@pytest.mark.parametrize(
    ("items", "names"),
    [
        (["status=exited"], ["job"]),
        (["status=created", "status=exited"], ["later", "job"]),
        (["exited=3"], ["job"]),
        (["exited=0"], []),
        (["name=^w"], ["web"]),
        (["name=/web"], ["web"]),
        (["id=aa"], ["web", "job"]),
        (["label=tier"], ["web"]),
        (["label=tier=front", "label=app=x"], []),
        (["ancestor=nginx"], ["web", "job"]),
        (["ancestor=gone"], []),
        (["before=web"], ["job"]),
        (["since=job"], ["later", "web"]),
        (["since=job", "before=later"], ["web"]),
        (["network=none"], ["job"]),
        (["network=bridge"], ["later", "web"]),
        (["volume=/x"], ["job"]),
        (["volume=/srv", "volume=a-very-long-volume-name"], ["web", "job"]),
        (["publish=8080"], ["web"]),
        (["publish=8000-9000/udp"], []),
        (["expose=443"], ["web"]),
        (["health=none"], ["later", "web", "job"]),
        (["is-task=true"], []),
    ],
)
def test_filters_of_ps(items: list[str], names: list[str]) -> None:
    assert ps(*items, every=True) == names


def test_faulty_filters_of_ps_are_refused() -> None:
    for item in ("status=gone", "exited=x", "health=fine", "publish=1:2", "expose=x", "colour=red"):
        with pytest.raises(InvalidArgument):
            listing.containers(ALL, filters={item.partition("=")[0]: [item.partition("=")[2]]})
    with pytest.raises(NoSuchContainer):
        ps("before=nobody")


def test_row_of_a_running_container() -> None:
    (summary,) = listing.containers(ALL, now=NOW)
    row = listing.container_row(summary, now=NOW)
    assert row["ID"] == "aa1000000000"
    assert row["Image"] == "nginx"
    assert row["Command"] == '"/docker-entrypoint.…"'
    assert row["RunningFor"] == "About an hour ago"
    assert row["Status"] == "Up 59 minutes"
    assert row["Ports"] == "443/tcp, 0.0.0.0:8080->80/tcp"
    assert row["Labels"] == "app=shop,tier=front"
    assert row["Label"]("tier") == "front"
    assert row["Mounts"] == "a-very-long-vo…"
    assert row["LocalVolumes"] == "1"
    assert row["Networks"] == "bridge"
    assert row["Size"] == ""
    whole = listing.container_row(summary, truncate=False, now=NOW)
    assert whole["ID"] == WEB.id
    assert whole["Command"] == '"/docker-entrypoint.sh nginx -g \'daemon \\"off\\";\'"'
    assert set(row) - {"Label"} == set(listing.CONTAINER_HEADERS)


def test_sizes_are_asked_for_only_on_request() -> None:
    (summary,) = listing.containers(ALL, sizes=lambda _: (1234, 187_400_000), now=NOW)
    assert listing.container_row(summary, now=NOW)["Size"] == "1.23kB (virtual 187MB)"


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({}, "Created"),
        ({"status": "running", "started_at": "2026-01-01T23:59:58Z"}, "Up 2 seconds"),
        (
            {"status": "running", "started_at": "2026-01-01T23:59:00Z", "health": {"Status": "healthy"}},
            "Up About a minute (healthy)",
        ),
        (
            {"status": "running", "started_at": "2026-01-01T23:59:00Z", "health": {"Status": "starting"}},
            "Up About a minute (health: starting)",
        ),
        ({"status": "paused", "started_at": "2026-01-01T22:00:00Z"}, "Up 2 hours (Paused)"),
        ({"status": "exited", "exit_code": 137, "finished_at": "2025-12-30T00:00:00Z"}, "Exited (137) 3 days ago"),
        (
            {"status": "restarting", "exit_code": 1, "finished_at": "2026-01-01T23:59:57Z"},
            "Restarting (1) 3 seconds ago",
        ),
        ({"status": "removing"}, "Removal In Progress"),
        ({"status": "dead"}, "Dead"),
    ],
)
def test_status_is_in_dockers_words(state: dict[str, Any], text: str) -> None:
    assert listing.status_text(state, now=NOW) == text


def port(private: int, public: int = 0, ip: str = "", kind: str = "tcp") -> dict[str, Any]:
    return {"PrivatePort": private, "Type": kind, **({"PublicPort": public, "IP": ip} if ip else {})}


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ([], ""),
        ([port(80)], "80/tcp"),
        ([port(81), port(80), port(82), port(90)], "80-82/tcp, 90/tcp"),
        ([port(80, 8080, "0.0.0.0")], "0.0.0.0:8080->80/tcp"),
        ([port(80, 80, "0.0.0.0"), port(81, 81, "0.0.0.0")], "0.0.0.0:80-81->80-81/tcp"),
        ([port(80, 80, "::")], "[::]:80->80/tcp"),
        ([port(53, kind="udp"), port(53)], "53/tcp, 53/udp"),
    ],
)
def test_ports_are_shown_as_in_docker(ports: list[dict[str, Any]], text: str) -> None:
    assert display_ports(ports) == text


# -- images ------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Any) -> ImageStore:
    layout = Layout(str(tmp_path))
    layout.create()
    blobs = BlobStore(layout)
    store = ImageStore(layout, blobs)

    def add(reference: str, created: str, size: int, labels: dict[str, str], repo_digest: str = "") -> ImageEntry:
        config = {"created": created, "os": "linux", "architecture": "amd64", "config": {"Labels": labels}}
        config["rootfs"] = {"type": "layers", "diff_ids": []}
        data = json.dumps(config).encode()
        config_digest = blobs.put(data)
        manifest = {
            "schemaVersion": 2,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": 1},
            "layers": [],
        }
        digest = blobs.put(json.dumps(manifest).encode())
        if repo_digest:
            repo_digest = f"{repo_digest}@{digest}"
        entry = store.describe(digest, reference=reference, repo_digest=repo_digest, size=size)
        store.add(entry)
        return entry

    web = add(
        "docker.io/library/nginx:latest", "2026-01-01T00:00:00Z", 187_400_000, {"a": "1"}, "docker.io/library/nginx"
    )
    store.tag(web, "registry.example:5000/shop/web:v1")
    add("docker.io/team/db:16", "2025-12-01T00:00:00Z", 5, {})
    add("", "2025-11-01T00:00:00Z", 1234, {"a": "2"})
    return store


def image_names(store: ImageStore, *items: str, name: str = "") -> list[str]:
    found = listing.images(store, name=name, filters=filters.parse(items, filters.IMAGES), now=NOW)
    return [f"{row['Repository']}:{row['Tag']}" for summary in found for row in listing.image_rows(summary, now=NOW)]


def test_images_have_a_row_for_each_tag(store: ImageStore) -> None:
    assert image_names(store) == [
        "nginx:latest",
        "registry.example:5000/shop/web:v1",
        "team/db:16",
        "<none>:<none>",
    ]
    row = listing.image_rows(listing.images(store)[0], now=NOW)[0]
    assert row["Size"] == "187MB"
    assert row["CreatedSince"] == "24 hours ago"
    assert len(row["ID"]) == 12
    assert row["Digest"] == "<none>"
    assert set(row) == set(listing.IMAGE_HEADERS)
    row = listing.image_rows(listing.images(store)[0], truncate=False, digests=True, now=NOW)[0]
    assert row["Digest"].startswith("sha256:")
    assert row["ID"].startswith("sha256:")


@pytest.mark.parametrize(
    ("items", "names"),
    [
        (["dangling=true"], ["<none>:<none>"]),
        (["dangling=false"], ["nginx:latest", "registry.example:5000/shop/web:v1", "team/db:16"]),
        (["reference=nginx"], ["nginx:latest"]),
        (["reference=*/*:16"], ["team/db:16"]),
        (["reference=docker.io/library/ng*"], ["nginx:latest"]),
        (["label=a"], ["nginx:latest", "registry.example:5000/shop/web:v1", "<none>:<none>"]),
        (["label=a=2"], ["<none>:<none>"]),
        (["before=nginx"], ["team/db:16", "<none>:<none>"]),
        (["since=team/db:16"], ["nginx:latest", "registry.example:5000/shop/web:v1"]),
        (["until=720h"], ["team/db:16", "<none>:<none>"]),
    ],
)
def test_filters_of_images(store: ImageStore, items: list[str], names: list[str]) -> None:
    assert image_names(store, *items) == names


def test_an_argument_of_images_is_a_pattern(store: ImageStore) -> None:
    assert image_names(store, name="team/db") == ["team/db:16"]
    assert image_names(store, name="nothing") == []
