"""rl: a rootless container engine that needs no daemon."""

__version__ = "0.1.0"
