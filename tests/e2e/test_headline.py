"""The headline: `rl run -p 8080:80 nginx` by an ordinary user, from a registry to a page."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import time
import urllib.request

import pytest

WELCOME = "Welcome to nginx!"


@pytest.fixture
def port(free_port: int) -> int:
    """8080, as people type it, or another where that is taken."""
    with socket.socket() as probe:
        try:
            probe.bind(("0.0.0.0", 8080))
        except OSError:
            return free_port
    return 8080


def fetch(port: int, path: str = "/") -> str:
    """Return a page of a port that answers already."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{path}", timeout=20) as response:
        return response.read().decode()


def wait_for(stream, text: str, seconds: float = 60, times: int = 1) -> str:
    """Read a pipe until a text has come (so many times); return all that came."""
    seen = b""
    deadline = time.monotonic() + seconds
    while seen.count(text.encode()) < times:
        readable, _, _ = select.select([stream], [], [], max(0, deadline - time.monotonic()))
        assert readable, f"no {text!r} in {seconds} s, but {seen!r}"
        chunk = os.read(stream.fileno(), 65536)
        assert chunk, f"no {text!r} before the end, but {seen!r}"
        seen += chunk
    return seen.decode()


def wait_for_log(rl, container: str, text: str, times: int = 1) -> None:
    follower = rl.spawn("logs", "-f", container, stderr=subprocess.STDOUT)
    wait_for(follower.stdout, text, times=times)
    follower.kill()


def serve(rl, *options: str) -> None:
    """Start nginx as ``web`` and wait until it listens: before that, a connection to its port is reset."""
    rl.ok("run", "-d", "--name", "web", *options, "nginx")
    wait_for_log(rl, "web", "start worker process ")


def test_the_literal_command_pulls_runs_and_answers(rl, port):
    process = rl.spawn("run", "-p", f"{port}:80", "nginx")
    said = wait_for(process.stderr, "start worker process")
    assert "Unable to find image 'nginx:latest' locally" in said
    assert "Status: Downloaded newer image for nginx:latest" in said
    assert WELCOME in fetch(port)
    assert '"GET / HTTP/1.1" 200' in wait_for(process.stdout, "GET /")
    row = rl.ok("ps", "--format", "{{.Image}} {{.Ports}} {{.State}}")
    assert row.startswith(f"nginx 0.0.0.0:{port}->80/tcp")
    assert row.endswith(" running")
    # Ctrl-C
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert rl.ok("ps", "-a", "--format", "{{.State}}") == "exited"
    with pytest.raises(OSError, match="refused"):
        fetch(port)


def test_detached_it_prints_its_id_and_stops_gracefully(nginx, free_port, registry):
    requests = registry.log().count("http.request.method=GET")
    identifier = nginx.ok("run", "-d", "--name", "web", "-p", f"127.0.0.1:{free_port}:80", "nginx")
    assert re.fullmatch("[0-9a-f]{64}", identifier)
    assert registry.log().count("http.request.method=GET") == requests, "the image was here already"
    wait_for_log(nginx, "web", "start worker process")
    assert WELCOME in fetch(free_port)
    assert nginx.ok("ps", "-q", "--no-trunc") == identifier
    assert nginx.ok("stop", "web") == "web"
    state = nginx.json("inspect", "web")[0]["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    log = nginx("logs", "web")
    assert "signal 3 (SIGQUIT) received" in log.stderr, "nginx asks for SIGQUIT, to serve what it has begun"


def test_it_starts_again_with_the_same_port_and_its_files(nginx, free_port):
    serve(nginx, "-p", f"{free_port}:80")
    nginx.ok("exec", "web", "sh", "-c", "echo mine >/usr/share/nginx/html/index.html")
    nginx.ok("stop", "web")
    nginx.ok("start", "web")
    wait_for_log(nginx, "web", "start worker processes", times=2)
    assert fetch(free_port) == "mine\n"


def test_a_page_of_the_user_is_served_from_a_bind_mount(nginx, free_port):
    site = nginx.home / "site"
    site.mkdir()
    (site / "index.html").write_text("from the host\n")
    serve(nginx, "-p", f"{free_port}:80", "-v", f"{site}:/usr/share/nginx/html:ro")
    assert fetch(free_port) == "from the host\n"
    (site / "index.html").write_text("changed\n")
    assert fetch(free_port) == "changed\n"


def test_a_large_page_arrives_whole(nginx, free_port):
    data = os.urandom(1 << 20) * 20
    site = nginx.home / "site"
    site.mkdir()
    (site / "large").write_bytes(data)
    serve(nginx, "-p", f"{free_port}:80", "-v", f"{site}:/usr/share/nginx/html:ro")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{free_port}/large", timeout=60) as response:
        assert response.read() == data


def test_an_exposed_port_gets_a_random_one_with_capital_p(nginx):
    serve(nginx, "-P")
    address = nginx.json("inspect", "web")[0]["NetworkSettings"]["Ports"]["80/tcp"][0]
    assert address["HostIp"] == "0.0.0.0"
    assert WELCOME in fetch(int(address["HostPort"]))


def test_the_workers_run_as_the_images_user_behind_a_subordinate_id(nginx):
    serve(nginx)
    pids = nginx.ok("exec", "web", "sh", "-c", "for p in /proc/[0-9]*; do echo $(stat -c %u $p) $(cat $p/comm); done")
    owners = {line.split()[0] for line in pids.splitlines() if line.endswith(" nginx")}
    assert owners == {"0", "101"}
    master = nginx.json("inspect", "web")[0]["State"]["Pid"]
    with open(f"/proc/{master}/status") as stream:
        status = dict(line.split(":\t", 1) for line in stream.read().splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == {str(os.getuid())}
