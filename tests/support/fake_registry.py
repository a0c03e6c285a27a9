"""An in-process registry that misbehaves on demand.

A fault is a function of the request handler; it is put in front of the honest answer
for the next N requests whose path contains a text. Each returns true if it answered.

    registry.fault("blobs/sha256:…", cut(1000), times=1)
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import ssl
import tarfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rootless.oci import digests, media_types
from rootless.record import Record


class Image(Record):
    """An image that the registry has."""

    manifest: bytes
    manifest_digest: str
    config: bytes
    config_digest: str
    layers: tuple[bytes, ...]
    layer_digests: tuple[str, ...]


def layer(name: str, content: bytes) -> bytes:
    """Return an uncompressed layer with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def make_image(
    tars: list[bytes], *, architecture: str = "amd64", docker: bool = False, compress: bool = True, **changes: object
) -> Image:
    """Return an image of these layers; ``changes`` replace fields of the manifest."""
    layers = [gzip.compress(tar, 1, mtime=0) if compress else tar for tar in tars]
    diff_ids = [digests.sha256_bytes(tar) for tar in tars]
    config = json.dumps(
        {"architecture": architecture, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()
    layer_type = media_types.DOCKER_LAYER_GZIP if docker else media_types.OCI_LAYER_GZIP
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.DOCKER_MANIFEST if docker else media_types.OCI_MANIFEST,
        "config": descriptor(config, media_types.DOCKER_CONFIG if docker else media_types.OCI_CONFIG),
        "layers": [descriptor(data, layer_type if compress else media_types.OCI_LAYER) for data in layers],
        **changes,
    }
    body = json.dumps(manifest).encode()
    return Image(
        manifest=body,
        manifest_digest=digests.sha256_bytes(body),
        config=config,
        config_digest=digests.sha256_bytes(config),
        layers=tuple(layers),
        layer_digests=tuple(map(digests.sha256_bytes, layers)),
    )


def descriptor(data: bytes, media_type: str, **more: object) -> dict[str, object]:
    """Return a true descriptor of ``data``."""
    return {"mediaType": media_type, "digest": digests.sha256_bytes(data), "size": len(data), **more}


class FakeRegistry:
    """A registry on a loopback port; a context manager."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[bytes, str]] = {}  # "repository:reference" -> body, media type
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.released = threading.Event()  # set: requests that hang end
        self.hanging = threading.Event()  # set once a request hangs
        self._faults: list[list[object]] = []
        self._lock = threading.Lock()
        owner = self

        class Handler(_Handler):
            registry = owner

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients that go away are what these tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http{'s' if tls else ''}://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> FakeRegistry:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add(self, image: Image, repository: str = "library/app", tag: str = "latest") -> Image:
        """Serve an image under a name."""
        media_type = json.loads(image.manifest)["mediaType"]
        self.blobs[image.config_digest] = image.config
        self.blobs.update(zip(image.layer_digests, image.layers, strict=True))
        for reference in (tag, image.manifest_digest):
            self.manifests[f"{repository}:{reference}"] = (image.manifest, media_type)
        return image

    def add_index(self, images: dict[str, Image], repository: str = "library/app", tag: str = "latest") -> bytes:
        """Serve an index of images by platform ``os/architecture``, and return it."""
        entries = []
        for platform, image in images.items():
            self.add(image, repository, image.manifest_digest)
            os_name, _, architecture = platform.partition("/")
            entries.append(
                descriptor(
                    image.manifest, media_types.OCI_MANIFEST, platform={"os": os_name, "architecture": architecture}
                )
            )
        body = json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": entries}).encode()
        for reference in (tag, digests.sha256_bytes(body)):
            self.manifests[f"{repository}:{reference}"] = (body, media_types.OCI_INDEX)
        return body

    def fault(self, text: str, action: Callable[[_Handler], bool], *, times: int = 1_000_000) -> None:
        """Let ``action`` answer the next requests whose path contains ``text``."""
        self._faults.append([text, action, times])

    def behave(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def take_fault(self, path: str) -> Callable[[_Handler], bool] | None:
        """Return the fault that is due for a path, and count it."""
        with self._lock:
            for entry in self._faults:
                if str(entry[0]) in path and int(entry[2]) > 0:  # type: ignore[call-overload]
                    entry[2] -= 1  # type: ignore[operator]
                    return entry[1]  # type: ignore[return-value]
        return None

    def paths(self, text: str = "", method: str = "") -> list[str]:
        """Return the paths that were asked for and contain ``text``."""
        return [path for verb, path, _ in self.requests if text in path and method in ("", verb)]


class _Handler(BaseHTTPRequestHandler):
    registry: FakeRegistry
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.registry.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        action = self.registry.take_fault(self.path)
        if action is not None and action(self):
            return
        self.honest()

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.do_GET()

    def honest(self) -> None:
        """Answer as a registry should."""
        parts = self.path.removeprefix("/v2/").split("/")
        if not self.path.startswith("/v2/") or len(parts) < 3:
            return self.reply(404, b"{}")
        repository, kind, name = "/".join(parts[:-2]), parts[-2], parts[-1]
        if kind == "manifests":
            found = self.registry.manifests.get(f"{repository}:{name}")
            if found is None:
                return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
            digest = digests.sha256_bytes(found[0])
            return self.reply(200, found[0], {"Content-Type": found[1], "Docker-Content-Digest": digest})
        data = self.registry.blobs.get(name)
        if data is None:
            return self.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return self.blob(data)

    def blob(self, data: bytes) -> None:
        """Send a blob, or the range that was asked for."""
        asked = self.headers.get("Range", "")
        if asked:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            return self.reply(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})
        return self.reply(200, data)

    def error(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        """Send an error body of the distribution API."""
        self.reply(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), headers)

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, length: int = -1) -> None:
        """Send a response; ``length`` is what Content-Length claims."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length < 0 else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def status(code: int, *, name: str = "X", message: str = "", **headers: str) -> Callable[[_Handler], bool]:
    """Answer with an HTTP status."""

    def action(handler: _Handler) -> bool:
        handler.error(code, name, message, {key.replace("_", "-"): value for key, value in headers.items()})
        return True

    return action


def body(data: bytes, **headers: str) -> Callable[[_Handler], bool]:
    """Answer with something else."""

    def action(handler: _Handler) -> bool:
        handler.reply(200, data, {key.replace("_", "-"): value for key, value in headers.items()})
        return True

    return action


def cut(after: int) -> Callable[[_Handler], bool]:
    """Send the first bytes of a blob (of what was asked for) and close the connection."""

    def action(handler: _Handler) -> bool:
        data = handler.registry.blobs[handler.path.rpartition("/")[2]]
        asked = handler.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        rest = data[start:]
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if asked else {}
        handler.reply(206 if asked else 200, rest[:after], headers, length=len(rest))
        handler.close_connection = True
        handler.wfile.flush()
        handler.connection.close()
        return True

    return action


def ignore_range(handler: _Handler) -> bool:
    """Send the whole blob whatever was asked for."""
    del handler.headers["Range"]
    return False


def hang(after: int) -> Callable[[_Handler], bool]:
    """Send the first bytes of a blob and then nothing until the registry is released."""

    def action(handler: _Handler) -> bool:
        data = handler.registry.blobs[handler.path.rpartition("/")[2]]
        handler.reply(200, data[:after], length=len(data))
        handler.wfile.flush()
        handler.registry.hanging.set()
        handler.registry.released.wait(60)
        handler.close_connection = True
        return True

    return action


def redirect(url: str) -> Callable[[_Handler], bool]:
    """Redirect to ``url`` and the same path."""

    def action(handler: _Handler) -> bool:
        handler.reply(307, b"", {"Location": url + handler.path})
        return True

    return action


def require_token(token_url: str, *, token: str = "sesame") -> Callable[[_Handler], bool]:
    """Ask for a bearer token, except from who has it."""

    def action(handler: _Handler) -> bool:
        if handler.headers.get("Authorization") == f"Bearer {token}":
            return False
        challenge = f'Bearer realm="{token_url}",service="fake",scope="repository:library/app:pull"'
        handler.error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})
        return True

    return action


def require_basic(username: str, password: str) -> Callable[[_Handler], bool]:
    """Ask for basic authentication."""
    wanted = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()

    def action(handler: _Handler) -> bool:
        if handler.headers.get("Authorization") == wanted:
            return False
        handler.error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": 'Basic realm="fake"'})
        return True

    return action


def token(value: str = "sesame", **more: object) -> Callable[[_Handler], bool]:
    """Answer as a token server."""
    return body(json.dumps({"token": value, **more}).encode(), Content_Type="application/json")
