"""Pulling an image: what it consists of, and getting all of it into the blob store.

::

    reference ─→ endpoints (mirrors, then the origin)
        └─ manifest or index ─→ manifest of the platform ─→ configuration
               └─ layers: worker threads download, verify and commit into the blob store
                      └─ on_blob(i) in the calling thread, in order, while later ones still come

Whatever arrives is checked against the digest and size of the descriptor that led to
it. A download that breaks off stays as a partial file and is continued: by the next
attempt, by the next endpoint, or by the next pull. Leaving ``pull`` by an exception,
KeyboardInterrupt included, shuts the sockets down and waits briefly for the threads.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing

from rootless.errors import Corrupt, Denied, NoSuchImage, NotFound, RlError, Unavailable, Unsupported
from rootless.oci import image, media_types, platforms
from rootless.record import Record
from rootless.registry import seams
from rootless.registry.client import ManifestAnswer, RateLimited, RegistryClient, ServerFailed
from rootless.registry.endpoints import endpoints
from rootless.registry.http import Cancelled, ConnectionFailed, HttpClient, Interrupted, Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from rootless.oci.image import Descriptor
    from rootless.oci.platforms import Platform
    from rootless.oci.references import Reference
    from rootless.registry.seams import BlobStore, Progress

    Result = TypeVar("Result")

__all__ = ["PulledImage", "Transport", "pull", "resolve"]

_MAXIMUM_DEPTH = 3
_JOIN_SECONDS = 2.0
_REPORT_SECONDS = 0.1
_WORTHWHILE = 1 << 20
_MAXIMUM_BACKOFF = 10.0


class PulledImage(Record):
    """What a pull brought; everything it names is in the blob store."""

    reference: Reference
    manifest_digest: str
    manifest: bytes
    media_type: str
    config_digest: str
    config: bytes
    layers: tuple[Descriptor, ...]
    source: str  # the host that answered
    index_digest: str = ""  # of the index that led to the manifest, if there was one
    index_media_type: str = ""

    @property
    def digest(self) -> str:
        """The digest by which the registry knows the image: the index's, if there is one."""
        return self.index_digest or self.manifest_digest


def pull(
    reference: Reference,
    *,
    blobs: BlobStore,
    platform: str = "",
    transport: Transport | None = None,
    progress: Progress | None = None,
    have_layer: Callable[[str], bool] | None = None,
    on_blob: Callable[[int, Descriptor], None] | None = None,
    on_image: Callable[[PulledImage], None] | None = None,
    lease: Callable[..., object] | None = None,
    known_digest: str = "",
) -> PulledImage:
    """Bring an image into the blob store and return what it consists of.

    ``platform`` is ``os/architecture[/variant]``, empty for this machine's. ``on_image`` is called
    once manifest and configuration are there, before any layer; ``on_blob`` for each layer in
    order once its blob is complete, both in the calling thread. ``have_layer(chain_id)`` only
    decides what is shown. ``lease(*digests)`` protects content from garbage collection; it is
    called before that content is looked for. ``known_digest`` is what the store has under this
    name: if the registry still means it, the manifest is not fetched again.

    Raises ``NoSuchImage``, ``NotFound`` (platform), ``Denied``, ``Unavailable``, ``TooManyRequests``,
    ``Corrupt``, ``Unsupported``, and what the blob store and the callbacks raise.
    """
    transport = transport or Transport()
    wanted = platforms.parse(platform) if platform else platforms.host()
    with HttpClient(transport) as http:
        one = _Pull(http, reference, blobs, progress or seams.Silence(), lease or _no_lease)
        found = one.find(wanted, known_digest, explicit=bool(platform))
        if on_image is not None:
            on_image(found)
        one.layers(found, have_layer, on_blob)
    return found


def resolve(reference: Reference, *, transport: Transport | None = None) -> str:
    """Return the digest that a registry has under a name now; raises as ``pull`` does."""
    transport = transport or Transport()
    with HttpClient(transport) as http:
        one = _Pull(http, reference, None, seams.Silence(), _no_lease)
        return one.anywhere(lambda client: client.manifest_digest(reference.digest or reference.tag))


def _no_lease(*_: str) -> None:
    pass


