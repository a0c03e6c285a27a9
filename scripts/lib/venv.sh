# The virtual environment and the copy of the checkout that ordinary users can read. Source after common.sh.
# shellcheck shell=bash

# ensure_venv: sets VENV, with everything that pyproject.toml names but not rl itself.
ensure_venv() {
  [ -x "$PYTHON" ] || die "no python3 at $PYTHON; set RL_PYTHON"
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$PYTHON is older than 3.11; set RL_PYTHON to a newer one"
  local key
  key=$({ "$PYTHON" -VV; uname -m; cat "$ROOT/pyproject.toml"; } | sha256sum | cut -c1-16)
  VENV=$CACHE/venv-$key
  [ -e "$VENV/.complete" ] && return
  say "making the virtual environment $VENV"
  rm -rf "$VENV"
  "$PYTHON" -m venv "$VENV" || die "$PYTHON cannot make virtual environments; is python3-venv installed?"
  local requirements=()
  mapfile -t requirements < <("$PYTHON" - "$ROOT/pyproject.toml" <<'PY'
import sys, tomllib
with open(sys.argv[1], "rb") as stream:
    project = tomllib.load(stream)["project"]
print(*project["dependencies"], *project["optional-dependencies"]["dev"], sep="\n")
PY
  )
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "${requirements[@]}" >&2 \
    || die "pip could not install the packages that pyproject.toml names (see above)"
  # Explicitly: PYTHONDONTWRITEBYTECODE may be set, and users cannot write here.
  PYTHONDONTWRITEBYTECODE='' "$VENV/bin/python" -m compileall -q -j 0 "$VENV/lib" >/dev/null || true
  chmod -R a+rX "$VENV"
  find "$CACHE" -maxdepth 1 -name 'venv-*' -mtime +7 -exec rm -rf {} +
  touch "$VENV/.complete"
}

# ensure_checkout: sets CHECKOUT to a tree that the ordinary user can read.
# Root's checkout may lie below a directory that nobody else can enter, and users must not be able to change what root runs.
ensure_checkout() {
  CHECKOUT=$ROOT
  is_root || return 0
  CHECKOUT=$CACHE/checkout-$(printf %s "$ROOT" | sha256sum | cut -c1-12)
  local fresh=$CHECKOUT.new
  rm -rf "$fresh"
  mkdir -p "$fresh"
  tar -C "$ROOT" --exclude=./.git --exclude=__pycache__ --exclude='./.*_cache' --exclude=./dist --exclude=./build \
    --exclude='*.egg-info' --exclude=./.venv --exclude=./.hypothesis -cf - . | tar -C "$fresh" --no-same-owner -xf -
  chmod -R a+rX "$fresh"
  PYTHONDONTWRITEBYTECODE='' "$PYTHON" -m compileall -q "$fresh/rootless" >/dev/null || true
  rm -rf "$CHECKOUT"
  mv "$fresh" "$CHECKOUT"
}
