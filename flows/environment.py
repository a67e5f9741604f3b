"""Settings of all that a flow starts; whatever the user has set stays as it is."""

from __future__ import annotations

import logging
import os
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
LOGGING = "PREFECT_LOGGING_"
TERSE_LOGS = {
    # Prefect's own notices from warnings on; those of flow and task runs all.
    f"{LOGGING}LEVEL": "WARNING",
    f"{LOGGING}LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "INFO",
    f"{LOGGING}LOGGERS_PREFECT_TASK_RUNS_LEVEL": "INFO",
    f"{LOGGING}FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s  flow        %(message)s",
    f"{LOGGING}FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s  %(task_name)-10s  %(message)s",
}


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
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    logging.getLogger("prefect.task_runs").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Drop what Prefect says of a failed state, with an empty traceback, before saying it again."""
    return not str(record.msg).startswith("Task run failed with state: ")
