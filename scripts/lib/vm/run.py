"""Start the virtual machine that image.sh made, run commands in it, switch it off.

The first start boots, and saves the running machine beside its disks; later ones go on from there in a second
or two instead of half a minute. All disks are read through a temporary layer: nothing that happens inside is kept.
The agent in the machine (tree/usr/local/sbin/rl-vm-agent) describes the protocol.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
import tty
from pathlib import Path

HEADER = struct.Struct(">cI")
KERNEL = "console=ttyS0 root=/dev/vda rw quiet panic=-1 mitigations=off audit=0 systemd.show_status=auto"
CGROUP_V1 = "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1"
MACHINE = [
    *("-machine", "pc", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", "2", "-m", "2048"),
    *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-rtc", "base=utc"),
    *("-device", "virtio-serial-pci,id=bus", "-device", "virtserialport,bus=bus.0,chardev=agent,name=rl.control"),
]
DISKS = ("disk", "project", "scratch", "swap")  # vda, vdb, …
PROJECT_BYTES = 1 << 29  # the disk's size is part of the saved machine
BOOT_SECONDS = 300
# Each user, in whose name a part of the suite runs; tests/vm/conftest.py knows which.
USERS = ("rl-user", "rl-plain", "rl-nosub", "rl-part")
CHECKOUT = "/opt/rl/checkout"
REPORTS = "/tmp/reports"


class VmError(Exception):
    """The machine itself does not work; its console says more."""


class Machine:
    """A running virtual machine."""

    def __init__(self, image: Path, project: Path, work: Path, *, kernel: str, saved: Path | None, keep: bool) -> None:
        self.console = work / "console"
        ours, agent = socket.socketpair()
        monitor_ours, monitor = socket.socketpair()
        sizes = {"project": project}
        # It dies with us, however we die.
        argv = ["setpriv", "--pdeathsig", "KILL", "nice", "-n", "5", "qemu-system-x86_64", *MACHINE]
        for number, name in enumerate(DISKS):
            path = sizes.get(name, image / f"{name}.img")
            options = "cache=unsafe,discard=unmap,format=raw,if=none" + ("" if keep else ",snapshot=on")
            argv += ["-drive", f"file={path},id={name},{options}"]
            argv += ["-device", f"virtio-blk-pci,drive={name},serial={name},addr={8 + number}"]
        argv += ["-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd"), "-append", kernel]
        argv += ["-chardev", f"socket,id=agent,fd={agent.fileno()}", "-serial", f"file:{self.console}"]
        argv += ["-chardev", f"socket,id=monitor,fd={monitor.fileno()}", "-mon", "chardev=monitor,mode=control"]
        if saved:
            argv += ["-incoming", f"exec:cat '{saved}'"]
        self.log = work / "qemu"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(agent.fileno(), monitor.fileno()),
                env={**os.environ, "TMPDIR": str(work)},
                process_group=0,  # a Ctrl-C of the terminal is for the command inside
            )
        agent.close()
        monitor.close()
        self.agent = ours
        self._monitor = monitor_ours.makefile("rwb", buffering=0)
        monitor_ours.close()
        self._buffer = b""

    def send(self, kind: bytes, data: bytes = b"") -> None:
        """Send one frame."""
        try:
            self.agent.sendall(HEADER.pack(kind, len(data)) + data)
        except BrokenPipeError:
            raise VmError("the virtual machine has ended") from None

    def frames(self) -> list[tuple[bytes, bytes]]:
        """Return the frames that one read completes."""
        try:
            data = self.agent.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        if not data:
            raise VmError("the virtual machine has ended")
        self._buffer += data
        found = []
        position = 0
        while len(self._buffer) - position >= HEADER.size:
            kind, length = HEADER.unpack_from(self._buffer, position)
            end = position + HEADER.size + length
            if len(self._buffer) < end:
                break
            found.append((kind, self._buffer[position + HEADER.size : end]))
            position = end
        self._buffer = self._buffer[position:]
        return found

    def wait_ready(self) -> dict:
        """Wait until the machine is up."""
        deadline = time.monotonic() + BOOT_SECONDS
        while select.select([self.agent], [], [], max(0, deadline - time.monotonic()))[0]:
            for kind, data in self.frames():
                if kind == b"R":
                    return json.loads(data)
        raise VmError(f"the virtual machine was not up after {BOOT_SECONDS} s")

    def monitor(self, command: str, **arguments: object) -> dict:
        """Ask qemu; returns what it returns."""
        self._monitor.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while line := self._monitor.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise VmError(f"qemu cannot {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise VmError("the virtual machine has ended")

    def save(self, path: Path) -> None:
        """Write the running machine to a file; it stands still from then on."""
        self.monitor("qmp_capabilities")
        temporary = path.with_suffix(".new")
        self.monitor("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.monitor("migrate", uri=f"exec:cat >'{temporary}'")
        while (status := self.monitor("query-migrate").get("status")) != "completed":
            if status in ("failed", "cancelled"):
                raise VmError("qemu could not save the virtual machine")
            time.sleep(0.1)  # there is no descriptor to wait on
        self.monitor("quit")
        self.process.wait(30)
        temporary.rename(path)

    def close(self) -> None:
        """Switch it off: there is nothing on its disks that matters."""
        self.process.kill()
        self.process.wait()
        self.agent.close()
        self._monitor.close()

    def explain(self) -> str:
        """Return the end of what console and qemu say."""
        texts = [path.read_text(errors="replace") for path in (self.console, self.log) if path.exists()]
        return "\n".join("\n".join(text.splitlines()[-60:]) for text in texts)


class Relay:
    """Runs a command in the machine, between it and our own streams."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.fresh = True

    def run(self, user: str, argv: list[str], *, env: dict[str, str], cwd: str, timeout: float, terminal: bool) -> int:
        """Return the exit status; 124 after the timeout."""
        request = {"user": user, "argv": argv, "env": env, "cwd": cwd}
        if self.fresh:
            request |= {"time": time.time(), "entropy": os.urandom(64).hex()}
            self.fresh = False
        if terminal:
            size = os.get_terminal_size(0)
            request["terminal"] = [size.lines, size.columns]
        self.machine.send(b"Q", json.dumps(request).encode())
        # A terminal is read for --shell only; a file or pipe always.
        source = -1 if os.isatty(0) and not terminal else 0
        if source < 0:
            self.machine.send(b"I")
        deadline = time.monotonic() + timeout
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)
        previous = {number: signal.signal(number, lambda *_: None) for number in caught}
        interrupts = 0
        try:
            while True:
                waiting = [self.machine.agent, wake_read, *([source] if source >= 0 else [])]
                ready = select.select(waiting, [], [], max(0, deadline - time.monotonic()))[0]
                if not ready:
                    print(f"vm: {argv[0]} took longer than {timeout:.0f} s", file=sys.stderr)
                    return 124
                if wake_read in ready:
                    for number in os.read(wake_read, 100):
                        if number == signal.SIGWINCH:
                            if terminal:
                                size = os.get_terminal_size(0)
                                self.machine.send(b"W", json.dumps([size.lines, size.columns]).encode())
                            continue
                        interrupts += 1
                        if number != signal.SIGINT or interrupts > 2:
                            return 128 + number
                        self.machine.send(b"S", bytes([number]))
                if source in ready:
                    data = os.read(source, 65536)
                    self.machine.send(b"I", data)
                    if not data:
                        source = -1
                if self.machine.agent in ready:
                    for kind, data in self.machine.frames():
                        if kind in (b"O", b"E"):
                            write_all(1 if kind == b"O" else 2, data)
                        elif kind == b"X":
                            result = json.loads(data)
                            if "error" in result:
                                print(f"vm: {result['error']}", file=sys.stderr)
                            return result["status"]
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in previous.items():
                signal.signal(number, handler)
            os.close(wake_read)
            os.close(wake_write)

    def fetch(self, path: str, target: Path) -> None:
        """Copy a directory out of the machine."""
        self.machine.send(b"C", path.encode())
        with subprocess.Popen(["tar", "-C", target, "--no-same-owner", "-xf", "-"], stdin=subprocess.PIPE) as process:
            while True:
                for kind, data in self.machine.frames():
                    if kind == b"T" and data:
                        process.stdin.write(data)
                    elif kind == b"T":
                        process.stdin.close()
                        return


