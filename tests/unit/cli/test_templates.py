"""The expected texts were recorded from docker's CLI (28.2), given the same data."""

import pytest

from rootless.cli import govalues
from rootless.cli.templates import Template
from rootless.errors import InvalidArgument

DATA = {
    "Id": "a" * 64,
    "Created": "2024-01-02T03:04:05.678Z",
    "Args": ["-g", "daemon off;"],
    "State": {"Status": "running", "Running": True, "Pid": 42, "Error": ""},
    "Name": "/web",
    "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}, "Binds": None},
    "Mounts": [{"Source": "/a", "Destination": "/b", "RW": True}],
    "Config": {
        "Hostname": "h",
        "Env": ["A=1", "B=2"],
        "Cmd": ["nginx"],
        "Labels": {"x": "y", "a.b": "c d"},
        "Volumes": None,
    },
    "NetworkSettings": {
        "IPAddress": "10.0.0.2",
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": None},
        "Networks": {"bridge": {"IPAddress": "10.0.0.2", "Gateway": "10.0.0.1"}},
    },
}

CASES = [
    ("{{.State.Status}} {{.State.Running}} {{.State.Pid}}", "running true 42"),
    ("{{json .Config.Labels}}", '{"a.b":"c d","x":"y"}'),
    ("{{json .NetworkSettings.Ports}}", '{"443/tcp":null,"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}'),
    ("{{.Config.Labels}}", "map[a.b:c d x:y]"),
    ("{{.Config.Env}}", "[A=1 B=2]"),
    ("{{.Config.Cmd}} {{.Config.Volumes}}", "[nginx] map[]"),
    ("{{.HostConfig.Binds}} {{json .HostConfig.Binds}} {{len .HostConfig.Binds}}", "[] null 0"),
    ('{{index .Config.Labels "x"}}|{{index .Config.Labels "nope"}}', "y|"),
    ("{{.Config.Labels.x}} {{.Config.Labels.nope}}", "y <no value>"),
    ("{{range .Config.Env}}{{.}};{{end}}", "A=1;B=2;"),
    ("{{range $i, $e := .Config.Env}}{{$i}}={{$e}} {{end}}", "0=A=1 1=B=2 "),
    ("{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$e}}{{end}}", "A=1, B=2"),
    ("{{range $k, $v := .Config.Labels}}{{$k}}->{{$v}},{{end}}", "a.b->c d,x->y,"),
    (
        "{{range $p, $conf := .HostConfig.PortBindings}}{{$p}} -> {{(index $conf 0).HostPort}} {{end}}",
        "80/tcp -> 8080 ",
    ),
    ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
    ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "10.0.0.2"),
    ("{{.NetworkSettings.Networks.bridge.Gateway}}", "10.0.0.1"),
    ('{{if eq .State.Status "exited"}}a{{else if eq .State.Status "running"}}b{{else}}c{{end}}', "b"),
    ("{{if not .State.Running}}a{{end}}b", "b"),
    ("{{with .Config}}{{.Hostname}}{{end}}", "h"),
    ("{{with .HostConfig.Binds}}x{{else}}empty{{end}}", "empty"),
    ("{{range .HostConfig.Binds}}x{{else}}none{{end}}", "none"),
    ('{{join .Config.Env ","}} {{join .Args " "}}', "A=1,B=2 -g daemon off;"),
    ('{{upper .Name}} {{lower "ABC"}} {{title "hello world"}}', "/WEB abc Hello World"),
    ("{{len .Config.Env}} {{len .Name}} {{len .Config.Labels}}", "2 4 2"),
    (
        '{{printf "%s|%5d|%-5s|%q|%v" .Name .State.Pid "x" "q\\"" .Config.Env}}',
        '/web|   42|x    |"q\\""|[A=1 B=2]',
    ),
    ('{{printf "%.3s" .Id}} {{printf "%05d" 42}} {{printf "%x" 255}} {{printf "%t" true}}', "aaa 00042 ff true"),
    (
        '{{printf "%d" "s"}} {{printf "%s"}} {{printf "%s" "a" "b"}}',
        "%!d(string=s) %!s(MISSING) a%!(EXTRA string=b)",
    ),
    ('{{println .Name "b"}}', "/web b\n"),
    ('{{print 1 2 "a" "b" 3}}', "1 2ab3"),
    ('{{split .Name "e"}}{{range split .Name "e"}}[{{.}}]{{end}}', "[/w b][/w][b]"),
    ("{{- .Name -}} x", "/webx"),
    ("a {{- /* c */ -}} b{{/* c */}}z", "abz"),
    ("{{$x := .Name}}{{$x}} {{len $.Id}}", "/web 64"),
    ('{{.Name | printf "%s-%s" "a"}}', "a-/web"),
    ("{{slice .Id 0 12}} {{truncate .Id 5}} [{{pad .Name 1 2}}]", "aaaaaaaaaaaa aaaaa [ /web  ]"),
    ('{{and true .Name}} {{or "" "d"}} {{not true}}', "/web d false"),
    ('{{eq 1 1}} {{ne "a" "b"}} {{lt 1 2}} {{ge 3 2}} {{eq .State.Status "a" "running"}}', "true true true true true"),
    ("{{range .Mounts}}{{.Source}}:{{.Destination}}:{{.RW}}{{end}}", "/a:/b:true"),
    ("{{index .Config.Env 0}}", "A=1"),
    ("{{(.State).Pid}}", "42"),
    ("{{\"a\\tb\"}}{{`raw`}}{{true}} {{1.5}} {{'a'}}", "a\tbrawtrue 1.5 97"),
    ('{{json "a<b>&é"}}', '"a<b>&é"'),
    ("{{$y := 0}}{{range .Config.Env}}{{$y = len .}}{{end}}{{$y}}", "3"),
    ('{{range .Config.Env}}{{if eq . "A=1"}}{{continue}}{{end}}{{.}}{{break}}{{end}}', "B=2"),
    ('{{  index   .Config.Labels   "a.b"  |  upper  }}', "C D"),
    ("plain", "plain"),
    ("", ""),
]
FAULTS = [
    "{{.Nope}}",
    "{{.Config.Nope}}",
    "{{index .Config.Env 7}}",
    "{{.Id",
    "{{end}}",
    "{{else}}",
    "{{if .Id}}x",
    "{{foo .Id}}",
    "{{.Name.Foo}}",
    "{{.State.Pid.X}}",
    "{{.Config.Labels.x.y}}",
    "{{}}",
    "{{(.Id}}",
    "{{.Id)}}",
    '{{"open}}',
    "{{/* open }}",
    "{{$undefined}}",
    "{{break}}",
    '{{template "x"}}',
    "{{.Id | }}",
    "{{join .Id}}",
    '{{join .Id ","}}',
    "{{1 2}}",
    "{{if .Id}}{{else}}{{else}}{{end}}",
    '{{lt 1 "a"}}',
]


