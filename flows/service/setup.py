"""Register a project with a Prefect server: work pools, deployments and automations.

``semigen up`` calls ``python -m flows.service.setup`` with ``PREFECT_API_URL`` set. Everything is
found by name and updated, so that a second call changes nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import PREFECT_API_URL

from flows.project import Project, template_variables
from flows.service import automations
from flows.service.claims import claim
from flows.service.former import remove_former
from flows.service.pools import ensure_pool
from flows.service.processes import POOLS
from flows.service.watchdog import Watchdog
from semigen.errors import UserError
from semigen.params.config import Params


def set_up(root: Path, *, owns_server: bool = False) -> list[str]:
    """Register everything; return the names of the deployments.

    Args:
        root: The project's folder.
        owns_server: Whether no other project uses the server. What earlier versions registered
            there under names without the project's is then removed.

    Raises:
        UserError: If there is no server, the name of the project belongs to another folder, or
            Prefect refuses a deployment.
    """
    if not PREFECT_API_URL.value():
        raise UserError("no Prefect server is configured: set PREFECT_API_URL, or run semigen up")
    params, project = Params.load(root / "params.yaml"), Project.of(root)
    with get_client(sync_client=True) as client:
        claim(client, project, owns_server=owns_server)
        for kind in POOLS:
            ensure_pool(client, project.pool(kind))
        _deploy(project, params)
        automations.register(client, project)
        remove_former(client, project, owns_server=owns_server)
        return sorted(_full_name(client, found) for found in deployments(client, project))


def deployments(client: SyncPrefectClient, project: Project) -> list[DeploymentResponse]:
    """Return the deployments of a project."""
    wanted = DeploymentFilter(tags=DeploymentFilterTags(all_=[project.tag]))
    return client.read_deployments(deployment_filter=wanted)


def tear_down(root: Path) -> None:
    """Deactivate the schedules of a project on a server that keeps running without its workers.

    Otherwise its runs would pile up there. ``set_up`` activates the schedules again. Runs that the
    workers have left unfinished are crashed.
    """
    project = Project.of(root)
    with get_client(sync_client=True) as client:
        for deployment in deployments(client, project):
            for schedule in deployment.schedules:
                client.update_deployment_schedule(deployment.id, schedule.id, active=False)
    crash_lost_runs(root)


def crash_lost_runs(root: Path) -> None:
    """Crash the runs that were running when the workers of this machine exited.

    Until then each of them holds its deployment's limit, so that the next run would be canceled.
    """
    with get_client(sync_client=True) as client:
        Watchdog(Project.of(root)).look(client, without_workers=True)


def _deploy(project: Project, params: Params) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(
        command,
        cwd=project.root,
        env={**os.environ, **template_variables(project, params), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise UserError(f"prefect.yaml: {(done.stderr or done.stdout).strip()}")


def _full_name(client: SyncPrefectClient, deployment: DeploymentResponse) -> str:
    return f"{client.read_flow(deployment.flow_id).name}/{deployment.name}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.service.setup", description=__doc__)
    parser.add_argument(
        "--owns-server", action="store_true", help="no other project uses the server"
    )
    parser.add_argument(
        "--without-workers",
        action="store_true",
        help="no worker runs on this machine: crash the runs that earlier workers left unfinished",
    )
    parser.add_argument(
        "--down", action="store_true", help="deactivate the schedules instead, and crash lost runs"
    )
    arguments = parser.parse_args(argv)
    try:
        if arguments.down:
            tear_down(Path.cwd())
            return 0
        names = set_up(Path.cwd(), owns_server=arguments.owns_server)
        if arguments.without_workers:
            crash_lost_runs(Path.cwd())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Deployed {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
