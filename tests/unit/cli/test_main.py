import os
import subprocess
import sys
from pathlib import Path

import pytest

from rootless import __main__ as front
from rootless import __version__
from rootless.cli import fastpath, verbs

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden" / "help"


@pytest.fixture
def rl(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RL_CONFIG", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)

    def rl(*argv):
        status = front.run(list(argv))
        out, err = capsys.readouterr()
        return status, out, err

    return rl


def every_path():
    yield []
    for name in verbs.VERBS:
        yield [name]
    for group, (_, table, _) in verbs.GROUPS.items():
        yield [group]
        for name in table:
            yield [group, name]


@pytest.mark.parametrize("path", list(every_path()), ids=lambda path: "-".join(["rl", *path]))
def test_help_is_as_recorded(rl, path):
    """Set RL_GOLDEN=write to record anew."""
    status, out, err = rl(*path, "--help")
    assert (status, err) == (0, "")
    golden = GOLDEN / ("-".join(["rl", *path]) + ".txt")
    if os.environ.get("RL_GOLDEN") == "write":
        golden.write_text(out)
    assert out == golden.read_text()


def test_every_recorded_help_has_a_verb():
    assert {file.name for file in GOLDEN.glob("*.txt")} == {"-".join(["rl", *path]) + ".txt" for path in every_path()}


@pytest.mark.parametrize("argv", [["--version"], ["-v"], ["--debug", "--version"]])
def test_version_flag(rl, argv):
    assert rl(*argv) == (0, f"rl version {__version__}\n", "")


@pytest.mark.parametrize("argv", [[], ["image"], ["container", "--help"]])
def test_group_without_a_verb_prints_its_help(rl, argv):
    status, out, _ = rl(*argv)
    assert status == 0
    assert out.startswith("Usage:  rl")


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["run"], 125, "'rl run' requires at least 1 argument; see 'rl run --help'"),
        (["container", "run"], 125, "'rl container run' requires at least 1 argument; see 'rl container run --help'"),
        (["run", "--frobnicate", "x"], 125, "unknown flag: --frobnicate; see 'rl run --help'"),
        (["run", "--gpus", "all", "x"], 125, "--gpus is not supported yet"),
        (["run", "--detatch", "x"], 125, "unknown flag: --detatch; did you mean --detach?"),
        (["exec", "x"], 125, "'rl exec' requires at least 2 arguments; see 'rl exec --help'"),
        (["create", "-Z"], 125, "unknown shorthand flag: 'Z' in -Z; see 'rl create --help'"),
        (["ps", "x"], 2, "'rl ps' accepts no arguments; see 'rl ps --help'"),
        (["rm"], 2, "'rl rm' requires at least 1 argument; see 'rl rm --help'"),
        (["frobnicate"], 2, "unknown command: rl frobnicate; see 'rl --help'"),
        (["imags"], 2, "unknown command: rl imags; did you mean rl images?"),
        (["image", "frobnicate"], 2, "unknown command: rl image frobnicate; see 'rl image --help'"),
        (["--frobnicate", "ps"], 2, "unknown flag: --frobnicate; see 'rl --help'"),
        (["run", "--pull", "x", "y"], 125, 'invalid pull option: \'x\': must be one of "always", "missing" or "never"'),
        (["--config", "/nonexistent/c.json", "ps"], 1, "no such configuration file: /nonexistent/c.json"),
        (["--storage-driver", "zfs", "ps"], 1, "storage-driver must be one of overlay, fuse-overlayfs, vfs, not zfs"),
    ],
)
def test_mistake_is_one_line_and_a_status(rl, argv, status, message):
    assert rl(*argv) == (status, "", f"rl: {message}\n")


def test_flags_override_the_configuration_and_say_so(rl, tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"log-level": "warn", "dns": ["1.1.1.1"]}')
    status, out, _ = rl(
        "--config",
        str(file),
        "--root",
        "/srv/rl",
        "-l",
        "error",
        "config",
        "show",
        "-f",
        "{{.Key}} {{.Value}} {{.Origin}}",
    )
    assert status == 0
    lines = out.splitlines()
    assert "data-root /srv/rl --data-root" in lines
    assert "log-level error --log-level" in lines
    assert f'dns ["1.1.1.1"] {file}' in lines
    assert "init false default" in lines


def test_relative_root_is_taken_from_the_working_directory(rl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"data-root {tmp_path}/store" in rl("--root", "store", "config", "show", "-f", "{{.Key}} {{.Value}}")[1]


def test_config_show_as_json(rl):
    import json

    content = json.loads(rl("config", "show", "--format", "json")[1])
    assert content["init"] == {"value": False, "origin": "default"}


@pytest.mark.parametrize(
    "argv", [["help"], ["run", "--help"], ["run"], ["frob"], ["--version"], ["image"], ["ps", "-z"]]
)
def test_fast_path_leaves_the_unusual_to_click(argv):
    assert fastpath.run(argv) is None


SLOW = [
    "click",
    "json",
    "re",
    "argparse",
    "collections",
    "contextlib",
    "dataclasses",
    "enum",
    "functools",
    "subprocess",
    "socket",
    "typing",
]


@pytest.mark.parametrize(
    "code",
    [
        "from rootless import __main__; __main__.run(['--version'])",
        "from rootless.cli import fastpath\n"
        "for verb in 'run create start exec ps stop kill rm wait logs'.split(): fastpath.load(verb)",
        "from rootless.cli import options, parser\nfrom rootless import config\n"
        "values, rest = parser.parse(options.RUN, '-itd --rm -p 80:80 -v /a:/b -e A=1 --name x y z'.split())\n"
        "options.container_options(values, rest, config.load())",
        "from rootless.cli import formats\n"
        "formats.write_rows('', ('A', 'B'), {'A': 'A', 'B': 'B'}, [{'A': 'x', 'B': 'y'}])",
    ],
    ids=["version", "verbs", "options", "table"],
)
def test_hot_paths_import_nothing_slow(code, tmp_path):
    probe = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\nprint(*[m for m in {SLOW!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", probe],
        env={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == ""


def test_help_of_the_root_imports_no_verb(tmp_path):
    probe = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from rootless import __main__\n__main__.run(['--help'])\n"
        "print([name for name in sys.modules if name.startswith('rootless.cli.commands.')])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def front_door(*argv, **options):
    return subprocess.run([sys.executable, "-m", "rootless", *argv], cwd=ROOT, **options)


def test_reader_that_left_is_no_error_message():
    reader, writer = os.pipe()
    os.close(reader)
    done = front_door("--help", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_full_disk_under_standard_output_is_reported():
    with open("/dev/full", "w") as full:
        done = front_door("--version", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == b"rl: cannot write to standard output: no space left on device\n"


def test_closed_standard_output_is_no_traceback():
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} -m rootless --version >&-"], cwd=ROOT, capture_output=True
    )
    assert done.returncode == 0
    assert done.stderr == b""


def test_broken_installation_is_one_line(tmp_path):
    (tmp_path / "click.py").write_text("raise ImportError('click is not for you')")
    done = front_door("--help", env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "rl: internal error: ImportError: click is not for you; `rl --debug` shows where\n"
