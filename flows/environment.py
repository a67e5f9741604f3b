"""Settings of Prefect, DVC and Great Expectations; variables set by the user are kept."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from flows.cells import split_log
from flows.login import LOGIN, SERVICE_FOLDER, own_server_variables, shared_server_variables
from semigen.artifacts import Layout, make_private_folder
from semigen.errors import UserError
from semigen.wording import printable

NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
START_SECONDS = "120"
"""Timeout for the start of a temporary server. Prefect's 20 s are too short on a busy machine right
after the installation, when no bytecode is compiled yet."""
HEARTBEAT = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
HEARTBEAT_SECONDS = 30
"""Interval of the heartbeats of every flow run: by hand, by a worker, on any host."""
FILE_LEASES = "prefect.server.concurrency.lease_storage.filesystem"
API_URL = "PREFECT_API_URL"
LOGGING = "PREFECT_LOGGING_"
TERSE_LOGS = {
    # Warnings of Prefect itself, but everything that flow and task runs log.
    f"{LOGGING}LEVEL": "WARNING",
    f"{LOGGING}LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "INFO",
    f"{LOGGING}LOGGERS_PREFECT_TASK_RUNS_LEVEL": "INFO",
    f"{LOGGING}FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s  flow        %(message)s",
    f"{LOGGING}FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s  %(task_name)-10s  %(message)s",
}


MIN_FREE_BYTES = 50 << 20
"""Free space without which no run starts: the server's database, logs and models need more."""


def require_disk_space(root: Path) -> None:
    """Check that the disk of the project has some free space.

    On a full disk Prefect's server logs an error of several hundred lines each second.

    Raises:
        UserError: If there is less than ``MIN_FREE_BYTES``.
    """
    free = shutil.disk_usage(root).free
    if free < MIN_FREE_BYTES:
        raise UserError(
            f"{root}: only {free >> 20} MB are free on this disk, a run needs at least "
            f"{MIN_FREE_BYTES >> 20} MB; free some space and run the command again"
        )


def address_file(root: Path) -> Path:
    """Return the file with the address of a project's server, which exists while it runs."""
    return root / SERVICE_FOLDER / "address.json"


def service_settings(root: Path, api_url: str) -> dict[str, str]:
    """Return the settings of a project's server, workers and flow runs, without secrets.

    Args:
        root: The project's folder.
        api_url: API of the Prefect server.
    """
    return NO_TELEMETRY | {
        "PREFECT_HOME": str(root / ".prefect"),
        API_URL: api_url,
        "PREFECT_CLIENT_MAX_RETRIES": "10",  # while the server restarts
        # The default keeps leases in memory: after a restart the server does not know which runs
        # hold a deployment's limit, never releases it, and crashes runs after five minutes.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": FILE_LEASES,
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",  # a worker is offline after 30 s without one
        "PREFECT_WORKER_QUERY_SECONDS": "1",  # halves the time until a worker starts a stage
        "SEMIGEN_PROJECT": str(root),
    }


def server_protection(origins: Iterable[str]) -> dict[str, str]:
    """Return the settings that keep pages of other origins from using a server.

    Values that the user has set are kept.

    Args:
        origins: Origins of the server's own UI, such as ``http://127.0.0.1:4200``.
    """
    settings = {
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(origins),
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
    }
    return {
        name: value
        for name, value in settings.items()
        if not {name, name.replace("SERVER_API_", "SERVER_")} & set(os.environ)
    }


def prepare(directory: Path) -> None:
    """Disable telemetry, shorten logs, and keep a temporary server's state in the project.

    Args:
        directory: Working directory of the flow; the project's root if it contains ``dvc.yaml``.
    """
    settings = NO_TELEMETRY | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": START_SECONDS}
    if f"{LOGGING}LEVEL" not in os.environ:
        settings |= TERSE_LOGS
    is_project = (directory / "dvc.yaml").exists()
    if is_project:
        make_private_folder(Layout(directory).state)
    if is_project and "PREFECT_HOME" not in os.environ:
        home = directory / ".prefect"
        make_private_folder(home)
        settings["PREFECT_HOME"] = str(home)
        profiles = Path("~/.prefect/profiles.toml").expanduser()
        if profiles.exists():  # keep using a server that the user has configured there
            settings["PREFECT_PROFILES_PATH"] = str(profiles)
    settings |= _running_server(directory)
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    # Not the user's choice: runs without these heartbeats would be taken for dead.
    os.environ[HEARTBEAT] = str(HEARTBEAT_SECONDS)
    if "prefect.context" in sys.modules:  # in a worker's process Prefect imports the flow
        sys.modules["prefect.context"].refresh_global_settings_context()
    logging.getLogger("prefect.task_runs").addFilter(_is_not_duplicate)
    for logger in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(logger).addFilter(_escape_control_characters)
        logging.getLogger(logger).addFilter(split_log)


def _is_not_duplicate(record: logging.LogRecord) -> bool:
    """Drop the first of two messages about a failed state; it has an empty traceback."""
    return not str(record.msg).startswith("Task run failed with state: ")


def _escape_control_characters(record: logging.LogRecord) -> bool:
    """Make the message of a record one line, since names and cells of tables may be in it."""
    record.msg, record.args = printable(record.getMessage()), ()
    return True


def _running_server(directory: Path) -> dict[str, str]:
    """Return address and login of the server that the project's services use, if it is running.

    The login is for this server alone: with another address in the environment there is none.
    """
    try:
        address = json.loads(address_file(directory).read_text())
    except (OSError, ValueError):
        return shared_server_variables()
    api_url: str = address["api_url"]
    if os.environ.get(API_URL, api_url).rstrip("/") != api_url or address.get("is_shared"):
        login = shared_server_variables()
    else:
        login = own_server_variables(directory)
        login.pop(LOGIN, None)
    return login | ({API_URL: api_url} if is_listening(api_url) else {})


def is_listening(url: str) -> bool:
    """Return whether a process accepts connections at the host and port of a URL."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=2).close()
    except OSError:
        return False
    return True
