"""Time rl against podman: alternating runs, medians of the ratios of neighbours. Prints a Markdown table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support import images, processes
from tests.support.registry import Registry
from tests.support.rl import remove_tree

LAYERS = 8
LAYER_BYTES = 75_000_000
CASES = ("run-none", "run-net", "ps", "pull", "memory")


class Side:
    """One of the two engines, with a home, a store and a runtime directory of its own."""

    def __init__(self, name: str, argv: list[str], directory: Path) -> None:
        self.name = name
        self.argv = argv
        self.directory = directory
        for each in ("home", "run", "tmp"):
            (directory / each).mkdir(parents=True, mode=0o700)
        self.env = {
            "HOME": str(directory / "home"),
            "XDG_RUNTIME_DIR": str(directory / "run"),
            "XDG_CACHE_HOME": os.path.expanduser("~/.cache"),
            "TMPDIR": str(directory / "tmp"),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
        }

    def __call__(self, *arguments: str) -> str:
        result = subprocess.run(
            [*self.argv, *arguments], env=self.env, capture_output=True, text=True, cwd=self.directory
        )
        if result.returncode != 0:
            raise SystemExit(
                f"bench: {self.name} {' '.join(arguments)} failed ({result.returncode}): {result.stderr.strip()}"
            )
        return result.stdout.strip()

    def seconds(self, *arguments: str) -> float:
        start = time.perf_counter()
        self(*arguments)
        return time.perf_counter() - start


def alternate(case: str, runs: int, ours: tuple[Side, list[str]], theirs: tuple[Side, list[str]], after=None) -> str:
    """Run A B A B …; return a row of the table. ``after`` puts a side back to where it was, untimed."""
    times: dict[str, list[float]] = {ours[0].name: [], theirs[0].name: []}
    for number in range(-1, runs):  # the first pair warms the caches
        for side, arguments in (ours, theirs):
            seconds = side.seconds(*arguments)
            if number >= 0:
                times[side.name].append(seconds)
            if after:
                after(side)
    mine, other = times[ours[0].name], times[theirs[0].name]
    ratio = statistics.median(a / b for a, b in zip(mine, other, strict=True))
    print(f"bench: {case}: ratio {ratio:.2f}", file=sys.stderr)
    return f"| {case} | {milliseconds(mine)} | {milliseconds(other)} | **{ratio:.2f}** | {runs} |"


def milliseconds(values: list[float]) -> str:
    middle = statistics.median(values) * 1000
    return f"{middle / 1000:.2f} s" if middle >= 2000 else f"{middle:.0f} ms"


def big_image() -> Path:
    """Return an archive of eight layers of 75 MB: thousands of files, about half of it compressible."""
    cache = images.make_image.cache_directory()
    path = cache / "images" / f"big-{LAYERS}x{LAYER_BYTES}.tar"
    if path.exists():
        return path
    print("bench: making the big image", file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    source = random.Random(1)
    words = [source.randbytes(source.randrange(1, 6)).hex() for _ in range(5000)]
    text = " ".join(source.choices(words, k=1_000_000)).encode()
    noise = source.randbytes(8_000_000)
    layers = []
    for number in range(LAYERS):
        layer = images.make_image.Layer()
        left = LAYER_BYTES
        count = 0
        while left > 0:
            size = min(left, int(source.lognormvariate(9.5, 1.5)) + 1)
            pool = text if source.random() < 0.6 else noise
            start = source.randrange(len(pool) - size) if size < len(pool) else 0
            layer.file(f"usr/share/{number}/{count // 100}/{count}", pool[start : start + size])
            left -= size
            count += 1
        layers.append(layer)
    data = images.make_image.archive("big", layers, {"Cmd": ["sh"]}, 4)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    temporary.rename(path)
    return path


def private_memory(pid: int) -> float:
    """Return a process's private memory in MB."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            total += int(line.split()[1])
    return total / 1024


