"""``rl ps``: Docker's columns, filters and formats."""

from __future__ import annotations

import json
import re

import pytest

NAMES = ["up", "done", "failed", "made"]  # in the order of their creation


@pytest.fixture(scope="module")
def fleet(store, tmp_path_factory):
    """Containers in every state, with something to filter by."""
    directory = tmp_path_factory.mktemp("mounted")
    store.ok("tag", "busybox", "other:v1")
    options = [
        "-l",
        "role=server",
        "-l",
        "tier=1",
        "-v",
        f"{directory}:/mounted",
        "-p",
        "127.0.0.1::80",
        "--expose",
        "90",
    ]
    store.ok("run", "-d", "--name", "up", *options, "busybox", "sleep", "100000")
    store.ok(
        "run", "--name", "done", "-l", "role=job", "--network", "none", "other:v1", "echo", "a rather long command line"
    )
    store("run", "--name", "failed", "--network", "none", "busybox", "sh", "-c", "exit 3")
    store.ok("create", "--name", "made", "-v", "stored:/data", "busybox")
    return {name: store.ok("inspect", "-f", "{{.Id}}", name) for name in NAMES} | {"directory": str(directory)}


def names(box, *arguments):
    return box.ok("ps", *arguments, "--format", "{{.Names}}").split()


def test_the_table_has_dockers_columns(box, fleet):
    lines = box.ok("ps").splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert len(lines) == 2
    cells = re.split(r"\s{2,}", lines[1])
    assert cells[:3] == [fleet["up"][:12], "busybox", '"sleep 100000"']
    assert re.fullmatch(r"(Less than a second|\d+ seconds?) ago", cells[3])
    assert re.fullmatch(r"Up (Less than a second|\d+ seconds?)", cells[4])
    assert re.fullmatch(r"90/tcp, 127\.0\.0\.1:\d+->80/tcp", cells[5])
    assert cells[6] == "up"


def test_without_containers_the_header_stands_alone(rl):
    assert re.split(r"\s{2,}", rl.ok("ps"))[0] == "CONTAINER ID"
    assert rl.ok("ps", "-q") == ""


def test_all_shows_every_state_newest_first(box, fleet):
    assert names(box, "-a") == NAMES[::-1]
    assert names(box) == ["up"]
    status = dict(line.split(" ", 1) for line in box.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}").splitlines())
    assert re.fullmatch(r"Exited \(0\) .* ago", status["done"])
    assert re.fullmatch(r"Exited \(3\) .* ago", status["failed"])
    assert status["made"] == "Created"


def test_quiet_prints_ids_and_no_trunc_whole_ones(box, fleet):
    assert box.ok("ps", "-q") == fleet["up"][:12]
    assert box.ok("ps", "-q", "--no-trunc") == fleet["up"]
    assert box.ok("ps", "-aq").split() == [fleet[name][:12] for name in NAMES[::-1]]


def test_no_trunc_shows_whole_commands_too(box, fleet):
    show = ["ps", "-a", "--filter", "name=done", "--format", "{{.Command}}"]
    assert box.ok(*show) == '"echo \'a rather long…"'
    assert box.ok(*show, "--no-trunc") == "\"echo 'a rather long command line'\""


