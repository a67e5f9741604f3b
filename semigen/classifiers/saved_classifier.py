"""The description of a saved classifier, and checks that its parts fit each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from semigen.classifiers.problem import Space
from semigen.errors import UserError
from semigen.storage.saved_files import read_saved_json, reading, require
from semigen.tables.encoding import TableEncoder
from semigen.tables.saved_schema import check_class_order

FORMAT: Literal[2] = 2
"""Version of the files that ``Classifier.save`` writes."""
MARKER = "classifier.json"
"""File of a saved folder that describes the others."""
WEIGHT_TOLERANCE = 1e-6
N_PROBES = 64
MIN_PROBE, MAX_PROBE = 0.1, 10.0
"""Standard deviations of the first and the last of the rows that a loaded classifier predicts."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]


class MemberFacts(BaseModel):
    """One member in ``classifier.json``; the estimator is in the file ``<name>.skops``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    space: Space
    temperature: float = Field(gt=0, allow_inf_nan=False)
    weight: float = Field(ge=0, allow_inf_nan=False)


class ClassifierFacts(BaseModel):
    """Content of ``classifier.json``.

    Attributes:
        format: Version of the format.
        members: Members with their weights, which sum to 1.
        classes: Labels by class index; None in files of earlier versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = FORMAT
    members: tuple[MemberFacts, ...] = Field(min_length=1)
    classes: tuple[str, ...] | None = None


def read_facts(folder: Path) -> ClassifierFacts:
    """Read the description of a saved classifier.

    Raises:
        UserError: If the file is damaged, has another format, or the weights do not sum to 1.
    """
    path = folder / MARKER
    content = read_saved_json(path)
    if content.get("format") != FORMAT:
        raise UserError(
            f"{folder}: written by another version of semigen (format "
            f"{content.get('format')}, here {FORMAT}); train it again"
        )
    with reading(path):
        facts = ClassifierFacts(**content)
    total = sum(member.weight for member in facts.members)
    require(abs(total - 1) <= WEIGHT_TOLERANCE, path, f"the weights sum to {total:g}, not to 1")
    names = [member.name for member in facts.members]
    require(len(set(names)) == len(names), path, "two members have the same name")
    return facts


def check_class_names(encoder: TableEncoder, facts: ClassifierFacts, folder: Path) -> None:
    """Check that the schema has the classes in the order of the classifier.

    Raises:
        UserError: If the order differs.
    """
    with reading(folder / "encoder" / "schema.json"):
        check_class_order(encoder.schema, facts.classes)


def probe_rows(n_features: int) -> np.ndarray:
    """Return encoded rows for which a loaded classifier must predict probabilities.

    A row of zeros reaches one leaf of each tree and no coefficient. The other rows reach many:
    each feature is negative, positive, small and large in some of them.

    Args:
        n_features: Number of features of an encoded row.

    Returns:
        Shape ``(1 + N_PROBES, n_features)``, float32.
    """
    rng = np.random.default_rng(0)
    sizes = np.geomspace(MIN_PROBE, MAX_PROBE, N_PROBES)[:, None]
    rows = rng.normal(size=(N_PROBES, n_features)) * sizes
    return np.vstack([np.zeros((1, n_features)), rows]).astype(np.float32)


def check_probabilities(
    probabilities: np.ndarray, classes: np.ndarray, n_classes: int, path: Path
) -> None:
    """Check the predictions of a member for some rows.

    Args:
        probabilities: Class probabilities, shape ``(n, n_classes)``.
        classes: Class indices of the member's estimator.
        n_classes: Number of classes of the table.
        path: File of the estimator.

    Raises:
        UserError: If they are no probabilities, or the classes are not among the table's.
    """
    is_ascending = (np.diff(classes, prepend=-1) > 0).all() and (classes < n_classes).all()
    require(is_ascending, path, "its classes are not ascending class indices of the table")
    is_valid = (
        probabilities.shape[1:] == (n_classes,)
        and np.isfinite(probabilities).all()
        and (probabilities >= 0).all()
        and (abs(probabilities.sum(axis=1) - 1) < WEIGHT_TOLERANCE).all()
    )
    require(is_valid, path, "a prediction is no probability distribution")
