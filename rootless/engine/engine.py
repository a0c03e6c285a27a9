"""The engine: one user's store, settings and namespace, opened when they are needed."""

from __future__ import annotations

from rootless.errors import Denied, from_oserror
from rootless.linux import idmap
from rootless.linux.userns import UserNamespace
from rootless.storage.content import BlobStore
from rootless.storage.images import ImageStore
from rootless.storage.layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.config import Settings
    from rootless.storage.snapshots import Snapshotter


class Engine:
    """Holds the parts; opening one touches nothing but the data root's directory."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.layout = Layout(settings.data_root)
        self.blobs = BlobStore(self.layout)
        self.images = ImageStore(self.layout, self.blobs)
        self.userns = UserNamespace(settings.runtime_dir)
        self._snapshotter: Snapshotter | None = None

    @classmethod
    def open(cls, settings: Settings) -> Engine:
        """Return the engine of ``settings``, making the data root if it is missing.

        Raises ``Denied`` for root of the machine, ``SystemFailure`` if the directory cannot be made.
        """
        import os

        if os.geteuid() == 0 and idmap.is_initial_namespace():
            raise Denied("rl runs as an ordinary user, not as root", hint="log in as one: su - USER")
        engine = cls(settings)
        try:
            engine.layout.create()
        except OSError as error:
            raise from_oserror(error, "cannot use the data root") from error
        return engine

    @property
    def snapshotter(self) -> Snapshotter:
        """Return the storage driver: the configured one, or the best that works here."""
        if self._snapshotter is None:
            from rootless.storage import snapshots

            self._snapshotter = snapshots.choose(self.layout, self.settings["storage-driver"], self.userns)
        return self._snapshotter

    def runtime_directory(self, container_id: str) -> str:
        """Return where a container's sockets are while it runs."""
        return f"{self.settings.runtime_dir}/containers/{container_id[:16]}"
