"""Refuse to run stages on the files of a ``semigen run`` that was killed in its first stages.

Until these accept the tables and parameters, ``flows.pipeline.trial`` keeps a journal from which a
refusal, or the next run, restores the files of before. Plain ``dvc repro`` does not know it, and
would use the parameters of a run that nobody accepted.
"""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from semigen.artifacts import Layout
from semigen.errors import UserError


def journal_of(layout: Layout) -> Path:
    """Return the folder of the journal, which exists until the first stages have accepted a run."""
    return layout.state / "trial"


def lock_of(layout: Layout) -> Path:
    """Return the lock that a run holds while its journal may exist."""
    return layout.lock("trial")


def reject_unaccepted(layout: Layout) -> None:
    """Check that there is no journal, except for that of a run in progress.

    Raises:
        UserError: If the run that wrote the journal was killed.
    """
    if not journal_of(layout).exists():
        return
    try:
        with FileLock(lock_of(layout)).acquire(timeout=0):
            is_killed = journal_of(layout).exists()
    except Timeout:
        return
    if is_killed:
        raise UserError(
            "params.yaml and tables are those of a run that was killed before its first stages "
            "accepted them; `semigen repro` or `semigen run` restores them first"
        )
