"""What ``SemiSupervisedClassifier.save`` writes beside the classifier that predicts."""

from __future__ import annotations

import numbers
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from semigen.classifiers.summary import SelectionSummary
from semigen.errors import UserError
from semigen.params.config import (
    AugmentParams,
    ComputeParams,
    PretrainParams,
    PrivacyParams,
    TrainParams,
)
from semigen.storage.saved_files import read_saved_json, reading
from semigen.tables.schema import TableSchema

ESTIMATOR = "estimator.json"
"""File of a saved estimator, in the folder of its classifier."""
FORMAT: Literal[1] = 1
"""Version of this file."""
FITTED = ("classes", "n_features_in", "feature_names_in", "fit_seconds", "selection", "trials")


class EstimatorFacts(BaseModel):
    """Parameters and fitted attributes of a ``SemiSupervisedClassifier``.

    Examples:
        >>> facts = EstimatorFacts(
        ...     pretrain=None, augment=None, train=TrainParams(epochs=3), compute=None,
        ...     schema_=None, time_budget_s=90.0, random_state=0, verbose=False,
        ...     classes=["ill", "well"], n_features_in=2, feature_names_in=None,
        ...     fit_seconds={}, selection={}, trials=[],
        ... )
        >>> facts.params()["train"]
        TrainParams(epochs=3)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    pretrain: PretrainParams | None
    augment: AugmentParams | None
    train: TrainParams | None
    compute: ComputeParams | None
    privacy: PrivacyParams | None = None
    schema_: TableSchema | None
    time_budget_s: float
    random_state: int | None
    verbose: bool
    classes: list[bool | int | float | str]
    n_features_in: int
    feature_names_in: list[str] | None
    fit_seconds: dict[str, float]
    selection: dict[str, Any]
    trials: list[dict[str, Any]]

    @classmethod
    def of(cls, estimator: Any, summary: SelectionSummary) -> Self:
        """Return the description of a fitted estimator; a ``RandomState`` is not kept."""
        params = estimator.get_params(deep=False)
        seed = params.pop("random_state")
        trials = estimator.trials_
        return cls(
            schema_=params.pop("schema"),
            random_state=int(seed) if isinstance(seed, numbers.Integral) else None,
            **params,
            classes=estimator.classes_.tolist(),
            n_features_in=estimator.n_features_in_,
            feature_names_in=_listed(getattr(estimator, "feature_names_in_", None)),
            fit_seconds=estimator.fit_seconds_,
            selection=summary.to_json_dict(),
            trials=trials.astype(object).where(trials.notna(), None).to_dict("records"),
        )

    def params(self) -> dict[str, Any]:
        """Return the parameters of the estimator by name."""
        names = self.__class__.model_fields.keys() - {"format", "schema_", *FITTED}
        return {name: getattr(self, name) for name in names} | {"schema": self.schema_}

    def summary(self) -> SelectionSummary:
        """Return the summary of the selection."""
        return SelectionSummary.from_json_dict(self.selection)

    def class_labels(self) -> np.ndarray:
        """Return the labels, shape ``(n_classes,)``."""
        return np.array(self.classes)


def read_estimator(folder: Path) -> EstimatorFacts:
    """Read the description of a saved estimator.

    Raises:
        UserError: If the file is absent, damaged, or of another format.
    """
    path = folder / ESTIMATOR
    content = read_saved_json(path)
    if content.get("format") != FORMAT:
        raise UserError(f"{path}: written by another version of semigen; fit the estimator again")
    with reading(path):
        facts = EstimatorFacts(**content)
        facts.summary()
    return facts


def _listed(names: np.ndarray | None) -> list[str] | None:
    return None if names is None else names.tolist()
