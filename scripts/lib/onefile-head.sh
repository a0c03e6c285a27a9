#!/bin/sh
# rl @VERSION@, a rootless container engine, in one file: this script, then compressed modules.
# The modules are unpacked once to ${XDG_CACHE_HOME:-~/.cache}/rl and run from there by the machine's python3.
# scripts/package made this file.
if [ -n "$RL_PYTHON" ]; then python=$RL_PYTHON
elif [ -x /usr/bin/python3 ]; then python=/usr/bin/python3
else python=$(command -v python3) || python=$(command -v python3.14) || python=$(command -v python3.13) ||
  python=$(command -v python3.12) || python=$(command -v python3.11) ||
  { echo "rl: python3 3.11 or newer is needed and there is none in PATH" >&2; exit 125; }
fi
base=${XDG_CACHE_HOME:-$HOME/.cache}
exec "$python" -I -S -c '
import sys
base, me = sys.argv[1:3]
sys.argv[:3] = [me]
old = sys.path[:]
try:
    if sys.version_info < (3, 11): raise ImportError
    home = base + "/rl/@HASH@/" + sys.implementation.cache_tag
    sys.path.append(home)
    import rl_start
    from rootless.__main__ import main
except (ImportError, OSError):
    with open(me, "rb") as stream:
        stream.seek(@BOOT_OFFSET@)
        boot = stream.read(@BOOT_SIZE@)
        stream.seek(@PAYLOAD_OFFSET@)
        payload = stream.read(@PAYLOAD_SIZE@)
    scope = {"base": base, "me": me, "payload": payload, "identity": "@HASH@"}
    exec(compile(boot, me, "exec"), scope)
    sys.path_importer_cache.clear()
    sys.path[:] = old + [scope["home"]]
    import rl_start
    from rootless.__main__ import main
sys.exit(main())
' "$base" "$0" "$@"
exit
