"""Which folder uses a project's name on a Prefect server.

A claim is a Prefect variable, which the server creates only once. Without it, two folders with the
same name would overwrite each other's deployments and run each other's flows.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate
from prefect.exceptions import ObjectAlreadyExists

from flows.project import Project
from semigen.errors import UserError

PREFIX = "semigen-project-"


def claim(client: SyncPrefectClient, project: Project, *, owns_server: bool) -> None:
    """Claim the name of a project for its folder.

    Args:
        client: Client of the server.
        project: The project.
        owns_server: Whether the server belongs to the project. Its database may then have been
            moved or copied together with the folder.

    Raises:
        UserError: If another folder uses the name.
    """
    own = {
        "folder": str(project.root.resolve()),
        "host": socket.gethostname(),
        "owns_server": owns_server,
    }
    variable = VariableCreate(name=_variable(project.name), value=json.dumps(own))
    try:
        client.create_variable(variable)
        return
    except ObjectAlreadyExists:
        pass
    other = _read(client, project.name)
    if other is not None and not _may_replace(other, own, project.name):
        raise UserError(
            f"project {project.name!r} on this server belongs to {other['folder']} on "
            f"{other['host']}; set another name in prefect.yaml or, if that folder is no longer "
            f"used: semigen prefect variable delete {variable.name}"
        )
    if other != own:
        release(client, project.name)
        client.create_variable(variable)


def release(client: SyncPrefectClient, name: str) -> None:
    """Delete the claim on a name, if there is one."""
    if _read(client, name) is not None:
        client.delete_variable_by_name(_variable(name))


def former_names(client: SyncPrefectClient, project: Project) -> list[str]:
    """Return other names that the project's folder has claimed, before it was renamed."""
    own = {"folder": str(project.root.resolve()), "host": socket.gethostname()}
    names = [v.name.removeprefix(PREFIX) for v in client.read_variables() if _is_claim(v.name)]
    claims = {name: _read(client, name) for name in names if name != project.name}
    return [name for name, found in claims.items() if found and own.items() <= found.items()]


def _may_replace(other: dict[str, Any], own: dict[str, Any], name: str) -> bool:
    if (other["folder"], other["host"]) == (own["folder"], own["host"]):
        return True
    if own["owns_server"] and other["owns_server"]:  # the folder was moved or copied
        return True
    return other["host"] == own["host"] and not _is_used(Path(other["folder"]), name)


def _is_used(folder: Path, name: str) -> bool:
    """Return whether a folder of this host still contains a project of the name."""
    if not (folder / "dvc.yaml").exists():
        return False
    try:
        return Project.of(folder).name == name
    except UserError:
        return True


def _read(client: SyncPrefectClient, name: str) -> dict[str, Any] | None:
    variable = client.read_variable_by_name(_variable(name))
    if variable is None:
        return None
    value = variable.value
    assert isinstance(value, str)
    found: dict[str, Any] = json.loads(value)
    return found


def _variable(name: str) -> str:
    return f"{PREFIX}{name}"


def _is_claim(variable: str) -> bool:
    return variable.startswith(PREFIX)
