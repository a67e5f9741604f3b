"""``promote``: make the newly trained classifier champion, or keep it as challenger."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import semigen
from semigen.artifacts import Layout, read_json, write_json, write_text
from semigen.errors import UserError
from semigen.evaluation.drift import domain_auc
from semigen.evaluation.fairness import Fairness, fairness
from semigen.evaluation.metrics import Estimate, evaluate, to_json
from semigen.params.config import Params, is_sample
from semigen.registry.promotion import (
    SHOWN,
    Comparison,
    Decision,
    Gate,
    NotCompared,
    compare,
    decide,
    drift_gate,
    fairness_gate,
    interval,
    validation_gate,
)
from semigen.registry.registry import Event, Registry, Version
from semigen.registry.seen_rows import SeenRows
from semigen.tables.encoding import Encoded
from semigen.tables.schema import TableSchema, as_text
from semigen.tables.splits import read_tables
from tasks.evaluate import class_probabilities, labels_of

if TYPE_CHECKING:
    from semigen.classifiers.classifier import Classifier

SEEN_ROWS = "seen_rows.json"
"""Lies beside a version's record."""


@dataclass(frozen=True)
class Challenger:
    """A classifier that would be champion, and the rows that it is judged by.

    Attributes:
        classifier: The classifier.
        question: What it answers, see ``question_of``.
        test: Prepared test rows with their labels, shape ``(n, n_columns)``.
        y: Class index of each, shape ``(n,)``.
        probabilities: What the classifier says of them, shape ``(n, n_classes)``.
    """

    classifier: Classifier
    question: dict[str, str | None]
    test: pd.DataFrame
    y: np.ndarray
    probabilities: np.ndarray

    @property
    def schema(self) -> TableSchema:
        """Columns and classes of its rows."""
        return self.classifier.schema


def promote(
    params: Params, layout: Layout, *, reason: str = "by hand", force: bool = False
) -> Decision:
    """Decide whether ``models/classifier`` becomes champion; register it and report on it.

    Written are ``models/registry`` and ``reports/promotion.json`` and ``.md``. The registry is
    locked meanwhile, so that the champion that is compared with is still champion in the end, and
    what is judged is the copy that is registered.

    A classifier that is known already is not registered twice, but judged again unless it is the
    champion: a parameter may have been relaxed. One that lost its place by a rollback stays out
    unless forced, or the next scheduled run would undo the rollback.

    Args:
        params: All parameters; the section ``promote`` says what is asked for.
        layout: The project's files.
        reason: What started the run, for the record.
        force: Promote it whatever is found.

    Raises:
        UserError: If there is no classifier, or a file or column that is needed is absent.
    """
    registry = Registry(layout.registry)
    with registry.locked(), registry.staged(layout.classifier) as staged:
        known, champion = registry.find(staged.digest), registry.champion()
        decision = _settled(registry, known, champion, force=force)
        if decision is None:
            challenger = read_challenger(semigen.load(staged.classifier), params, layout)
            decision = judge(challenger, champion, params, layout, force=force)
            if known is None:
                seen_rows(challenger, layout).save(staged.folder / SEEN_ROWS)
                known = registry.add(
                    staged,
                    facts(challenger, decision, params, reason),
                    promoted=decision.outcome == "promoted",
                    trigger=reason,
                    reason=decision.reason,
                )
            elif decision.outcome == "promoted":
                registry.promote(known.name, trigger=reason, reason=decision.reason)
            else:
                decision = replace(decision, outcome="unchanged")
            champion = registry.champion()
            decision = replace(decision, version=known.name, champion=_name(champion))
        # Under the lock, too: the report must tell of the last decision.
        write_json(layout.promotion_json, to_json(asdict(decision)))
        write_text(layout.promotion_markdown, to_markdown(decision))
    return decision


def judge(
    challenger: Challenger,
    champion: Version | None,
    params: Params,
    layout: Layout,
    *,
    force: bool = False,
) -> Decision:
    """Compare a challenger with the champion and check the gates; writes nothing."""
    gates = [
        validation_gate(read_json(path) if (path := layout.validation_json).exists() else None),
        fairness_gate(_fairness(challenger, params, layout), params.promote.max_fairness_gap),
        _drift_gate(params, layout),
    ]
    comparison = compare_with(champion, challenger, params)
    return decide(comparison, gates, params.promote, force=force)


