"""Everything on disk: content, images, snapshots, volumes, and how they come and go.

::

    registry ──blobs──> content ──layers.Unpacker──> snapshots ──mounts()──> runtime
                           ^             │ tar loop in a child: user namespace + chroot
              images ──────┘             └── drivers: overlay, fuse_overlayfs, vfs
              (index.json: names)
    leases    what is in use but not yet referenced      gc    unreferenced → trash/ → gone

``layout`` draws the directories. Three rules hold everywhere:

- A change is: write under ``tmp/`` (or beside the target), sync, rename. A process that is
  killed leaves only entries in ``tmp/`` and ``partial/``, which ``gc`` recognises.
- Removal is: rename into ``trash/``, then delete. It needs no free space.
- Files of layers belong to subordinate ids. What touches them runs in the user namespace
  through ``UserSpace.call``; everything else needs no namespace.

``OSError`` is translated here: ENOSPC and EDQUOT become ``NoSpace``.
"""
