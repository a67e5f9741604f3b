"""Register with a Prefect server what this project needs: pools, deployments, automations.

``python -m flows.service.setup`` with ``PREFECT_API_URL`` set, as ``make ui`` does. Everything is
found by name and brought up to date, so that a second call changes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL

from flows.service.automations import notifications, responses, watchdogs
from flows.service.processes import POOLS
from flows.service.watchdog import Watchdog
from semigen.errors import UserError
from semigen.params.config import Params

NEVER = "0 0 1 1 *"
"""Stands in a schedule that is switched off: Prefect wants some cron."""


def set_up(root: Path) -> list[str]:
    """Register everything; return the names of the deployments.

    Raises:
        UserError: If there is no server, or Prefect refuses a deployment.
    """
    if not PREFECT_API_URL.value():
        raise UserError("no Prefect server is configured; set PREFECT_API_URL, or call make ui")
    params = Params.load(root / "params.yaml")
    with get_client(sync_client=True) as client:
        for pool in POOLS:
            _create_pool(client, pool)
        _deploy(root, params)
        for automation in (*watchdogs(), *responses(client, params, root), *notifications(root)):
            automation.register(client)
    content = yaml.safe_load((root / "prefect.yaml").read_text(encoding="utf-8"))
    return [deployment["name"] for deployment in content["deployments"]]


def schedules(params: Params) -> dict[str, str]:
    """Return the variables that ``prefect.yaml`` takes its schedules from."""
    crons = {"TRAIN": params.retrain.cron, "MONITOR": params.monitor.cron}
    variables = {"SEMIGEN_TIMEZONE": params.retrain.timezone}
    for name, cron in crons.items():
        variables[f"SEMIGEN_{name}_CRON"] = cron or NEVER
        variables[f"SEMIGEN_{name}_ACTIVE"] = str(cron is not None).lower()
    return variables


def _create_pool(client: SyncPrefectClient, name: str) -> None:
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))


def _deploy(root: Path, params: Params) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(
        command,
        cwd=root,
        env={**os.environ, **schedules(params), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise UserError(f"prefect.yaml: {(done.stderr or done.stdout).strip()}")


def end_lost_runs(root: Path) -> None:
    """End the runs that workers were at when they ended, before new ones start.

    Until then each holds its deployment's limit, and what is due next would be cancelled for it.
    """
    with get_client(sync_client=True) as client:
        Watchdog(root).look(client, without_workers=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.service.setup", description=__doc__)
    parser.add_argument(
        "--without-workers",
        action="store_true",
        help="none runs on this machine: end the runs that earlier ones were at",
    )
    arguments = parser.parse_args(argv)
    try:
        names = set_up(Path.cwd())
        if arguments.without_workers:
            end_lost_runs(Path.cwd())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Deployed {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
