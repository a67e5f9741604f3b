"""The trained classifier of a table: prediction, saving and loading."""

from __future__ import annotations

import html
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from semigen.artifacts import atomic_path, write_json
from semigen.classifiers.calibration import align, calibrate
from semigen.classifiers.problem import LATENT_SPACES, Space, in_space
from semigen.classifiers.saved_classifier import (
    MARKER,
    ClassifierFacts,
    MemberFacts,
    check_class_names,
    check_probabilities,
    probe_rows,
    read_facts,
)
from semigen.errors import UserError
from semigen.generators import load_generator
from semigen.generators.base import GenerativeModel
from semigen.generators.network_model import CHUNK_ROWS
from semigen.generators.saved_generator import check_generator
from semigen.outputs import check_output_folder
from semigen.registry.versions import verify_version
from semigen.storage.estimator_files import load_estimator, save_estimator
from semigen.storage.manifest import verify_saved, write_manifest
from semigen.storage.saved_files import reading
from semigen.tables.encoding import TableEncoder
from semigen.tables.schema import TableSchema
from semigen.training.compute import one_thread


@dataclass(frozen=True)
class Member:
    """One fitted estimator of a classifier.

    Attributes:
        name: Name of the learner that fitted the estimator.
        estimator: Fitted scikit-learn classifier; its classes are class indices.
        space: Input space of the estimator.
        temperature: Temperature that calibrates the probabilities.
        weight: Weight in the classifier's average.

    Examples:
        >>> import numpy as np
        >>> from sklearn.naive_bayes import GaussianNB
        >>> x = np.array([[0.0], [1.0], [8.0], [9.0]])
        >>> member = Member("gaussian", GaussianNB().fit(x, [0, 0, 1, 1]), "encoded", 1.0)
        >>> member.predict_proba(x[:2], x[:2, :0], None, n_classes=2).round(3).tolist()
        [[0.995, 0.005], [0.995, 0.005]]
    """

    name: str
    estimator: Any
    space: Space
    temperature: float
    weight: float = 1.0

    def predict_proba(
        self, x: np.ndarray, z: np.ndarray, generator: GenerativeModel | None, n_classes: int
    ) -> np.ndarray:
        """Return calibrated class probabilities.

        Args:
            x: Encoded rows, shape ``(n, n_features)``.
            z: Generative features of the same rows, shape ``(n, latent_dim)``.
            generator: Generator of the features; None for a labels-only classifier.
            n_classes: Number of classes of the table.

        Returns:
            Shape ``(n, n_classes)``.
        """
        predicted = self.estimator.predict_proba(in_space(self.space, x, z, generator))
        aligned = align(predicted, self.estimator.classes_, np.arange(n_classes))
        return calibrate(aligned, self.temperature)


