# Runs at the first start of dist/rl, and after the cache was cleared: unpacks the modules for this interpreter.
# It must parse under old versions of Python 3, which it sends away. Given: base, me, payload, identity. Leaves: home.
import os
import sys


def find_python():
    """Replace this process by a newer interpreter, if there is one."""
    import shutil

    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11"):
        path = shutil.which(name)
        if path and not os.environ.get("RL_PYTHON"):
            test = os.spawnl(
                os.P_WAIT, path, path, "-I", "-S", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"
            )
            if test == 0:
                os.environ["RL_PYTHON"] = path
                os.execl("/bin/sh", "sh", me, *sys.argv[1:])
    found = (sys.executable, sys.version_info[0], sys.version_info[1])
    fail("python3 3.11 or newer is needed; %s is %d.%d (set RL_PYTHON to a newer one)" % found)


def unpack():
    """Unpack beside the final directory, compile, rename; whoever comes second finds it done."""
    import fcntl
    import hashlib
    import importlib.machinery
    import io
    import shutil
    import tarfile
    import tempfile

    if hashlib.sha256(payload).hexdigest() != identity:
        fail("%s is damaged: its modules do not match their checksum; get the file again" % me)
    tag = sys.implementation.cache_tag
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    parent = directory()
    home = parent + "/" + tag
    archive = tarfile.open(fileobj=io.BytesIO(payload), mode="r:gz")
    members = []
    for member in archive.getmembers():
        if member.name.endswith(".so") and not member.name.endswith(suffix):
            continue  # built for another interpreter or machine
        if member.name.endswith(".pyc") and not member.name.endswith("." + tag + ".pyc"):
            continue
        members.append(member)
    work = ""
    try:
        with open(parent + "/.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            wanted = [member.name for member in members] + ["bundle"]
            if all(os.path.exists(home + "/" + name) for name in wanted):
                return home
            work = tempfile.mkdtemp(prefix="." + tag + ".", dir=parent)
            os.mkdir(work + "/new")
            for member in members:
                archive.extract(member, work + "/new")
            compile_missing(work + "/new", home)
            write_bundle(work + "/new")
            if os.path.exists(home):
                os.rename(home, work + "/old")  # a cleaner of caches took a part of it
            os.rename(work + "/new", home)
    except OSError as error:
        fail("cannot unpack to %s: %s" % (parent, error.strerror))
    finally:
        if work:
            shutil.rmtree(work, ignore_errors=True)
    return home


def directory():
    """Return the directory for this payload; without a home that we may write to, a private one in /tmp."""
    path = base + "/rl/" + identity
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        if os.access(path, os.W_OK):
            return path
    except OSError:
        pass
    path = "/tmp/rl-modules-%d-%s" % (os.getuid(), identity[:16])
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        status = os.lstat(path)
        if status.st_uid != os.getuid() or status.st_mode & 0o170077 != 0o040000:
            fail("%s is not a private directory of user %d; remove it, or set XDG_CACHE_HOME" % (path, os.getuid()))
    except OSError as error:
        fail("cannot make %s: %s; set XDG_CACHE_HOME to a directory of yours" % (path, error.strerror))
    return path


def fail(text):
    """Say why rl cannot start, and leave."""
    sys.stderr.write("rl: " + text + "\n")
    sys.exit(125)


def compile_missing(top, home):
    """Compile what came without bytecode for this interpreter; unchecked, since nobody edits these files."""
    import importlib.util
    import py_compile

    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for directory, _, names in os.walk(top):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(directory, name)
                target = importlib.util.cache_from_source(path, optimization="")
                if not current(target):
                    shown = home + path[len(top) :]
                    level = 2 if path.startswith(top + "/rootless/") else 0
                    py_compile.compile(path, target, shown, doraise=True, optimize=level, invalidation_mode=mode)


def write_bundle(top):
    """Collect the code of our own package in one file, for onefile_start.py."""
    import importlib.util
    import marshal

    index, codes, offset = {}, [], 0
    for directory, _, names in sorted(os.walk(top + "/rootless")):
        for name in sorted(names):
            if name.endswith(".py"):
                path = os.path.join(directory, name)
                with open(importlib.util.cache_from_source(path, optimization=""), "rb") as stream:
                    code = stream.read()[16:]  # behind magic number, flags and hash
                package = name == "__init__.py"
                module = (directory if package else path[:-3])[len(top) + 1 :]
                index[module.replace("/", ".")] = (package, offset, len(code))
                codes.append(code)
                offset += len(code)
    head = marshal.dumps(index)
    with open(top + "/bundle", "wb") as stream:
        stream.write(len(head).to_bytes(8, "little") + head + b"".join(codes))


def current(path):
    """Tell whether ``path`` holds bytecode of this interpreter: the tag does not change between pre-releases."""
    import importlib.util

    try:
        with open(path, "rb") as stream:
            return stream.read(4) == importlib.util.MAGIC_NUMBER
    except FileNotFoundError:
        return False


if sys.version_info < (3, 11):
    find_python()
home = unpack()
