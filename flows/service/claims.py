"""Which folder uses a project's name on a Prefect server.

A claim is a Prefect variable, which the server creates only once. Without it, two folders with the
same name would overwrite each other's deployments and run each other's flows.
"""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

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
        "name": project.name,
        "folder": str(project.root.resolve()),
        "host": socket.gethostname(),
        "owns_server": owns_server,
    }
    variable = VariableCreate(name=_variable(project), value=json.dumps(own))
    try:
        client.create_variable(variable)
        return
    except ObjectAlreadyExists:
        pass
    other = _read(client, variable.name)
    if other is not None and not _may_replace(other, own, project.name):
        raise UserError(
            f"project {project.name!r} on this server belongs to {other['folder']} on "
            f"{other['host']}; set another name in prefect.yaml or, if that folder is no longer "
            f"used: semigen prefect variable delete {variable.name}"
        )
    if other != own:
        release(client, project)
        client.create_variable(variable)


def release(client: SyncPrefectClient, project: Project) -> None:
    """Delete the claim on the name of a project, if there is one."""
    with contextlib.suppress(ObjectNotFound):
        client.delete_variable_by_name(_variable(project))


def former_names(client: SyncPrefectClient, project: Project) -> list[Project]:
    """Return the project under the names that its folder claimed before it was renamed."""
    own = {"folder": str(project.root.resolve()), "host": socket.gethostname()}
    names = [v.name for v in client.read_variables() if v.name.startswith(PREFIX)]
    claims = [claim for name in names if (claim := _read(client, name)) is not None]
    former = [claim["name"] for claim in claims if own.items() <= claim.items()]
    return [Project(project.root, name) for name in former if name != project.name]


def _may_replace(other: dict[str, Any], own: dict[str, Any], name: str) -> bool:
    if other["folder"] == own["folder"]:  # a restarted container has another host name
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
    variable = client.read_variable_by_name(name)
    if variable is None:
        return None
    value = variable.value
    assert isinstance(value, str)
    found: dict[str, Any] = json.loads(value)
    return found


def _variable(project: Project) -> str:
    return f"{PREFIX}{project.key}"
