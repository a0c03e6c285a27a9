"""A bundle in, a process out: what runc is, as a library.

::

    parent (monitor)                       init (pid 1 of the container)
      clone(all namespaces) ────────────────→ starts
      write the id maps; start slirp4netns
      "mapped" ─────────────────────────────→ executes the plan: mounts, devices, pivot_root
                                        ←──── "pty" and the master's descriptor, with a terminal
                                        ←──── "ready"
      publish ports, write the state
      "go" ─────────────────────────────────→ drops capabilities, loads seccomp, execve
                                        ←──── end of file: the payload runs
                                        ←──── {"step", "errno", "error"}: it does not

``plan`` is rootfs set-up as data, ``parent`` and ``init`` are the two columns above, ``tenant``
joins a running container, ``identity`` is what a process becomes just before execve.
``capabilities``, ``seccomp``, ``users`` and ``rlimits`` are tables and translations. The package
knows no store and no registry: it runs any OCI bundle.
"""
