import pytest

from rootless import config
from rootless.cli import options, parser
from rootless.engine.options import (
    Bind,
    ContainerOptions,
    ExecOptions,
    PortMapping,
    RestartPolicy,
    Tmpfs,
    Ulimit,
)
from rootless.errors import InvalidArgument, NoSuchFile


@pytest.fixture
def settings(tmp_path):
    return config.load(environ={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": ""})


@pytest.fixture
def parse(settings):
    def parse(*argv):
        values, arguments = parser.parse(options.RUN, argv, interspersed=False, harmless=options.HARMLESS)
        return options.container_options(values, arguments, settings)

    return parse


def test_image_and_command_alone_leave_the_defaults(parse):
    assert parse("busybox", "ls", "-l") == ContainerOptions(image="busybox", command=("ls", "-l"))


def test_every_option_arrives_in_its_field(parse, tmp_path, monkeypatch):
    monkeypatch.setenv("INHERITED", "yes")
    monkeypatch.chdir(tmp_path)
    found = parse(
        *("-it", "--rm", "--name", "web", "-e", "A=1", "-e", "INHERITED", "-w", "/srv", "-u", "1:2"),
        *("-v", "/a:/b:ro", "-v", "./c:/d", "-v", "data:/e", "--tmpfs", "/run:size=1m"),
        *("--entrypoint", "/bin/x", "--hostname", "box", "--add-host", "db:10.0.0.1", "--dns", "1.1.1.1"),
        *("--dns-search", "example.org", "--dns-opt", "ndots:1", "--network", "none"),
        *("-p", "127.0.0.1:8080:80/udp", "-P", "--expose", "90-91", "--read-only"),
        *("--cap-add", "NET_ADMIN", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--privileged", "--init", "--pull", "never", "--platform", "linux/arm64", "-l", "a=b"),
        *("--ulimit", "nofile=10:20", "--shm-size", "1m", "--stop-signal", "USR1", "--stop-timeout", "3"),
        *("nginx", "-g", "daemon off;"),
    )
    assert found == ContainerOptions(
        image="nginx",
        command=("-g", "daemon off;"),
        name="web",
        entrypoint=("/bin/x",),
        env=("A=1", "INHERITED=yes"),
        workdir="/srv",
        user="1:2",
        hostname="box",
        interactive=True,
        tty=True,
        auto_remove=True,
        labels={"a": "b"},
        binds=(
            Bind(source="/a", target="/b", readonly=True),
            Bind(source=f"{tmp_path}/c", target="/d"),
            Bind(source="data", target="/e"),
        ),
        tmpfs=(Tmpfs(target="/run", options=("size=1m",)),),
        network="none",
        ports=(PortMapping(container_port=80, protocol="udp", host_ip="127.0.0.1", host_port=8080),),
        publish_all=True,
        exposed=("90/tcp", "91/tcp"),
        add_hosts=("db:10.0.0.1",),
        dns=("1.1.1.1",),
        dns_search=("example.org",),
        dns_options=("ndots:1",),
        read_only=True,
        cap_add=("NET_ADMIN",),
        cap_drop=("ALL",),
        security_opt=found.security_opt,
        privileged=True,
        init=True,
        pull="never",
        platform="linux/arm64",
        ulimits=(Ulimit(name="nofile", soft=10, hard=20),),
        shm_size=1 << 20,
        stop_signal="USR1",
        stop_timeout=3,
    )
    assert len(found.security_opt) == 1
    assert found.security_opt[0].startswith("no-new-privileges")


def test_empty_entrypoint_clears_the_image_s(parse):
    assert parse("--entrypoint=", "x").entrypoint == ()
    assert parse("x").entrypoint is None


def test_env_file_comes_before_env(parse, tmp_path):
    file = tmp_path / "env"
    file.write_text("# comment\nA=1\nB=2\n")
    assert parse("-e", "A=3", "--env-file", str(file), "x").env == ("A=1", "B=2", "A=3")


def test_missing_env_file_is_named(parse):
    with pytest.raises(NoSuchFile, match="/nonexistent/env"):
        parse("--env-file", "/nonexistent/env", "x")


def test_restart_is_stored_and_conflicts_with_rm(parse):
    assert parse("--restart", "on-failure:3", "x").restart == RestartPolicy(name="on-failure", maximum_retries=3)
    with pytest.raises(InvalidArgument, match="conflicting options: cannot specify both --restart and --rm"):
        parse("--restart", "always", "--rm", "x")
    assert parse("--restart", "no", "--rm", "x").auto_remove


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--pull", "sometimes"), 'invalid pull option: \'sometimes\': must be one of "always", "missing" or "never"'),
        (("--network", "none", "--net", "host"), "one network only"),
        (("-v", "relative"), "relative"),
        (("-p", "99999:80"), "99999"),
        (("--shm-size", "big"), "big"),
        (("--ulimit", "nofiles=1"), "nofiles"),
        (("--restart", "maybe"), "maybe"),
        (("--stop-signal", "FOO"), "FOO"),
        (("--dns", "nowhere"), "nowhere"),
        (("--add-host", "x"), "x"),
        (("--security-opt", "what=ever"), "what"),
    ],
)
def test_bad_values_are_refused_by_name(parse, argv, message):
    with pytest.raises(InvalidArgument) as raised:
        parse(*argv, "x")
    assert message in raised.value.message


def test_default_shm_size_comes_from_the_configuration(tmp_path):
    settings = config.load(environ={"HOME": str(tmp_path), "RL_DEFAULT_SHM_SIZE": "1g"})
    assert options.container_options({}, ["x"], settings).shm_size == 1 << 30
    assert options.container_options({"shm-size": "2m"}, ["x"], settings).shm_size == 2 << 20


def test_default_platform_of_the_environment_is_honoured(parse, monkeypatch):
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
    assert parse("x").platform == "linux/arm64"
    assert parse("--platform", "linux/amd64", "x").platform == "linux/amd64"


def test_exec_options(monkeypatch):
    values, arguments = parser.parse(
        options.EXEC, ["-it", "-e", "A=1", "-u", "x", "-w", "/", "web", "ls", "-l"], interspersed=False
    )
    assert arguments[0] == "web"
    assert options.exec_options(values, arguments[1:]) == ExecOptions(
        command=("ls", "-l"), interactive=True, tty=True, env=("A=1",), user="x", workdir="/"
    )
