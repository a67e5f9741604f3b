"""Comparison of a challenger with the champion, from the files of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from semigen.artifacts import Layout, read_json
from semigen.errors import UserError
from semigen.evaluation.drift import domain_auc
from semigen.evaluation.fairness import Fairness, fairness
from semigen.evaluation.predictions import TableClassifier, class_probabilities
from semigen.params.config import Params
from semigen.registry.challenger import Challenger
from semigen.registry.gates import Gate, drift_gate, fairness_gate, validation_gate
from semigen.registry.promotion import Comparison, Decision, NotCompared, compare, decide
from semigen.registry.question import Lineage
from semigen.registry.seen_rows import SEEN_ROWS, SeenRows
from semigen.registry.versions import Version
from semigen.tables.cells import as_text
from semigen.tables.encoding import Encoded
from semigen.tables.splits import read_tables

Load = Callable[[Path], TableClassifier]
"""Loads a classifier from its folder, as ``Classifier.load`` does."""


def judge(
    challenger: Challenger,
    champion: Version | None,
    params: Params,
    layout: Layout,
    *,
    load: Load,
    others: Sequence[Lineage] = (),
    force: bool = False,
) -> Decision:
    """Compare a challenger with the champion, check the gates, and decide. Writes nothing.

    Args:
        challenger: The challenger.
        champion: Champion of the challenger's question; None before its first promotion.
        params: All parameters; section ``promote`` has the conditions.
        layout: The project's files.
        load: Loads the champion's classifier.
        others: Champions of other questions.
        force: Promote the challenger whatever the comparison and the gates say.

    Raises:
        UserError: If a file or a fairness column does not exist.
    """
    gates = [
        validation_gate(read_json(path) if (path := layout.validation_json).exists() else None),
        fairness_gate(_fairness(challenger, params, layout), params.promote.max_fairness_gap),
        _drift_gate(params, layout),
    ]
    comparison = compare_with(champion, challenger, params, load, others)
    return decide(comparison, gates, params.promote, force=force)


def compare_with(
    champion: Version | None,
    challenger: Challenger,
    params: Params,
    load: Load,
    others: Sequence[Lineage] = (),
) -> Comparison | NotCompared:
    """Score both classifiers on the test rows that the champion was not trained on.

    Args:
        champion: Champion of the challenger's question; None before its first promotion.
        challenger: The challenger.
        params: All parameters.
        load: Loads the champion's classifier.
        others: Champions of other questions, which stay.

    Returns:
        The comparison, or the reason why there is none.
    """
    if champion is None:
        different = [
            f"{one.champion.name} predicts something else ({one.question}, here "
            f"{challenger.question}) and stays"
            for one in others
        ]
        reason = "; ".join(["there is no champion to compare with", *different])
        return NotCompared(reason, keeps_challenger=False)
    try:
        probabilities, is_seen = _score(champion, challenger, load)
    except UserError as error:
        return NotCompared(
            f"{champion.name} cannot score the test rows ({error}), so it is unknown which "
            "classifier is better; `semigen promote --force` promotes the new one anyway",
            keeps_challenger=True,
        )
    n_rows, minimum = int((~is_seen).sum()), params.promote.min_test_rows
    if n_rows < minimum:
        return NotCompared(
            f"{champion.name} was trained on all but {n_rows} of the {len(is_seen)} test rows, and "
            f"promote.min_test_rows is {minimum}; add test rows, or run `semigen promote --force`",
            keeps_challenger=True,
        )
    n_further = probabilities.shape[1] - challenger.probabilities.shape[1]
    return compare(
        challenger.y[~is_seen],
        np.pad(challenger.probabilities, ((0, 0), (0, n_further)))[~is_seen],
        probabilities[~is_seen],
        params.evaluate,
        against=champion.name,
        n_left_out=int(is_seen.sum()),
        seed=params.seed,
    )


def recorded_decision(version: Version, reason: str, champion: str | None) -> Decision:
    """Return an ``unchanged`` decision about a registered version.

    Args:
        version: The version; its record has the gates and the comparison of the earlier decision.
        reason: Explanation for the user.
        champion: Name of the champion's version; None if there is none.
    """
    recorded = version.facts["decision"]
    return Decision(
        "unchanged",
        reason,
        version=version.name,
        champion=champion,
        gates=tuple(Gate(**gate) for gate in recorded["gates"]),
        comparison=Comparison.from_json(recorded["comparison"]),
    )


def _score(champion: Version, challenger: Challenger, load: Load) -> tuple[np.ndarray, np.ndarray]:
    """Return the champion's probabilities of the test rows, and which of the rows it has seen.

    Classes that only the champion knows come last.

    Raises:
        UserError: If the champion cannot be loaded, or lacks a column or class of the test rows.
    """
    classifier, test = load(champion.classifier), challenger.test
    own, other = classifier.schema, challenger.schema
    unknown = sorted(set(as_text(test[other.target])) - set(own.classes))
    if unknown:
        raise UserError(f"it does not know class {unknown[0]!r}")
    further = tuple(label for label in own.classes if label not in other.classes)
    classes = other.model_copy(update={"classes": other.classes + further})
    probabilities = class_probabilities(classifier, test, classes)
    return probabilities, SeenRows.load(champion.folder / SEEN_ROWS).leaked(own, test)


def _drift_gate(params: Params, layout: Layout) -> Gate:
    labeled, unlabeled = (Encoded.load(layout.encoded(part)) for part in ("labeled", "unlabeled"))
    return drift_gate(domain_auc(labeled.x, unlabeled.x, params.seed), params.promote.max_drift)


def _fairness(challenger: Challenger, params: Params, layout: Layout) -> list[Fairness]:
    columns = params.promote.fairness_columns
    rows = _with_columns(challenger.test, columns, params, layout)
    is_correct = challenger.probabilities.argmax(1) == challenger.y
    confidence = params.evaluate.confidence
    return [fairness(rows, column, is_correct, confidence=confidence) for column in columns]


def _with_columns(
    test: pd.DataFrame, columns: Sequence[str], params: Params, layout: Layout
) -> pd.DataFrame:
    """Return the test rows with columns that are not features, read from the user's own table.

    Fairness is often judged by columns that a model must not use, such as sex.
    """
    if set(columns) <= set(test.columns):
        return test
    source = read_tables(params.data, layout).test
    if len(source) != len(test):
        raise UserError(
            f"the test table has {len(source)} rows, the prepared one {len(test)}: the table has "
            "changed since the last run; run the pipeline again (semigen run)"
        )
    return source.assign(**{name: test[name].to_numpy() for name in test.columns})
