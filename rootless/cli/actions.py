"""What the verbs of containers ask of the engine.

Every function takes the ``Context``, prints what Docker prints and returns an exit status.
With ``image_actions`` and ``reports`` the only place where the CLI calls the engine.
"""

from __future__ import annotations

import sys

from rootless.errors import InvalidArgument, NotFound, NotModified, RlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rootless.cli.context import Context
    from rootless.cli.parser import Values
    from rootless.cli.progress import Display
    from rootless.engine.containers import Container
    from rootless.engine.options import ContainerOptions, ExecOptions


class LazyProgress:
    """A ``Progress`` that imports the display at the first report: most runs pull nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._display: Display | None = None

    def _open(self) -> Display:
        if self._display is None:
            from rootless.cli import progress

            self._display = progress.create(sys.stderr, quiet=self._quiet)
        return self._display

    def layer(self, digest: str, status: str, current: int = 0, total: int = 0) -> None:
        """Report the state of a layer."""
        self._open().layer(digest, status, current, total)

    def message(self, text: str) -> None:
        """Report a line of text."""
        self._open().message(text)

    def close(self) -> None:
        """Leave the terminal below the display."""
        if self._display is not None:
            self._display.close()


def run(context: Context, values: Values, options: ContainerOptions) -> int:
    """Create and start a container; in the foreground, return the payload's exit status."""
    from rootless.engine import containers

    detach = values.get("detach", False)
    if not detach:
        check_terminal(interactive=options.interactive, tty=options.tty)
    engine = context.engine
    container = create_container(context, values, options)
    sys.stdout.flush()
    try:
        if detach:
            containers.start(engine, container)
        else:
            return containers.run_foreground(
                engine,
                container,
                stdin=0 if options.interactive else -1,
                stdout=1,
                stderr=2,
                tty=options.tty,
                detach_keys=values.get("detach-keys", ""),
                sig_proxy=values.get("sig-proxy", True),
            )
    except RlError:
        if containers.withdraw(engine, container) and "cidfile" in values:
            from rootless.cli import cidfile

            cidfile.remove(values["cidfile"])
        raise
    print(container.id)
    return 0


def create(context: Context, values: Values, options: ContainerOptions) -> int:
    """Create a container and print its ID."""
    print(create_container(context, values, options).id)
    return 0


def create_container(context: Context, values: Values, options: ContainerOptions) -> Container:
    """Create a container, writing its ID to ``--cidfile`` if one is asked for."""
    from rootless.engine import containers

    progress = LazyProgress(quiet=values.get("quiet", False))
    try:
        if "cidfile" not in values:
            return containers.create(context.engine, options, progress)
        from rootless.cli import cidfile

        with cidfile.CidFile(values["cidfile"]) as file:
            container = containers.create(context.engine, options, progress)
            file.write(container.id)
        return container
    finally:
        progress.close()


def start(context: Context, values: Values, references: Sequence[str]) -> int:
    """Start containers, or one with its streams attached."""
    from rootless.engine import containers

    interactive = values.get("interactive", False)
    if not (values.get("attach") or interactive):
        failed = []
        for reference in references:
            try:
                containers.start(context.engine, containers.find(context.engine, reference))
            except NotModified:
                print(reference)
            except RlError as error:
                failed.append(reference)
                complain(context, error)
            else:
                print(reference)
        return 1 if failed else 0
    if len(references) > 1:
        raise InvalidArgument("you cannot start and attach multiple containers at once")
    engine = context.engine
    container = containers.find(engine, references[0])
    options = container.record["options"]
    interactive = interactive and options.get("interactive", False)
    tty = options.get("tty", False)
    check_terminal(interactive=interactive, tty=tty)
    return containers.run_foreground(
        engine,
        container,
        stdin=0 if interactive else -1,
        stdout=1,
        stderr=2,
        tty=tty,
        detach_keys=values.get("detach-keys", ""),
        sig_proxy=values.get("sig-proxy", True),
    )


def stop(context: Context, values: Values, references: Sequence[str]) -> int:
    """Stop containers one after the other, printing each."""
    from rootless.engine import containers

    timeout, signal = values.get("timeout"), values.get("signal")
    return for_each(context, references, lambda name: containers.stop(context.engine, name, timeout, signal))


