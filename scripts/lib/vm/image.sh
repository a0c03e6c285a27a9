# The virtual machine's disks, from the distribution's packages, kept in the cache. Source after common.sh and packages.sh.
# shellcheck shell=bash

# On this machine.
PACKAGES_VM=(qemu-system-x86 mmdebstrap debian-archive-keyring e2fsprogs mount util-linux)

# In the virtual machine.
VM_PACKAGES=(
  systemd systemd-sysv udev kmod dbus dbus-user-session libpam-systemd login mount iproute2 procps
  uidmap slirp4netns fuse-overlayfs libseccomp2 python3
  podman crun skopeo docker-registry # the reference, and what tests/support/registry.py runs
  busybox-static stress e2fsprogs
)

# What the images consist of: their name changes with it.
_vm_key() {
  {
    echo "$1"
    find "$ROOT/scripts/lib/vm/tree" "$ROOT/scripts/lib/vm/image.sh" "$ROOT/scripts/lib/vm/setup.sh" -type f -print0 \
      | sort -z | xargs -0 sha256sum | sed "s|$ROOT||"
  } | sha256sum | cut -c1-16
}

# The distribution's archives as this machine knows them: perhaps mirrors. None on anything but Debian: then mmdebstrap's default.
_vm_sources() {
  # shellcheck disable=SC2016  # the variables are apt's
  apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null \
    | awk -v suite="$1" '$1 == "Debian" && ($2 == suite || $2 == suite "-updates" || $2 == suite "-security") && $4 == "main" {
        print "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $3, $2, $4 }' | sort -u
}

# As root, or as root of a user namespace with the caller's subordinate ids.
_as_mapped_root() {
  if is_root; then "$@"; else unshare --user --map-auto --map-root-user --mount -- "$@"; fi
}

# ensure_vm_image: sets VM_IMAGE, a directory with disk.img, scratch.img, swap.img, vmlinuz and initrd.
ensure_vm_image() {
  [ "$(uname -m)" = x86_64 ] || die "the virtual machine is made for x86_64 only"
  local suite=bookworm id=''
  # shellcheck disable=SC1091
  [ ! -r /etc/os-release ] || { id=$(. /etc/os-release && echo "$ID") && [ "$id" != debian ] || suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}"); }
  VM_IMAGE=$CACHE/vm/$suite-$(_vm_key "$suite")
  mkdir -p "$CACHE/vm"
  exec 8>"$CACHE/vm/lock"
  flock -n 8 || { say "waiting for another script that makes the virtual machine's image" && flock 8; }
  if [ ! -e "$VM_IMAGE/.complete" ]; then
    _make_vm_image "$suite"
    find "$CACHE/vm" -mindepth 1 -maxdepth 1 -type d -mtime +7 -exec rm -rf {} +
  fi
  find "$CACHE/vm" -mindepth 1 -maxdepth 1 -type d -name 'run-*' -mmin +300 -exec rm -rf {} + # of scripts killed by force
  touch "$VM_IMAGE"
  exec 8>&-
}

_make_vm_image() {
  local suite=$1 start=$SECONDS sources work=$VM_IMAGE.new mode=unshare
  say "making the virtual machine's image $VM_IMAGE (about a minute)"
  rm -rf "$work"
  mkdir -p "$work"
  tar -C "$ROOT/scripts/lib/vm/tree" --owner=root:0 --group=root:0 --mode=go-w -cf "$work/tree.tar" .
  cp "$ROOT/scripts/lib/vm/setup.sh" "$work/setup.sh"
  sources=$(_vm_sources "$suite")
  is_root && mode=root
  # Special hooks (tar-in, copy-in) reach the caller's files where a mapped root could not.
  printf '%s\n' "$sources" | env -u TMPDIR mmdebstrap --quiet --mode="$mode" --variant=minbase --format=tar \
    --include="$(IFS=,; echo "${VM_PACKAGES[*]}")" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --aptopt='APT::Install-Recommends "false"' \
    --customize-hook="copy-in $work/setup.sh /" \
    --customize-hook="tar-in $work/tree.tar /" \
    --customize-hook='chroot "$1" sh /setup.sh' \
    --customize-hook='rm "$1/setup.sh"' \
    "$suite" "$work/root.tar" ${sources:+-} >&2 || die "mmdebstrap could not make the virtual machine's image"
  # Nothing of /dev: a mapped root makes no device nodes, and the kernel mounts its own there.
  # shellcheck disable=SC2016
  _as_mapped_root sh -ec '
    cd "$1"
    mkdir root
    tar -C root --exclude="./dev/*" -xf root.tar
    cp root/boot/vmlinuz root/boot/initrd .
    rm root/boot/*
    : >root/etc/resolv.conf # mmdebstrap takes its own away
    echo rl-vm >root/etc/hostname
    mke2fs -q -F -t ext4 -L root -m 0 -d root disk.img 3G >/dev/null
    rm -rf root root.tar setup.sh tree.tar
  ' sh "$work" || die "could not make the virtual machine's disk"
  mke2fs -q -F -t ext4 -L scratch -m 0 -E root_owner=0:0 "$work/scratch.img" 1G >/dev/null
  truncate -s 512M "$work/swap.img"
  /sbin/mkswap -q -L swap "$work/swap.img" 2>/dev/null || /sbin/mkswap -L swap "$work/swap.img" >/dev/null
  touch "$work/.complete"
  rm -rf "$VM_IMAGE"
  mv "$work" "$VM_IMAGE"
  say "made it in $((SECONDS - start)) s"
}
