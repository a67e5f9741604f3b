"""Settings of Prefect, DVC and Great Expectations; variables set by the user are kept."""

from __future__ import annotations

import json
import logging
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
START_SECONDS = "120"
"""Timeout for the start of a temporary server. Prefect's 20 s are too short on a busy machine right
after the installation, when no bytecode is compiled yet."""
HEARTBEAT_SECONDS = 30
"""Interval of heartbeats. A flow run without a heartbeat for three times as long is crashed."""
FILE_LEASES = "prefect.server.concurrency.lease_storage.filesystem"
LOGIN = "PREFECT_SERVER_API_AUTH_STRING"
"""Environment variable with the login that the server requires, as ``user:password``."""
API_URL = "PREFECT_API_URL"
SERVICE_FOLDER = ".prefect/service"
LOGGING = "PREFECT_LOGGING_"
TERSE_LOGS = {
    # Warnings of Prefect itself, but everything that flow and task runs log.
    f"{LOGGING}LEVEL": "WARNING",
    f"{LOGGING}LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "INFO",
    f"{LOGGING}LOGGERS_PREFECT_TASK_RUNS_LEVEL": "INFO",
    f"{LOGGING}FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s  flow        %(message)s",
    f"{LOGGING}FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s  %(task_name)-10s  %(message)s",
}


def address_file(root: Path) -> Path:
    """Return the file with the address of a project's server, which exists while it runs."""
    return root / SERVICE_FOLDER / "address.json"


def service_settings(root: Path, api_url: str) -> dict[str, str]:
    """Return the settings of a project's server, workers and flow runs.

    Secrets are not among them: processes inherit them from the environment.

    Args:
        root: The project's folder.
        api_url: API of the Prefect server.
    """
    settings = NO_TELEMETRY | {
        "PREFECT_HOME": str(root / ".prefect"),
        API_URL: api_url,
        "PREFECT_CLIENT_MAX_RETRIES": "10",  # while the server restarts
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        # The default keeps leases in memory: after a restart the server does not know which runs
        # hold a deployment's limit, never releases it, and crashes runs after five minutes.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": FILE_LEASES,
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",  # a worker is offline after 30 s without one
        "PREFECT_WORKER_QUERY_SECONDS": "1",  # halves the time until a worker starts a stage
        "SEMIGEN_PROJECT": str(root),
    }
    return settings | own_credentials()


def own_credentials() -> dict[str, str]:
    """Return the login that clients use: that of the server, if one is set."""
    login = os.environ.get(LOGIN)
    return {"PREFECT_API_AUTH_STRING": login} if login else {}


def prepare(directory: Path) -> None:
    """Disable telemetry, shorten logs, and keep a temporary server's state in the project.

    Args:
        directory: Working directory of the flow; the project's root if it contains ``dvc.yaml``.
    """
    settings = NO_TELEMETRY | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": START_SECONDS}
    if f"{LOGGING}LEVEL" not in os.environ:
        settings |= TERSE_LOGS
    if (directory / "dvc.yaml").exists() and "PREFECT_HOME" not in os.environ:
        settings["PREFECT_HOME"] = str(directory / ".prefect")
        profiles = Path("~/.prefect/profiles.toml").expanduser()
        if profiles.exists():  # keep using a server that the user has configured there
            settings["PREFECT_PROFILES_PATH"] = str(profiles)
    settings |= own_credentials() | _running_server(directory)
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    logging.getLogger("prefect.task_runs").addFilter(_is_not_duplicate)


def _is_not_duplicate(record: logging.LogRecord) -> bool:
    """Drop the first of two messages about a failed state; it has an empty traceback."""
    return not str(record.msg).startswith("Task run failed with state: ")


def _running_server(directory: Path) -> dict[str, str]:
    """Return the address of the server that the project's services use, if it is running."""
    try:
        api_url: str = json.loads(address_file(directory).read_text())["api_url"]
    except (OSError, ValueError):
        return {}
    return {API_URL: api_url} if is_listening(api_url) else {}


def is_listening(url: str) -> bool:
    """Return whether a process accepts connections at the host and port of a URL."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=2).close()
    except OSError:
        return False
    return True
