"""The tree on disk.

::

    ROOT (0700)                       ~/.local/share/rl, config "data-root", --root
    ├── oci-layout  index.json        a standard OCI image layout; index.json holds the names of images
    ├── blobs/sha256/HEX              manifests, configs, compressed layers
    ├── snapshots/                    extracted layers in overlay form (native overlay and fuse-overlayfs)
    │   ├── sha256/CHAIN-ID/fs        one layer's files, owned by subuids
    │   └── l/SHORT -> ../sha256/CHAIN-ID/fs     short names keep mount options below a page
    ├── snapshots-vfs/sha256/CHAIN-ID/fs         complete trees, for the vfs driver
    ├── containers/ID/
    │   ├── container.json            what was asked for: options, image, created (written once)
    │   ├── state.json                what happened: status, pid, exit code (written by the monitor)
    │   ├── config.json               the OCI runtime bundle's specification
    │   ├── rootfs/                   mount point
    │   ├── rw/{upper,work}           the writable layer
    │   ├── hosts hostname resolv.conf
    │   └── container.log             json-file log
    ├── names/NAME -> ../containers/ID           symlink(2) makes a name unique
    ├── volumes/NAME/{volume.json,_data}
    ├── cache/                        what can be computed again: probes, seccomp programs
    ├── partial/                      interrupted downloads, by digest
    ├── tmp/                          work in progress; entries of dead processes are removed
    ├── trash/                        renamed here, then deleted
    ├── locks/                        open-file-description locks
    └── events.log  events.log.1      what happened, see rootless/events.py

    RUNTIME (0700)                    $XDG_RUNTIME_DIR/rl, else /tmp/rl-UID-BOOTID
    ├── pause.pid  pause.fifo         the process that keeps the user namespace
    └── containers/ID/                attach.sock, slirp.sock
"""

from __future__ import annotations

import os


class Layout:
    """Paths below one data root; makes no directory until ``create`` is called."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.blobs = f"{root}/blobs/sha256"
        self.index = f"{root}/index.json"
        self.snapshots = f"{root}/snapshots"
        self.snapshots_vfs = f"{root}/snapshots-vfs"
        self.containers = f"{root}/containers"
        self.names = f"{root}/names"
        self.volumes = f"{root}/volumes"
        self.cache = f"{root}/cache"
        self.partial = f"{root}/partial"
        self.tmp = f"{root}/tmp"
        self.trash = f"{root}/trash"
        self.locks = f"{root}/locks"
        self.events = f"{root}/events.log"

    def create(self) -> None:
        """Make the directories that are missing; one stat where all is in place.

        Raises ``OSError``.
        """
        marker = f"{self.root}/oci-layout"
        try:
            os.stat(marker)
            return
        except FileNotFoundError:
            pass
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        for path in (
            self.blobs,
            f"{self.snapshots}/sha256",
            f"{self.snapshots}/l",
            f"{self.snapshots_vfs}/sha256",
            self.containers,
            self.names,
            self.volumes,
            self.cache,
            self.partial,
            self.tmp,
            self.trash,
            self.locks,
        ):
            os.makedirs(path, mode=0o700, exist_ok=True)
        temporary = f"{marker}.{os.getpid()}"
        with open(temporary, "w", encoding="ascii") as stream:
            stream.write('{"imageLayoutVersion":"1.0.0"}')
        os.rename(temporary, marker)

    def blob(self, digest: str) -> str:
        """Return the path of a blob ``sha256:HEX``."""
        return f"{self.blobs}/{digest.removeprefix('sha256:')}"

    def container(self, container_id: str) -> str:
        """Return the directory of a container."""
        return f"{self.containers}/{container_id}"