class _Pull:
    """One pull: its endpoints, the first of which that knows the image serves the rest."""

    def __init__(
        self,
        http: HttpClient,
        reference: Reference,
        blobs: Any,  # BlobStore; None when nothing is stored
        progress: Progress,
        lease: Callable[..., object],
    ) -> None:
        self.http = http
        self.reference = reference
        self.blobs: BlobStore = blobs
        self.progress = progress
        self.lease = lease
        found = endpoints(
            reference.registry,
            mirrors=http.transport.mirrors,
            insecure_registries=http.transport.insecure_registries,
        )
        self.clients = [RegistryClient(http, endpoint, reference) for endpoint in found]

    # --- manifests -----------------------------------------------------------------------

    def find(self, wanted: Platform, known_digest: str, *, explicit: bool) -> PulledImage:
        """Fetch manifest and configuration, through an index if there is one."""
        name = self.reference.familiar()
        asked = self.reference.digest or self.reference.tag
        answer = self._top(asked, known_digest)
        self.progress.message(f"{asked}: Pulling from {_short_path(self.reference)}")
        index_digest = index_type = ""
        for _ in range(_MAXIMUM_DEPTH):
            kind = self._kind(answer)
            if media_types.is_manifest(kind):
                break
            descriptor = platforms.select(image.read_index(answer.body, what=f"index of {name}"), wanted)
            if not index_digest:
                index_digest, index_type = answer.digest, kind
            self._keep(answer)
            answer = self._by_digest(descriptor)
        else:
            raise Corrupt(f"{name}: indexes within indexes")
        manifest = image.read_manifest(answer.body, what=f"manifest of {name}")
        image.require_image(manifest, what=name)
        config_bytes = self._config(manifest["config"])
        config = image.read_config(config_bytes, what=f"configuration of {name}")
        image.check_layers(manifest, config, what=name)
        declared = platforms.of_config(config)
        if explicit and not index_digest and not platforms.satisfies(declared, wanted):
            raise NotFound(
                f"image with reference {name} was found but does not match the specified platform: "
                f"wanted {wanted}, actual: {declared}"
            )
        self._keep(answer)
        return PulledImage(
            reference=self.reference,
            manifest_digest=answer.digest,
            manifest=answer.body,
            media_type=kind,
            config_digest=manifest["config"]["digest"],
            config=config_bytes,
            layers=tuple(manifest["layers"]),
            source=self.clients[0].endpoint.host,
            index_digest=index_digest,
            index_media_type=index_type,
        )

    def _top(self, asked: str, known_digest: str) -> ManifestAnswer:
        local = self.reference.digest
        if known_digest and not local:
            self.lease(known_digest)
            if self.blobs.has(known_digest) and known_digest == self.anywhere(lambda c: c.manifest_digest(asked)):
                local = known_digest
        if local:
            self.lease(local)
            if self.blobs.has(local):
                return ManifestAnswer(body=self.blobs.read(local), media_type="", digest=local)
        return self._fetch(asked)

    def _fetch(self, reference: str) -> ManifestAnswer:
        """Fetch a manifest from the first endpoint whose answer is one."""

        def ask(client: RegistryClient) -> ManifestAnswer:
            answer = client.manifest(reference)
            self._kind(answer)
            return answer

        return self.anywhere(ask)

    def _kind(self, answer: ManifestAnswer) -> str:
        name = self.reference.familiar()
        return image.kind(image.read_json(answer.body, f"manifest of {name}"), answer.media_type, what=name)

    def _by_digest(self, descriptor: Descriptor) -> ManifestAnswer:
        digest = descriptor["digest"]
        self.lease(digest)
        if self.blobs.has(digest):
            body = self.blobs.read(digest)
            answer = ManifestAnswer(body=body, media_type=descriptor["mediaType"], digest=digest)
        else:
            answer = self._fetch(digest)
        if len(answer.body) != descriptor["size"]:
            raise Corrupt(f"manifest {digest} has {len(answer.body)} bytes, its index says {descriptor['size']}")
        return answer

    def _keep(self, answer: ManifestAnswer) -> None:
        self.lease(answer.digest)
        self.blobs.put(answer.body)

    def _config(self, descriptor: Descriptor) -> bytes:
        if descriptor["size"] > image.MAXIMUM_CONFIG:
            name = self.reference.familiar()
            raise Unsupported(f"{name} has a configuration of more than {image.MAXIMUM_CONFIG} bytes")
        self.lease(descriptor["digest"])
        self.download(descriptor, None)
        return self.blobs.read(descriptor["digest"])

    def anywhere(self, ask: Callable[[RegistryClient], Result]) -> Result:
        """Ask the endpoints in order; one that answered comes first from then on.

        A mirror's failure of any kind leads to the next endpoint. The origin's is raised,
        with what the mirrors said as a hint.
        """
        said: list[str] = []
        for position, client in enumerate(self.clients):
            try:
                result = self._retrying(lambda client=client: ask(client))  # type: ignore[misc]
            except (NotFound, Denied, Unavailable, Corrupt) as error:
                if position + 1 == len(self.clients):
                    _add_hints(error, said)
                    raise
                said.append(f"{client.endpoint.host} said: {error}")
                continue
            self.clients[:] = [client, *self.clients[:position], *self.clients[position + 1 :]]
            return result
        raise NoSuchImage(f"nowhere to look for {self.reference.familiar()}")

    def _retrying(self, ask: Callable[[], Result]) -> Result:
        attempt = 1
        while True:
            try:
                return ask()
            except Unavailable as error:
                delay = self._delay(error, attempt)
                if delay is None:
                    raise
                attempt += 1
                self.http.wait(delay)

    def _delay(self, error: Unavailable, attempt: int, *, downloading: bool = False) -> float | None:
        """Return how long to wait before the next attempt, or None to give up."""
        transport = self.http.transport
        if attempt >= transport.max_download_attempts:
            return None
        backoff: float = min(transport.backoff * 2 ** (attempt - 1), _MAXIMUM_BACKOFF)
        if isinstance(error, RateLimited):
            if error.quota or (error.retry_after or 0) > transport.patience:
                return None
            return max(error.retry_after, 0.0) if error.retry_after is not None else backoff
        if isinstance(error, (Interrupted, ServerFailed)):
            return backoff
        # A host that never answered is a wrong name or a machine without network: say so at
        # once. One that served us a moment ago is worth waiting for.
        return backoff if downloading and isinstance(error, ConnectionFailed) else None

    # --- blobs ---------------------------------------------------------------------------

    def download(self, descriptor: Descriptor, report: Callable[[str, int], None] | None) -> None:
        """Get one blob into the store; tries the endpoints in order, each several times."""
        digest, size = descriptor["digest"], descriptor["size"]
        if self.blobs.has(digest):
            if self.blobs.size(digest) != size:
                raise Corrupt(f"blob {digest} has {self.blobs.size(digest)} bytes, the manifest says {size}")
            return
        clients = list(self.clients)
        said: list[str] = []
        for position, client in enumerate(clients):
            try:
                self._download_from(client, digest, size, report)
                return
            except (NotFound, Denied, Unavailable, Corrupt) as error:
                if position + 1 == len(clients):
                    _add_hints(error, said)
                    raise
                said.append(f"{client.endpoint.host} said: {error}")

    def _download_from(
        self, client: RegistryClient, digest: str, size: int, report: Callable[[str, int], None] | None
    ) -> None:
        attempt = 1
        while True:
            with closing(self.blobs.writer(digest, size)) as writer:
                start = writer.offset
                try:
                    if not writer.present and writer.offset < size:
                        self._copy(client, digest, size, writer, report)
                    if report is not None:
                        report(seams.VERIFYING, size)
                    writer.commit()
                    return
                except Corrupt:
                    # What an earlier, interrupted process left may be at fault: begin again, once.
                    writer.discard()
                    if not start or attempt >= self.http.transport.max_download_attempts:
                        raise
                    attempt += 1
                    continue
                except Unavailable as error:
                    failure = error
                    if writer.offset - start >= _WORTHWHILE:
                        attempt = 1  # it is getting on: such a connection may break off often
                    delay = self._delay(failure, attempt, downloading=True)
                    attempt += 1
            if delay is None:
                raise failure
            self.http.wait(delay)

    def _copy(
        self,
        client: RegistryClient,
        digest: str,
        size: int,
        writer: seams.BlobWriter,
        report: Callable[[str, int], None] | None,
    ) -> None:
        host = client.endpoint.host
        with client.blob(digest, writer.offset) as body:
            if body.total is not None and body.total != size:
                raise Corrupt(f"{host} offers blob {digest} with {body.total} bytes, the manifest says {size}")
            skip = writer.offset - body.offset  # the server ignored the range
            last = 0.0
            for chunk in body:
                if skip:
                    skipped = min(skip, len(chunk))
                    skip -= skipped
                    chunk = chunk[skipped:]
                if chunk:
                    writer.write(chunk)
                if report is not None and (now := time.monotonic()) - last >= _REPORT_SECONDS:
                    last = now
                    report(seams.DOWNLOADING, writer.offset)
        if writer.offset < size:
            raise Interrupted(f"{host} sent {writer.offset} of the {size} bytes of blob {digest}")

    # --- layers --------------------------------------------------------------------------

    def layers(
        self,
        found: PulledImage,
        have_layer: Callable[[str], bool] | None,
        on_blob: Callable[[int, Descriptor], None] | None,
    ) -> None:
        """Download the layers in parallel and hand them over in order."""
        chain = image.chain_ids(image.read_config(found.config))
        self.lease(*(layer["digest"] for layer in found.layers))
        wanted: list[Descriptor] = []
        for layer, chain_id in zip(found.layers, chain, strict=True):
            known = have_layer is not None and have_layer(chain_id)
            self.progress.layer(layer["digest"], seams.EXISTS if known else seams.PULLING, 0, layer["size"])
            if layer["digest"] not in (one["digest"] for one in wanted):
                wanted.append(layer)
        threads = _Downloads(self, wanted)
        try:
            threads.start()
            for number, layer in enumerate(found.layers):
                threads.wait_for(layer["digest"])
                if on_blob is not None:
                    on_blob(number, layer)
        finally:
            threads.stop()


