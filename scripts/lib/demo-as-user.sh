#!/usr/bin/env bash
# The part of scripts/demo that runs as the ordinary user. Argument: the rl command.
. "$(dirname "$(readlink -f "$0")")/common.sh"
rl=$1
port=${RL_DEMO_PORT:-8080}

step() {
  say "$(id -un)\$ rl $*"
  "$rl" "$@"
}

"$rl" rm -f rl-demo >/dev/null 2>&1 || true
if [ -z "$("$rl" images -q nginx)" ]; then
  if ! RL_MAX_DOWNLOAD_ATTEMPTS=1 timeout 600 "$rl" pull nginx; then
    say "no registry in reach: making the nginx image from the distribution's packages instead"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    "$PYTHON" "$ROOT/scripts/lib/make-image" nginx "$scratch/nginx.tar"
    step load -i "$scratch/nginx.tar"
  fi
fi
step run -d --name rl-demo -p "$port:80" nginx
say "curl http://127.0.0.1:$port"
if ! curl --silent --show-error --fail --noproxy '*' --retry 30 --retry-all-errors --retry-delay 1 "http://127.0.0.1:$port"; then
  "$rl" logs rl-demo >&2 || true
  die "nginx does not answer on port $port (its log is above)"
fi
say "nginx runs in a rootless container, as $(id -un), on http://127.0.0.1:$port"
say "to stop it: ${RL_DEMO_SAY:-rl rm -f rl-demo}"
