"""What a process becomes just before it turns into the payload.

Shared by the container's first process and by those that join it later: limits, user,
capabilities, no_new_privs, seccomp, in the only order that works, then execve.
"""

from __future__ import annotations

import errno
import os

from rootless.linux import paths, process, syscalls
from rootless.runtime import capabilities, rlimits, users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Identity:
    """A process section of an OCI specification, resolved against the root it runs in.

    To be made after the root has been changed and while the process is still root of the
    container. Raises ``InvalidArgument`` for users and groups that do not exist.
    """

    def __init__(self, spec: dict[str, Any], program: bytes | None) -> None:
        self._spec = spec
        self._program = program
        user = spec.get("user", {})
        name = user.get("username")
        if name is None:
            groups = tuple(user.get("additionalGids", ()))
            self.user = users.User(
                uid=user.get("uid", 0), gid=user.get("gid", 0), additional_gids=groups, home="/", name=""
            )
        else:
            self.user = users.resolve(
                name, _read("/etc/passwd"), _read("/etc/group"), group_add=tuple(user.get("additionalGroups", ()))
            )
        self.env = list(spec.get("env", []))
        if not any(entry.startswith("HOME=") for entry in self.env):
            self.env.append(f"HOME={self.user.home or '/'}")

    def prepare(self, *, make_directory: bool = True) -> None:
        """Set resource limits and make the working directory if it is missing and wanted."""
        for limit in self._spec.get("rlimits", []):
            rlimits.apply(limit["type"], limit["soft"], limit["hard"])
        cwd = self._spec.get("cwd") or "/"
        if make_directory and cwd != "/":
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            os.close(paths.mkdirs_beneath(root, cwd))
            os.close(root)

    def assume(self) -> None:
        """Become the user with the capabilities of the specification; load the filter last.

        Without no_new_privs the filter takes CAP_SYS_ADMIN, so it is loaded while root of
        the container, and must allow the few calls that follow.
        """
        spec = self._spec
        wanted = spec.get("capabilities", {})
        bounding = capabilities.mask(wanted.get("bounding", ()))
        for number in range(capabilities.last() + 1):
            if not bounding >> number & 1:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
        if spec.get("noNewPrivileges"):
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        elif self._program:
            syscalls.load_seccomp(self._program)
        os.setgroups(list(self.user.additional_gids))
        os.setresgid(self.user.gid, self.user.gid, self.user.gid)
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
        os.setresuid(self.user.uid, self.user.uid, self.user.uid)
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 0)
        # The working directory must be one that the user may enter.
        os.chdir(spec.get("cwd") or "/")
        effective = capabilities.mask(wanted.get("effective", ()))
        permitted = capabilities.mask(wanted.get("permitted", ()))
        inheritable = capabilities.mask(wanted.get("inheritable", ()))
        syscalls.capset(effective, permitted, inheritable)
        # The kernel takes no other into the ambient set; like other runtimes we do not insist.
        ambient = capabilities.mask(wanted.get("ambient", ())) & permitted & inheritable
        for number in range(capabilities.last() + 1):
            if ambient >> number & 1:
                syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, number)
        if spec.get("noNewPrivileges") and self._program:
            syscalls.load_seccomp(self._program)

    def find(self) -> str:
        """Return the path of the program; raises ``OSError`` ENOENT or EACCES as a shell would see it."""
        name = self._spec["args"][0]
        if "/" in name:
            return str(name)
        path = DEFAULT_PATH
        for entry in self.env:
            if entry.startswith("PATH="):
                path = entry[5:]
        found = errno.ENOENT
        for directory in path.split(":"):
            candidate = f"{directory or '.'}/{name}"
            if os.path.isfile(candidate):
                if os.access(candidate, os.X_OK):
                    return candidate
                found = errno.EACCES
        raise OSError(
            found, "executable file not found in $PATH" if found == errno.ENOENT else "permission denied", name
        )

    def execute(self) -> None:
        """Replace the process by the payload; returns only by raising ``OSError``."""
        path = self.find()
        environment = {}
        for entry in self.env:
            name, _, value = entry.partition("=")
            environment[name] = value
        process.reset_signals()
        os.umask(self._spec.get("user", {}).get("umask", 0o022))
        os.execve(path, self._spec["args"], environment)


def _read(path: str) -> bytes:
    """Return the content of a small regular file of the container, or nothing."""
    try:
        return paths.read_beneath("/", path, 4 * 1024 * 1024)
    except OSError:
        return b""
