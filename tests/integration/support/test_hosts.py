"""What root would do to a machine, done by an ordinary user in a namespace."""

from __future__ import annotations

import subprocess

from tests.support import processes
from tests.support.hosts import nested, sh


def test_a_nested_host_can_hide_a_device():
    assert sh("stat -c %t:%T /dev/net/tun", prefix=nested("mount --bind /dev/null /dev/net/tun")).strip() == "1:3"


def test_a_nested_host_can_have_a_full_disk(tmp_path):
    setup = f"mount -t tmpfs -o size=64k none {tmp_path}"
    assert "ENOSPC" in sh(f"head -c 100k /dev/zero >{tmp_path}/file || echo ENOSPC", prefix=nested(setup))


def test_a_nested_host_can_forbid_namespaces():
    setup = "echo 0 >/proc/sys/user/max_user_namespaces"
    assert sh("unshare --user true 2>/dev/null || echo forbidden", prefix=nested(setup)).strip() == "forbidden"


def test_registry_serves_what_skopeo_pushed(registry):
    names = registry.skopeo("inspect", "--tls-verify=false", f"docker://{registry.address}/library/nginx:latest")
    assert '"Architecture"' in names
    assert "/v2/library/nginx/manifests/latest" in registry.log()


def test_a_process_in_other_namespaces_is_found_by_its_mounts(tmp_path):
    process = subprocess.Popen(
        [*nested(f"mount -t tmpfs none {tmp_path}"), "sh", "-c", "cd /; echo ready; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
    )
    assert process.stdout.readline() == b"ready\n"
    assert process.pid in processes.processes_of(tmp_path)
    process.communicate(b"\n")
