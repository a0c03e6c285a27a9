"""Networks of containers: ``--network``, ``-p``, ``-P`` and the files that name things."""

from __future__ import annotations

import socket
import threading
import urllib.request

import pytest

from tests.support.stores import PYTHON, python


def fetch(port, address="127.0.0.1", timeout=10):
    with socket.create_connection((address, port), timeout) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
    return data.decode()


@pytest.fixture(scope="module")
def web(store):
    """nginx, which answers many at once."""
    store.ok("pull", "-q", "nginx")
    return store


@pytest.fixture
def outside():
    """A TCP server on this machine's loopback that answers "outside"."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"outside\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def serve(box, until, *options, name="web"):
    """Start nginx with these options and wait until it answers inside."""
    box.ok("run", "-d", "--name", name, *options, "nginx")
    inside = ["exec", name, "wget", "-q", "-O", "/dev/null", "http://127.0.0.1"]
    until(lambda: box(*inside).status == 0)
    return box.json("inspect", "-f", "{{json .NetworkSettings.Ports}}", name)


# -- publishing --------------------------------------------------------------------------


def test_publish_to_a_port_of_all_addresses(web, box, until, free_port):
    ports = serve(box, until, "-p", f"{free_port}:80")
    assert "Welcome to nginx" in fetch(free_port)
    assert ports["80/tcp"][0] == {"HostIp": "0.0.0.0", "HostPort": str(free_port)}
    assert f"0.0.0.0:{free_port}->80/tcp" in box.ok("ps", "--format", "{{.Ports}}")
    box.ok("rm", "-f", "web")
    with pytest.raises(ConnectionRefusedError):
        fetch(free_port)


def test_publish_to_one_address_only(web, box, until, free_port):
    serve(box, until, "-p", f"127.0.0.5:{free_port}:80/tcp")
    assert "Welcome to nginx" in fetch(free_port, "127.0.0.5")
    with pytest.raises(ConnectionRefusedError):
        fetch(free_port, "127.0.0.1")


def test_publish_a_container_port_to_a_random_one(web, box, until):
    ports = serve(box, until, "-p", "80", "-p", "127.0.0.1::80")
    first, second = ports["80/tcp"]
    assert first["HostPort"] != second["HostPort"]
    assert "Welcome" in fetch(int(first["HostPort"]))
    assert "Welcome" in fetch(int(second["HostPort"]))


def test_publish_all_takes_the_exposed_ports(web, box, until):
    ports = serve(box, until, "-P", "--expose", "8080-8081")
    assert sorted(ports) == ["80/tcp", "8080/tcp", "8081/tcp"]
    assert "Welcome" in fetch(int(ports["80/tcp"][0]["HostPort"]))


def test_publish_a_range(web, box, until, free_port):
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        first = one.getsockname()[1]
        try:
            two.bind(("127.0.0.1", first + 1))
        except OSError:
            pytest.skip("the next port is taken")
    ports = serve(box, until, "-p", f"127.0.0.1:{first}-{first + 1}:80-81")
    assert (ports["80/tcp"][0]["HostPort"], ports["81/tcp"][0]["HostPort"]) == (str(first), str(first + 1))
    assert "Welcome" in fetch(first)


ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 53))
while True:
    data, sender = server.recvfrom(100)
    print(data, flush=True)
    server.sendto(data, sender)
"""


