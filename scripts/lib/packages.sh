# System packages. Source after common.sh.
# shellcheck shell=bash

PACKAGES_RUN=(uidmap slirp4netns fuse-overlayfs libseccomp2 python3 python3-venv)
PACKAGES_DEMO=(apt ca-certificates curl)
PACKAGES_TEST=(docker-registry skopeo podman crun busybox-static mmdebstrap iproute2 procps util-linux zsh fish)

_missing_packages() {
  local name
  for name in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s\n' "$name"
  done
}

# Run a command as root, or fail with what the administrator has to do.
_as_root() {
  if is_root; then
    "$@"
  elif sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    return 125
  fi
}

_apt() { _as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"; }

# Fresh lists, at most once a day: `apt-get download` of a version that is gone fails.
_refresh_lists() {
  local newest
  newest=$(find /var/lib/apt/lists -maxdepth 1 -type f -name '*Release' -mtime -1 -print -quit 2>/dev/null || true)
  [ -n "$newest" ] && return
  say "fetching the package lists"
  _apt update >&2 || true
}

# ensure_packages NAME...: install what is missing.
ensure_packages() {
  command -v dpkg-query >/dev/null || die "these scripts know Debian's and Ubuntu's package manager only; install by hand: $*"
  local missing
  mapfile -t missing < <(_missing_packages "$@")
  if [ ${#missing[@]} -eq 0 ]; then
    return
  fi
  if ! is_root && ! sudo -n true 2>/dev/null; then
    die "packages are missing; ask the administrator for: apt-get install ${missing[*]}"
  fi
  _refresh_lists
  say "installing ${missing[*]}"
  _apt install -y --no-install-recommends "${missing[@]}" >&2 \
    || { _apt update >&2 && _apt install -y --no-install-recommends "${missing[@]}" >&2; } \
    || die "apt-get could not install ${missing[*]}"
}

# The lists that `apt-get download` needs; it works as an ordinary user once they are there.
ensure_package_lists() {
  if is_root; then
    _refresh_lists
  elif [ -z "$(apt-cache madison libc6 2>/dev/null)" ]; then
    _apt update >&2 || die "the package lists are empty; ask the administrator for: apt-get update"
  fi
}
