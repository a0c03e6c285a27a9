"""Docker's objects for containers and images."""

from __future__ import annotations

import json
from typing import Any

from rootless.cgroups.resources import DeviceRate, Resources
from rootless.engine import inspect, values
from rootless.engine.options import Bind, ContainerOptions, PortMapping, RestartPolicy, Tmpfs, Ulimit
from rootless.storage.images import ImageEntry

OPTIONS = ContainerOptions(
    image="nginx",
    command=("nginx",),
    env=("A=1", "GONE"),
    binds=(Bind(source="/srv", target="/x", readonly=True, options=("rslave",)), Bind(source="", target="/anon")),
    tmpfs=(Tmpfs(target="/run", options=("size=1m",)),),
    ports=(PortMapping(container_port=80, host_port=8080), PortMapping(container_port=81)),
    ulimits=(Ulimit(name="nofile", soft=1, hard=2),),
    restart=RestartPolicy(name="on-failure", maximum_retries=3),
    labels={"a": "b"},
    security_opt=(values.parse_security_opt("no-new-privileges"),),
    stop_timeout=5,
    init=True,
)
IMAGE: dict[str, Any] = {
    "architecture": "arm64",
    "variant": "v8",
    "os": "linux",
    "created": "2026-01-01T00:00:00Z",
    "author": "me",
    "config": {
        "Env": ["PATH=/bin", "A=0", "GONE=1"],
        "Entrypoint": ["/entry"],
        "Cmd": ["x"],
        "ExposedPorts": {"443/tcp": {}},
        "Volumes": {"/data": {}},
        "Labels": {"c": "d"},
        "StopSignal": "SIGQUIT",
        "Healthcheck": {"Test": ["CMD", "true"]},
    },
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64]},
    "history": [{"comment": "made"}],
}


class View:
    def __init__(self, state: dict[str, Any]) -> None:
        self.id = "ab" * 32
        self.name = "web"
        self.directory = "/data/containers/x"
        self.state = state
        self.record = {
            "created": "2026-01-01T00:00:00.000000000Z",
            "options": json.loads(json.dumps(inspect.options_to_record(OPTIONS))),
            "command": ["/entry", "nginx"],
            "hostname": "host",
            "image_id": "sha256:" + "2" * 64,
            "driver": "overlay",
            "log_path": "/data/log",
            "mounts": [{"Type": "bind"}],
            "labels": {"a": "b"},
            "exposed": ["80/tcp"],
        }


RUNNING = {
    "status": "running",
    "pid": 42,
    "exit_code": 0,
    "started_at": "2026-01-01T00:00:01Z",
    "ip": "10.0.2.100",
    "gateway": "10.0.2.2",
    "ports": [{"container_port": 80, "host_port": 8080, "protocol": "tcp", "host_ip": "127.0.0.1"}],
}


def test_options_survive_the_record() -> None:
    record = json.loads(json.dumps(inspect.options_to_record(OPTIONS)))
    record["a_field_of_the_future"] = 1
    record["binds"][0]["another"] = 2
    assert inspect.options_from_record(record) == OPTIONS


def test_running_container() -> None:
    shown = inspect.container(View(RUNNING), IMAGE)
    json.dumps(shown)
    assert shown["Path"] == "/entry"
    assert shown["Args"] == ["nginx"]
    assert shown["Name"] == "/web"
    assert shown["State"]["Running"] is True
    assert shown["State"]["Pid"] == 42
    assert shown["State"]["FinishedAt"] == "0001-01-01T00:00:00Z"
    config = shown["Config"]
    assert config["Env"] == ["A=1", "PATH=/bin"]
    assert config["Cmd"] == ["nginx"]
    assert config["Entrypoint"] == ["/entry"]
    assert config["ExposedPorts"] == {"80/tcp": {}, "81/tcp": {}, "443/tcp": {}}
    assert config["Volumes"] == {"/anon": {}, "/data": {}}
    assert config["Labels"] == {"a": "b", "c": "d"}
    assert config["StopSignal"] == "SIGQUIT"
    assert config["StopTimeout"] == 5
    assert config["Healthcheck"] == {"Test": ["CMD", "true"]}
    host = shown["HostConfig"]
    assert host["Binds"] == ["/srv:/x:ro,rslave"]
    assert host["Tmpfs"] == {"/run": "size=1m"}
    assert host["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
        "81/tcp": [{"HostIp": "", "HostPort": ""}],
    }
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert host["Ulimits"] == [{"Name": "nofile", "Hard": 2, "Soft": 1}]
    assert host["SecurityOpt"] == ["no-new-privileges=true"]
    network = shown["NetworkSettings"]
    assert network["IPAddress"] == network["Networks"]["bridge"]["IPAddress"] == "10.0.2.100"
    assert network["Ports"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
        "81/tcp": None,
        "443/tcp": None,
    }


