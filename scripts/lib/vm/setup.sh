# shellcheck shell=sh
# Inside of the virtual machine's root directory, after its packages: users, units, kernel. Run by sh in a chroot.
set -eu

# name:uid, in this order, since useradd hands out the subordinate ranges
for user in rl-user:1000 rl-plain:1001 rl-nosub:1002 rl-part:1003; do
  useradd --create-home --shell /bin/bash --uid "${user#*:}" "${user%:*}"
done
sed -i /^rl-nosub:/d /etc/subuid /etc/subgid

# rl-user has a user manager from the start, as `loginctl enable-linger` makes it; the last two get theirs by logging in.
mkdir -p /var/lib/systemd/linger
touch /var/lib/systemd/linger/rl-user
# And rl-plain never: no session, no manager, no bus, nothing delegated.
ln -s /dev/null /etc/systemd/system/user@1001.service

mkdir -p /opt/rl /scratch /etc/systemd/system/multi-user.target.wants
ln -s /etc/systemd/system/rl-vm-agent.service /etc/systemd/system/multi-user.target.wants/
systemctl disable --quiet e2scrub_reap.service getty@tty1.service 2>/dev/null || true
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
  systemd-tmpfiles-clean.timer serial-getty@ttyS0.service podman.socket podman-auto-update.timer podman-restart.service \
  systemd-networkd.service docker-registry.service systemd-random-seed.service systemd-update-utmp.service \
  systemd-journal-flush.service apparmor.service; do
  ln -sf /dev/null "/etc/systemd/system/$unit"
done
printf '127.0.0.1 localhost rl-vm\n::1 localhost\n' >/etc/hosts
: >/etc/machine-id

# The kernel without what its package depends on: all that initramfs-tools would do is load three modules.
cd /tmp
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
apt-get download -qq "$package"
dpkg-deb --fsys-tarfile ./"$package"_*.deb | tar -C / --keep-directory-symlink -xf - ./boot ./lib/modules
rm ./"$package"_*.deb
version=$(ls /lib/modules)
depmod "$version"
mv /boot/vmlinuz-* /boot/vmlinuz

work=$(mktemp -d)
mkdir "$work/bin" "$work/dev" "$work/proc" "$work/root"
cp /bin/busybox "$work/bin/busybox"
number=10
for module in virtio_pci virtio_blk virtio_console; do
  modprobe --show-depends --set-version "$version" "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r path; do
  cp "$path" "$work/$number-${path##*/}"
  number=$((number + 1))
done
cat >"$work/init" <<'INIT'
#!/bin/busybox sh
for module in /*.ko; do /bin/busybox insmod $module || echo "cannot load $module"; done
/bin/busybox mount -t devtmpfs dev /dev
while ! [ -e /dev/vda ]; do /bin/busybox usleep 10000; done
/bin/busybox mount -t ext4 /dev/vda /root || exec /bin/busybox sh
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
INIT
chmod 755 "$work/init"
(cd "$work" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >/boot/initrd
rm -rf "$work"
