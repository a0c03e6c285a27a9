"""What a command may start ahead of need, before it imports the rest of the engine."""

from __future__ import annotations

from rootless.monitor import launch


def prepare_start() -> None:
    """Fork the monitor of the container that this process is about to start; see ``monitor/launch.py``."""
    launch.prefork()
