"""Settings of all that a flow starts; whatever the user has set stays as it is."""

from __future__ import annotations

import json
import logging
import os
import socket
from pathlib import Path

NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
START_SECONDS = "120"
"""That a temporary server may take to start: Prefect's 20 s were too few on a busy machine right
after the installation, when nothing is compiled yet."""
HEARTBEAT_SECONDS = 30
"""Between signs of life of a flow run; those silent for three times as long are crashed."""
FILE_LEASES = "prefect.server.concurrency.lease_storage.filesystem"
LOGIN = "PREFECT_SERVER_API_AUTH_STRING"
"""Names, in the environment, the login that the server asks for, as ``user:password``."""
SERVICE_FOLDER = ".prefect/service"
LOGGING = "PREFECT_LOGGING_"
TERSE_LOGS = {
    # Prefect's own notices from warnings on; those of flow and task runs all.
    f"{LOGGING}LEVEL": "WARNING",
    f"{LOGGING}LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "INFO",
    f"{LOGGING}LOGGERS_PREFECT_TASK_RUNS_LEVEL": "INFO",
    f"{LOGGING}FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s  flow        %(message)s",
    f"{LOGGING}FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s  %(task_name)-10s  %(message)s",
}


def address_file(root: Path) -> Path:
    """Return the file that says where a project's server listens, while there is one."""
    return root / SERVICE_FOLDER / "address.json"


def service_settings(root: Path, port: int) -> dict[str, str]:
    """Return the settings of server, workers and flow runs that a project keeps in the background.

    Secrets are not among them: they pass from the environment to the processes.
    """
    api_url = f"http://127.0.0.1:{port}/api"
    settings = NO_TELEMETRY | {
        "PREFECT_HOME": str(root / ".prefect"),
        "PREFECT_API_URL": api_url,
        "PREFECT_CLIENT_MAX_RETRIES": "10",  # while the server is started anew
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        # In memory, as is the default, a server that is started anew knows none of those who hold a
        # deployment's limit: it never lets go of it, and ends runs after five minutes.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": FILE_LEASES,
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",  # one that is silent for 30 s counts as dead
        "PREFECT_WORKER_QUERY_SECONDS": "1",  # a stage reaches a worker in half of the time
        "SEMIGEN_PROJECT": str(root),
    }
    return settings | own_credentials()


def own_credentials() -> dict[str, str]:
    """Return the server's login as that of its clients, if it has one."""
    login = os.environ.get(LOGIN)
    return {"PREFECT_API_AUTH_STRING": login} if login else {}


def prepare(directory: Path) -> None:
    """Turn telemetry off, logs terse, and keep a temporary server's state in the project.

    Args:
        directory: Where the flow is started; a project's root if it holds ``dvc.yaml``.
    """
    settings = NO_TELEMETRY | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": START_SECONDS}
    if f"{LOGGING}LEVEL" not in os.environ:
        settings |= TERSE_LOGS
    if (directory / "dvc.yaml").exists() and "PREFECT_HOME" not in os.environ:
        settings["PREFECT_HOME"] = str(directory / ".prefect")
        profiles = Path("~/.prefect/profiles.toml").expanduser()
        if profiles.exists():  # a server that the user has configured there stays in use
            settings["PREFECT_PROFILES_PATH"] = str(profiles)
    settings |= own_credentials() | _running_server(directory)
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    logging.getLogger("prefect.task_runs").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Drop what Prefect says of a failed state, with an empty traceback, before saying it again."""
    return not str(record.msg).startswith("Task run failed with state: ")


def _running_server(directory: Path) -> dict[str, str]:
    """Return the address of the project's own server if it is up."""
    try:
        address = json.loads(address_file(directory).read_text())
        socket.create_connection(("127.0.0.1", address["port"]), timeout=1).close()
    except (OSError, ValueError):
        return {}
    return {"PREFECT_API_URL": address["api_url"]}
