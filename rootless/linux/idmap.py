"""Id maps: which host ids stand behind the ids inside a user namespace.

The map of rl's namespace is the usual one: 0 is the user, 1 and up are the user's
subordinate ranges in order (subuid(5)). Writing it takes the setuid programs
newuidmap(1) and newgidmap(1), or CAP_SETUID and CAP_SETGID in the namespace we are in
(rl inside another container, as its root).
"""

from __future__ import annotations

import errno
import os

from rootless.errors import Denied, MissingHelper, SystemFailure, Unsupported
from rootless.linux import commands
from rootless.record import Record


class IdMap(Record):
    """Ranges (inside, outside, length) for user and group ids."""

    uids: tuple[tuple[int, int, int], ...]
    gids: tuple[tuple[int, int, int], ...]
    direct: bool = False  # may be written without newuidmap

    @property
    def size(self) -> int:
        """Return how many user ids are mapped."""
        return sum(length for _, _, length in self.uids)

    def identity(self) -> IdMap:
        """Return the map for a child namespace with the same ids inside."""
        return IdMap(
            uids=tuple((inside, inside, length) for inside, _, length in self.uids),
            gids=tuple((inside, inside, length) for inside, _, length in self.gids),
            direct=True,
        )


def to_host(ranges: tuple[tuple[int, int, int], ...], inside: int) -> int | None:
    """Return the host id behind ``inside``; None if it is not mapped."""
    for first, outside, length in ranges:
        if first <= inside < first + length:
            return outside + inside - first
    return None


def is_initial_namespace() -> bool:
    """Say whether we are in the machine's initial user namespace."""
    with open("/proc/self/uid_map", encoding="ascii") as stream:
        return stream.read().split() == ["0", "0", "4294967295"]


def current_map(kind: str) -> tuple[tuple[int, int, int], ...]:
    """Return the ranges of our own namespace; ``kind`` is "uid" or "gid"."""
    with open(f"/proc/self/{kind}_map", encoding="ascii") as stream:
        rows = [line.split() for line in stream]
    return tuple((int(inside), int(outside), int(length)) for inside, outside, length in rows)


def parse_ranges(text: str, owners: tuple[str, ...]) -> list[tuple[int, int]]:
    """Return the (start, count) ranges of ``owners`` in the text of a subuid(5) file."""
    ranges = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in owners and fields[1].isdecimal() and fields[2].isdecimal():
            start, count = int(fields[1]), int(fields[2])
            if count > 0 and (start, count) not in ranges:
                ranges.append((start, count))
    return ranges