def memory_row(rl: Side, podman: Side, run: list[str]) -> str:
    """Compare the process that stays with a detached container, where it is not the only one.

    The first would be charged with the pages of the interpreter itself, which all share.
    """
    for name in ("bench-other", "bench"):
        rl("run", "-d", "--name", name, "--network", "none", "busybox", "sleep", "1000")
        podman(*run, "-d", "--name", name, "--network", "none", "busybox", "sleep", "1000")
    state = next((rl.directory / "home/.local/share/rl/containers").glob("*/state.json"))
    mine = private_memory(json.loads(state.read_text())["monitor_pid"])
    conmon = int(podman("inspect", "--format", "{{.State.ConmonPid}}", "bench"))
    other = private_memory(conmon)
    rl("rm", "-f", "bench", "bench-other")
    podman("rm", "-f", "-t", "0", "bench", "bench-other")
    print(f"bench: memory of a monitor: {mine:.1f} MB", file=sys.stderr)
    return f"| private memory of a monitor | {mine:.1f} MB | {other:.1f} MB (conmon, in C) | {mine / other:.1f} | 1 |"


def measure(options: argparse.Namespace, work: Path, rows: list[str]) -> str:
    """Run the cases; returns the line that says where."""
    tempfile.tempdir = str(work)
    only = options.only.split(",")
    rl = Side("rl", [options.rl], work / "rl")
    podman = Side(
        "podman",
        [
            *("podman", "--root", str(work / "podman/root"), "--runroot", str(work / "podman/runroot")),
            *("--storage-driver=overlay", "--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=crun"),
        ],
        work / "podman",
    )
    registry_directory = work / "registry"
    registry_directory.mkdir()
    registry = Registry(registry_directory)
    try:
        registry.push(images.build("busybox"), "library/busybox:latest")
        config = rl.directory / "home/.config/rl/config.json"
        config.parent.mkdir(parents=True)
        config.write_text(json.dumps({"registry-mirrors": [registry.url]}))
        rl("pull", "busybox")
        podman("pull", "--tls-verify=false", f"{registry.address}/library/busybox:latest")
        podman("tag", f"{registry.address}/library/busybox:latest", "docker.io/library/busybox:latest")
        run = ["run", "--cgroups=disabled"]
        for case, network in (("run-none", ["--network", "none"]), ("run-net", [])):
            if case in only:
                rest = ["--rm", *network, "busybox", "true"]
                title = f"`{' '.join(['run', *rest])}`"
                rows.append(alternate(title, options.runs, (rl, ["run", *rest]), (podman, [*run, *rest])))
        if "ps" in only:
            rows.append(alternate("`ps -a`, nothing there", options.runs, (rl, ["ps", "-a"]), (podman, ["ps", "-a"])))
        if "memory" in only:
            rows.append(memory_row(rl, podman, run))
        if "pull" in only:
            registry.push(big_image(), "library/big:latest")
            pulls = {
                "rl": ["pull", "-q", "big"],
                "podman": ["pull", "-q", "--tls-verify=false", f"{registry.address}/library/big:latest"],
            }
            removals = {"rl": ["rmi", "big"], "podman": ["rmi", f"{registry.address}/library/big:latest"]}
            title = f"`pull` of {LAYERS * LAYER_BYTES // 1_000_000} MB in {LAYERS} layers"
            rows.append(
                alternate(
                    title,
                    max(3, options.runs // 6),
                    (rl, pulls["rl"]),
                    (podman, pulls["podman"]),
                    lambda side: side(*removals[side.name]),
                )
            )
        version = podman("--version").removeprefix("podman version ")
        driver = podman("info", "--format", "{{.Store.GraphDriverName}}")
        try:
            own = rl("info", "--format", "{{.Driver}}")
        except SystemExit:
            own = "unknown driver"
        return (
            f"Linux {platform.release().split('-')[0]}, {os.cpu_count()} CPUs, Python {platform.python_version()}, "
            f"podman {version} with crun ({driver}), rl ({own}, one file), {time.strftime('%Y-%m-%d')}."
        )
    finally:
        registry.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rl", required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", default=",".join(CASES))
    options = parser.parse_args()
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    work = Path(tempfile.mkdtemp(prefix="rlb-", dir=base))
    rows: list[str] = []
    try:
        where = measure(options, work, rows)
    finally:
        processes.kill(processes.processes_of(work))
        remove_tree(work)
        shutil.rmtree(work, ignore_errors=True)
    print("| | rl | podman | ratio | runs |\n|---|---|---|---|---|", *rows, "", where, sep="\n")


if __name__ == "__main__":
    main()
