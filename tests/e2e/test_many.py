"""Several containers at the same time."""

from __future__ import annotations

import urllib.request


def fetch(port: int) -> str:
    """Return a page; until its server listens, a connection to a published port is reset."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(1000):
        try:
            with opener.open(f"http://127.0.0.1:{port}/", timeout=30) as response:
                return response.read().decode()
        except ConnectionError:
            continue
    raise AssertionError(f"nothing answers on port {port}")


def host_port(rl, name: str) -> int:
    return int(rl.json("inspect", name)[0]["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"])


def test_two_containers_of_one_image_have_a_world_each(nginx):
    for name in ("one", "two"):
        nginx.ok("run", "-d", "--name", name, "-P", "nginx")
    for name in ("one", "two"):
        nginx.ok("exec", name, "sh", "-c", f"echo {name} >/usr/share/nginx/html/index.html")
    assert [fetch(host_port(nginx, name)) for name in ("one", "two")] == ["one\n", "two\n"]
    names = {nginx.ok("exec", name, "hostname") for name in ("one", "two")}
    assert len(names) == 2
    nginx.ok("rm", "-f", "one")
    assert fetch(host_port(nginx, "two")) == "two\n"
    assert nginx.ok("ps", "--format", "{{.Names}}") == "two"


def test_twenty_containers_started_at_once(busybox):
    script = "echo I am $1; hostname >/name; exec cat"
    started = [
        busybox.spawn("run", "-d", "-i", "--name", f"c{number}", "busybox", "sh", "-c", script, "sh", number)
        for number in range(20)
    ]
    results = [(process.communicate(timeout=120), process.returncode) for process in started]
    assert [status for _, status in results] == [0] * 20, results
    identifiers = [stdout.decode().strip() for (stdout, _), _ in results]
    assert len(set(identifiers)) == 20
    assert set(busybox.ok("ps", "-q", "--no-trunc").split()) == set(identifiers)
    states = [entry["State"]["Status"] for entry in busybox.json("inspect", *identifiers)]
    assert states == ["running"] * 20
    for number in (0, 7, 19):
        assert busybox.ok("logs", f"c{number}") == f"I am {number}"
        assert busybox.ok("exec", f"c{number}", "cat", "/name") == identifiers[number][:12]
    assert sorted(busybox.ok("rm", "-f", *identifiers).split()) == sorted(identifiers)
    assert busybox.containers() == []


def test_twenty_foreground_runs_at_once_from_a_store_without_the_image(rl):
    running = [
        rl.spawn("run", "--rm", "-q", "--network", "none", "busybox", "sh", "-c", "echo $1; exit $1", "sh", number)
        for number in range(20)
    ]
    results = [(process.communicate(timeout=120), process.returncode) for process in running]
    assert [(stdout.decode(), status) for (stdout, _), status in results] == [
        (f"{number}\n", number) for number in range(20)
    ], results
    assert rl.containers() == []
