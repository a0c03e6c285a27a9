"""What version and info print of data shaped as Docker's API shapes it."""

import pytest

from rootless.cli import tables
from rootless.cli.commands import image_prune, info, inspect, version
from rootless.cli.context import Context
from rootless.errors import NoSuchContainer

VERSION = {
    "Client": {
        "Version": "1",
        "ApiVersion": "1.47",
        "PythonVersion": "3.11.2",
        "Os": "linux",
        "Arch": "amd64",
        "Context": "default",
    },
    "Server": {
        "Platform": {"Name": ""},
        "Version": "1",
        "ApiVersion": "1.47",
        "MinAPIVersion": "1.24",
        "Os": "linux",
        "Arch": "amd64",
        "Components": [
            {"Name": "Engine", "Version": "1", "Details": {"ApiVersion": "1.47", "MinAPIVersion": "1.24"}},
            {"Name": "slirp4netns", "Version": "1.2.0", "Details": {"Path": "/usr/bin/slirp4netns"}},
        ],
    },
}


def test_version_has_the_layout_of_docker():
    text = tables.render(tables.split(version.text(VERSION)), minimum=20, padding=1)
    assert text == (
        "Client:\n"
        " Version:           1\n"
        " API version:       1.47\n"
        " Python version:    3.11.2\n"
        " OS/Arch:           linux/amd64\n"
        " Context:           default\n"
        "\n"
        "Server:\n"
        " Engine:\n"
        "  Version:          1\n"
        "  API version:      1.47 (minimum version 1.24)\n"
        "  OS/Arch:          linux/amd64\n"
        " slirp4netns:\n"
        "  Version:          1.2.0\n"
        "  Path:             /usr/bin/slirp4netns\n"
    )


def test_info_has_the_layout_of_docker():
    text = info.text(
        {
            "ClientInfo": {"Version": "1", "Context": "default", "Debug": False},
            "Containers": 3,
            "ContainersRunning": 1,
            "ContainersPaused": 0,
            "ContainersStopped": 2,
            "Images": 4,
            "ServerVersion": "1",
            "Driver": "overlay",
            "DriverStatus": [["userxattr", "true"]],
            "Plugins": {"Volume": ["local"], "Network": ["slirp4netns"], "Log": ["json-file"]},
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"],
            "MemTotal": 4_123_456_789,
            "NCPU": 2,
            "RegistryConfig": {
                "InsecureRegistryCIDRs": ["127.0.0.0/8"],
                "IndexConfigs": {"docker.io": {"Secure": True}, "reg:5000": {"Secure": False}},
                "Mirrors": ["http://localhost:5000/"],
            },
        }
    )
    for part in (
        "Client:\n Version:    1\n Context:    default\n Debug Mode: false\n\nServer:\n Containers: 3\n  Running: 1\n",
        " Storage Driver: overlay\n  userxattr: true\n",
        " Plugins:\n  Volume: local\n  Network: slirp4netns\n  Log: json-file\n Swarm: inactive\n",
        " Security Options:\n  seccomp\n   Profile: builtin\n  rootless\n",
        " CPUs: 2\n Total Memory: 3.84GiB\n",
        " Insecure Registries:\n  reg:5000\n  127.0.0.0/8\n Registry Mirrors:\n  http://localhost:5000/\n",
    ):
        assert part in text


def find(name):
    if name == "none":
        raise NoSuchContainer("no such container: none")
    return {"Id": name, "Labels": None}


def test_inspect_prints_an_array(capsys):
    assert inspect.show(Context(), {}, ["a"], find) == 0
    assert capsys.readouterr().out == '[\n    {\n        "Id": "a",\n        "Labels": null\n    }\n]\n'


def test_inspect_prints_what_exists_and_reports_the_rest(capsys):
    assert inspect.show(Context(), {"format": "{{.Id}}"}, ["a", "none", "b"], find) == 1
    assert capsys.readouterr() == ("a\nb\n", "rl: no such container: none\n")


def test_inspect_of_nothing_is_an_empty_array(capsys):
    assert inspect.show(Context(), {}, ["none"], find) == 1
    assert capsys.readouterr().out == "[]\n"


def test_inspect_as_json_is_one_line(capsys):
    inspect.show(Context(), {"format": "json"}, ["a"], find)
    assert capsys.readouterr().out == '[{"Id":"a","Labels":null}]\n'


@pytest.mark.parametrize(
    ("answer", "consent"), [("y\n", True), ("YES\n", True), ("\n", False), ("", False), ("n\n", False)]
)
def test_prune_wants_an_explicit_yes(answer, consent, monkeypatch, capsys):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert image_prune.confirm("Sure?") is consent
    assert capsys.readouterr().out.startswith("Sure? [y/N] ")
