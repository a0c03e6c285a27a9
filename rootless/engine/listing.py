"""What ``ps`` and ``images`` list: summaries as in Docker's API, and rows of text from them.

A summary is an element of ``/containers/json`` or ``/images/json``. A row maps each
placeholder of ``--format`` to its text.
"""

from __future__ import annotations

import time

from rootless.engine import filters as filtering
from rootless.engine import times
from rootless.errors import InvalidArgument, NoSuchContainer, NoSuchImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from rootless.engine.filters import Filters
    from rootless.engine.inspect import ContainerView
    from rootless.storage.images import ImageEntry, ImageStore

CONTAINER_COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
CONTAINER_HEADERS = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
    "HealthStatus": "HEALTH STATUS",
}
IMAGE_COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")
IMAGE_HEADERS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}


# -- containers ----------------------------------------------------------------------


def containers(
    views: Iterable[ContainerView],
    *,
    every: bool = False,
    last: int = 0,
    filters: Filters | None = None,
    find_image: Callable[[str], str | None] = lambda _: None,
    sizes: Callable[[ContainerView], tuple[int, int]] | None = None,
    now: int | None = None,
) -> list[dict[str, Any]]:
    """Return summaries, newest first.

    ``every`` is ps -a; ``last`` above 0 is -n, which implies it. ``find_image`` returns
    the ID of an image by name, for ``ancestor``. ``sizes`` returns a container's own size
    and the total. Raises ``InvalidArgument``, and ``NoSuchContainer`` for before and since.
    """
    chosen = filters or {}
    filtering.check(chosen, filtering.CONTAINERS)
    select = _Selection(chosen, find_image)
    moment = time.time_ns() if now is None else now
    ordered = sorted(views, key=lambda view: str(view.record.get("created", "")), reverse=True)
    ordered = _between(ordered, chosen)
    result: list[dict[str, Any]] = []
    everything = every or last > 0 or "status" in chosen or "exited" in chosen
    for view in ordered:
        status = str(view.state.get("status", "created"))
        if not everything and status not in ("running", "paused", "restarting"):
            continue
        summary = container_summary(view, now=moment)
        if not select.accepts(view, summary):
            continue
        if sizes is not None:
            summary["SizeRw"], summary["SizeRootFs"] = sizes(view)
        result.append(summary)
        if last > 0 and len(result) == last:
            break
    return result


def container_summary(view: ContainerView, *, now: int | None = None) -> dict[str, Any]:
    """Return one element of ``/containers/json``."""
    record, state = view.record, view.state
    options = record.get("options") or {}
    network = options.get("network") or "default"
    name = "bridge" if network in ("default", "bridge", "slirp4netns") else network
    running = state.get("status") in ("running", "paused")
    return {
        "Id": view.id,
        "Names": [f"/{view.name}"],
        "Image": record.get("image", ""),
        "ImageID": record.get("image_id", ""),
        "Command": _command(record.get("command") or []),
        "Created": times.from_text(str(record.get("created", ""))) // 10**9,
        "Ports": _ports(state, record.get("exposed") or ()) if running and network != "host" else [],
        "Labels": dict(record.get("labels") or options.get("labels") or {}),
        "State": state.get("status", "created"),
        "Status": status_text(state, now=now),
        "HostConfig": {"NetworkMode": "default" if name == "bridge" else name},
        "NetworkSettings": {
            "Networks": {
                name: {
                    "NetworkID": "",
                    "IPAddress": (state.get("ip") or "") if running else "",
                    "Gateway": (state.get("gateway") or "") if running else "",
                }
            }
        },
        "Mounts": list(record.get("mounts") or []),
    }


def _command(words: list[str]) -> str:
    """Join a command as Docker does: arguments with a space are shown in single quotes."""
    return " ".join([*words[:1], *(f"'{word}'" if " " in word else word for word in words[1:])])


