"""Options and image configurations become OCI specifications.

``tests/golden/specs/NAME.json`` holds whole specifications; after an intended change run
this file with UPDATE_GOLDEN=1 and read the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rootless.engine import specgen
from rootless.engine.options import Bind, ContainerOptions, ExecOptions, PortMapping, Tmpfs, Ulimit
from rootless.engine.specgen import SpecContext
from rootless.errors import Denied, InvalidArgument, NoSuchFile, NoSuchNetwork, RlError

GOLDEN = Path(__file__).parents[2] / "golden" / "specs"
ID = "0123456789abcdef" * 4
NGINX: dict[str, Any] = {
    "architecture": "amd64",
    "os": "linux",
    "config": {
        "Env": ["PATH=/usr/local/sbin:/usr/sbin:/sbin", "NGINX_VERSION=1.27.0"],
        "Entrypoint": ["/docker-entrypoint.sh"],
        "Cmd": ["nginx", "-g", "daemon off;"],
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "SIGQUIT",
        "Labels": {"maintainer": "someone", "version": "1"},
    },
}
EMPTY: dict[str, Any] = {"architecture": "amd64", "os": "linux"}
DATABASE: dict[str, Any] = {
    "config": {"Cmd": ["db"], "User": "postgres:dba", "WorkingDir": "/srv", "Volumes": {"/var/lib/db": {}, "/log/": {}}}
}


def context(**changes: Any) -> SpecContext:
    values: dict[str, Any] = {
        "container_id": ID,
        "directory": f"/data/containers/{ID}",
        "uid_map": ((0, 1000, 1), (1, 100000, 65536)),
        "gid_map": ((0, 1000, 1), (1, 100000, 65536)),
        "host_name": "machine",
        "extra_masked_paths": (),
    }
    return SpecContext(**{**values, **changes})


def options(**changes: Any) -> ContainerOptions:
    return ContainerOptions(**{"image": "example", **changes})


def mounts(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["destination"]: entry for entry in spec["mounts"]}


CASES: dict[str, tuple[ContainerOptions, dict[str, Any], SpecContext]] = {
    "plain": (options(), NGINX, context()),
    "terminal-and-overrides": (
        options(
            command=("-c", "env"),
            entrypoint=("/bin/sh",),
            tty=True,
            env=("TERM=vt100", "NGINX_VERSION", "A=1", "PATH=/bin"),
            workdir="/tmp/../srv/",
            user="1000:1000",
            hostname="web",
            ulimits=(Ulimit(name="nofile", soft=1024, hard=2048), Ulimit(name="core", soft=-1, hard=-1)),
            shm_size=1 << 20,
            cap_drop=("ALL",),
            cap_add=("NET_BIND_SERVICE",),
            security_opt=("no-new-privileges", "seccomp=unconfined"),
            init=True,
        ),
        NGINX,
        context(default_ulimits=(Ulimit(name="nofile", soft=1, hard=1), Ulimit(name="nproc", soft=5, hard=6))),
    ),
    "mounts-read-only": (
        options(
            read_only=True,
            binds=(
                Bind(source="/usr", target="/a/b/c", readonly=True),
                Bind(source="/tmp", target="/a", options=("rslave",)),
                Bind(source="data", target="/data", options=("nocopy",)),
                Bind(source="", target="/anonymous"),
                Bind(source="/etc/hosts", target="/etc/hosts"),
            ),
            tmpfs=(Tmpfs(target="/run", options=("size=1m", "exec", "mode=1777")),),
        ),
        DATABASE,
        context(
            volumes={"/data": "/v/data/_data", "/anonymous": "/v/1/_data", "/var/lib/db": "/v/2/_data", "/log": "/v/3"}
        ),
    ),
    "host-network": (options(network="host", command=("true",)), EMPTY, context()),
    "no-subordinate-ids": (
        options(network="none", command=("true",)),
        EMPTY,
        context(uid_map=((0, 1000, 1),), gid_map=((0, 1000, 1),)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_specification_is_the_golden_one(name: str) -> None:
    spec = specgen.generate(*CASES[name])
    text = json.dumps(spec, indent=2) + "\n"
    path = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert json.loads(path.read_text()) == json.loads(text)


@pytest.mark.parametrize(
    ("entrypoint", "command", "image", "result"),
    [
        (None, (), NGINX, ["/docker-entrypoint.sh", "nginx", "-g", "daemon off;"]),
        (None, ("sh",), NGINX, ["/docker-entrypoint.sh", "sh"]),
        (("sh",), (), NGINX, ["sh"]),
        (("sh",), ("-c",), NGINX, ["sh", "-c"]),
        ((), ("ls",), NGINX, ["ls"]),
        (("",), ("ls",), NGINX, ["ls"]),
        (None, (), {"config": {"Cmd": "ls"}}, ["ls"]),
        (None, ("x",), {"config": {"Entrypoint": None, "Cmd": None}}, ["x"]),
    ],
)
def test_entry_point_and_command_combine_as_in_docker(
    entrypoint: tuple[str, ...] | None, command: tuple[str, ...], image: dict[str, Any], result: list[str]
) -> None:
    assert specgen.command(options(entrypoint=entrypoint, command=command), image) == result


@pytest.mark.parametrize(("entrypoint", "image"), [(None, EMPTY), ((), NGINX), (None, {"config": None})])
def test_nothing_to_run_is_refused(entrypoint: tuple[str, ...] | None, image: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="no command specified") as caught:
        specgen.command(options(entrypoint=entrypoint), image)
    assert "example" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"workdir": "srv"}, InvalidArgument, "the working directory 'srv' is invalid"),
        ({"network": "front"}, NoSuchNetwork, "network front not found"),
        ({"hostname": "a b"}, InvalidArgument, "invalid hostname: a b"),
        ({"cap_add": ("FLY",)}, InvalidArgument, "FLY"),
        ({"security_opt": ("seccomp=/nonexistent",)}, InvalidArgument, "/nonexistent"),
        ({"binds": (Bind(source="/nonexistent", target="/x"),)}, NoSuchFile, "path does not exist: /nonexistent"),
        ({"binds": (Bind(source="/etc/passwd/x", target="/x"),)}, NoSuchFile, "path does not exist: /etc/passwd/x"),
        (
            {"binds": (Bind(source="/usr", target="/x"),), "tmpfs": (Tmpfs(target="/x"),)},
            InvalidArgument,
            "duplicate mount point: /x",
        ),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], kind: type[RlError], message: str) -> None:
    with pytest.raises(kind) as caught:
        specgen.generate(options(command=("true",), **changes), EMPTY, context())
    assert message in str(caught.value)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_unreadable_bind_source_is_denied(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0)
    with pytest.raises(Denied, match="not readable"):
        specgen.check_bind_sources([Bind(source=str(secret), target="/x")])
    tmp_path.chmod(0)
    try:
        with pytest.raises(Denied, match="not accessible"):
            specgen.check_bind_sources([Bind(source=str(secret), target="/x")])
    finally:
        tmp_path.chmod(0o700)


def test_privileged_containers_see_everything() -> None:
    spec = specgen.generate(options(command=("true",), privileged=True), EMPTY, context())
    assert spec["linux"]["maskedPaths"] == spec["linux"]["readonlyPaths"] == []
    assert spec["annotations"][specgen.SECCOMP] == "unconfined"
    assert "CAP_SYS_ADMIN" in spec["process"]["capabilities"]["bounding"]
    assert "ro" not in mounts(spec)["/sys"]["options"]
    paths = [device["path"] for device in spec["linux"]["devices"]]
    assert "/dev/null" in paths
    assert not [path for path in paths if path.startswith("/dev/pts/")]


def test_seccomp_is_chosen_by_option_then_privilege_then_configuration(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ERRNO"}')
    configured = context(default_seccomp=str(profile))

    def chosen(where: SpecContext, **changes: Any) -> str:
        spec = specgen.generate(options(command=("true",), **changes), EMPTY, where)
        return str(spec["annotations"][specgen.SECCOMP])

    assert chosen(context()) == "default"
    assert chosen(configured) == '{"defaultAction":"SCMP_ACT_ERRNO"}'
    assert chosen(configured, privileged=True) == "unconfined"
    assert chosen(configured, security_opt=("seccomp=default",)) == "default"
    assert chosen(configured, security_opt=("seccomp=unconfined",)) == "unconfined"


def test_masked_paths_open_only_on_request() -> None:
    spec = specgen.generate(
        options(command=("true",), security_opt=("systempaths=unconfined",)), EMPTY, context(extra_masked_paths=("/x",))
    )
    assert spec["linux"]["maskedPaths"] == []
    spec = specgen.generate(options(command=("true",)), EMPTY, context(extra_masked_paths=("/x",)))
    assert spec["linux"]["maskedPaths"][-1] == "/x"


def test_a_user_mount_replaces_the_default_one() -> None:
    over = options(command=("true",), tmpfs=(Tmpfs(target="/dev/shm", options=("size=1m",)),))
    spec = specgen.generate(over, EMPTY, context())
    assert [entry["source"] for entry in spec["mounts"] if entry["destination"] == "/dev/shm"] == ["tmpfs"]
    over = options(command=("true",), binds=(Bind(source="/dev", target="/dev"),))
    spec = specgen.generate(over, EMPTY, context())
    assert [name for name in mounts(spec) if name.startswith("/dev")] == ["/dev"]


def test_image_volumes_are_anonymous_unless_covered() -> None:
    given = options(binds=(Bind(source="db", target="/var/lib/db", readonly=True),))
    requests = specgen.volumes(given, DATABASE)
    assert [(request.name, request.target, request.from_image) for request in requests] == [
        ("db", "/var/lib/db", False),
        ("", "/log", True),
    ]
    points = specgen.mount_points(
        given, DATABASE, {"/log": "abc"}, {"/log": "/v/abc/_data", "/var/lib/db": "/v/db/_data"}
    )
    assert points[0]["Name"] == "db"
    assert points[0]["RW"] is False
    assert points[1]["Name"] == "abc"
    assert points[1]["Source"] == "/v/abc/_data"


def test_published_ports_of_publish_all() -> None:
    given = options(publish_all=True, ports=(PortMapping(container_port=80, host_port=8080),), exposed=("53/udp", "80"))
    assert specgen.published_ports(given, NGINX) == (
        PortMapping(container_port=80, host_port=8080),
        PortMapping(container_port=53, protocol="udp"),
    )
    assert specgen.exposed_ports(given, NGINX) == ("80/tcp", "53/udp")
    assert specgen.published_ports(options(), NGINX) == ()


def test_labels_and_stop_signal() -> None:
    assert specgen.labels(options(labels={"version": "2"}), NGINX) == {"maintainer": "someone", "version": "2"}
    assert specgen.stop_signal(options(), NGINX) == 3
    assert specgen.stop_signal(options(stop_signal="9"), NGINX) == 9
    assert specgen.stop_signal(options(), EMPTY) == 15


def test_exec_inherits_from_the_container() -> None:
    spec = specgen.generate(options(env=("A=1",), user="web", workdir="/srv"), NGINX, context())
    process = specgen.exec_process(spec, ExecOptions(command=("sh",), tty=True, env=("A=2", "NGINX_VERSION", "B=3")))
    assert process["user"]["username"] == "web"
    assert process["cwd"] == "/srv"
    assert process["capabilities"] == spec["process"]["capabilities"]
    assert "A=2" in process["env"]
    assert "TERM=xterm" in process["env"]
    assert not any(item.startswith("NGINX_VERSION") for item in process["env"])
    process = specgen.exec_process(spec, ExecOptions(command=("sh",), user="0", workdir="/x/..", privileged=True))
    assert process["user"]["username"] == "0"
    assert process["cwd"] == "/"
    assert "CAP_SYS_ADMIN" in process["capabilities"]["effective"]
    for bad in (ExecOptions(command=()), ExecOptions(command=("sh",), workdir="x")):
        with pytest.raises(InvalidArgument):
            specgen.exec_process(spec, bad)


def test_ping_is_allowed_to_the_mapped_groups() -> None:
    spec = specgen.generate(options(command=("true",)), EMPTY, context())
    assert spec["linux"]["sysctl"]["net.ipv4.ping_group_range"] == "0 65536"
    spec = specgen.generate(options(command=("true",)), EMPTY, context(gid_map=((0, 5, 10), (20, 100, 5))))
    assert spec["linux"]["sysctl"]["net.ipv4.ping_group_range"] == "0 9"
