# The ordinary user that everything runs as, and what the kernel must allow that user. Source after common.sh.
# shellcheck shell=bash

# ensure_user: when root started us, make RL_USER and RL_NOSUB; else check that the caller can map ids.
ensure_user() {
  if is_root; then
    _make_user "$RL_USER"
    _give_subids "$RL_USER"
    _make_user "$RL_NOSUB"
    _take_subids "$RL_NOSUB"
    _open_device /dev/fuse fuse 10 229
    _open_device /dev/net/tun tun 10 200
    _allow_user_namespaces
    return
  fi
  local name
  name=$(id -un)
  grep -qE "^($name|$(id -u)):" /etc/subuid 2>/dev/null && grep -qE "^($name|$(id -u)):" /etc/subgid 2>/dev/null \
    || die "$name has no subordinate ids; ask the administrator for: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $name"
  unshare --user true 2>/dev/null \
    || die "this machine does not let $name make user namespaces; docs/rootless.md says which setting to change"
}

_make_user() {
  id -u "$1" >/dev/null 2>&1 && return
  say "making the user $1"
  useradd --create-home --shell /bin/bash "$1" || die "useradd could not make $1"
}

_give_subids() {
  local file option first
  for file in uid gid; do
    grep -q "^$1:" "/etc/sub$file" 2>/dev/null && continue
    # The first range after all that are taken.
    first=$(awk -F: 'BEGIN { n = 100000 } $2 + $3 > n { n = $2 + $3 } END { print n }' "/etc/sub$file" 2>/dev/null || echo 100000)
    option=--add-sub${file}s
    usermod "$option" "$first-$((first + 65535))" "$1" || die "usermod could not give $1 a range in /etc/sub$file"
  done
}

_take_subids() {
  local file first count
  for file in uid gid; do
    while IFS=: read -r _ first count; do
      usermod "--del-sub${file}s" "$first-$((first + count - 1))" "$1"
    done < <(grep "^$1:" "/etc/sub$file" 2>/dev/null || true)
  done
}

# On a machine with udev these are 0666 already; in a bare VM or container they may be missing or root's.
_open_device() {
  local path=$1 module=$2 major=$3 minor=$4
  if [ ! -e "$path" ]; then
    modprobe "$module" 2>/dev/null || true
    mkdir -p "$(dirname "$path")"
    [ -e "$path" ] || mknod "$path" c "$major" "$minor" || { say "cannot make $path; rl will do without"; return; }
  fi
  [ "$(stat -c %a "$path")" = 666 ] || { say "making $path usable for everyone"; chmod 666 "$path"; }
}

_allow_user_namespaces() {
  runuser -u "$RL_USER" -- unshare --user true 2>/dev/null && return
  local setting
  for setting in kernel/apparmor_restrict_unprivileged_userns=0 kernel/unprivileged_userns_clone=1 user/max_user_namespaces=15000; do
    [ -e "/proc/sys/${setting%=*}" ] || continue
    [ "$(cat "/proc/sys/${setting%=*}")" = "${setting#*=}" ] && continue
    [ "${setting%=*}" != user/max_user_namespaces ] || [ "$(cat /proc/sys/user/max_user_namespaces)" = 0 ] || continue
    say "setting ${setting//\//.} until the next boot (docs/rootless.md says why)"
    echo "${setting#*=}" >"/proc/sys/${setting%=*}" || true
  done
  runuser -u "$RL_USER" -- unshare --user true \
    || die "this machine does not let ordinary users make user namespaces"
}

# The user's runtime directory: the session manager's where there is one, else our own.
_ensure_runtime_dir() {
  local uid
  uid=$(id -u "$1")
  if [ ! -d "/run/user/$uid" ] && [ -d /run/systemd/system ] && command -v loginctl >/dev/null; then
    loginctl enable-linger "$1" 2>/dev/null || true
    timeout 10 sh -c "until [ -d /run/user/$uid ]; do sleep 0.1; done" || true
  fi
  if [ ! -d "/run/user/$uid" ]; then
    mkdir -p /run/user
    install -d -m 0700 -o "$uid" -g "$(id -g "$1")" "/run/user/$uid"
  fi
}

# as_user USER COMMAND...: with a clean environment, from that user's home; a no-op change when we are that user.
as_user() {
  local user=$1 home
  shift
  if ! is_root; then
    "$@"
    return
  fi
  _ensure_runtime_dir "$user"
  home=$(getent passwd "$user" | cut -d: -f6)
  local environment=(HOME="$home" USER="$user" LOGNAME="$user" SHELL=/bin/bash LANG=C.UTF-8
    PATH="$home/.local/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" XDG_RUNTIME_DIR="/run/user/$(id -u "$user")")
  local name
  for name in TERM CI http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ${KEEP_ENV:-}; do
    [ -z "${!name+set}" ] || environment+=("$name=${!name}")
  done
  runuser -u "$user" -- env -i -C "$home" "${environment[@]}" "$@"
}
