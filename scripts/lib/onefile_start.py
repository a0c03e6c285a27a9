"""How dist/rl finds its modules once they are unpacked: in one file instead of one each.

Python's own finder asks the file system five times for a module (0.1 ms); `rl run` needs seventy. ``bundle``
maps names to (is a package, code), and was made by the first start.
"""

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec

_home = __file__.rpartition("/")[0]
posix.stat(_home + "/rootless/__init__.py")  # OSError: a cleaner of caches took a part of it
with open(_home + "/bundle", "rb") as _stream:
    _codes = marshal.load(_stream)


class Bundle:
    """A finder and a loader; what it does not have is left to those of Python."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # noqa: ARG004 - the protocol of importlib
        entry = _codes.get(name)
        if entry is None:
            return None
        place = _home + "/" + name.replace(".", "/")
        file = place + ("/__init__.py" if entry[0] else ".py")
        spec = ModuleSpec(name, Bundle, origin=file, is_package=entry[0])
        spec.has_location = True
        if entry[0]:
            spec.submodule_search_locations.append(place)
        return spec

    @staticmethod
    def create_module(spec):  # noqa: ARG004
        return None

    @staticmethod
    def exec_module(module):
        exec(marshal.loads(_codes[module.__name__][1]), module.__dict__)


sys.meta_path.insert(0, Bundle)