def kill(context: Context, values: Values, references: Sequence[str]) -> int:
    """Send a signal to containers, printing each."""
    from rootless.engine import containers

    signal = values.get("signal") or "KILL"
    return for_each(context, references, lambda name: containers.kill(context.engine, name, signal))


def remove(context: Context, values: Values, references: Sequence[str]) -> int:
    """Remove containers, printing each; with ``--force`` one that does not exist is no error."""
    from rootless.engine import containers

    force, volumes = values.get("force", False), values.get("volumes", False)

    def one(name: str) -> bool:
        name = name.strip("/")
        if not name:
            raise InvalidArgument("container name cannot be empty")
        try:
            containers.remove(context.engine, name, force=force, volumes=volumes)
        except NotFound:
            if not force:
                raise
            return False
        return True

    return for_each(context, references, one)


def pause(context: Context, references: Sequence[str]) -> int:
    """Pause containers, printing each."""
    from rootless.engine import control

    return for_each(context, references, lambda name: control.pause(context.engine, name))


def unpause(context: Context, references: Sequence[str]) -> int:
    """Let paused containers go on, printing each."""
    from rootless.engine import control

    return for_each(context, references, lambda name: control.unpause(context.engine, name))


def update(context: Context, values: Values, references: Sequence[str]) -> int:
    """Change limits and restart policy of containers, printing each."""
    from rootless.cli import options, parser
    from rootless.engine import updating
    from rootless.engine.values import parse_restart

    if not values:
        raise parser.UsageError("you must provide one or more flags when using this command")
    changes = options.resources(values)
    restart = parse_restart(values["restart"]) if "restart" in values else None
    mode = values.get("limits", "")
    return for_each(
        context,
        references,
        lambda name: updating.update(context.engine, name, changes, restart=restart, limits=mode),
    )


def wait(context: Context, references: Sequence[str]) -> int:
    """Wait for containers in turn and print their exit statuses."""
    from rootless.engine import containers

    status = 0
    for reference in references:
        try:
            code = containers.wait(context.engine, reference)
        except RlError as error:
            complain(context, error)
            status = 1
        else:
            print(code, flush=True)
    return status


def logs(context: Context, values: Values, reference: str) -> int:
    """Write what a container wrote, each stream to its own."""
    from rootless.engine import containers

    containers.logs(
        context.engine,
        reference,
        follow=values.get("follow", False),
        tail=values.get("tail", "all"),
        since=values.get("since", ""),
        until=values.get("until", ""),
        timestamps=values.get("timestamps", False),
        write_out=writer(1),
        write_err=writer(2),
    )
    return 0


def exec_(context: Context, values: Values, reference: str, options: ExecOptions) -> int:
    """Run a command in a running container and return its exit status."""
    from rootless.engine import execs

    if options.detach:
        execs.detached(context.engine, reference, options)
        return 0
    check_terminal(interactive=options.interactive, tty=options.tty)
    sys.stdout.flush()
    return execs.run(
        context.engine,
        reference,
        options,
        stdin=0 if options.interactive else -1,
        stdout=1,
        stderr=2,
        detach_keys=values.get("detach-keys", ""),
    )


def for_each(context: Context, names: Sequence[str], function: Callable[[str], object]) -> int:
    """Call ``function`` for each name and print those that succeed; 1 if any failed.

    A name is not printed where the function returns ``False``.
    """
    status = 0
    for name in names:
        try:
            done = function(name)
        except RlError as error:
            complain(context, error)
            status = 1
        else:
            if done is not False:
                print(name, flush=True)
    return status


def complain(context: Context, error: BaseException) -> None:
    """Report an error that does not end the command."""
    from rootless.cli import exits

    sys.stdout.flush()
    exits.report(error, debug=context.debug)


def check_terminal(*, interactive: bool, tty: bool) -> None:
    """Refuse ``-it`` without a terminal, as Docker does."""
    import os

    if interactive and tty and not os.isatty(0):
        raise InvalidArgument("the input device is not a terminal", hint="leave out -t to pass a pipe or a file")


def writer(fd: int) -> Callable[[bytes], None]:
    """Return a function that writes all of some bytes to ``fd``."""
    import os

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    return write