def status_text(state: Mapping[str, Any], *, now: int | None = None) -> str:
    """Return ``Up 5 minutes (healthy)``, ``Exited (0) 3 days ago``, ``Created`` …."""
    moment = time.time_ns() if now is None else now
    status = state.get("status", "created")
    finished = times.from_text(state.get("finished_at") or "")
    code = state.get("exit_code") or 0
    ago = times.human_duration(moment - finished)
    if status in ("running", "paused"):
        text = f"Up {times.human_duration(moment - times.from_text(state.get('started_at') or ''))}"
        health = _health(state)
        if status == "paused":
            return f"{text} (Paused)"
        if health in ("", "none"):
            return text
        return f"{text} ({'health: starting' if health == 'starting' else health})"
    if status == "restarting":
        return f"Restarting ({code}) {ago} ago"
    if status == "exited":
        return f"Exited ({code}) {ago} ago" if finished else f"Exited ({code})"
    return {"removing": "Removal In Progress", "dead": "Dead"}.get(status, "Created")


def container_row(summary: Mapping[str, Any], *, truncate: bool = True, now: int | None = None) -> dict[str, Any]:
    """Return the placeholders of ``ps --format``; ``Label`` is a function of a label's name."""
    moment = time.time_ns() if now is None else now
    labels: dict[str, str] = summary["Labels"]
    mounts = [mount.get("Name") or mount.get("Source", "") for mount in summary["Mounts"]]
    command = summary["Command"]
    size = ""
    if "SizeRw" in summary:
        size = f"{human_size(summary['SizeRw'])} (virtual {human_size(summary['SizeRootFs'])})"
    return {
        "ID": summary["Id"][:12] if truncate else summary["Id"],
        "Names": ",".join(name.removeprefix("/") for name in summary["Names"]),
        "Image": _shown_image(summary, truncate),
        "Command": quote(ellipsis(command, 20) if truncate else command),
        "CreatedAt": times.display(summary["Created"] * 10**9),
        "RunningFor": f"{times.human_duration(moment - summary['Created'] * 10**9)} ago",
        "Ports": display_ports(summary["Ports"]),
        "State": summary["State"],
        "Status": summary["Status"],
        "Size": size,
        "Labels": ",".join(sorted(f"{key}={value}" for key, value in labels.items())),
        "Mounts": ",".join(ellipsis(name, 15) if truncate else name for name in mounts),
        "LocalVolumes": str(sum(mount.get("Driver") == "local" for mount in summary["Mounts"])),
        "Networks": ",".join(summary["NetworkSettings"]["Networks"]),
        "Platform": "linux",
        "HealthStatus": _health_of(summary["Status"]),
        "Label": lambda name: labels.get(name, ""),
    }


def display_ports(ports: Iterable[Mapping[str, Any]]) -> str:
    """Return ``0.0.0.0:8080->80/tcp, 443/tcp`` with neighbouring equal ports joined to ranges."""
    ordered = sorted(
        ports,
        key=lambda port: (port["PrivatePort"], port.get("IP", ""), port.get("PublicPort", 0), port["Type"]),
    )
    groups: dict[tuple[str, str], list[int]] = {}
    done: list[str] = []
    mapped: list[str] = []
    for port in ordered:
        address, number = port.get("IP", ""), port["PrivatePort"]
        if address and port["PublicPort"] != number:
            mapped.append(f"{_bracketed(address)}:{port['PublicPort']}->{number}/{port['Type']}")
            continue
        key = (address, port["Type"])
        group = groups.get(key)
        if group is not None and number == group[1] + 1:
            group[1] = number
            continue
        if group is not None and number == group[1]:
            continue
        if group is not None:
            done.append(_port_group(key, group))
        groups[key] = [number, number]
    return ", ".join([*done, *(_port_group(key, group) for key, group in groups.items()), *mapped])


