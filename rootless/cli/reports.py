"""What the listing and inspecting verbs ask of the engine: data, which the verbs print."""

from __future__ import annotations

from rootless.errors import RlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cli.context import Context
    from rootless.cli.parser import Values


def list_containers(context: Context, values: Values) -> list[dict[str, Any]]:
    """Return the rows of ps: every placeholder of ``--format`` by its name."""
    from rootless.engine import containers, filters, listing

    last = values.get("last", -1)
    if values.get("latest") and last == -1:
        last = 1
    engine = context.engine
    summaries = listing.containers(
        containers.list_all(engine),
        every=values.get("all", False),
        last=last,
        filters=filters.parse(values.get("filter", ()), filters.CONTAINERS),
        find_image=listing.image_finder(engine.images),
    )
    truncate = not values.get("no-trunc", False)
    return [listing.container_row(summary, truncate=truncate) for summary in summaries]


def list_images(context: Context, values: Values, name: str) -> list[dict[str, Any]]:
    """Return the rows of images."""
    from rootless.engine import filters, listing

    summaries = listing.images(
        context.engine.images, name=name, filters=filters.parse(values.get("filter", ()), filters.IMAGES)
    )
    truncate = not values.get("no-trunc", False)
    digests = values.get("digests", False)
    return [row for summary in summaries for row in listing.image_rows(summary, truncate=truncate, digests=digests)]


def inspect_container(context: Context, name: str) -> dict[str, Any]:
    """Return what Docker's API says of a container."""
    from rootless.engine import containers, inspect

    engine = context.engine
    container = containers.find(engine, name)
    try:
        config = engine.images.config(engine.images.lookup(container.record["image_id"]))
    except RlError:
        config = None  # the image was removed by force
    return inspect.container(container, config)


def inspect_image(context: Context, name: str) -> dict[str, Any]:
    """Return what Docker's API says of an image."""
    from rootless.engine import inspect

    engine = context.engine
    entry = engine.images.lookup(name)
    return inspect.image(
        list(engine.images.names(entry.image_id)), engine.images.config(entry), driver=engine.snapshotter.name
    )


def system_info(context: Context) -> dict[str, Any]:
    """Return what Docker's API says of the system."""
    from rootless.engine import containers, info

    engine = context.engine
    return info.collect(engine, containers.list_all(engine))


def system_version() -> dict[str, Any]:
    """Return what Docker's API says of versions."""
    from rootless.engine import info

    return info.version()
