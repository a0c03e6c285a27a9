"""``rl inspect`` (and ``container inspect``, ``image inspect``): Docker's objects, fields and templates."""

from __future__ import annotations

import json
import re

import pytest

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"


@pytest.fixture(scope="module")
def subject(store, tmp_path_factory):
    """A running container with a bit of everything."""
    directory = tmp_path_factory.mktemp("mounted")
    options = [
        *("--name", "subject", "-h", "inside", "-e", "A=1", "-w", "/tmp", "-u", "0:100", "-l", "k=v", "--init"),
        *("-v", f"{directory}:/bound:ro", "-v", "named:/named", "--tmpfs", "/t:size=1m", "-p", "127.0.0.1::80/tcp"),
        *("--add-host", "db:10.1.2.3", "--dns", "9.9.9.9", "--cap-add", "SYS_ADMIN", "--cap-drop", "CHOWN"),
        *("--security-opt", "no-new-privileges", "--ulimit", "nofile=10:20", "--shm-size", "2m", "--read-only"),
        *("--stop-signal", "INT", "--stop-timeout", "4", "--restart", "unless-stopped", "--entrypoint", "sleep"),
    ]
    identifier = store.ok("run", "-d", *options, "busybox", "100000")
    return store.json("inspect", "subject")[0] | {"_id": identifier, "_directory": str(directory)}


def test_is_a_list_with_an_object_for_each_name(store, subject):
    both = store.json("inspect", "subject", "busybox")
    assert [("State" in item, "RootFS" in item) for item in both] == [(True, False), (False, True)]


def test_container_identity(store, subject):
    assert subject["Id"] == subject["_id"]
    assert (subject["Name"], subject["Path"], subject["Args"]) == ("/subject", "sleep", ["100000"])
    assert re.fullmatch(TIME, subject["Created"])
    assert subject["Image"] == store.ok("images", "-q", "--no-trunc", "busybox")
    assert (subject["Platform"], subject["RestartCount"]) == ("linux", 0)
    assert subject["Driver"] in ("overlay", "fuse-overlayfs", "vfs")


def test_container_state(subject):
    state = subject["State"]
    flags = {name: state[name] for name in ("Running", "Paused", "Restarting", "OOMKilled", "Dead")}
    assert flags == {"Running": True, "Paused": False, "Restarting": False, "OOMKilled": False, "Dead": False}
    assert (state["Status"], state["ExitCode"], state["Error"]) == ("running", 0, "")
    assert state["Pid"] > 1
    assert re.fullmatch(TIME, state["StartedAt"])
    assert state["FinishedAt"] == "0001-01-01T00:00:00Z"


def test_container_config(subject):
    config = subject["Config"]
    assert config["Env"][0] == "A=1"
    assert any(item.startswith("PATH=") for item in config["Env"])
    expected = {
        "Hostname": "inside",
        "User": "0:100",
        "WorkingDir": "/tmp",
        "Entrypoint": ["sleep"],
        "Cmd": ["100000"],
        "Image": "busybox",
        "Labels": {"k": "v"},
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "INT",
        "StopTimeout": 4,
        "Tty": False,
        "OpenStdin": False,
    }
    assert {name: config[name] for name in expected} == expected


def test_container_host_config(subject):
    host = subject["HostConfig"]
    expected = {
        "NetworkMode": "default",
        "AutoRemove": False,
        "ReadonlyRootfs": True,
        "Privileged": False,
        "Init": True,
        "CapAdd": ["SYS_ADMIN"],
        "CapDrop": ["CHOWN"],
        "Dns": ["9.9.9.9"],
        "ExtraHosts": ["db:10.1.2.3"],
        "Tmpfs": {"/t": "size=1m"},
        "ShmSize": 2 << 20,
        "Ulimits": [{"Name": "nofile", "Hard": 20, "Soft": 10}],
        "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        "Binds": [f"{subject['_directory']}:/bound:ro", "named:/named"],
    }
    assert {name: host[name] for name in expected} == expected
    assert [item.split("=")[0] for item in host["SecurityOpt"]] == ["no-new-privileges"]


def test_container_mounts(subject):
    mounts = {mount["Destination"]: mount for mount in subject["Mounts"]}
    bound, named = mounts["/bound"], mounts["/named"]
    assert (bound["Type"], bound["Source"], bound["RW"], bound["Mode"]) == ("bind", subject["_directory"], False, "ro")
    assert (named["Type"], named["Name"], named["RW"], named["Driver"]) == ("volume", "named", True, "local")


