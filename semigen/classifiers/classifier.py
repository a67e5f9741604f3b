"""The trained classifier of a table: what is saved, loaded and asked for predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from semigen.artifacts import atomic_path, read_json, write_json
from semigen.classifiers.calibration import align, calibrate
from semigen.classifiers.problem import Space, in_space
from semigen.errors import UserError
from semigen.estimator_files import load_estimator, save_estimator
from semigen.generators import load_generator
from semigen.generators.base import GenerativeModel
from semigen.tables.encoding import TableEncoder
from semigen.tables.schema import TableSchema
from semigen.training.compute import one_thread

FORMAT = 2
"""Version of the files that ``save`` writes."""


@dataclass(frozen=True)
class Member:
    """One fitted model of a classifier.

    Attributes:
        name: Name of the learner that it came from.
        estimator: Fitted scikit-learn classifier of rows in ``space``.
        space: Coordinates of its rows.
        temperature: Calibrates its probabilities.
        weight: How much it counts in the classifier's average.
    """

    name: str
    estimator: Any
    space: Space
    temperature: float
    weight: float = 1.0

    def predict_proba(
        self, x: np.ndarray, z: np.ndarray, generator: GenerativeModel | None, n_classes: int
    ) -> np.ndarray:
        """Return calibrated probabilities ``(n, n_classes)`` of encoded rows and features."""
        predicted = self.estimator.predict_proba(in_space(self.space, x, z, generator))
        aligned = align(predicted, self.estimator.classes_, np.arange(n_classes))
        return calibrate(aligned, self.temperature)


@dataclass(frozen=True)
class Classifier:
    """A classifier of readable tables: the weighted average of its members' probabilities.

    Attributes:
        encoder: Encodes the table's rows.
        members: Fitted models.
        generator: Gives generative features and novelty; None for a labels-only classifier.
    """

    encoder: TableEncoder
    members: tuple[Member, ...]
    generator: GenerativeModel | None = None

    @property
    def schema(self) -> TableSchema:
        """The table's columns and classes."""
        return self.encoder.schema

    @property
    def learner_name(self) -> str:
        """Its learner's name, or how many it has."""
        n_members = len(self.members)
        return self.members[0].name if n_members == 1 else f"committee of {n_members} learners"

    @property
    def classes_(self) -> np.ndarray:
        """Labels in the order of ``predict_proba``'s columns, shape ``(n_classes,)``."""
        return self.schema.decode_labels(np.arange(len(self.schema.classes)))

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        """Return calibrated class probabilities of rows, shape ``(n_rows, n_classes)``.

        Columns are found by name; further ones are ignored, and categories never seen count as
        rare ones.

        Raises:
            UserError: If a feature column is absent, or a value has the wrong type.
        """
        x = self.encoder.transform(frame)
        z = self.generator.features(x) if self.generator is not None else x[:, :0]
        n_classes = len(self.schema.classes)
        with one_thread():
            predicted = [m.predict_proba(x, z, self.generator, n_classes) for m in self.members]
        return np.average(predicted, axis=0, weights=[m.weight for m in self.members])

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return labels of rows, shape ``(n_rows,)``."""
        return self.classes_[self.predict_proba(frame).argmax(axis=1)]

    def novelty(self, frame: pd.DataFrame) -> np.ndarray:
        """Return how unusual rows are, shape ``(n_rows,)``: 0 is typical, 1 was never seen.

        It is the share of rows held out of the generator's training that look more typical. Near 1,
        a prediction is a guess.

        Raises:
            UserError: If the classifier was saved without a generator.
        """
        if self.generator is None:
            raise UserError("this classifier was trained on labels alone and knows no novelty")
        return self.generator.novelty(self.encoder.transform(frame))

    def save(self, folder: Path) -> None:
        """Write all parts into a folder, which is complete or absent."""
        with atomic_path(folder) as temporary:
            self.encoder.save(temporary / "encoder")
            for member in self.members:
                save_estimator(member.estimator, temporary / f"{member.name}.skops")
            if self.generator is not None:
                self.generator.save(temporary / "generator")
            facts = {
                "format": FORMAT,
                "members": [
                    {
                        "name": m.name,
                        "space": m.space,
                        "temperature": m.temperature,
                        "weight": m.weight,
                    }
                    for m in self.members
                ],
            }
            write_json(temporary / "classifier.json", facts)

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Read what ``save`` wrote; no pickle is loaded.

        Raises:
            UserError: If the folder is absent, incomplete or not a classifier.
        """
        if not (folder / "classifier.json").exists():
            raise UserError(f"{folder}: no classifier here; train one with `make run`")
        content = read_json(folder / "classifier.json")
        if content.get("format") != FORMAT:
            raise UserError(
                f"{folder}: written by another version of semigen (format "
                f"{content.get('format')}, here {FORMAT}); train it again"
            )
        has_generator = (folder / "generator").exists()
        return cls(
            encoder=TableEncoder.load(folder / "encoder"),
            members=tuple(
                Member(estimator=load_estimator(folder / f"{facts['name']}.skops"), **facts)
                for facts in content["members"]
            ),
            generator=load_generator(folder / "generator") if has_generator else None,
        )
