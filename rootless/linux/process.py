"""Processes: identity that survives reuse of pids, waiting, signalling."""

from __future__ import annotations

import _signal
import errno
import os
import select


def start_time(pid: int) -> int:
    """Return when ``pid`` started, in clock ticks after boot; 0 if there is no such process.

    With the pid it identifies a process for one boot (proc_pid_stat(5), field 22).
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            content = stream.read()
    except OSError:
        return 0
    # The command in field 2 may contain blanks and parentheses.
    return int(content[content.rindex(b")") + 2 :].split(b" ", 20)[19])


def is_alive(pid: int, start: int) -> bool:
    """Say whether the process recorded as (pid, start) still exists and is no zombie."""
    if pid <= 0:
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            content = stream.read()
    except OSError:
        return False
    fields = content[content.rindex(b")") + 2 :].split(b" ", 20)
    return int(fields[19]) == start and fields[0] not in (b"Z", b"X")


def boot_id() -> str:
    """Return the kernel's random identifier of this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return stream.read().strip()


def open_pidfd(pid: int, start: int = 0) -> int | None:
    """Return a pidfd of the process, or None if it is gone (or another has its pid)."""
    if pid <= 0:
        return None  # recorded of what does not run
    try:
        fd = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError):
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None  # it is just being reaped: what ESRCH is called then, before Linux 6.9
        raise
    if start and not is_alive(pid, start):
        os.close(fd)
        return None
    return fd


def wait_pidfd(pidfd: int, timeout: float | None) -> bool:
    """Wait until the process of ``pidfd`` has ended; False after ``timeout`` seconds."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(None if timeout is None else max(0, timeout * 1000)))


def send_signal(pidfd: int, number: int) -> bool:
    """Send a signal by pidfd; False if the process is gone."""
    try:
        _signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def exit_status(wait_status: int) -> int:
    """Turn a status of waitpid(2) into the shell's: 128 + N after death by signal N."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def terminate(pid: int, timeout: float = 2.0) -> None:
    """End and reap a child of ours: SIGTERM, wait, SIGKILL, wait."""
    pidfd = open_pidfd(pid)
    if pidfd is None:
        return
    try:
        send_signal(pidfd, 15)
        if not wait_pidfd(pidfd, timeout):
            send_signal(pidfd, 9)
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass
    finally:
        os.close(pidfd)


def reset_signals() -> None:
    """Give every signal its default action and unblock all, as a program expects at its start.

    Python ignores SIGPIPE and SIGXFSZ, and ignored signals survive execve(2).
    """
    for number in (1, 2, 3, 13, 15, 17, 20, 21, 22, 25, 28):
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
