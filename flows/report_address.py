"""The address at which a project's report is served on this computer."""

from __future__ import annotations

from pathlib import Path

from flows.environment import address_file
from flows.login import SERVICE_FOLDER
from semigen.artifacts import read_json
from semigen.errors import UserError

HOST = "127.0.0.1"


def report_file(root: Path) -> Path:
    """Return the file with port and token, which stay the same when the service is restarted."""
    return root / SERVICE_FOLDER / "report.json"


def address_of_report(root: Path) -> str | None:
    """Return the address of a project's report; None if its service is not running."""
    if not address_file(root).exists():
        return None
    try:
        saved = read_json(report_file(root))
    except UserError:  # not started yet
        return None
    return f"http://{HOST}:{saved['port']}/{saved['token']}/report.html"