@dataclass(frozen=True, repr=False)
class Classifier:
    """A classifier of readable tables: the weighted average of its members' probabilities.

    Attributes:
        encoder: Encoder of the table's rows.
        members: Fitted estimators.
        generator: Generator that computes features and novelty; None for a labels-only classifier.

    Examples:
        >>> import numpy as np
        >>> from sklearn.naive_bayes import GaussianNB
        >>> table = pd.DataFrame({"height": [1.5, 1.6, 1.8, 1.9], "sport": list("abab")})
        >>> table["group"] = ["short", "short", "tall", "tall"]
        >>> schema = TableSchema.infer(table, table, "group")
        >>> encoder = TableEncoder(schema).fit(table)
        >>> estimator = GaussianNB().fit(encoder.transform(table), [0, 0, 1, 1])
        >>> classifier = Classifier(encoder, (Member("gaussian", estimator, "encoded", 1.0),))
        >>> classifier.predict(pd.DataFrame({"height": [1.4, 2.0], "sport": ["b", "a"]})).tolist()
        ['short', 'tall']
        >>> classifier
        Classifier(gaussian, 2 features, 2 classes)
    """

    encoder: TableEncoder
    members: tuple[Member, ...]
    generator: GenerativeModel | None = None

    @property
    def schema(self) -> TableSchema:
        """Columns and classes of the table."""
        return self.encoder.schema

    @property
    def learner_name(self) -> str:
        """Name of the only learner, or the number of learners."""
        n_members = len(self.members)
        return self.members[0].name if n_members == 1 else f"committee of {n_members} learners"

    @property
    def classes_(self) -> np.ndarray:
        """Labels in the order of ``predict_proba``'s columns, shape ``(n_classes,)``."""
        return self.schema.decode_labels(np.arange(len(self.schema.classes)))

    def __repr__(self) -> str:
        schema = self.schema
        n_features, n_classes = len(schema.features), len(schema.classes)
        return f"Classifier({self.learner_name}, {n_features} features, {n_classes} classes)"

    def _repr_html_(self) -> str:
        """Return the members with their weights, for notebooks."""
        names = ("name", "space", "weight", "temperature")
        rows = [{name: getattr(member, name) for name in names} for member in self.members]
        return f"<p>{html.escape(repr(self))}</p>{pd.DataFrame(rows).to_html(index=False)}"

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        """Return calibrated class probabilities, shape ``(n_rows, n_classes)``.

        Columns are matched by name and additional columns are ignored. Unknown categories are
        treated as infrequent ones.

        Raises:
            UserError: If a feature column is absent or a value has the wrong type.
        """
        return self.predict_encoded(self.encoder.transform(frame))

    def predict_encoded(self, x: np.ndarray) -> np.ndarray:
        """Return calibrated class probabilities of encoded rows, shape ``(n_rows, n_classes)``.

        Rows are predicted in chunks of ``CHUNK_ROWS``: the last bit of a matrix product depends on
        the number of rows, and so would predictions of a table that is read in blocks.

        Args:
            x: Rows that the encoder returned, shape ``(n_rows, n_features)``.
        """
        probabilities = np.zeros((len(x), len(self.schema.classes)))
        with one_thread():
            for start in range(0, len(x), CHUNK_ROWS):
                chunk = slice(start, start + CHUNK_ROWS)
                probabilities[chunk] = self._weighted_mean(x[chunk])
        return probabilities

    def _weighted_mean(self, x: np.ndarray) -> np.ndarray:
        z, n_classes = self._features(x), len(self.schema.classes)
        total = np.zeros((len(x), n_classes))
        for member in self.members:
            total += member.weight * member.predict_proba(x, z, self.generator, n_classes)
        return total / np.sum([member.weight for member in self.members])

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the predicted labels, shape ``(n_rows,)``."""
        return self.classes_[self.predict_proba(frame).argmax(axis=1)]

    def score(self, frame: pd.DataFrame, y: Any) -> float:
        """Return the accuracy on rows with their labels, shape ``(n_rows,)``.

        Raises:
            UserError: If a label is not one of the classes.
        """
        labels = self.schema.encode_labels(pd.Series(np.asarray(y), name=self.schema.target))
        return float((self.predict_proba(frame).argmax(axis=1) == labels).mean())

    def novelty(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the novelty of rows, shape ``(n_rows,)``, from 0 (typical) to 1 (never seen).

        The novelty is the fraction of the generator's validation rows that the generator finds more
        typical. Predictions of rows with a novelty near 1 are unreliable.

        Raises:
            UserError: If the classifier has no generator.
        """
        return self.novelty_encoded(self.encoder.transform(frame))

    def novelty_encoded(self, x: np.ndarray) -> np.ndarray:
        """Return the novelty of encoded rows, shape ``(n_rows,)``; see ``novelty``.

        Args:
            x: Rows that the encoder returned, shape ``(n_rows, n_features)``.

        Raises:
            UserError: If the classifier has no generator.
        """
        if self.generator is None:
            raise UserError(
                "novelty needs a generator, and this classifier was trained on labels alone"
            )
        return self.generator.novelty(x)

    def _features(self, x: np.ndarray) -> np.ndarray:
        """Return the generative features of encoded rows; without columns if no member uses them.

        Shape ``(n_rows, latent_dim)`` or ``(n_rows, 0)``.
        """
        if self.generator is None or all(m.space not in LATENT_SPACES for m in self.members):
            return x[:, :0]
        return self.generator.features(x)

    def save(
        self,
        folder: Path,
        files: Mapping[str, Any] | None = None,
        written: dict[str, Path] | None = None,
    ) -> None:
        """Write the classifier into a folder, which is either complete or absent.

        Args:
            folder: The folder.
            files: Further JSON files, content by name.
            written: Files of members that other classifiers wrote, by name of the member. They are
                copied, which is far faster, and this classifier's files are added.

        Raises:
            UserError: If the folder holds anything but an earlier classifier.
        """
        check_output_folder(folder, MARKER)
        with atomic_path(folder) as temporary:
            self.encoder.save(temporary / "encoder")
            for member in self.members:
                path = temporary / f"{member.name}.skops"
                if written is not None and member.name in written:
                    shutil.copyfile(written[member.name], path)
                else:
                    save_estimator(member.estimator, path)
            if self.generator is not None:
                self.generator.save(temporary / "generator")
            facts = ClassifierFacts(
                members=tuple(
                    MemberFacts(
                        name=m.name, space=m.space, temperature=m.temperature, weight=m.weight
                    )
                    for m in self.members
                ),
                classes=self.schema.classes,
            )
            write_json(temporary / MARKER, facts.model_dump(mode="json"))
            for name, content in (files or {}).items():
                write_json(temporary / name, content)
            write_manifest(temporary)
        if written is not None:
            written.update({m.name: folder / f"{m.name}.skops" for m in self.members})

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Read a classifier that ``save`` wrote; no pickle is loaded.

        The files are checked against the manifest, or the digest that the registry recorded, and
        their content is checked before it is used.

        Raises:
            UserError: If the folder is absent, incomplete, damaged or no classifier.
        """
        if not (folder / MARKER).exists():
            raise UserError(f"{folder}: no classifier here; train one with `semigen run`")
        if not verify_version(folder):
            verify_saved(folder)
        facts = read_facts(folder)
        encoder, generator = TableEncoder.load(folder / "encoder"), None
        check_class_names(encoder, facts, folder)
        if (folder / "generator").exists():
            generator = load_generator(folder / "generator")
            with reading(folder / "generator"):
                check_generator(encoder, generator)
        members = tuple(
            Member(estimator=load_estimator(folder / f"{m.name}.skops"), **m.model_dump())
            for m in facts.members
        )
        classifier = cls(encoder=encoder, members=members, generator=generator)
        classifier._check_members(folder)
        return classifier

    def _check_members(self, folder: Path) -> None:
        """Check that every member predicts probabilities of the table's classes.

        Raises:
            UserError: If one does not; the message names its file in ``folder``.
        """
        x = probe_rows(self.encoder.n_features)
        z, n_classes = self._features(x), len(self.schema.classes)
        with one_thread():
            for member in self.members:
                path = folder / f"{member.name}.skops"
                with reading(path):
                    probabilities = member.predict_proba(x, z, self.generator, n_classes)
                    check_probabilities(probabilities, member.estimator.classes_, n_classes, path)
