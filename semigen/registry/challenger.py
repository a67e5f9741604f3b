"""The challenger: a newly trained classifier, its predictions, and what is recorded of it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from semigen.artifacts import Layout
from semigen.evaluation.estimates import to_json
from semigen.evaluation.metrics import evaluate
from semigen.evaluation.predictions import TableClassifier, class_probabilities, labels_of
from semigen.params.config import Params
from semigen.registry.promotion import Decision
from semigen.registry.question import Question
from semigen.registry.seen_rows import SeenRows
from semigen.tables.schema import TableSchema


@dataclass(frozen=True)
class Challenger:
    """A classifier that may become the champion, with its predictions for the test rows.

    Attributes:
        classifier: The classifier.
        question: What the classifier predicts, and from which columns.
        test: Prepared test rows with their labels, shape ``(n, n_columns)``.
        y: Class index of each test row, shape ``(n,)``.
        probabilities: Class probabilities of the test rows, shape ``(n, n_classes)``.
    """

    classifier: TableClassifier
    question: Question
    test: pd.DataFrame
    y: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def read(cls, classifier: TableClassifier, params: Params, layout: Layout) -> Challenger:
        """Score the prepared test rows with a classifier.

        Raises:
            UserError: If a test row has no label.
        """
        test = pd.read_parquet(layout.prepared("test"))
        return cls(
            classifier=classifier,
            question=Question.of(params, classifier.schema),
            test=test,
            y=labels_of(test, classifier.schema),
            probabilities=class_probabilities(classifier, test, classifier.schema),
        )

    @property
    def schema(self) -> TableSchema:
        """Columns and classes of the classifier."""
        return self.classifier.schema

    def seen_rows(self, layout: Layout) -> SeenRows:
        """Return digests of the rows that the classifier was trained and tested on."""
        labeled = pd.read_parquet(layout.prepared("labeled"))
        return SeenRows.of(self.schema, labeled, self.test)


def record_of(
    challenger: Challenger, decision: Decision, params: Params, trigger: str
) -> dict[str, Any]:
    """Return the facts that the registry records with a version, as plain types.

    Args:
        challenger: The challenger.
        decision: The decision about the challenger.
        params: All parameters, of which a digest is recorded.
        trigger: What started the run, e.g. ``schedule``.
    """
    evaluation = evaluate(
        challenger.y,
        challenger.probabilities,
        challenger.probabilities,
        n_bootstrap=params.evaluate.n_bootstrap,
        confidence=params.evaluate.confidence,
        seed=params.seed,
    )
    record: dict[str, Any] = to_json(
        {
            "trigger": trigger,
            "learner": challenger.classifier.learner_name,
            "question": challenger.question.to_json(),
            "params": hashlib.sha256(params.model_dump_json().encode()).hexdigest(),
            "n_test": len(challenger.y),
            "metrics": evaluation.test,
            "decision": {
                "outcome": decision.outcome,
                "reason": decision.reason,
                "gates": [asdict(gate) for gate in decision.gates],
                "comparison": decision.comparison and asdict(decision.comparison),
            },
        }
    )
    return record
