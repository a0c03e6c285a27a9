"""``rl stats``."""

from __future__ import annotations

import sys
import time

from rootless.cli import help_texts
from rootless.cli.units import binary_size, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values
    from rootless.engine.stats import Reading

USAGE = "[OPTIONS] [CONTAINER...]"
ARGUMENTS = (0, None)
OPTIONS: tuple[Row, ...] = (
    ("all", "a", "bool", "Show all containers (default shows just running)"),
    ("format", "", "string", help_texts.LIST_FORMAT),
    ("no-stream", "", "bool", "Disable streaming stats and only pull the first result"),
    ("no-trunc", "", "bool", "Do not truncate output"),
)
COMPLETES = "running"

INTERVAL = 1.0  # seconds over which processor use is measured
COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
HEADERS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
    # Not in the table, as Docker has no such columns.
    "CPUPressure": "CPU PRESSURE",
    "MemPressure": "MEM PRESSURE",
    "IOPressure": "IO PRESSURE",
}
_CLEAR = "\033[2J\033[H"


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Show what containers use, again and again until it is interrupted."""
    from rootless.cli import formats
    from rootless.engine.stats import Meter

    template = values.get("format", "")
    once, truncate = values.get("no-stream", False), not values.get("no-trunc", False)
    meter = Meter(context.engine, arguments, every=values.get("all", False))
    live = not once and sys.stdout.isatty()
    meter.read()
    while True:
        time.sleep(INTERVAL)
        readings = meter.read()
        if live:
            sys.stdout.write(_CLEAR)
        formats.write_rows(template, COLUMNS, HEADERS, [row(reading, truncate=truncate) for reading in readings])
        sys.stdout.flush()
        if once or (arguments and not readings):
            return 0


def row(reading: Reading, *, truncate: bool = True) -> dict[str, str]:
    """Return the placeholders of ``--format``; what is not known is "--", what does not run uses nothing."""
    sample, running = reading.sample, reading.running
    memory = sample.memory if running else 0
    share = 0.0 if not running else None if memory is None else 100 * memory / sample.memory_limit
    return {
        "Container": reading.asked,
        "ID": reading.id[:12] if truncate else reading.id,
        "Name": reading.name,
        "CPUPerc": _percent(reading.cpu_percent),
        "MemUsage": f"{'--' if memory is None else binary_size(memory)} / {binary_size(sample.memory_limit)}",
        "MemPerc": _percent(share),
        "NetIO": _pair(sample.received, sample.sent, running),
        "BlockIO": _pair(sample.read, sample.written, running),
        "PIDs": str(sample.pids if running else 0) if not running or sample.pids is not None else "--",
        "CPUPressure": _percent(sample.pressure.get("cpu")),
        "MemPressure": _percent(sample.pressure.get("memory")),
        "IOPressure": _percent(sample.pressure.get("io")),
    }


def _percent(value: float | None) -> str:
    return "--" if value is None else f"{value:.2f}%"


def _pair(first: int | None, second: int | None, running: bool) -> str:
    if not running:
        first = second = 0
    if first is None or second is None:
        return "--"
    return f"{human_size(first, 3)} / {human_size(second, 3)}"
