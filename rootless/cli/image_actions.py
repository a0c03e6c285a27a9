"""What the verbs of images ask of the engine; like ``actions``."""

from __future__ import annotations

import sys

from rootless.cli.actions import complain
from rootless.errors import InvalidArgument, NotFound, RlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from rootless.cli.context import Context
    from rootless.cli.parser import Values


def pull(context: Context, values: Values, reference: str) -> int:
    """Pull an image, showing progress on standard output as Docker does."""
    from rootless.cli import progress
    from rootless.engine import images
    from rootless.oci import references

    parsed = references.parse(reference)
    quiet = values.get("quiet", False)
    display = progress.create(sys.stdout, quiet=quiet)
    if not quiet and not parsed.digest and not _has_tag(reference):
        display.message(f"Using default tag: {parsed.tag}")
    try:
        pulled = images.pull(context.engine, reference, platform=_platform(values), progress=display)
    finally:
        display.close()
    print(pulled.reference)
    return 0


def _has_tag(reference: str) -> bool:
    return ":" in reference.rpartition("/")[2]


def _platform(values: Values) -> str:
    import os

    return values.get("platform") or os.environ.get("DOCKER_DEFAULT_PLATFORM", "")


def remove_images(context: Context, values: Values, names: Sequence[str]) -> int:
    """Untag and delete images; with ``--force`` one that does not exist is reported but is no error."""
    from rootless.engine import images

    force = values.get("force", False)
    status = 0
    for name in names:
        try:
            for kind, what in images.remove(context.engine, name, force=force):
                print(f"{kind}: {what}", flush=True)
        except RlError as error:
            complain(context, error)
            if not (force and isinstance(error, NotFound)):
                status = 1
    return status


def prune_images(context: Context, values: Values) -> int:
    """Delete images without a name, or with ``--all`` those that no container uses."""
    from rootless.cli.units import human_size
    from rootless.engine import images

    removed, freed = images.prune(context.engine, all=values.get("all", False), filters=tuple(values.get("filter", ())))
    if removed:
        print("Deleted Images:")
        for kind, what in removed:
            print(f"{kind.lower()}: {what}")
        print()
    print(f"Total reclaimed space: {human_size(freed)}")
    return 0


def tag_image(context: Context, source: str, target: str) -> int:
    """Give an image another name."""
    from rootless.engine import images

    images.tag(context.engine, source, target)
    return 0


def import_image(context: Context, values: Values, source: str, reference: str) -> int:
    """Make an image of one layer from a tarball and print its ID."""
    from rootless.engine import images

    with _input(source) as stream:
        print(
            images.import_(
                context.engine,
                stream,
                reference=reference,
                changes=tuple(values.get("change", ())),
                message=values.get("message", ""),
                platform=_platform(values),
            )
        )
    return 0


def load_images(context: Context, values: Values) -> int:
    """Load the images of an archive and print their names."""
    from rootless.cli import progress
    from rootless.engine import images

    path = values.get("input", "-")
    if path == "-" and sys.stdin is not None and sys.stdin.isatty():
        raise InvalidArgument(
            "requested load from stdin, but stdin is empty", hint="use `rl load -i FILE` or redirect a file"
        )
    display = progress.create(sys.stdout, quiet=values.get("quiet", False) or not sys.stdout.isatty())
    try:
        with _input(path) as stream:
            loaded = images.load(context.engine, stream, progress=display, platform=values.get("platform", ""))
    finally:
        display.close()
    for name in loaded:
        print(f"Loaded image ID: {name}" if name.startswith("sha256:") else f"Loaded image: {name}")
    return 0


def _input(path: str) -> BinaryIO:
    """Open a file, or standard input for ``-``."""
    from rootless.errors import NoSuchFile, from_oserror

    try:
        return open(0, "rb", closefd=False) if path == "-" else open(path, "rb")
    except FileNotFoundError:
        raise NoSuchFile(f"open {path}: no such file or directory") from None
    except OSError as error:
        raise from_oserror(error, "open") from error
