"""The OCI specifications as types and pure functions: no I/O, no policy.

::

    references      docker.io/library/nginx:latest, as Docker reads and shortens it
    digests         sha256:…, chain IDs
    media_types     what a descriptor may point at
    image           manifests, indexes and image configurations: TypedDicts, validation, accessors
    platforms       os/architecture/variant and the choice from an index
    runtime_spec    config.json of a bundle

What others define stays the JSON that was received, typed by ``TypedDict`` and read
through accessor functions; unknown fields survive, and digests come from the bytes.
"""
