"""How dist/rl finds its modules once they are unpacked: in one file instead of one each.

Python's own finder asks the file system five times for a module (0.1 ms); `rl run` needs seventy. The file
``bundle`` is an index, name to (is a package, offset, size), behind its size in 8 bytes; then code. The first start
makes it. Code is read when it is wanted: a monitor, which stays, shall not hold that of all others.
"""

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec

_home = __file__.rpartition("/")[0]
posix.stat(_home + "/rootless/__init__.py")  # OSError: a cleaner of caches took a part of it


def _read(offset, size):
    fd = posix.open(_home + "/bundle", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.pread(fd, size, offset)
    finally:
        posix.close(fd)


_head = int.from_bytes(_read(0, 8), "little")
_index = marshal.loads(_read(8, _head))


class Bundle:
    """A finder and a loader; what it does not have is left to those of Python."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # noqa: ARG004 - the protocol of importlib
        entry = _index.get(name)
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
        _, offset, size = _index[module.__name__]
        exec(marshal.loads(_read(8 + _head + offset, size)), module.__dict__)


sys.meta_path.insert(0, Bundle)
