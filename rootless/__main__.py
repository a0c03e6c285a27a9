"""The front door: what must be quick is answered before anything is imported."""

from __future__ import annotations

import sys


def run(argv: list[str]) -> int:
    """Run one command line and return its exit status; everything is flushed by the caller."""
    if argv and argv[0] in ("--version", "-v") and len(argv) == 1:
        from rootless import __version__

        sys.stdout.write(f"rl version {__version__}\n")
        return 0
    if argv and argv[0] == "__complete":
        from rootless.cli import completion

        return completion.run(argv[1:])
    from rootless.cli import fastpath

    status = fastpath.run(argv)
    if status is None:
        from rootless.cli import main

        status = main.run(argv)
    return status


def main() -> None:
    """Run ``sys.argv`` and leave without the interpreter's finalisation, which costs 1.5 ms."""
    import os

    if sys.stdout is None or sys.stderr is None:  # started with a closed descriptor
        devnull = os.open(os.devnull, os.O_RDWR)
        while devnull <= 2:
            devnull = os.dup(devnull)
        sys.stdout = sys.stdout or open(1, "w", closefd=False)
        sys.stderr = sys.stderr or open(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if stream.encoding.lower() != "utf-8" or stream.errors != "surrogateescape":
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        status = 141
    except KeyboardInterrupt:
        status = 130
    except OSError as error:  # the last flush: a full disk, perhaps
        sys.stderr.write(f"rl: cannot write to standard output: {(error.strerror or '').lower()}\n")
        status = 1
    except Exception as error:  # verbs report theirs; what is left is a fault of ours or a broken installation
        from rootless.cli import exits

        exits.report(error, debug="--debug" in sys.argv or "-D" in sys.argv)
        status = 1
    try:
        sys.stderr.flush()
    except OSError:
        pass
    os._exit(status)


if __name__ == "__main__":
    main()