def compare_with(
    champion: Version | None, challenger: Challenger, params: Params
) -> Comparison | NotCompared:
    """Score both on the test rows from which the champion did not learn."""
    if champion is None:
        return NotCompared("there is no champion to compare with", keeps_challenger=False)
    if champion.facts["question"] != challenger.question:
        return NotCompared(
            f"{champion.name} answers another question ({_describe(champion.facts['question'])}, "
            f"here {_describe(challenger.question)})",
            keeps_challenger=False,
        )
    try:
        probabilities, is_leaked = _score(champion, challenger)
    except UserError as error:
        return NotCompared(
            f"{champion.name} cannot score the test rows ({error}), so that nothing shows which "
            "is better; `python -m tasks promote --force` promotes this one anyway",
            keeps_challenger=True,
        )
    n_rows, fewest = int((~is_leaked).sum()), params.promote.min_test_rows
    if n_rows < fewest:
        return NotCompared(
            f"only {n_rows} of {len(is_leaked)} test rows are none that {champion.name} learned "
            f"from, fewer than promote.min_test_rows ({fewest}); give more test rows, or "
            "`python -m tasks promote --force`",
            keeps_challenger=True,
        )
    n_further = probabilities.shape[1] - challenger.probabilities.shape[1]
    return compare(
        challenger.y[~is_leaked],
        np.pad(challenger.probabilities, ((0, 0), (0, n_further)))[~is_leaked],
        probabilities[~is_leaked],
        params.evaluate,
        against=champion.name,
        n_left_out=int(is_leaked.sum()),
        seed=params.seed,
    )


def read_challenger(classifier: Classifier, params: Params, layout: Layout) -> Challenger:
    """Let a classifier score the prepared test rows."""
    test = pd.read_parquet(layout.prepared("test"))
    return Challenger(
        classifier=classifier,
        question=question_of(params),
        test=test,
        y=labels_of(test, classifier.schema),
        probabilities=class_probabilities(classifier, test, classifier.schema),
    )


def question_of(params: Params) -> dict[str, str | None]:
    """Return what classifiers of these parameters answer: only equal questions can be compared.

    It is the label column and, as many tables call theirs "label", which embedded data set it is
    of; None for the user's own tables, whose files may change their names.
    """
    embedded = params.sample.dataset if is_sample(params.data.labeled) else None
    return {"target": params.data.target, "embedded": embedded}


def seen_rows(challenger: Challenger, layout: Layout) -> SeenRows:
    """Return digests of the rows that a challenger was trained and tested on."""
    labeled = pd.read_parquet(layout.prepared("labeled"))
    return SeenRows.of(challenger.schema, labeled, challenger.test)


def facts(
    challenger: Challenger, decision: Decision, params: Params, trigger: str
) -> dict[str, Any]:
    """Return what the registry records of a version."""
    figures = evaluate(
        challenger.y,
        challenger.probabilities,
        challenger.probabilities,
        n_bootstrap=params.evaluate.n_bootstrap,
        confidence=params.evaluate.confidence,
        seed=params.seed,
    )
    found: dict[str, Any] = to_json(
        {
            "trigger": trigger,
            "learner": challenger.classifier.learner_name,
            "question": challenger.question,
            "params": hashlib.sha256(params.model_dump_json().encode()).hexdigest(),
            "n_test": len(challenger.y),
            "metrics": figures.test,
            "decision": {
                "outcome": decision.outcome,
                "reason": decision.reason,
                "gates": [asdict(gate) for gate in decision.gates],
                "comparison": decision.comparison and asdict(decision.comparison),
            },
        }
    )
    return found


def to_markdown(decision: Decision) -> str:
    """Return a decision as a page: what became of the challenger, why, figures, gates."""
    lines = ["# Promotion", "", f"**{headline(decision)}.**", "", f"Reason: {decision.reason}.", ""]
    if decision.comparison is not None:
        lines += [*_figures(decision.comparison, decision.version), ""]
    if decision.gates:
        lines += ["| gate | verdict | what was found |", "| --- | --- | --- |"]
        lines += [
            _row(g.name, "passed" if g.passed else "failed", g.reason) for g in decision.gates
        ]
        lines.append("")
    return "\n".join(lines)


def to_text(decision: Decision) -> str:
    """Return a decision for the terminal: what became of the challenger, why, gates."""
    return "\n".join([headline(decision), decision.reason, *map(_gate_text, decision.gates)])


def to_list(registry: Registry) -> str:
    """Return the versions for the terminal, the newest first, each with its gates and its fate."""
    versions, history = registry.versions(), registry.history()
    if not versions:
        return f"{registry.root}: empty; `python -m tasks promote` registers the trained classifier"
    champion = registry.champion()
    parts = []
    for version in reversed(versions):
        events = [event for event in history if event.version == version.name]
        was_champion = any(event.move != "kept" for event in events)
        role = "former champion" if was_champion else "challenger"
        parts.append(_entry(version, "CHAMPION" if version == champion else role, events))
    return "\n\n".join(parts)


def headline(decision: Decision) -> str:
    """Return in one line what became of the challenger, and who is champion."""
    champion = f"the champion is {decision.champion}" if decision.champion else "no champion yet"
    if decision.outcome == "promoted":
        return f"{decision.version} is the new champion"
    if decision.outcome == "kept":
        return f"{decision.version} is kept as challenger; {champion}"
    return f"Nothing new: the classifier is {decision.version}; {champion}"