class _Downloads:
    """Worker threads that download blobs in the order given."""

    def __init__(self, owner: _Pull, wanted: list[Descriptor]) -> None:
        self._owner = owner
        self._todo = list(reversed(wanted))
        self._done: set[str] = set()
        self._failure: Exception | None = None
        self._condition = threading.Condition()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        missing = [layer for layer in reversed(self._todo) if not self._owner.blobs.has(layer["digest"])]
        count = min(max(1, self._owner.http.transport.max_concurrent_downloads), len(self._todo))
        for layer in missing[count:]:
            self._owner.progress.layer(layer["digest"], seams.WAITING, 0, layer["size"])
        for number in range(count):
            # Daemons: a thread that is stuck in a name look-up must not keep a cancelled command alive.
            thread = threading.Thread(target=self._work, name=f"pull-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def wait_for(self, digest: str) -> None:
        """Return once the blob is in the store; raises what stopped any of the threads."""
        with self._condition:
            while digest not in self._done and self._failure is None:
                self._condition.wait()
            if digest in self._done:
                return
            assert self._failure is not None
            raise self._failure

    def stop(self) -> None:
        """End the threads: at once if they are still at work."""
        with self._condition:
            self._todo.clear()
            busy = self._failure is None and any(thread.is_alive() for thread in self._threads)
        if busy or self._failure is not None:
            self._owner.http.cancel()
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while True:
            with self._condition:
                if not self._todo or self._failure is not None:
                    return
                layer = self._todo.pop()
            try:
                self._one(layer)
            except Cancelled:
                return
            except Exception as error:  # handed to the calling thread, which raises it
                with self._condition:
                    self._failure = self._failure or error
                    self._condition.notify_all()
                return
            with self._condition:
                self._done.add(layer["digest"])
                self._condition.notify_all()

    def _one(self, layer: Descriptor) -> None:
        digest, size, progress = layer["digest"], layer["size"], self._owner.progress
        fresh = not self._owner.blobs.has(digest)

        def report(status: str, current: int) -> None:
            progress.layer(digest, status, current, size)

        if fresh:
            report(seams.DOWNLOADING, 0)
        self._owner.download(layer, report)
        if fresh:
            report(seams.DOWNLOADED, size)


def _add_hints(error: RlError, said: list[str]) -> None:
    error.hint = "; ".join(filter(None, (error.hint, *said)))


def _short_path(reference: Reference) -> str:
    return reference.repository if reference.registry == "docker.io" else reference.name()
