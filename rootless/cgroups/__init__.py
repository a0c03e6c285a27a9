"""Control groups of version 2: limits, counters, freezing and killing of whole containers.

::

    /sys/fs/cgroup
    └── …/user@1000.service           delegated to the user by systemd
        └── app.slice
            └── rl-3f2a9c1d.scope     one per user and data root; no process of its own
                ├── monitors          the monitors and their helpers: never part of a container's limits
                ├── CONTAINER-ID      a container: the root of its cgroup namespace
                └── CONTAINER-ID

A cgroup that passes controllers on may hold no process itself (cgroups(7), "no internal
processes"), so processes live in leaves. The scope is made over D-Bus for the first container
and goes with the last process in it; all others take two system calls. Without systemd the
same directories stand below a cgroup that somebody delegated (``cgroupfs``).

``detect`` says what this machine has, ``placement`` decides where containers go, ``manager`` gets
them there (``systemd`` speaks to the bus). ``resources`` turns options into file contents,
``limits`` decides which of them can be kept, ``weaker`` is what is left without a controller.
``group`` is one cgroup, ``stats`` its counters.
"""
