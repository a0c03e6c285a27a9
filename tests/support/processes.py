"""Which processes, mounts and files belong to a test's store; waiting for them without sleeping."""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from pathlib import Path


def _contents(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def _links(directory: str) -> list[bytes]:
    found = []
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    for name in names:
        try:
            found.append(os.readlink(f"{directory}/{name}".encode()))
        except OSError:
            continue
    return found


def is_zombie(pid: int) -> bool:
    """Tell whether a process is dead and waits for its parent, or gone."""
    text = _contents(f"/proc/{pid}/stat")
    return not text or text.rpartition(b")")[2].split()[0] in (b"Z", b"X")


def processes_of(directory: Path) -> list[int]:
    """Return the live processes that know ``directory``: by command line, environment, open file, cwd, root or mount.

    The calling process and its ancestors are left out.
    """
    needle = str(directory).encode()
    ours = set()
    pid = os.getpid()
    while pid > 1:
        ours.add(pid)
        pid = int(_contents(f"/proc/{pid}/stat").rpartition(b")")[2].split()[1] or 0)
    own_mounts = os.readlink("/proc/self/ns/mnt")
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in ours or is_zombie(int(name)):
            continue
        base = f"/proc/{name}"
        texts = [_contents(f"{base}/cmdline"), _contents(f"{base}/environ"), *_links(f"{base}/fd")]
        for link in ("cwd", "root", "exe"):
            try:
                texts.append(os.readlink(f"{base}/{link}".encode()))
            except OSError:
                continue
        try:
            if os.readlink(f"{base}/ns/mnt") != own_mounts:
                texts.append(_contents(f"{base}/mountinfo"))
        except OSError:
            pass
        if any(needle in text for text in texts) and not is_zombie(int(name)):
            found.append(int(name))
    return found


def describe(pid: int) -> str:
    """Return a process for a message."""
    words = _contents(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace")
    return f"{pid} ({words[:200].strip() or _contents(f'/proc/{pid}/comm').decode(errors='replace').strip()})"


def wait_gone(pids: list[int], seconds: float) -> list[int]:
    """Wait until the processes have ended; return those that have not."""
    deadline = time.monotonic() + seconds
    left = []
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        except OSError as error:
            if error.errno == errno.EINVAL:
                continue  # before Linux 6.9: just being reaped
            raise
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(max(0, deadline - time.monotonic()) * 1000):
                left.append(pid)
        finally:
            os.close(descriptor)
    return left


def kill(pids: list[int]) -> None:
    """Kill and wait."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    wait_gone(pids, 10)


def mounts_below(directory: Path) -> list[str]:
    """Return mount points below a directory, in this process's mount namespace."""
    needle = str(directory)
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if needle in line]