@pytest.mark.parametrize(("template", "expected"), CASES)
def test_template_prints_what_docker_prints(template, expected):
    assert Template(template).render(govalues.typed(DATA)) == expected


@pytest.mark.parametrize("template", FAULTS)
def test_faulty_template_is_a_template_parsing_error(template):
    with pytest.raises(InvalidArgument, match=r"^template parsing error: "):
        Template(template).render(govalues.typed(DATA))


def test_unknown_field_names_the_fields_there_are():
    with pytest.raises(InvalidArgument) as raised:
        Template("{{.State.Foo}}").render(govalues.typed(DATA))
    assert raised.value.message == "template parsing error: can't evaluate field Foo"
    assert raised.value.hint == "fields: Status, Running, Pid, Error"


def test_method_takes_arguments():
    row = {"Label": lambda name: f"<{name}>"}
    assert Template('{{.Label "a.b"}} {{"c" | .Label}}').render(row) == "<a.b> <c>"


def test_variable_ends_with_its_block():
    with pytest.raises(InvalidArgument):
        Template("{{if true}}{{$x := 1}}{{end}}{{$x}}").render({})


def test_json_keeps_the_order_of_structs_and_sorts_maps():
    data = govalues.typed({"B": 1, "A": {"z": 1}, "Labels": {"z": "1", "a": "2"}})
    assert Template("{{json .}}").render(data) == '{"B":1,"A":{"z":1},"Labels":{"a":"2","z":"1"}}'
