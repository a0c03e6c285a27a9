"""How containers reach the world without root.

::

    container's network namespace                        host
      tap0 10.0.2.100/24  ──frames──>  slirp4netns  ──sockets of the user──>  outside
      lo                               10.0.2.2 gateway, 10.0.2.3 resolver
                          <── add_hostfwd ──────────  0.0.0.0:8080

``slirp`` starts that helper and publishes ports through it, ``ports`` says beforehand what
is wrong with a host port, ``resolvconf`` and ``hosts`` write the two files that name things.
"""
