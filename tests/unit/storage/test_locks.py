import os
import signal
import threading

import pytest

from rootless.storage import locks
from rootless.storage.locks import Lock


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "lock")


def test_exclusive_excludes_even_in_one_process(path):
    with Lock(path):
        assert not Lock(path).try_acquire()
        assert not Lock(path, exclusive=False).try_acquire()
    other = Lock(path)
    assert other.try_acquire()
    other.release()


def test_shared_locks_share(path):
    with Lock(path, exclusive=False), Lock(path, exclusive=False):
        assert not Lock(path).try_acquire()


def test_keys_are_locks_of_their_own(path):
    with Lock(path, key=1), Lock(path, key=2**59):
        assert not Lock(path, key=2**59).try_acquire()


def test_holder_is_named(path):
    with Lock(path) as lock:
        assert lock.holder().split()[0] == str(os.getpid())


def test_taking_it_twice_is_a_mistake(path):
    with Lock(path) as lock, pytest.raises(RuntimeError):
        lock.try_acquire()


def children():
    with open(f"/proc/self/task/{threading.get_native_id()}/children") as stream:
        return stream.read().split()


def test_waiter_says_for_whom_it_waits_and_gets_the_lock(path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    held_read, held_write = os.pipe()
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with Lock(path):
            os.write(held_write, b"1")
            os.read(go_read, 1)
        os._exit(0)
    os.read(held_read, 1)
    said = []

    def release(line):
        said.append(line)
        os.write(go_write, b"1")

    with Lock(path, on_wait=release):
        assert not Lock(path).try_acquire()
    os.waitpid(pid, 0)
    assert f"held by process {pid} " in said[0]
    for fd in (held_read, held_write, go_read, go_write):
        os.close(fd)


def test_lock_of_a_killed_process_is_free(path):
    held_read, held_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        Lock(path).acquire()
        os.write(held_write, b"1")
        signal.pause()
    os.read(held_read, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    lock = Lock(path)
    assert lock.try_acquire()
    lock.release()
    os.close(held_read)
    os.close(held_write)


def test_threads_exclude_each_other(path):
    order = []
    first = Lock(path)
    first.acquire()

    def second():
        with Lock(path):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    order.append("first")
    first.release()
    thread.join(10)
    assert order == ["first", "second"]


def test_interrupted_wait_leaves_no_child_and_no_lock(path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.01)

    def interrupt(line):
        raise KeyboardInterrupt

    before = children()
    with Lock(path):
        with pytest.raises(KeyboardInterrupt):
            Lock(path, on_wait=interrupt).acquire()
        assert children() == before
    free = Lock(path)
    assert free.try_acquire()
    free.release()
