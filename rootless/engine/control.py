"""What is asked of a running container's monitor, which alone may do it and record it."""

from __future__ import annotations

from rootless import jsonlite
from rootless.engine import containers
from rootless.errors import Conflict
from rootless.linux import sockets
from rootless.monitor import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.containers import Container
    from rootless.engine.engine import Engine


def ask(container: Container, **message: Any) -> list[str]:
    """Send a request of ``monitor.protocol`` and wait for the answer; returns warnings.

    Raises ``Conflict`` if the container has ended, and what the monitor reports.
    """
    from rootless.engine.launching import raise_failure

    decoder = protocol.Decoder()
    try:
        channel = sockets.connect(f"{container.state['runtime_dir']}/attach.sock")
    except (OSError, KeyError):
        raise _ended(container) from None
    try:
        channel.sendall(protocol.control(**message))
        while data := channel.recv(65536):
            for kind, content in decoder.feed(data):
                if kind != protocol.CONTROL:
                    continue  # we are attached like anybody
                answer = jsonlite.loads(content)
                raise_failure(answer)
                if "done" in answer:
                    return list(answer["done"])
    except OSError:
        pass
    finally:
        channel.close()
    raise _ended(container)


def pause(engine: Engine, text: str) -> None:
    """Make all processes of a container stand still; raises ``Conflict`` if it does not run or does so already."""
    container = containers.find(engine, text)
    if not container.running:
        raise _ended(container)
    if container.paused:
        raise Conflict(f"container {text} is already paused")
    ask(container, pause=True)


def unpause(engine: Engine, text: str) -> None:
    """Let a paused container go on; raises ``Conflict`` if it is not paused."""
    container = containers.find(engine, text)
    if not container.paused:
        raise Conflict(f"container {text} is not paused")
    ask(container, pause=False)


def _ended(container: Container) -> Conflict:
    return Conflict(f"container {container.name} is not running", hint=f"start it first: rl start {container.name}")
