"""The task that promotes a newly trained classifier, or keeps it as challenger."""

from __future__ import annotations

from typing import Any

from prefect import State, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed

from flows.cells import stored
from flows.events import MODEL_PROMOTED, emit
from flows.pipeline.child import child
from flows.pipeline.stage import failure
from semigen.artifacts import Layout, read_json
from semigen.errors import UserError
from semigen.report.markdown import escape


def is_promotion_due(layout: Layout) -> bool:
    """Return whether the classifier has been evaluated but not compared with the champion yet.

    This is also the case if the run that evaluated it was killed before the comparison.
    """
    if not (layout.classifier.exists() and layout.metrics.exists()):
        return False
    decision = layout.promotion_json
    return not decision.exists() or decision.stat().st_mtime < layout.metrics.stat().st_mtime


@task(name="promote", task_run_name="promote", cache_policy=NO_CACHE)
def promote_model(reason: str) -> State[Any]:
    """Promote the classifier to champion, or keep it as challenger, and log the reason."""
    layout = Layout()
    try:
        decision = promote(layout, reason)
    except UserError as error:
        return Failed(message=str(error))
    get_run_logger().info("%s: %s", decision["outcome"], decision["reason"])
    if decision["outcome"] == "promoted":
        emit(MODEL_PROMOTED, layout, {"version": decision["version"], "what": decision["reason"]})
    if PREFECT_API_URL.value() and layout.promotion_markdown.exists():
        markdown = layout.promotion_markdown.read_text(encoding="utf-8")
        create_markdown_artifact(markdown, key="promotion", description=escape(decision["reason"]))
    return Completed(name=decision["outcome"].capitalize())


def promote(layout: Layout, reason: str) -> dict[str, Any]:
    """Promote in a child process, since importing torch takes long; return the decision.

    Raises:
        UserError: If the child process failed.
    """
    argv = ["promote", "--reason", reason]
    with child("tasks.command_line", argv, layout.root) as process:
        output, _ = process.communicate()
    if process.returncode:
        raise UserError(stored(failure(output.splitlines(), "promote", process.returncode)))
    decision: dict[str, Any] = read_json(layout.promotion_json)
    return decision
