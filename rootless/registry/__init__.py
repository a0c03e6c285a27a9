"""Images from elsewhere: registries over HTTP, and archives.

::

    transfer     pull an image: mirrors, manifests, layers in parallel, resume, verify
    client       one method per endpoint of the distribution API, for one repository at one host
    auth         answers to 401: bearer tokens and basic
    credentials  ~/.docker/config.json and its helpers
    endpoints    which hosts serve a registry's name, over HTTPS or plain HTTP
    http         connections (urllib3): proxies, TLS, translation of errors, cancelling
    archives     `docker save` and OCI-layout archives
    streams      decompression and a bounded tar reader for archives
    seams        what this package asks of a blob store and of a progress display

Nothing here is imported when a container of a local image starts.
"""
