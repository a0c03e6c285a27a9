# Shared by every script: where things are, how to say what happens. Source it; it runs nothing.
# shellcheck shell=bash

set -euo pipefail
umask 022

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# The ordinary users that scripts make when root starts them; the second has no subordinate ids.
RL_USER=rl-user
RL_NOSUB=rl-nosub
# What development needs and git must not see: virtual environments, the users' copy of the checkout.
if [ "$(id -u)" = 0 ]; then
  CACHE=/var/cache/rl-dev
else
  CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/rl-dev
fi
# Not pyenv's or conda's: another user must be able to run it.
PYTHON=${RL_PYTHON:-/usr/bin/python3}

say() {
  if [ -t 2 ]; then printf '\033[1m==>\033[0m %s\n' "$*" >&2; else printf '==> %s\n' "$*" >&2; fi
}

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

# One at a time in the cache: two scripts at once would replace files under each other.
lock_cache() {
  mkdir -p "$CACHE"
  exec 9>"$CACHE/lock"
  if ! flock -n 9; then
    say "waiting for another script that prepares $CACHE"
    flock 9
  fi
}

unlock_cache() { exec 9>&-; }