class _Selection:
    """The filters of ps, checked and made ready."""

    def __init__(self, chosen: Filters, find_image: Callable[[str], str | None]) -> None:
        self.chosen = chosen
        self.states = filtering.one_of(chosen, "status", filtering.STATES)
        self.health = filtering.one_of(chosen, "health", filtering.HEALTH)
        self.exited = [_exit_code(value) for value in chosen.get("exited", ())]
        self.published = {port for value in chosen.get("publish", ()) for port in _port_filter("publish", value)}
        self.exposed = {port for value in chosen.get("expose", ()) for port in _port_filter("expose", value)}
        self.task = filtering.boolean(chosen, "is-task")
        self.ancestors = {find_image(value) for value in chosen.get("ancestor", ())} - {None}

    def accepts(self, view: ContainerView, summary: Mapping[str, Any]) -> bool:
        """Say whether a container passes all filters."""
        chosen, state = self.chosen, view.state
        if "id" in chosen and not any(view.id.startswith(value) for value in chosen["id"]):
            return False
        if "name" in chosen and not any(
            filtering.matches(chosen["name"], f"{slash}{view.name}") for slash in ("", "/")
        ):
            return False
        if not filtering.has_labels(chosen.get("label", ()), summary["Labels"]):
            return False
        if self.states and summary["State"] not in self.states:
            return False
        if self.exited and (
            summary["State"] not in ("exited", "dead")
            or not state.get("started_at")
            or (state.get("exit_code") or 0) not in self.exited
        ):
            return False
        if self.health and (_health(state) or "none") not in self.health:
            return False
        if "ancestor" in chosen and summary["ImageID"] not in self.ancestors:
            return False
        if self.task:
            return False
        networks = summary["NetworkSettings"]["Networks"]
        if "network" in chosen and not any(_network(value) in networks for value in chosen["network"]):
            return False
        if "volume" in chosen:
            places = {mount.get("Name") or mount.get("Source") for mount in summary["Mounts"]}
            places |= {mount.get("Destination") for mount in summary["Mounts"]}
            if not places.intersection(chosen["volume"]):
                return False
        if self.published or self.exposed:
            return any(
                f"{port.get('PublicPort', 0)}/{port['Type']}" in self.published
                or f"{port['PrivatePort']}/{port['Type']}" in self.exposed
                for port in summary["Ports"]
            )
        return True


def _between(ordered: list[ContainerView], chosen: Filters) -> list[ContainerView]:
    """Keep what was created before (or since) the containers that those filters name."""
    result = ordered
    for name in ("before", "since"):
        for value in chosen.get(name, ()):
            position = _position(ordered, value)
            allowed = ordered[position + 1 :] if name == "before" else ordered[:position]
            result = [view for view in result if view in allowed]
    return result


def _position(ordered: list[ContainerView], text: str) -> int:
    name = text.removeprefix("/")
    for position, view in enumerate(ordered):
        if view.id == text or view.name == name:
            return position
    for position, view in enumerate(ordered):
        if text and view.id.startswith(text):
            return position
    raise NoSuchContainer(f"no such container: {text}")


def _network(name: str) -> str:
    return "bridge" if name == "default" else name