def test_latest_and_last(box, fleet):
    assert names(box, "-l") == ["made"]
    assert names(box, "--latest") == ["made"]
    assert names(box, "-n", "2") == ["made", "failed"]
    assert names(box, "--last", "3") == ["made", "failed", "done"]
    assert names(box, "-n", "0") == ["up"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["name=up"], ["up"]),
        (["name=^/?(up|made)$"], ["made", "up"]),
        (["name=a"], ["made", "failed"]),
        (["name=up", "name=done"], ["done", "up"]),
        (["status=running"], ["up"]),
        (["status=exited"], ["failed", "done"]),
        (["status=created"], ["made"]),
        (["status=created", "status=running"], ["made", "up"]),
        (["exited=0"], ["done"]),
        (["exited=3"], ["failed"]),
        (["label=role"], ["done", "up"]),
        (["label=role=job"], ["done"]),
        (["label=role", "label=tier=1"], ["up"]),
        (["ancestor=busybox"], ["made", "failed", "done", "up"]),
        (["ancestor=absent"], []),
        (["before=failed"], ["done", "up"]),
        (["since=done"], ["made", "failed"]),
        (["network=none"], ["failed", "done"]),
        (["network=bridge"], ["made", "up"]),
        (["volume=/mounted"], ["up"]),
        (["volume=stored"], ["made"]),
        (["publish=80"], []),
        (["expose=80"], ["up"]),
        (["expose=85-95/tcp"], ["up"]),
        (["health=none"], ["made", "failed", "done", "up"]),
        (["status=exited", "label=role"], ["done"]),
    ],
)
def test_filter(box, fleet, filters, found):
    assert names(box, "-a", *(word for item in filters for word in ("--filter", item))) == found


def test_filter_by_id_prefix_directory_and_published_port(box, fleet):
    assert names(box, "-a", "-f", f"id={fleet['done'][:6]}") == ["done"]
    assert names(box, "-a", "-f", f"volume={fleet['directory']}") == ["up"]
    ports = box.json("inspect", "-f", "{{json .NetworkSettings.Ports}}", "up")
    assert names(box, "-f", f"publish={ports['80/tcp'][0]['HostPort']}") == ["up"]


def test_status_filter_needs_no_all(box, fleet):
    assert names(box, "--filter", "status=exited") == ["failed", "done"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("nope=1", "invalid filter 'nope'"),
        ("status=nope", "invalid filter 'status=nope'"),
        ("nope", "bad format of filter"),
        ("exited=x", "invalid filter 'exited=x'"),
        ("before=absent", "no such container: absent"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(box, item, words):
    assert words in box.fails(1, "ps", "--filter", item)


def test_format_takes_every_placeholder(box, fleet):
    fields = ["ID", "Image", "Command", "CreatedAt", "RunningFor", "Ports", "State", "Status"]
    fields += ["Size", "Names", "Labels", "Mounts", "LocalVolumes", "Networks"]
    template = "|".join("{{." + field + "}}" for field in fields)
    values = dict(zip(fields, box.ok("ps", "--format", template).split("|"), strict=True))
    assert values["ID"] == fleet["up"][:12]
    assert values["Image"] == "busybox"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} \w+", values["CreatedAt"])
    assert values["State"] == "running"
    assert values["Labels"] == "role=server,tier=1"
    assert values["Networks"] == "bridge"
    assert values["LocalVolumes"] == "0"
    assert values["Mounts"].startswith("/")


def test_format_has_tables_functions_and_json(box, fleet):
    table = box.ok("ps", "--format", "table {{.Names}}\t{{.State}}").splitlines()
    assert [line.split() for line in table] == [["NAMES", "STATE"], ["up", "running"]]
    assert box.ok("ps", "--format", '{{upper .Names}} {{.Label "tier"}} {{len .ID}}') == "UP 1 12"
    assert box.ok("ps", "--format", "{{if eq .State `running`}}yes{{else}}no{{end}}") == "yes"
    row = json.loads(box.ok("ps", "--format", "json"))
    assert (row["Names"], row["State"], row["ID"]) == ("up", "running", fleet["up"][:12])
    assert json.loads(box.ok("ps", "--format", "{{json .}}"))["Names"] == "up"
    assert len([json.loads(line) for line in box.ok("ps", "-a", "--format", "json").splitlines()]) == 4


def test_a_faulty_template_is_refused(box, fleet):
    assert "template" in box.fails(1, "ps", "--format", "{{.Names")
    assert "Nope" in box.fails(1, "ps", "--format", "{{.Nope}}")


def test_the_image_is_shown_as_it_was_asked_for(box, fleet):
    assert box.ok("ps", "-a", "-f", "name=done", "--format", "{{.Image}}") == "other:v1"