def test_container_network(subject):
    network = subject["NetworkSettings"]
    ((binding,),) = [value for key, value in network["Ports"].items() if key == "80/tcp"]
    assert binding["HostIp"] == "127.0.0.1"
    assert 0 < int(binding["HostPort"]) < 65536
    assert network["Networks"]["bridge"]["IPAddress"] == network["IPAddress"] == "10.0.2.100"


def test_files_that_the_object_names_exist(store, subject):
    for name in ("HostsPath", "HostnamePath", "ResolvConfPath", "LogPath"):
        with open(subject[name]) as stream:
            text = stream.read()
        assert ("inside" in text) == (name in ("HostsPath", "HostnamePath"))


def test_state_after_the_end(box):
    box("run", "--name", "ended", "busybox", "sh", "-c", "exit 7")
    state = box.json("inspect", "ended")[0]["State"]
    assert (state["Status"], state["Running"], state["Pid"], state["ExitCode"]) == ("exited", False, 0, 7)
    assert state["StartedAt"] <= state["FinishedAt"]


def test_an_image_has_dockers_fields(store):
    image = store.json("inspect", "busybox")[0]
    assert image["RepoTags"] == ["busybox:latest"]
    assert re.fullmatch(r"busybox@sha256:[0-9a-f]{64}", image["RepoDigests"][0])
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", image["Id"])
    assert (image["Os"], image["Config"]["Cmd"]) == ("linux", ["sh"])
    assert image["RootFS"]["Type"] == "layers"
    assert len(image["RootFS"]["Layers"]) == 1
    assert image["Size"] > 1_000_000


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}}", "/subject"),
        ("{{.State.Status}} {{.State.Running}}", "running true"),
        ("{{json .Config.Labels}}", '{"k":"v"}'),
        ('{{index .Config.Labels "k"}}', "v"),
        ("{{range .Args}}[{{.}}]{{end}}", "[100000]"),
        ("{{range .Mounts}}{{.Destination}} {{end}}", "/bound /named "),
        ("{{len .Mounts}}", "2"),
        ("{{join .Config.Cmd `,`}}", "100000"),
        ("{{if .HostConfig.Init}}init{{end}}", "init"),
        ("{{.HostConfig.ShmSize}}", str(2 << 20)),
        ("{{range $p, $c := .NetworkSettings.Ports}}{{$p}}={{(index $c 0).HostIp}}{{end}}", "80/tcp=127.0.0.1"),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "10.0.2.100"),
        ("{{.Config.Entrypoint}}", "[sleep]"),
        ("{{println .Name}}", "/subject\n"),
        ("{{.Id | printf `%.12s`}}", None),
    ],
)
def test_templates(store, subject, template, text):
    expected = subject["Id"][:12] if text is None else text
    assert store.ok("inspect", "--format", template, "subject") == expected
    assert store.ok("inspect", "-f", template, "subject") == expected


def test_format_json_is_one_line(store, subject):
    text = store.ok("inspect", "--format", "json", "subject", "busybox")
    assert len(text.splitlines()) == 1
    assert [item.get("Name", "") for item in json.loads(text)] == ["/subject", ""]
    assert json.loads(store.ok("inspect", "--format", "{{json .}}", "subject"))["Name"] == "/subject"


def test_type_chooses_between_a_container_and_an_image_of_one_name(box):
    box.ok("create", "--name", "busybox", "busybox")
    assert box.ok("inspect", "-f", "{{.Name}}", "busybox") == "/busybox"
    assert box.ok("inspect", "--type", "container", "-f", "{{.Name}}", "busybox") == "/busybox"
    assert box.ok("inspect", "--type", "image", "-f", "{{.Os}}", "busybox") == "linux"
    assert box.ok("container", "inspect", "-f", "{{.Name}}", "busybox") == "/busybox"
    assert box.ok("image", "inspect", "-f", "{{.Os}}", "busybox") == "linux"


def test_what_is_not_there_is_an_error_after_what_is(store, subject):
    result = store("inspect", "absent", "subject")
    assert result.status == 1
    assert [item["Name"] for item in json.loads(result.stdout)] == ["/subject"]
    assert result.stderr == "rl: no such object: absent\n"
    assert "no such container: busybox" in store("inspect", "--type", "container", "busybox").stderr
    assert "no such image: subject" in store("inspect", "--type", "image", "subject").stderr
    assert "no such container: absent" in store("container", "inspect", "absent").stderr
    assert store("inspect", "--type", "nope", "subject").status == 2
    assert store("inspect").status == 2


def test_a_template_that_names_nothing_is_an_error(store, subject):
    result = store("inspect", "-f", "{{.Nope.Nope}}", "subject")
    assert result.status == 1
    assert "Nope" in result.stderr
    assert store("inspect", "-f", "{{.Name", "subject").status == 1