def own_address():
    """Return the address with which this machine would go out; loopback if it has no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.254", 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


def test_publish_udp(box, until, free_port):
    box.ok("run", "-d", "--name", "udp", "-p", f"{free_port}:53/udp", *PYTHON, "busybox", *python(ECHO))
    assert list(box.json("inspect", "-f", "{{json .NetworkSettings.Ports}}", "udp")) == ["53/udp"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.1)
        # slirp4netns loses the answers to a client on the loopback (--disable-host-loopback).
        client.connect((own_address(), free_port))

        def echoed():
            try:
                client.send(b"ping")
                answer = client.recv(100)
            except OSError:
                answer = b""
            return answer or box.ok("logs", "udp")

        assert "ping" in str(until(echoed))
        if own_address() != "127.0.0.1":
            client.settimeout(10)
            client.send(b"ping")
            assert client.recv(100) == b"ping"


def test_many_requests_and_large_bodies_pass(web, box, until, free_port, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "index.html").touch()
    (tmp_path / "big").write_bytes(bytes(range(256)) * 20000)
    serve(box, until, "-p", f"127.0.0.1:{free_port}:80", "-v", f"{tmp_path}:/usr/share/nginx/html:ro")
    with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/big", timeout=30) as page:
        assert page.read() == (tmp_path / "big").read_bytes()


def test_a_port_in_use_is_refused_by_name_and_leaves_nothing(web, box):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        message = box.fails(125, "run", "--rm", "-p", f"127.0.0.1:{port}:80", "nginx")
        assert f"port {port} on 127.0.0.1 (tcp) is already in use" in message
        assert str(port) in box.fails(125, "run", "--rm", "-d", "-p", f"{port}:80", "nginx")
    assert box.containers() == []


def test_a_port_that_another_container_has_is_refused(web, box, until, free_port):
    serve(box, until, "-p", f"{free_port}:80")
    assert f"port {free_port}" in box.fails(125, "run", "-d", "--name", "other", "-p", f"{free_port}:80", "nginx")
    assert box.ok("ps", "-a", "--format", "{{.Names}}") == "web"


def test_a_privileged_port_names_the_sysctl(web, box):
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as stream:
        if int(stream.read()) <= 81:
            pytest.skip("ports from 81 on are free for everyone here")
    message = box.fails(125, "run", "--rm", "-p", "81:80", "nginx")
    assert "net.ipv4.ip_unprivileged_port_start" in message


def test_a_random_port_is_another_after_a_restart_of_the_container_and_works(web, box, until):
    serve(box, until, "-p", "127.0.0.1::80")
    box.ok("stop", "web")
    assert box.json("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web") == {}
    box.ok("start", "web")
    ports = box.json("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web")
    until(lambda: box("exec", "web", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1").status == 0)
    assert "Welcome" in fetch(int(ports["80/tcp"][0]["HostPort"]))


# -- modes -------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", [[], ["--network", "default"], ["--net", "bridge"]])
def test_the_default_network_is_one_of_its_own_that_reaches_out(box, outside, spelling):
    script = "ls /sys/class/net | xargs; nc 10.0.2.2 $0 </dev/null"
    # The machine's loopback is out of reach; its other addresses are not.
    result = box("run", "--rm", *spelling, "busybox", "sh", "-c", script, outside)
    assert result.lines[0] == "lo tap0"
    assert "outside" not in result.stdout


def test_two_containers_do_not_see_each_other(box, until):
    box.ok("run", "-d", "--name", "server", "busybox", "nc", "-l", "-p", "7000")
    result = box("run", "--rm", "busybox", "nc", "-w", "2", "127.0.0.1", "7000")
    assert result.status != 0


def test_none_has_a_loopback_only(box):
    script = "ls /sys/class/net; ip -o addr show lo | awk '{print $4}'; nc -l -p 80 & until echo x | nc 127.0.0.1 80; do :; done 2>/dev/null; wait"
    lines = box.ok("run", "--rm", "--network", "none", "busybox", "sh", "-c", script).splitlines()
    assert lines[0] == "lo"
    assert "127.0.0.1/8" in lines
    assert lines[-1] == "x"
    assert box.ok("run", "--rm", "--net=none", "busybox", "cat", "/proc/net/route").count("\n") == 0


def test_host_is_the_machines_own(box, outside):
    assert box.ok("run", "--rm", "--network", "host", "busybox", "nc", "127.0.0.1", outside) == "outside"
    names = box.ok(
        "run", "--rm", "--network", "host", "busybox", "sh", "-c", "hostname; ls /sys/class/net"
    ).splitlines()
    assert names[0] == socket.gethostname()
    assert sorted(names[1:]) == sorted(name for _, name in socket.if_nameindex())


def test_host_network_cannot_be_changed_from_inside(box):
    result = box(
        "run",
        "--rm",
        "--network",
        "host",
        "--cap-add",
        "NET_ADMIN",
        "busybox",
        "ip",
        "link",
        "add",
        "dummy9",
        "type",
        "dummy",
    )
    assert result.status != 0


def test_exec_works_in_every_network(box):
    for mode in ("default", "none", "host"):
        box.ok("run", "-d", "--name", f"in-{mode}", "--network", mode, "busybox", "sleep", "1000")
        assert box.ok("exec", f"in-{mode}", "echo", mode) == mode
    assert box.ok("ps", "-q", "--filter", "network=host").count("\n") == 0


def test_ports_of_host_and_none_are_not_published(box, free_port):
    result = box("run", "--rm", "--network", "none", "-p", f"{free_port}:80", "busybox", "true")
    assert result.status == 0, result
    assert box("run", "--rm", "--network", "host", "-p", f"{free_port}:80", "busybox", "true").status == 0


def test_low_ports_and_ping_sockets_are_free_for_users_inside(box):
    script = "import socket; socket.create_server(('', 80)); socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1)"
    box.ok("run", "--rm", "-u", "1000:1000", "--cap-drop", "ALL", *PYTHON, "busybox", *python(script))


def test_resolv_conf_names_the_networks_own_resolver(box):
    text = box.ok("run", "--rm", "busybox", "cat", "/etc/resolv.conf")
    assert [line for line in text.splitlines() if line.startswith("nameserver")] == ["nameserver 10.0.2.3"]


def test_hosts_has_the_containers_own_name_and_address(box):
    text = box.ok("run", "--rm", "-h", "me.lan", "busybox", "cat", "/etc/hosts")
    assert "10.0.2.100\tme.lan" in text


def test_name_files_can_be_written_inside_and_are_made_anew_at_the_next_start(box):
    box.ok("run", "--name", "edits", "busybox", "sh", "-c", "echo 1.2.3.4 mine >>/etc/hosts; grep -c mine /etc/hosts")
    assert box.ok("logs", "edits") == "1"
    assert box.ok("start", "-a", "edits") == "1"