def user_name(uid: int) -> str:
    """Return the login name of ``uid``, or the number."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def subordinate_ranges(kind: str) -> list[tuple[int, int]]:
    """Return the caller's ranges from /etc/subuid (or subgid), or from getsubids(1).

    Raises ``Denied`` with the command an administrator has to run when there is none.
    """
    uid = os.getuid()
    name = user_name(uid)
    path = f"/etc/sub{kind}"
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            ranges = parse_ranges(stream.read(), (name, str(uid)))
    except OSError:
        ranges = []
    if not ranges and commands.which("getsubids"):
        # Ranges may come from a directory service by way of nsswitch.conf.
        argv = ["getsubids", *(["-g"] if kind == "gid" else []), name]
        rows = commands.run(argv, timeout=10).stdout.decode().split("\n")
        fields = [row.split() for row in rows]
        ranges = [(int(row[2]), int(row[3])) for row in fields if len(row) == 4 and row[3].isdecimal()]
    if not ranges:
        raise Denied(
            f"user {name} has no subordinate {kind}s in {path}",
            hint="an administrator grants them with: "
            f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}",
        )
    return ranges


def for_user() -> IdMap:
    """Return the map for the calling user.

    Raises ``Denied`` for a user without ranges and for root of the machine.
    """
    if os.geteuid() == 0:
        if is_initial_namespace():
            raise Denied("rl runs as an ordinary user, not as root", hint="log in as one, or: su - USER -c 'rl …'")
        with open("/proc/self/setgroups", encoding="ascii") as stream:
            if stream.read().strip() == "deny":
                raise Unsupported(
                    "the user namespace around rl forbids setgroups(2), which containers need",
                    hint="map a range of ids into it: unshare --user --map-auto --map-root-user",
                )
        identity = {}
        for kind in ("uid", "gid"):
            identity[kind] = tuple((inside, inside, length) for inside, _, length in current_map(kind))
        return IdMap(uids=identity["uid"], gids=identity["gid"], direct=True)
    maps = {}
    for kind, own in (("uid", os.getuid()), ("gid", os.getgid())):
        rows = [(0, own, 1)]
        following = 1
        for start, count in subordinate_ranges(kind):
            rows.append((following, start, count))
            following += count
        maps[kind] = tuple(rows)
    return IdMap(uids=maps["uid"], gids=maps["gid"])


def write(pid: int, id_map: IdMap) -> None:
    """Write the maps of the user namespace of ``pid``, which is a child of ours.

    Raises ``MissingHelper`` or ``SystemFailure`` that say why newuidmap refused.
    """
    if id_map.direct:
        try:
            _write_direct(pid, id_map)
        except OSError as error:
            raise SystemFailure(
                f"cannot write the id map of a user namespace: {(error.strerror or '').lower()}",
                hint="the outer container must leave CAP_SETUID and CAP_SETGID to its root",
            ) from error
        return
    pids = []
    for tool, ranges in (("newuidmap", id_map.uids), ("newgidmap", id_map.gids)):
        numbers = [str(number) for row in ranges for number in row]
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        try:
            pids.append((tool, commands.spawn([tool, str(pid), *numbers], stderr=write_end), read_end))
        except BaseException:
            os.close(read_end)
            for _, child, stderr in pids:
                os.close(stderr)
                os.waitpid(child, 0)
            raise
        finally:
            os.close(write_end)
    failures = []
    for tool, child, stderr in pids:
        with open(stderr, "rb") as stream:
            text = stream.read().decode("utf-8", "replace").strip()
        _, status = os.waitpid(child, 0)
        if status:
            failures.append((tool, text))
    if failures:
        raise _explain(*failures[0])


def _write_direct(pid: int, id_map: IdMap) -> None:
    for kind, ranges in (("uid", id_map.uids), ("gid", id_map.gids)):
        text = "".join(f"{inside} {outside} {length}\n" for inside, outside, length in ranges)
        fd = os.open(f"/proc/{pid}/{kind}_map", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def _explain(tool: str, text: str) -> SystemFailure:
    """Find out why newuidmap failed, which its message rarely says."""
    import stat

    path = commands.find(tool)
    status = os.stat(path)
    privileged = bool(status.st_mode & stat.S_ISUID and status.st_uid == 0)
    try:
        privileged = privileged or bool(os.getxattr(path, "security.capability"))
    except OSError:
        pass
    if not privileged:
        return MissingHelper(
            f"{path} is neither setuid root nor has it the capability it needs",
            hint=f"an administrator restores it with: chmod u+s {path} (or: apt install --reinstall uidmap)",
        )
    if os.statvfs(path).f_flag & os.ST_NOSUID:
        return MissingHelper(
            f"{path} is on a file system mounted nosuid", hint="install the package uidmap on the root file system"
        )
    with open("/proc/self/status", encoding="ascii") as stream:
        if "\nNoNewPrivs:\t1" in stream.read():
            return MissingHelper(
                f"{tool} cannot gain its privilege: this process runs with no_new_privs",
                hint="start rl outside of the sandbox (systemd: NoNewPrivileges=no)",
            )
    kind = tool[3:6]
    return SystemFailure(
        f"{tool} failed: {text or 'no reason given'}",
        hint=f"compare the ranges in /etc/sub{kind} with the ids that are free on this machine",
    )


def explain_unshare(error: OSError) -> SystemFailure:
    """Translate a refusal of CLONE_NEWUSER: neither errno says what it means."""
    if error.errno == errno.ENOSPC:
        return SystemFailure(
            "this machine allows no more user namespaces (ENOSPC is not about disk space)",
            hint="an administrator raises the limit with: sysctl -w user.max_user_namespaces=15000",
        )
    if error.errno in (errno.EPERM, errno.EACCES):
        for name in ("kernel/unprivileged_userns_clone", "kernel/apparmor_restrict_unprivileged_userns"):
            try:
                with open(f"/proc/sys/{name}", encoding="ascii") as stream:
                    value = stream.read().strip()
            except OSError:
                continue
            wanted = "1" if name.endswith("clone") else "0"
            if value != wanted:
                return SystemFailure(
                    f"this machine denies user namespaces to ordinary users ({name.replace('/', '.')} is {value})",
                    hint=f"an administrator allows them with: sysctl -w {name.replace('/', '.')}={wanted}",
                )
        return SystemFailure(
            "this process may not create a user namespace",
            hint="inside a container, the outer one must allow it: docker run --security-opt seccomp=unconfined",
        )
    if error.errno == errno.EUSERS:
        return SystemFailure("user namespaces are nested too deeply here", hint="start rl in an outer namespace")
    return SystemFailure(f"cannot create a user namespace: {(error.strerror or str(error)).lower()}")