def write_all(fd: int, data: bytes) -> None:
    """Write, also to a full pipe."""
    while data:
        data = data[os.write(fd, data) :]


def saved_machine(image: Path, work: Path, kernel: str) -> Path:
    """Return the file of the booted machine, which is made if need be."""
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    identity = json.dumps([version, MACHINE, DISKS, PROJECT_BYTES, kernel])
    path = image / f"booted-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if path.exists():
        return path
    with (image / "lock").open("w") as lock:
        # Exclusive: this boot writes to the disks that others read.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path
        for old in image.glob("booted-*"):
            old.unlink()
        start = time.monotonic()
        project = work / "empty.img"
        with project.open("wb") as stream:
            stream.truncate(PROJECT_BYTES)
        machine = Machine(image, project, work, kernel=kernel, saved=None, keep=True)
        try:
            ready = machine.wait_ready()
            machine.save(path)
        except BaseException:
            print(machine.explain(), file=sys.stderr)
            raise
        finally:
            machine.close()
            project.unlink()
        seconds = time.monotonic() - start
        print(
            f"vm: booted Linux {ready['kernel']} in {ready['uptime']:.0f} s and saved the machine"
            f" ({path.stat().st_size >> 20} MB, {seconds:.0f} s in all)",
            file=sys.stderr,
        )
    return path


