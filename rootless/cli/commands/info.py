"""``rl info``."""
# ruff: noqa: ARG001 (all verbs are called alike)

from __future__ import annotations

from rootless.cli import help_texts, reports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cli.context import Context
    from rootless.cli.parser import Row, Values

USAGE = "[OPTIONS]"
ARGUMENTS = (0, 0)
OPTIONS: tuple[Row, ...] = (("format", "f", "string", help_texts.INSPECT_FORMAT),)
COMPLETES = ""
# Lines of Docker's layout that are left out when the value is empty.
_SOFTWARE = (
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
)
_PROXIES = (("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy"))


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Show the system; warnings go to standard error."""
    import sys

    from rootless import __version__

    data = reports.system_info(context)
    data.setdefault("ClientInfo", {"Debug": context.debug, "Version": __version__, "Context": "default"})
    if values.get("format"):
        from rootless.cli import formats

        formats.write_object(values["format"], data)
        return 0
    sys.stdout.write(text(data))
    sys.stdout.flush()
    for warning in data.get("Warnings") or ():
        sys.stderr.write(f"{warning}\n")
    return 0


def text(data: dict[str, Any]) -> str:
    """Return Docker's layout."""
    from rootless.cli.units import binary_size

    near = data["ClientInfo"]
    lines = ["Client:", f" Version:    {near['Version']}", f" Context:    {near['Context']}"]
    lines += [f" Debug Mode: {_bool(near['Debug'])}", "", "Server:"]
    lines.append(f" Containers: {data.get('Containers', 0)}")
    for label in ("Running", "Paused", "Stopped"):
        lines.append(f"  {label}: {data.get(f'Containers{label}', 0)}")
    lines.append(f" Images: {data.get('Images', 0)}")
    _optional(lines, data, (("Server Version", "ServerVersion"), ("Storage Driver", "Driver")))
    lines.extend(f"  {name}: {value}" for name, value in data.get("DriverStatus") or ())
    _optional(
        lines,
        data,
        (("Logging Driver", "LoggingDriver"), ("Cgroup Driver", "CgroupDriver"), ("Cgroup Version", "CgroupVersion")),
    )
    own = data.get("Rl") or {}
    if own.get("CgroupControllers"):
        lines.append(f"  Delegated Controllers: {' '.join(own['CgroupControllers'])}")
    if own.get("CgroupControllersMissing"):
        lines.append(f"  Missing Controllers: {' '.join(own['CgroupControllersMissing'])}")
    plugins = data.get("Plugins") or {}
    lines.append(" Plugins:")
    lines.extend(f"  {kind}: {' '.join(plugins.get(kind) or ())}" for kind in ("Volume", "Network", "Log"))
    lines.append(f" Swarm: {(data.get('Swarm') or {}).get('LocalNodeState') or 'inactive'}")
    if data.get("Runtimes"):
        lines.append(f" Runtimes: {' '.join(data['Runtimes'])}")
        lines.append(f" Default Runtime: {data.get('DefaultRuntime', '')}")
    _optional(lines, data, (("Init Binary", "InitBinary"),))
    options = data.get("SecurityOptions") or ()
    if options:
        lines.append(" Security Options:")
        for option in options:
            pairs = dict(pair.partition("=")[::2] for pair in option.split(","))
            lines.append(f"  {pairs.pop('name', option)}")
            if "profile" in pairs:
                lines.append(f"   Profile: {pairs['profile']}")
    _optional(lines, data, _SOFTWARE)
    lines.append(f" CPUs: {data.get('NCPU', 0)}")
    lines.append(f" Total Memory: {binary_size(data.get('MemTotal', 0))}")
    _optional(lines, data, (("Name", "Name"), ("ID", "ID"), ("Docker Root Dir", "DockerRootDir")))
    lines.append(f" Debug Mode: {_bool(data.get('Debug', False))}")
    _optional(lines, data, _PROXIES)
    if data.get("Labels"):
        lines.append(" Labels:")
        lines.extend(f"  {label}" for label in data["Labels"])
    lines.append(f" Experimental: {_bool(data.get('ExperimentalBuild', False))}")
    registries = data.get("RegistryConfig") or {}
    insecure = [name for name, entry in (registries.get("IndexConfigs") or {}).items() if not entry.get("Secure", True)]
    insecure += registries.get("InsecureRegistryCIDRs") or []
    if insecure:
        lines.append(" Insecure Registries:")
        lines.extend(f"  {name}" for name in insecure)
    if registries.get("Mirrors"):
        lines.append(" Registry Mirrors:")
        lines.extend(f"  {mirror}" for mirror in registries["Mirrors"])
    lines.append(f" Live Restore Enabled: {_bool(data.get('LiveRestoreEnabled', False))}")
    return "\n".join((*lines, "", ""))


def _optional(lines: list[str], data: dict[str, Any], labels: tuple[tuple[str, str], ...]) -> None:
    lines.extend(f" {label}: {data[key]}" for label, key in labels if data.get(key))


def _bool(value: bool) -> str:
    return "true" if value else "false"
