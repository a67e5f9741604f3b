"""Promotion decisions and the registry, as a page and for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from semigen.evaluation.estimates import Estimate
from semigen.registry.gates import Gate
from semigen.registry.history import Event
from semigen.registry.promotion import Comparison, Decision
from semigen.registry.question import Question, find_lineage
from semigen.registry.registry import Registry
from semigen.registry.versions import Version
from semigen.report.markdown import escape, join, table
from semigen.wording import printable

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")
"""Metrics that the page shows; ``promote.metric`` is one of them."""


def promotion_markdown(decision: Decision) -> str:
    """Return a decision as a Markdown page: outcome, reason, scores and gates."""
    comparison = decision.comparison
    gates = [(g.name, "passed" if g.passed else "failed", escape(g.reason)) for g in decision.gates]
    page = join(
        "# Promotion",
        f"**{headline(decision)}.**",
        f"Reason: {escape(decision.reason)}.",
        _scores(comparison, decision.version) if comparison else "",
        table(("gate", "result", "reason"), gates) if gates else "",
    )
    return page + "\n"


def promotion_text(decision: Decision) -> str:
    """Return a decision for the terminal: outcome, reason and gates."""
    return "\n".join([headline(decision), printable(decision.reason), *map(_gate, decision.gates)])


def registry_text(registry: Registry) -> str:
    """Return all versions for the terminal, the newest first, with their history and gates.

    If the registry has several questions, the versions are listed by question.
    """
    versions, history = registry.versions(), registry.history()
    if not versions:
        return f"{registry.root}: empty; `semigen promote` registers the trained classifier"
    known = registry.lineages()
    champions = {lineage.champion.name for lineage in known}
    entries: dict[str, list[str]] = {}
    for version in reversed(versions):
        events = [event for event in history if event.version == version.name]
        was_champion = any(event.move != "kept" for event in events)
        role = "former champion" if was_champion else "challenger"
        role = "CHAMPION" if version.name in champions else role
        question = Question.of_version(version)
        lineage = find_lineage(known, question)
        title = printable(str(lineage or question))
        entries.setdefault(title, []).append(_entry(version, role, events))
    if len(entries) == 1:
        return "\n\n".join(*entries.values())
    return "\n\n".join("\n\n".join([title, *texts]) for title, texts in entries.items())


def headline(decision: Decision) -> str:
    """Return the outcome of a decision and the champion in one line."""
    champion = f"the champion is {decision.champion}" if decision.champion else "no champion yet"
    if decision.outcome == "promoted":
        return f"{decision.version} is the new champion"
    if decision.outcome == "kept":
        return f"{decision.version} is kept as challenger; {champion}"
    return f"No change: the trained classifier is {decision.version}; {champion}"


def _scores(comparison: Comparison, version: str | None) -> str:
    header = (f"{comparison.n_rows} test rows", comparison.against, version, "difference")
    rows = [
        (
            metric.replace("_", " "),
            f"{comparison.champion[metric]:.3f}",
            f"{comparison.challenger[metric]:.3f}",
            f"{comparison.difference[metric]:+.3f}",
        )
        for metric in METRICS
    ]
    left_out = (
        f"{comparison.n_left_out} further test rows are left out, because {comparison.against} "
        "was trained on them."
    )
    return join(table(header, rows), left_out if comparison.n_left_out else "")


def _entry(version: Version, role: str, events: Sequence[Event]) -> str:
    accuracy = Estimate.from_json(version.facts["metrics"]["accuracy"])
    history = [
        f"{event.time[:16].replace('T', ' ')}  {event.move} ({printable(event.trigger)}): "
        f"{printable(event.reason)}"
        for event in events
    ]
    gates = [_gate(Gate(**gate)) for gate in version.facts["decision"]["gates"]]
    head = f"{version.name}  {role:15}  accuracy {accuracy:.3f}  {version.facts['learner']}"
    return "\n       ".join([head, *history, *gates])


def _gate(gate: Gate) -> str:
    return f"{gate.name:10}  {'passed' if gate.passed else 'failed'}  {printable(gate.reason)}"