def _settled(
    registry: Registry, known: Version | None, champion: Version | None, *, force: bool
) -> Decision | None:
    """Return the decision about a known classifier that needs no judging, if it is one.

    Its figures are those of the record, so that reports go on showing them.
    """
    if known is None:
        return None
    if known == champion:
        reason = "it is the champion already"
    elif registry.was_rolled_back(known.name) and not force:
        reason = (
            "a rollback took its place as champion; `python -m tasks promote --force` gives it back"
        )
    else:
        return None
    recorded = known.facts["decision"]
    return Decision(
        "unchanged",
        reason,
        version=known.name,
        champion=_name(champion),
        gates=tuple(Gate(**gate) for gate in recorded["gates"]),
        comparison=Comparison.from_json(recorded["comparison"]),
    )


def _score(champion: Version, challenger: Challenger) -> tuple[np.ndarray, np.ndarray]:
    """Return the champion's probabilities of the test rows, and which of these it learned from.

    Classes that only the champion knows come last.

    Raises:
        UserError: If it cannot be loaded, or lacks a column or a class that the rows have.
    """
    classifier, test = semigen.load(champion.classifier), challenger.test
    mine, theirs = classifier.schema, challenger.schema
    unknown = sorted(set(as_text(test[theirs.target])) - set(mine.classes))
    if unknown:
        raise UserError(f"class {unknown[0]!r} is unknown to it")
    further = tuple(label for label in mine.classes if label not in theirs.classes)
    classes = theirs.model_copy(update={"classes": theirs.classes + further})
    probabilities = class_probabilities(classifier, test, classes)
    return probabilities, SeenRows.load(champion.folder / SEEN_ROWS).leaked(mine, test)


def _drift_gate(params: Params, layout: Layout) -> Gate:
    labeled, unlabeled = (Encoded.load(layout.encoded(part)) for part in ("labeled", "unlabeled"))
    found = domain_auc(labeled.x, unlabeled.x, params.seed)
    return drift_gate(found, params.promote.max_drift)


def _fairness(challenger: Challenger, params: Params, layout: Layout) -> list[Fairness]:
    columns = params.promote.fairness_columns
    rows = _with_columns(challenger.test, columns, params, layout)
    is_right = challenger.probabilities.argmax(1) == challenger.y
    confidence = params.evaluate.confidence
    return [fairness(rows, column, is_right, confidence=confidence) for column in columns]


def _with_columns(
    test: pd.DataFrame, columns: Sequence[str], params: Params, layout: Layout
) -> pd.DataFrame:
    """Return the test rows with columns that are no features, as in the user's own table.

    What must not enter a model, such as sex, is often what its fairness is judged by.
    """
    if set(columns) <= set(test.columns):
        return test
    source = read_tables(params.data, layout).test
    if len(source) != len(test):
        raise UserError(
            f"the test table has {len(source)} rows, the prepared one {len(test)}: it was changed "
            "since the last run; run the pipeline again"
        )
    return source.assign(**{name: test[name].to_numpy() for name in test.columns})


def _figures(comparison: Comparison, version: str | None) -> list[str]:
    lines = [
        _row(f"{comparison.n_rows} test rows", comparison.against, str(version), "difference"),
        "| --- | --- | --- | --- |",
    ]
    for metric in SHOWN:
        figures = (comparison.champion[metric], comparison.challenger[metric])
        difference = interval(comparison.difference[metric], "+")
        lines.append(_row(metric.replace("_", " "), *map(interval, figures), difference))
    if comparison.n_left_out:
        lines += [
            "",
            f"{comparison.n_left_out} further test rows are left out, since "
            f"{comparison.against} learned from them.",
        ]
    return lines


def _entry(version: Version, role: str, events: Sequence[Event]) -> str:
    accuracy = Estimate(**version.facts["metrics"]["accuracy"])
    told = [
        f"{event.time[:16].replace('T', ' ')}  {event.move} ({event.trigger}): {event.reason}"
        for event in events
    ]
    gates = [_gate_text(Gate(**gate)) for gate in version.facts["decision"]["gates"]]
    head = f"{version.name}  {role:15}  accuracy {interval(accuracy)}  {version.facts['learner']}"
    return "\n       ".join([head, *told, *gates])


def _gate_text(gate: Gate) -> str:
    return f"{gate.name:10}  {'passed' if gate.passed else 'failed'}  {gate.reason}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _name(version: Version | None) -> str | None:
    return None if version is None else version.name


def _describe(question: dict[str, str | None]) -> str:
    embedded = question["embedded"]
    return f"{question['target']!r} of {embedded or 'your own tables'}"
