"""What the command lines of the flows share: one line for a mistake, and exit codes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

from prefect import State, get_client
from prefect.settings import PREFECT_API_URL

from semigen.errors import UserError


def start_server() -> None:
    """Start Prefect's temporary server, deaf to the terminal's Ctrl-C.

    Otherwise it would die with the flow, which would try for a minute to tell it of its own end.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # children inherit it
    try:
        get_client(sync_client=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def run_flow(
    call: Callable[[], State[Any]],
    *,
    check: Callable[[], object],
    then: Callable[[Any], object],
    debug: bool = False,
) -> int:
    """Run a flow and return the exit code of its command.

    Args:
        call: Runs the flow and returns its final state.
        check: Raises ``UserError`` for what can be refused before a server is started.
        then: Reports on the flow's result, if it completed.
        debug: Raise instead of printing one line.
    """
    # Prefect hands SIGTERM on to this handler; the default one would leave the server running.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        check()
        if not PREFECT_API_URL.value():
            print("No Prefect server is configured: starting a temporary one", flush=True)
            start_server()
        state = call()
        if not state.is_completed():
            raise UserError(state.message or f"the flow ended as {state.name}")
        then(state.result())
    except UserError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
