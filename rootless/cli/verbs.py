"""The tree of commands: names, modules and summaries, without importing any of them."""

from __future__ import annotations

# Verb: (module in cli/commands, summary); the order is that of the help.
VERBS: dict[str, tuple[str, str]] = {
    "run": ("run", "Create and run a new container from an image"),
    "exec": ("exec", "Execute a command in a running container"),
    "ps": ("ps", "List containers"),
    "pull": ("pull", "Download an image from a registry"),
    "images": ("images", "List images"),
    "version": ("version", "Show the version information of rl"),
    "info": ("info", "Display system-wide information"),
    "create": ("create", "Create a new container"),
    "start": ("start", "Start one or more stopped containers"),
    "stop": ("stop", "Stop one or more running containers"),
    "kill": ("kill", "Kill one or more running containers"),
    "rm": ("rm", "Remove one or more containers"),
    "wait": ("wait", "Block until one or more containers stop, then print their exit codes"),
    "logs": ("logs", "Fetch the logs of a container"),
    "inspect": ("inspect", "Return low-level information on containers and images"),
    "pause": ("pause", "Pause all processes within one or more containers"),
    "unpause": ("unpause", "Unpause all processes within one or more containers"),
    "update": ("update", "Update configuration of one or more containers"),
    "events": ("events", "Get real time events of containers, images and volumes"),
    "stats": ("stats", "Display a live stream of container(s) resource usage statistics"),
    "rmi": ("rmi", "Remove one or more images"),
    "tag": ("tag", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "import": ("import_", "Import the contents from a tarball to create a filesystem image"),
    "load": ("load", "Load an image from a tar archive or STDIN"),
}
COMMON = ("run", "exec", "ps", "pull", "images", "version", "info")

# Group: (summary, {verb: (module, summary)}, {alias: verb}).
GROUPS: dict[str, tuple[str, dict[str, tuple[str, str]], dict[str, str]]] = {
    "container": (
        "Manage containers",
        {
            "create": VERBS["create"],
            "exec": VERBS["exec"],
            "inspect": ("container_inspect", "Display detailed information on one or more containers"),
            "kill": VERBS["kill"],
            "logs": VERBS["logs"],
            "ls": VERBS["ps"],
            "pause": VERBS["pause"],
            "rm": VERBS["rm"],
            "run": VERBS["run"],
            "start": VERBS["start"],
            "stats": VERBS["stats"],
            "stop": VERBS["stop"],
            "unpause": VERBS["unpause"],
            "update": VERBS["update"],
            "wait": VERBS["wait"],
        },
        {"list": "ls", "ps": "ls", "remove": "rm"},
    ),
    "image": (
        "Manage images",
        {
            "import": VERBS["import"],
            "inspect": ("image_inspect", "Display detailed information on one or more images"),
            "load": VERBS["load"],
            "ls": VERBS["images"],
            "prune": ("image_prune", "Remove unused images"),
            "pull": VERBS["pull"],
            "rm": VERBS["rmi"],
            "tag": VERBS["tag"],
        },
        {"list": "ls", "remove": "rm", "rmi": "rm"},
    ),
    "system": ("Manage rl", {"events": VERBS["events"], "info": VERBS["info"]}, {}),
    "config": (
        "Manage the configuration",
        {"show": ("config_show", "Show the effective settings and where each comes from")},
        {},
    ),
    "completion": (
        "Generate the autocompletion script for a shell",
        {
            "bash": ("completion_bash", "Generate the autocompletion script for bash"),
            "fish": ("completion_fish", "Generate the autocompletion script for fish"),
            "zsh": ("completion_zsh", "Generate the autocompletion script for zsh"),
        },
        {},
    ),
}

GLOBALS: tuple[tuple[str, str, str, str], ...] = (
    ("cgroup-manager", "", "string", 'Manager of control groups ("systemd", "cgroupfs", "none") (default what works)'),
    ("config", "", "string", "Configuration file (default ~/.config/rl/config.json)"),
    ("debug", "D", "bool", "Enable debug mode"),
    ("log-level", "l", "string", 'Set the logging level ("debug", "info", "warn", "error") (default "info")'),
    ("root", "", "string", "Directory of images and containers (default ~/.local/share/rl)"),
    ("storage-driver", "", "string", 'Storage driver ("overlay", "fuse-overlayfs", "vfs")'),
    ("version", "v", "bool", "Print version information and quit"),
)


def resolve(arguments: list[str]) -> tuple[str, str, str, list[str]] | None:
    """Find the verb that ``arguments`` begin with.

    Returns the path as typed (``rl image ls``), the module, the summary and what is left, or ``None``.
    """
    if not arguments:
        return None
    name = arguments[0]
    if name in VERBS:
        return (f"rl {name}", *VERBS[name], arguments[1:])
    if name in GROUPS and len(arguments) > 1:
        _, verbs, aliases = GROUPS[name]
        verb = aliases.get(arguments[1], arguments[1])
        if verb in verbs:
            return (f"rl {name} {arguments[1]}", *verbs[verb], arguments[2:])
    return None


def spellings(module: str) -> list[str]:
    """Return every way to call the verb of ``module``, management spellings first."""
    found = []
    for group, (_, verbs, aliases) in GROUPS.items():
        for verb, (target, _) in verbs.items():
            if target == module:
                found.append(f"rl {group} {verb}")
                found.extend(f"rl {group} {alias}" for alias, name in aliases.items() if name == verb)
    found.extend(f"rl {verb}" for verb, (target, _) in VERBS.items() if target == module)
    return found
