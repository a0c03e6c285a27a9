# Podman, which benchmarks and some tests compare with, starts only where cgroups are version 2. Source after common.sh.
# shellcheck shell=bash

# in_cgroup2_view COMMAND...: as root, in a mount namespace that shows nothing but cgroup2; the machine's mounts stay as they are.
in_cgroup2_view() {
  if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || ! is_root; then
    "$@"
    return
  fi
  unshare --mount --propagation private sh -c 'umount -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"' sh "$@"
}