def test_limits_in_dockers_fields_and_how_they_are_kept() -> None:
    limits = Resources(
        memory=100 << 20, nano_cpus=1_500_000_000, pids_limit=7, write_bps=(DeviceRate(path="/dev/vda", rate=1024),)
    )
    view = View(
        {**RUNNING, "limits": [["--memory", "enforced"], ["--cpus", "weaker: so"]], "cgroup": "/sys/fs/cgroup/x"}
    )
    options = OPTIONS.replace(resources=limits, cgroup_parent="mine.slice")
    view.record["options"] = json.loads(json.dumps(inspect.options_to_record(options)))
    shown = inspect.container(view, IMAGE)
    json.dumps(shown)
    host = shown["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (
        100 << 20,
        200 << 20,
        1_500_000_000,
        7,
    )
    assert host["BlkioDeviceWriteBps"] == [{"Path": "/dev/vda", "Rate": 1024}]
    assert host["CgroupParent"] == "mine.slice"
    assert shown["Rl"] == {
        "Limits": {"--memory": "enforced", "--cpus": "weaker: so"},
        "Warnings": [],
        "CgroupPath": "/sys/fs/cgroup/x",
        "PausedBy": "",
    }


def test_paused_container() -> None:
    shown = inspect.container(View({**RUNNING, "status": "paused", "paused_by": "cgroup freezer"}), IMAGE)
    assert (shown["State"]["Paused"], shown["State"]["Running"], shown["State"]["Pid"]) == (True, True, 42)
    assert shown["Rl"]["PausedBy"] == "cgroup freezer"
    assert shown["HostConfig"]["MemorySwap"] == 0


def test_container_that_ended() -> None:
    state = {"status": "exited", "pid": 0, "exit_code": 3, "error": "", "oom_killed": True}
    shown = inspect.container(View(state), IMAGE, sizes=(1, 2))
    assert shown["State"]["Status"] == "exited"
    assert shown["State"]["ExitCode"] == 3
    assert shown["State"]["OOMKilled"] is True
    assert shown["State"]["Running"] is False
    assert shown["NetworkSettings"]["Ports"] == {}
    assert shown["NetworkSettings"]["IPAddress"] == ""
    assert (shown["SizeRw"], shown["SizeRootFs"]) == (1, 2)


def test_container_without_its_image_keeps_what_it_knows(tmp_path: Any) -> None:
    view = View(RUNNING)
    view.directory = str(tmp_path)
    process = {"env": ["PATH=/bin"], "cwd": "/srv", "user": {"username": "web"}}
    (tmp_path / "config.json").write_text(json.dumps({"process": process}))
    config = inspect.container(view, None)["Config"]
    assert "PATH=/bin" in config["Env"]
    assert config["WorkingDir"] == "/srv"
    assert config["Labels"] == {"a": "b"}
    assert config["User"] == "web"


def test_image_with_two_names() -> None:
    entry = ImageEntry(
        reference="docker.io/library/nginx:latest",
        manifest_digest="sha256:" + "3" * 64,
        manifest_size=10,
        config_digest="sha256:" + "4" * 64,
        repo_digest="docker.io/library/nginx@sha256:" + "5" * 64,
        size=123,
        tagged_at="2026-01-02T00:00:00Z",
    )
    other = entry.replace(reference="quay.io/x/y:1", repo_digest="", tagged_at="2026-01-03T00:00:00Z")
    shown = inspect.image([entry, other], IMAGE, driver="overlay")
    json.dumps(shown)
    assert shown["Id"] == "sha256:" + "4" * 64
    assert shown["RepoTags"] == ["nginx:latest", "quay.io/x/y:1"]
    assert shown["RepoDigests"] == ["nginx@sha256:" + "5" * 64]
    assert shown["Architecture"] == "arm64"
    assert shown["Variant"] == "v8"
    assert shown["Size"] == 123
    assert shown["RootFS"] == {"Type": "layers", "Layers": ["sha256:" + "1" * 64]}
    assert shown["Metadata"]["LastTagTime"] == "2026-01-03T00:00:00Z"
    assert shown["Config"]["Entrypoint"] == ["/entry"]
    assert shown["Comment"] == "made"
