"""The rows that a learner may use, in encoded and in latent space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from semigen.augmentation import synthesize
from semigen.generators.base import ClassifyingModel, GenerativeModel
from semigen.methods.label_spreading import neighbor_graph
from semigen.params.config import AugmentParams
from semigen.tables.encoding import Encoded

Space = Literal["encoded", "latent", "both", "posterior"]
"""Coordinates of a learner: encoded columns, generative features, the two side by side, or the
class probabilities that a generator which classifies gives itself."""


@dataclass(frozen=True)
class TrainingRows:
    """Labeled and unlabeled rows, and the generator that was pretrained on them.

    Attributes:
        x: Encoded labeled rows, shape ``(n_labeled, n_features)``.
        y: Their class indices, shape ``(n_labeled,)``.
        x_unlabeled: Encoded unlabeled rows, shape ``(n_unlabeled, n_features)``.
        z: Generative features of ``x``, shape ``(n_labeled, latent_dim)``.
        z_unlabeled: Generative features of ``x_unlabeled``.
        generator: The pretrained generator. One that classifies knows no label but those in ``y``;
            of others, the classes that it knows are not used.
        augment: How many synthetic rows, and how they are filtered.
        seed: Seed of everything random in learning.
        given: Synthetic rows made before; None to make them when they are asked for.
        max_rows: Most unlabeled rows of what ``everything`` returns.
        fold: The whole problem and the labeled rows kept of it, if this is a fold's problem.
    """

    x: np.ndarray
    y: np.ndarray
    x_unlabeled: np.ndarray
    z: np.ndarray
    z_unlabeled: np.ndarray
    generator: GenerativeModel
    augment: AugmentParams
    seed: int
    given: Encoded | None = None
    max_rows: int = 8000
    fold: tuple[TrainingRows, np.ndarray] | None = None

    @classmethod
    def of(
        cls,
        labeled: Encoded,
        unlabeled: Encoded,
        generator: GenerativeModel,
        augment: AugmentParams,
        seed: int,
        synthetic: Encoded | None = None,
        max_rows: int = 8000,
    ) -> TrainingRows:
        """Join the artifacts that the stages before ``train`` left."""
        z, z_unlabeled = generator.features(labeled.x), generator.features(unlabeled.x)
        return cls(
            labeled.x,
            labeled.y,
            unlabeled.x,
            z,
            z_unlabeled,
            generator,
            augment,
            seed,
            synthetic,
            max_rows,
        )

    def subset(self, rows: np.ndarray) -> TrainingRows:
        """Return the problem with the labels of these labeled rows only.

        Synthetic rows are made anew: those at hand may know labels that the subset lacks. So does
        a generator that learned from labels, which is therefore trained anew on those left.
        """
        part = replace(
            self,
            x=self.x[rows],
            y=self.y[rows],
            z=self.z[rows],
            given=None,
            fold=(self, rows),
        )
        if not isinstance(self.generator, ClassifyingModel):
            return part
        generator = self.generator.with_classes(part._all_rows(), part._held_out)
        z, z_unlabeled = generator.features(part.x), generator.features(part.x_unlabeled)
        return replace(part, generator=generator, z=z, z_unlabeled=z_unlabeled)

    def labeled(self, space: Space) -> np.ndarray:
        """Return the labeled rows in a space, shape ``(n_labeled, n)``."""
        return in_space(space, self.x, self.z, self.generator)

    def unlabeled(self, space: Space) -> np.ndarray:
        """Return the unlabeled rows in a space, shape ``(n_unlabeled, n)``."""
        return in_space(space, self.x_unlabeled, self.z_unlabeled, self.generator)

    def everything(self, space: Space) -> tuple[np.ndarray, np.ndarray]:
        """Return labeled and at most ``max_rows`` unlabeled rows, and labels, -1 where unlabeled.

        In a fold's problem the rows held out stand among the unlabeled ones: they are the same
        rows, in the same order, in every fold.
        """
        whole, kept = self.fold or (self, np.arange(len(self.y)))
        y = np.full(len(whole.y) + len(whole._sample), -1)
        y[kept] = self.y
        if self.generator is whole.generator:
            return whole._all_in_space(space), y
        x = whole._all_in_space("encoded")
        return in_space(space, x, self.generator.features(x), self.generator), y

    def graph(self, space: Space, n_neighbors: int) -> sparse.csr_array:
        """Return the graph of the rows of ``everything``; a problem and its folds share it."""
        whole = self.fold[0] if self.fold else self
        if self.generator is not whole.generator:
            x, _ = self.everything(space)
            return neighbor_graph(x, min(n_neighbors, len(x) - 1))
        key = (space, n_neighbors)
        if key not in whole._graphs:
            x = whole._all_in_space(space)
            whole._graphs[key] = neighbor_graph(x, min(n_neighbors, len(x) - 1))
        return whole._graphs[key]

    @cached_property
    def _graphs(self) -> dict[tuple[Space, int], sparse.csr_array]:
        return {}

    @cached_property
    def _sample(self) -> np.ndarray:
        """Indices of the unlabeled rows in ``everything``, drawn by seed, ascending."""
        n_rows = len(self.x_unlabeled)
        if n_rows <= self.max_rows:
            return np.arange(n_rows)
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(n_rows, self.max_rows, replace=False))

    def _all_in_space(self, space: Space) -> np.ndarray:
        x = np.concatenate([self.x, self.x_unlabeled[self._sample]])
        z = np.concatenate([self.z, self.z_unlabeled[self._sample]])
        return in_space(space, x, z, self.generator)

    def held_out(self, space: Space, whole: TrainingRows, rows: np.ndarray) -> np.ndarray:
        """Return labeled rows of the whole problem as this subset's learners must see them."""
        if self.generator is whole.generator:
            return whole.labeled(space)[rows]
        x = whole.x[rows]
        return in_space(space, x, self.generator.features(x), self.generator)

    @cached_property
    def synthetic(self) -> Encoded:
        """Synthetic rows that know no label but those in ``y``."""
        if self.given is not None:
            return self.given
        generator = self.generator
        if not isinstance(generator, ClassifyingModel):
            generator = generator.with_classes(self._all_rows(), self._held_out)
        judge = fit_judge(self.x, self.y, self.seed)
        return synthesize(generator, self.y, self.augment, self.seed, judge).rows

    @cached_property
    def _held_out(self) -> np.ndarray:
        """Indices of the rows of ``_all_rows`` that the generator was not trained on, ascending."""
        if self.fold is None:
            return self.generator.held_out(self._all_rows().y)
        whole, kept = self.fold
        rows = np.concatenate([kept, np.arange(len(whole.y), len(whole.y) + len(self.x_unlabeled))])
        return np.flatnonzero(np.isin(rows, whole._held_out))

    def _all_rows(self) -> Encoded:
        y = np.concatenate([self.y, np.full(len(self.x_unlabeled), -1)])
        return Encoded(np.concatenate([self.x, self.x_unlabeled]), y)


def in_space(
    space: Space, x: np.ndarray, z: np.ndarray, generator: GenerativeModel | None = None
) -> np.ndarray:
    """Return rows in a space, from their encoded columns ``x`` and generative features ``z``."""
    if space == "posterior":
        assert isinstance(generator, ClassifyingModel)
        return generator.predict_proba(x)
    if space == "both":
        return np.concatenate([x, z], axis=1)
    return x if space == "encoded" else z


def fit_judge(x: np.ndarray, y: np.ndarray, seed: int) -> LogisticRegression:
    """Fit the labels-only classifier that must agree with a synthetic row's class.

    It is refitted for every fold and asked about every draw, hence a linear one.
    """
    return LogisticRegression(max_iter=3000, random_state=seed).fit(x, y)
