"""Prefect's temporary server for flows without a configured one, which exits with its flow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from prefect import get_client
from prefect.context import refresh_global_settings_context
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

from flows.environment import server_protection
from flows.login import CLIENT_LOGIN, LOGIN, new_login

OPTIONS = ("--host", "127.0.0.1", "--log-level", "error", "--lifespan", "on")


class TemporaryServer(SubprocessASGIServer):
    """Prefect's own temporary server with a login, and with the flow's process as its owner.

    Prefect terminates its server when the flow's process exits, which it cannot do if that process
    is killed.
    """

    def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
        environment = {
            **os.environ,
            **get_current_settings().to_environment_variables(exclude_unset=True),
            **server_protection(()),  # it has no UI
            LOGIN: os.environ[CLIENT_LOGIN],
            "PREFECT_UI_ENABLED": "0",
            "PREFECT__SERVER_EPHEMERAL": "1",
            "PREFECT__SERVER_FINAL": "1",
        }
        app = ["--factory", "prefect.server.api.server:create_app", *OPTIONS]
        server = ["tasks.background_gc", "uvicorn", *app]
        return subprocess.Popen(
            [sys.executable, "-m", "tasks.process_lifetime", *server, "--port", str(self.port)],
            env=environment,
            umask=0o077,
        )


def start_server() -> None:
    """Start a temporary server as a process that ignores the terminal's Ctrl-C.

    Otherwise the server would exit with the flow, which would then try for a minute to report its
    final state.
    """
    os.environ[CLIENT_LOGIN] = new_login()
    refresh_global_settings_context()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # inherited by the server
    try:
        TemporaryServer()  # Prefect uses this instance from now on
        get_client(sync_client=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
