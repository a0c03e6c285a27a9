# The disk with the project, made anew for each run of the virtual machine. Source after common.sh and venv.sh.
# shellcheck shell=bash

# What tests import; what only scripts/check needs stays at home. Without hypothesis pytest starts in 4 s instead of 15.
_VM_LEFT_OUT=(mypy mypyc '*mypyc*.so' ruff codespell_lib pip setuptools pkg_resources _distutils_hack wheel librt ast_serialize
  '*-stubs' distutils-precedence.pth pathspec hypothesis '_hypothesis*' sortedcontainers)

# make_project_disk DIRECTORY: makes project.img there, an ext4 image of
#   checkout/   the working tree, dist/rl included      site/     the virtual environment's modules
#   images/     archives of make-image                  bin/      rl, pytest
make_project_disk() {
  local work=$1/project site exclude=() name
  mkdir -p "$work/checkout" "$work/site" "$work/images" "$work/bin"
  tar -C "$ROOT" --exclude=./.git --exclude='./.*_cache' --exclude=./dist --exclude=./build --exclude='*.egg-info' \
    --exclude=./.venv --exclude=./.hypothesis -cf - . | tar -C "$work/checkout" --no-same-owner -xf -
  for name in "${_VM_LEFT_OUT[@]}"; do exclude+=("--exclude=./$name" "--exclude=./$name-*"); done
  site=$(echo "$VENV"/lib/python3*/site-packages)
  tar -C "$site" "${exclude[@]}" -cf - . | tar -C "$work/site" --no-same-owner -xf -
  "$VENV/bin/python" -I "$ROOT/scripts/lib/package.py" "$work/checkout" "$work/checkout/dist/rl" >/dev/null
  PYTHONDONTWRITEBYTECODE='' "$PYTHON" -m compileall -q "$work/checkout/rootless" "$work/checkout/tests/support" >/dev/null || true
  for name in busybox nginx; do
    "$PYTHON" -I "$ROOT/scripts/lib/make-image" "$name" "$work/images/$name.tar"
  done
  ln -s ../checkout/dist/rl "$work/bin/rl"
  printf '#!/bin/sh\nexec env PYTHONPATH=/opt/rl/site PYTHONDONTWRITEBYTECODE=1 python3 -m pytest -p no:cacheprovider "$@"\n' \
    >"$work/bin/pytest"
  chmod 755 "$work/bin/pytest"
  chmod -R a+rX "$work"
  mke2fs -q -F -t ext4 -O ^has_journal -m 0 -L project -d "$work" "$1/project.img" 512M >/dev/null
  rm -rf "$work"
}
