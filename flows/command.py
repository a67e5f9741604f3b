"""Functions that the command lines of the flows share: error messages and exit codes."""

from __future__ import annotations

import contextlib
import inspect
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, cast

import httpx
from prefect import Flow, State, get_client, tags
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.settings import PREFECT_API_URL

from flows.cells import shown
from flows.environment import require_disk_space
from flows.interruption import interrupt_once
from flows.login import CLIENT_LOGIN, LOGIN
from flows.project import Project
from semigen.errors import UserError


def hide_errors() -> None:
    """Do not print log lines about an error, since ``run_flow`` prints the error once.

    The lines are still sent to the server.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(_is_not_error)


def _is_not_error(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(("Finished in state Failed(", "error: "))


def run_flow(
    flow: Flow[..., Any],
    parameters: Mapping[str, object],
    *,
    check: Callable[[], object],
    then: Callable[[Any], object],
    debug: bool = False,
) -> int:
    """Run a flow and return the exit code of its command.

    Args:
        flow: The flow.
        parameters: The parameters of the flow.
        check: Called before a server is started. Raises ``UserError`` if the arguments are wrong.
        then: Called with the flow's result if the flow completed.
        debug: Raise errors instead of printing one line.

    Returns:
        0 if the flow completed, 1 after an error, 130 after Ctrl-C.
    """
    # Prefect calls this handler after its own; the default handler would leave the server running.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    signal.signal(signal.SIGINT, interrupt_once)
    if not debug:
        hide_errors()
    try:
        require_disk_space(Path.cwd())
        check()
        project = Project.of(Path.cwd())
        if not PREFECT_API_URL.value():
            print("No Prefect server is configured: starting a temporary one", flush=True)
            from flows.temporary_server import start_server

            start_server()
        else:
            _check_login()
        flow, results = _with_results(flow)
        with tags(project.tag):
            state = cast("State[Any]", flow(**parameters, return_state=True))
        if not state.is_completed():
            raise UserError(state.message or f"the flow run ended in state {state.name}")
        then(results[-1])
    except UserError as error:
        if debug:
            raise
        print(f"error: {shown(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _with_results(flow: Flow[..., Any]) -> tuple[Flow[..., Any], list[Any]]:
    """Return a copy of a flow, and a list to which the copy appends the result of each run.

    The final state does not always hold the result: where a client did not receive the server's
    answer to the final state and sends the state again, the server answers with its own copy,
    which has no data.
    """
    results = []

    @wraps(flow.fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        returned = flow.fn(*args, **kwargs)
        results.append(returned.data if isinstance(returned, State) else returned)
        return returned

    run.__signature__ = inspect.signature(flow.fn, eval_str=True)  # type: ignore[attr-defined]
    copy = flow.with_options()
    copy.fn = run
    return copy, results


def _check_login() -> None:
    """Check that the configured server accepts the login of this process.

    Raises:
        UserError: If it does not.
    """
    with contextlib.suppress(httpx.TransportError), get_client(sync_client=True) as client:
        try:
            client.api_version()
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.UNAUTHORIZED:
                raise UserError(
                    f"the Prefect server at {PREFECT_API_URL.value()} requires a login: set "
                    f"{CLIENT_LOGIN}, or {LOGIN} as it was when the server was started"
                ) from error