def _exit_code(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgument(f"invalid filter 'exited={text}'", hint="an exit status is a number") from None


def _port_filter(name: str, text: str) -> list[str]:
    from rootless.engine.portspec import port_range

    if ":" in text:
        raise InvalidArgument(f"filter for '{name}' should not contain ':': {text}")
    ports, _, protocol = text.partition("/")
    span = port_range(ports)
    if span is None:
        raise InvalidArgument(f"invalid filter '{name}={text}'", hint="PORT[-LAST][/PROTOCOL]")
    return [f"{port}/{protocol or 'tcp'}" for port in range(span[0], span[1] + 1)]


def _ports(state: Mapping[str, Any], exposed_ports: Iterable[str]) -> list[dict[str, Any]]:
    published = [
        {
            "IP": port.get("host_ip") or "0.0.0.0",
            "PrivatePort": port["container_port"],
            "PublicPort": port["host_port"],
            "Type": port.get("protocol") or "tcp",
        }
        for port in state.get("ports") or []
    ]
    have = {(port["PrivatePort"], port["Type"]) for port in published}
    for exposed in exposed_ports:
        number, _, protocol = exposed.partition("/")
        if (int(number), protocol or "tcp") not in have:
            published.append({"PrivatePort": int(number), "Type": protocol or "tcp"})
    return published


def _health(state: Mapping[str, Any]) -> str:
    return str((state.get("health") or {}).get("Status", ""))


def _health_of(status: str) -> str:
    for word in ("healthy", "unhealthy"):
        if status.endswith(f"({word})"):
            return word
    return "starting" if status.endswith("(health: starting)") else ""


def _shown_image(summary: Mapping[str, Any], truncate: bool) -> str:
    text = str(summary["Image"])
    if not text:
        return "<no image>"
    if not truncate:
        return text
    short = str(summary["ImageID"]).removeprefix("sha256:")[:12]
    if text.removeprefix("sha256:")[:12] == short:
        return short
    return text.partition("@")[0]


def _port_group(key: tuple[str, str], group: list[int]) -> str:
    span = str(group[0]) if group[0] == group[1] else f"{group[0]}-{group[1]}"
    return f"{_bracketed(key[0])}:{span}->{span}/{key[1]}" if key[0] else f"{span}/{key[1]}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


# -- images --------------------------------------------------------------------------


def images(
    store: ImageStore,
    *,
    name: str = "",
    filters: Filters | None = None,
    with_labels: bool = False,
    now: int | None = None,
) -> list[dict[str, Any]]:
    """Return summaries of images, newest first; ``name`` is the argument of ``images``.

    Labels are in the images' configurations, which are read only if they are needed.
    """
    chosen = {key: list(values) for key, values in (filters or {}).items()}
    filtering.check(chosen, filtering.IMAGES)
    if name:
        chosen.setdefault("reference", []).append(name)
    dangling = filtering.boolean(chosen, "dangling")
    entries = store.list()
    earliest, latest = _created_bounds(store, chosen, now)
    groups: dict[str, list[ImageEntry]] = {}
    for entry in entries:
        groups.setdefault(entry.image_id, []).append(entry)
    result = []
    for group in groups.values():
        created = times.from_text(group[0].created)
        if (earliest is not None and created <= earliest) or (latest is not None and created >= latest):
            continue
        summary = image_summary(group)
        named = bool(summary["RepoTags"])
        if dangling is not None and dangling == named:
            continue
        if "reference" in chosen and not _keep_references(summary, chosen["reference"]):
            continue
        if "label" in chosen or with_labels:
            inner = store.config(group[0]).get("config") or {}
            summary["Labels"] = inner.get("Labels") or {}
            if not filtering.has_labels(chosen.get("label", ()), summary["Labels"]):
                continue
        result.append(summary)
    return sorted(result, key=lambda summary: summary["Created"], reverse=True)


def image_summary(entries: list[ImageEntry]) -> dict[str, Any]:
    """Return one element of ``/images/json`` for an image with these names."""
    from rootless.oci import references

    first = entries[0]
    digests: dict[str, None] = {}
    for entry in entries:
        if entry.repo_digest:
            digests[references.parse(entry.repo_digest).familiar()] = None
    return {
        "Id": first.image_id,
        "ParentId": "",
        "RepoTags": [references.parse(entry.reference).familiar() for entry in entries if entry.reference],
        "RepoDigests": list(digests),
        "Created": times.from_text(first.created) // 10**9,
        "Size": first.size,
        "SharedSize": -1,
        "Labels": None,
        "Containers": -1,
    }


def image_rows(
    summary: Mapping[str, Any], *, truncate: bool = True, digests: bool = False, now: int | None = None
) -> list[dict[str, str]]:
    """Return the rows of one image: one for each tag, or one without a name."""
    moment = time.time_ns() if now is None else now
    by_name: dict[str, str] = {}
    for text in summary["RepoDigests"]:
        repository, _, digest = text.partition("@")
        by_name[repository] = digest
    names: list[tuple[str, str, str]] = []
    for text in summary["RepoTags"]:
        repository, _, tag = text.rpartition(":")
        names.append((repository, tag, by_name.get(repository, "<none>") if digests else "<none>"))
    tagged = {repository for repository, _, _ in names}
    for repository, digest in by_name.items():
        if repository not in tagged:
            names.append((repository, "<none>", digest if digests else "<none>"))
    created = summary["Created"]
    base = {
        "ID": summary["Id"].removeprefix("sha256:")[:12] if truncate else summary["Id"],
        "CreatedSince": f"{times.human_duration(moment - created * 10**9)} ago" if created else "N/A",
        "CreatedAt": times.display(created * 10**9) if created else "N/A",
        "Size": human_size(summary["Size"]),
        "Containers": "N/A" if summary["Containers"] < 0 else str(summary["Containers"]),
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
    }
    return [
        {**base, "Repository": repository, "Tag": tag, "Digest": digest}
        for repository, tag, digest in names or [("<none>", "<none>", "<none>")]
    ]


def _created_bounds(store: ImageStore, chosen: Filters, now: int | None) -> tuple[int | None, int | None]:
    earliest: int | None = None
    latest: int | None = None
    for value in chosen.get("since", ()):
        moment = times.from_text(store.lookup(value).created)
        earliest = moment if earliest is None else max(earliest, moment)
    limits = [times.from_text(store.lookup(value).created) for value in chosen.get("before", ())]
    limits += [times.parse_moment(value, now=now) for value in chosen.get("until", ())]
    for moment in limits:
        latest = moment if latest is None else min(latest, moment)
    return earliest, latest


def _keep_references(summary: dict[str, Any], patterns: list[str]) -> bool:
    """Reduce a summary to the names that match; False if none does."""
    from rootless.oci import references

    def wanted(text: str) -> bool:
        reference = references.parse(text)
        forms = (reference.familiar(), reference.familiar_name(), str(reference), reference.name())
        return any(filtering.glob(pattern, form) for pattern in patterns for form in forms)

    summary["RepoTags"] = [text for text in summary["RepoTags"] if wanted(text)]
    summary["RepoDigests"] = [text for text in summary["RepoDigests"] if wanted(text)]
    return bool(summary["RepoTags"] or summary["RepoDigests"])


def image_finder(store: ImageStore) -> Callable[[str], str | None]:
    """Return a function from an image's name to its ID, None if there is no such image."""

    def find(text: str) -> str | None:
        try:
            return store.lookup(text).image_id
        except (NoSuchImage, InvalidArgument):
            return None

    return find


# -- text ------------------------------------------------------------------------------


def human_size(size: float) -> str:
    """Return a size with three significant digits in powers of 1000: ``187MB``."""
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    index = 0
    while size >= 1000 and index < len(units) - 1:
        size /= 1000
        index += 1
    return f"{size:.3g}{units[index]}"


def ellipsis(text: str, width: int) -> str:
    """Shorten to ``width`` characters, the last of which is an ellipsis then."""
    return text if len(text) <= width else text[: width - 1] + "…"


def quote(text: str) -> str:
    """Quote as Go's %q."""
    names = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b"}
    names |= {"\f": "\\f", "\v": "\\v"}
    out = []
    for character in text:
        if character in names:
            out.append(names[character])
        elif character.isprintable():
            out.append(character)
        elif ord(character) < 0x80:
            out.append(f"\\x{ord(character):02x}")
        elif ord(character) < 0x10000:
            out.append(f"\\u{ord(character):04x}")
        else:
            out.append(f"\\U{ord(character):08x}")
    return f'"{"".join(out)}"'