def suite(relay: Relay, options: argparse.Namespace, env: dict[str, str]) -> int:
    """Run tests/vm as each user in turn; a user may have no tests there (5)."""
    worst = 0
    for user in USERS:
        start = time.monotonic()
        report = ["-o", "junit_suite_name=vm", f"--junitxml={REPORTS}/vm-{user}.xml"]
        argv = ["pytest", "-q", "--durations=10", *report, "tests/vm"]
        remaining = options.timeout - (start - options.start)
        status = relay.run(user, argv, env=env, cwd=CHECKOUT, timeout=remaining, terminal=False)
        print(f"vm: tests as {user}: status {status}, {time.monotonic() - start:.0f} s", file=sys.stderr)
        if status not in (0, 5):
            worst = worst or status
        if status in (124, 130, 143):
            break
    return worst


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/vm",
        description="Run a command in a virtual machine with delegated cgroups, or the suite's part for it.",
        epilog="Users: root, rl-user (all delegated), rl-part (cpu, memory, pids), rl-nosub (no subordinate ids), "
        "rl-plain (no session, nothing delegated). The project is /opt/rl/checkout, images are in /opt/rl/images.",
    )
    parser.add_argument("--user", default="rl-user", choices=(*USERS, "root"))
    parser.add_argument("--shell", action="store_true", help="an interactive login shell on this terminal")
    parser.add_argument("--boot", action="store_true", help="boot, instead of going on with the saved machine")
    parser.add_argument("--cgroup", default="v2", choices=("v1", "v2"), help="v1: boots with the old hierarchies")
    parser.add_argument("--kernel", default="", metavar="ARGUMENTS", help="more for the kernel's command line; boots")
    parser.add_argument("--timeout", type=float, default=1200, metavar="SECONDS")
    parser.add_argument("--reports", type=Path, metavar="DIRECTORY", help="where the suite's JUnit reports go")
    parser.add_argument("--console", action="store_true", help="print the machine's console in the end")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    if options.command[:1] == ["--"]:
        del options.command[0]
    if options.shell and (options.command or not os.isatty(0)):
        parser.error("--shell needs a terminal and takes no command")
    return options


def main() -> int:
    """Return the exit status for scripts/vm."""
    image, work = Path(sys.argv[1]), Path(sys.argv[2])
    options = parse(sys.argv[3:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    options.start = time.monotonic()
    kernel = " ".join(filter(None, [KERNEL, CGROUP_V1 if options.cgroup == "v1" else "", options.kernel]))
    env = {"RL_TEST_VM": "1", "RL_TEST_COMMAND": f"{CHECKOUT}/dist/rl", "RL_TEST_IMAGES": "/opt/rl/images"}
    for name in ("CI", "TERM"):
        if name in os.environ:
            env[name] = os.environ[name]
    machine = None
    try:
        with (image / "lock").open("w") as lock:
            saved = None if options.boot or kernel != KERNEL else saved_machine(image, work, kernel)
            fcntl.flock(lock, fcntl.LOCK_SH)
            machine = Machine(image, work / "project.img", work, kernel=kernel, saved=saved, keep=False)
            if not saved:
                print(f"vm: booted in {machine.wait_ready()['uptime']:.0f} s", file=sys.stderr)
            return work_in(Relay(machine), options, env)
    except VmError as error:
        print(f"{machine.explain() if machine else ''}\nvm: {error}", file=sys.stderr)
        return 125
    except KeyboardInterrupt:
        return 130
    finally:
        if machine:
            machine.close()
            if options.console:
                print(machine.explain(), file=sys.stderr)
        shutil.rmtree(work)


def work_in(relay: Relay, options: argparse.Namespace, env: dict[str, str]) -> int:
    """Do what was asked for."""
    if options.shell:
        return shell(relay, options, env)
    if options.command:
        run = {"env": env, "cwd": CHECKOUT, "timeout": options.timeout, "terminal": False}
        return relay.run(options.user, options.command, **run)
    relay.run("root", ["install", "-d", "-m", "1777", REPORTS], env={}, cwd="/", timeout=60, terminal=False)
    status = suite(relay, options, env)
    if options.reports:
        relay.fetch(REPORTS, options.reports)
    return status


def shell(relay: Relay, options: argparse.Namespace, env: dict[str, str]) -> int:
    """Connect this terminal."""
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        return relay.run(options.user, ["bash", "-i"], env=env, cwd="", timeout=1e9, terminal=True)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


if __name__ == "__main__":
    sys.exit(main())
