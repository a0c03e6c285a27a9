"""``rl version``."""
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


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """Show versions; rl is client and server in one, but templates ask for either."""
    import sys

    server = reports.system_version()
    data = {"Client": client(server), "Server": server}
    if values.get("format"):
        from rootless.cli import formats

        formats.write_object(values["format"], data)
        return 0
    from rootless.cli import tables

    sys.stdout.write(tables.render(tables.split(text(data)), minimum=20, padding=1))
    return 0


def client(server: dict[str, Any]) -> dict[str, Any]:
    """Return the client's half."""
    import sys

    from rootless import __version__

    return {
        "Version": __version__,
        "ApiVersion": server.get("ApiVersion", ""),
        "DefaultAPIVersion": server.get("ApiVersion", ""),
        "PythonVersion": sys.version.partition(" ")[0],
        "Os": server.get("Os", ""),
        "Arch": server.get("Arch", ""),
        "Context": "default",
    }


def text(data: dict[str, Any]) -> str:
    """Return Docker's layout, with tabs between labels and values."""
    near, far = data["Client"], data["Server"]
    lines = [
        "Client:",
        f" Version:\t{near['Version']}",
        f" API version:\t{near['ApiVersion']}",
        f" Python version:\t{near['PythonVersion']}",
        f" OS/Arch:\t{near['Os']}/{near['Arch']}",
        f" Context:\t{near['Context']}",
        "",
    ]
    platform = far.get("Platform", {}).get("Name", "")
    lines.append(f"Server: {platform}".rstrip())
    for component in far.get("Components", ()):
        details = component.get("Details") or {}
        lines.append(f" {component['Name']}:")
        lines.append(f"  Version:\t{component['Version']}")
        if component["Name"] == "Engine":
            least = details.get("MinAPIVersion", far.get("MinAPIVersion", ""))
            lines.append(f"  API version:\t{details.get('ApiVersion', far['ApiVersion'])} (minimum version {least})")
            lines.append(f"  OS/Arch:\t{details.get('Os', far['Os'])}/{details.get('Arch', far['Arch'])}")
        else:
            lines.extend(f"  {key}:\t{details[key]}" for key in sorted(details))
    return "\n".join(lines)
