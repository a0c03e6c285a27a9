"""The OCI runtime specification: ``config.json`` of a bundle, as types and constants.

Only what rl writes or reads is declared; other fields survive.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NotRequired, TypedDict

    class ConsoleSize(TypedDict):
        """Size of the terminal in characters."""

        height: int
        width: int

    class User(TypedDict, total=False):
        """Who the process runs as; ``username`` is resolved in the root file system."""

        uid: int
        gid: int
        umask: int
        additionalGids: list[int]
        username: str

    class Capabilities(TypedDict, total=False):
        """Capability sets by name, ``CAP_CHOWN``."""

        bounding: list[str]
        effective: list[str]
        inheritable: list[str]
        permitted: list[str]
        ambient: list[str]

    class Rlimit(TypedDict):
        """``type`` is spelt ``RLIMIT_NOFILE``."""

        type: str
        soft: int
        hard: int

    class Process(TypedDict, total=False):
        """What to execute."""

        terminal: bool
        consoleSize: ConsoleSize
        user: User
        args: list[str]
        env: list[str]
        cwd: str
        capabilities: Capabilities
        rlimits: list[Rlimit]
        noNewPrivileges: bool
        oomScoreAdj: int
        apparmorProfile: str
        selinuxLabel: str

    class Root(TypedDict):
        """The root file system; a relative path is below the bundle."""

        path: str
        readonly: NotRequired[bool]

    class Mount(TypedDict):
        """One mount, in mount(8) words."""

        destination: str
        type: NotRequired[str]
        source: NotRequired[str]
        options: NotRequired[list[str]]

    class Namespace(TypedDict):
        """A namespace: made anew, or joined by ``path``."""

        type: str
        path: NotRequired[str]

    class IdMapping(TypedDict):
        """A range of ids."""

        containerID: int
        hostID: int
        size: int

    class Device(TypedDict):
        """A device node to be made."""

        path: str
        type: str
        major: NotRequired[int]
        minor: NotRequired[int]
        fileMode: NotRequired[int]
        uid: NotRequired[int]
        gid: NotRequired[int]

    class SeccompArgument(TypedDict):
        """A condition on a system call's argument."""

        index: int
        value: int
        valueTwo: NotRequired[int]
        op: str

    class SeccompSyscall(TypedDict):
        """A rule of a seccomp profile."""

        names: list[str]
        action: str
        errnoRet: NotRequired[int]
        args: NotRequired[list[SeccompArgument]]

    class Seccomp(TypedDict):
        """A seccomp profile in the runtime's form."""

        defaultAction: str
        defaultErrnoRet: NotRequired[int]
        architectures: NotRequired[list[str]]
        flags: NotRequired[list[str]]
        syscalls: NotRequired[list[SeccompSyscall]]

    class Linux(TypedDict, total=False):
        """The Linux-specific part."""

        namespaces: list[Namespace]
        uidMappings: list[IdMapping]
        gidMappings: list[IdMapping]
        devices: list[Device]
        cgroupsPath: str
        resources: dict[str, Any]
        rootfsPropagation: str
        seccomp: Seccomp
        sysctl: dict[str, str]
        maskedPaths: list[str]
        readonlyPaths: list[str]
        mountLabel: str

    class Hook(TypedDict):
        """A program to run at a point of the container's life."""

        path: str
        args: NotRequired[list[str]]
        env: NotRequired[list[str]]
        timeout: NotRequired[int]

    class Hooks(TypedDict, total=False):
        """Programs by the point at which they run."""

        prestart: list[Hook]
        createRuntime: list[Hook]
        createContainer: list[Hook]
        startContainer: list[Hook]
        poststart: list[Hook]
        poststop: list[Hook]

    class Spec(TypedDict, total=False):
        """``config.json``."""

        ociVersion: str
        hostname: str
        domainname: str
        process: Process
        root: Root
        mounts: list[Mount]
        hooks: Hooks
        annotations: dict[str, str]
        linux: Linux

    class State(TypedDict):
        """What ``state`` prints and hooks read on stdin."""

        ociVersion: str
        id: str
        status: str
        pid: NotRequired[int]
        bundle: str
        annotations: NotRequired[dict[str, str]]


VERSION = "1.2.0"

PID = "pid"
NETWORK = "network"
MOUNT = "mount"
IPC = "ipc"
UTS = "uts"
USER = "user"
CGROUP = "cgroup"
TIME = "time"
NAMESPACES = (PID, NETWORK, MOUNT, IPC, UTS, USER, CGROUP, TIME)

CREATING = "creating"
CREATED = "created"
RUNNING = "running"
STOPPED = "stopped"
