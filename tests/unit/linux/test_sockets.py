"""Unix sockets with long paths, descriptors in messages, and peers of other users refused."""

from __future__ import annotations

import os
import stat

import pytest

from rootless.linux import sockets, syscalls


def test_a_path_longer_than_sun_path_works(tmp_path):
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    path = f"{directory}/attach.sock"
    server = sockets.listen(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    client = sockets.connect(path)
    peer = sockets.accept(server)
    client.send(b"hello")
    assert peer.recv(10) == b"hello"
    for one in (server, client, peer):
        assert not os.get_inheritable(one.fileno())
        one.close()


def test_listening_replaces_what_a_dead_one_left(tmp_path):
    path = str(tmp_path / "socket")
    sockets.listen(path).close()
    with pytest.raises(ConnectionRefusedError) as caught:
        sockets.connect(path)
    assert caught.value.filename == path
    server = sockets.listen(path)
    sockets.connect(path).close()
    server.close()


def test_no_socket_is_an_error_with_its_path(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        sockets.connect(str(tmp_path / "nothing"))
    assert caught.value.filename == str(tmp_path / "nothing")


def test_descriptors_travel(tmp_path):
    (tmp_path / "file").write_text("content")
    ours, theirs = sockets.pair(sockets.SOCK_SEQPACKET)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    sockets.send_fd(ours, b"pty", fd)
    os.close(fd)
    ours.send(b"ready")
    message, received = sockets.receive(theirs)
    assert message == b"pty"
    assert not os.get_inheritable(received)
    with open(received) as stream:
        assert stream.read() == "content"
    assert sockets.receive(theirs) == (b"ready", -1)
    ours.close()
    assert sockets.receive(theirs) == (b"", -1), "the end"
    theirs.close()


def test_connecting_leaks_no_descriptor(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            sockets.connect(str(tmp_path / "nothing"))
    sockets.listen(str(tmp_path / "socket")).close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_changes_of_a_directory_are_told(tmp_path):
    fd = syscalls.inotify(((str(tmp_path), syscalls.IN_CREATE),))
    with pytest.raises(BlockingIOError):
        os.read(fd, 4096)
    (tmp_path / "new").touch()
    assert b"new" in os.read(fd, 4096)
    os.close(fd)
    with pytest.raises(FileNotFoundError) as caught:
        syscalls.inotify(((str(tmp_path / "missing"), syscalls.IN_CREATE),))
    assert caught.value.filename == str(tmp_path / "missing")


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: syscalls.mount("none", "/nonexistent", "tmpfs"), "mount tmpfs"),
        (lambda: syscalls.umount("/nonexistent"), "umount2"),
        (lambda: syscalls.pivot_root("/nonexistent", "/nonexistent"), "pivot_root"),
        (lambda: syscalls.setns(-1), "setns"),
        (lambda: syscalls.openat2(-100, "/nonexistent", os.O_RDONLY), "openat2"),
        (lambda: syscalls.open_tree(-100, "/nonexistent", 0), "open_tree"),
        (lambda: syscalls.prctl(syscalls.PR_CAPBSET_DROP, 9999), "prctl"),
    ],
)
def test_errors_name_the_system_call(call, name):
    with pytest.raises(OSError, match=rf"\({name}\)") as caught:
        call()
    assert caught.value.errno > 0


def test_a_clone_without_namespaces_is_a_fork():
    read_end, write_end = os.pipe()
    pid = syscalls.clone(0)
    if pid == 0:
        os.write(write_end, b"child")
        os._exit(5)
    os.close(write_end)
    with open(read_end, "rb") as stream:
        assert stream.read() == b"child"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
