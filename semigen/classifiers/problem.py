"""The learning problem: labeled and unlabeled rows in several spaces, and a trained generator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import sparse

from semigen.augmentation import fit_agreement_classifier, synthesize
from semigen.generators.base import ClassifyingModel, GenerativeModel
from semigen.methods.label_spreading import neighbor_graph
from semigen.params.config import AugmentParams
from semigen.tables.encoding import Encoded

Space = Literal["encoded", "latent", "both", "posterior"]
"""Input space of a learner: encoded columns, generative features, both side by side, or the class
probabilities that a classifying generator predicts."""
LATENT_SPACES: tuple[Space, ...] = ("latent", "both")
"""Spaces that contain generative features."""


@dataclass(frozen=True)
class LearningProblem:
    """Labeled and unlabeled rows, and the generator that was trained on them.

    Attributes:
        x: Encoded labeled rows, shape ``(n_labeled, n_features)``.
        y: Class indices of the labeled rows, shape ``(n_labeled,)``.
        x_unlabeled: Encoded unlabeled rows, shape ``(n_unlabeled, n_features)``.
        z: Generative features of ``x``, shape ``(n_labeled, latent_dim)``.
        z_unlabeled: Generative features of ``x_unlabeled``, shape ``(n_unlabeled, latent_dim)``.
        generator: Trained generator. A generator that classifies must have learned from the labels
            in ``y`` only. The classes of other generators are fitted anew where they are needed.
        augment: Number and filter of the synthetic rows.
        seed: Seed of all random steps of learning.
        given_synthetic: Synthetic rows made earlier; None to draw them on first use.
        max_rows: Maximum number of unlabeled rows that ``all_rows`` returns.
        fold: Where this problem comes from if it is the training part of a fold.

    Examples:
        >>> import numpy as np
        >>> from semigen.params.config import AugmentParams
        >>> x, z = np.zeros((2, 3)), np.ones((2, 1))
        >>> problem = LearningProblem(
        ...     x, np.array([0, 1]), np.zeros((5, 3)), z, np.ones((5, 1)),
        ...     generator=None, augment=AugmentParams(), seed=0, max_rows=4,
        ... )
        >>> problem.labeled("both").shape
        (2, 4)
        >>> rows, y = problem.all_rows("encoded")
        >>> rows.shape, y.tolist()
        ((6, 3), [0, 1, -1, -1, -1, -1])
    """

    x: np.ndarray
    y: np.ndarray
    x_unlabeled: np.ndarray
    z: np.ndarray
    z_unlabeled: np.ndarray
    generator: GenerativeModel
    augment: AugmentParams
    seed: int
    given_synthetic: Encoded | None = None
    max_rows: int = 8000
    fold: Fold | None = None

    @classmethod
    def from_encoded(
        cls,
        labeled: Encoded,
        unlabeled: Encoded,
        generator: GenerativeModel,
        augment: AugmentParams,
        seed: int,
        *,
        synthetic: Encoded | None = None,
        max_rows: int = 8000,
    ) -> LearningProblem:
        """Return the problem of encoded rows; the generator computes their features."""
        return cls(
            x=labeled.x,
            y=labeled.y,
            x_unlabeled=unlabeled.x,
            z=generator.features(labeled.x),
            z_unlabeled=_features(generator, unlabeled.x),
            generator=generator,
            augment=augment,
            seed=seed,
            given_synthetic=synthetic,
            max_rows=max_rows,
        )

    def subset(self, rows: np.ndarray) -> LearningProblem:
        """Return the problem that keeps only some of the labeled rows.

        Synthetic rows are drawn anew, since the given ones may depend on labels outside the subset.
        For the same reason a generator that classifies is trained anew on the remaining labels.

        Args:
            rows: Indices of the labeled rows to keep, shape ``(n_kept,)``.
        """
        part = replace(
            self,
            x=self.x[rows],
            y=self.y[rows],
            z=self.z[rows],
            given_synthetic=None,
            fold=Fold(self, rows),
        )
        if not isinstance(self.generator, ClassifyingModel):
            return part
        generator = self.generator.with_classes(part._encoded_rows(), part._generator_held_out)
        z, z_unlabeled = generator.features(part.x), _features(generator, part.x_unlabeled)
        return replace(part, generator=generator, z=z, z_unlabeled=z_unlabeled)

    def labeled(self, space: Space) -> np.ndarray:
        """Return the labeled rows in a space, shape ``(n_labeled, n_space)``."""
        return in_space(space, self.x, self.z, self.generator)

    def unlabeled(self, space: Space) -> np.ndarray:
        """Return the unlabeled rows in a space, shape ``(n_unlabeled, n_space)``."""
        return in_space(space, self.x_unlabeled, self.z_unlabeled, self.generator)

    def held_out(self, space: Space, rows: np.ndarray) -> np.ndarray:
        """Return held-out rows of a fold in a space, with features of this fold's generator.

        Args:
            space: Space of the result.
            rows: Indices among the labeled rows of the whole problem.
        """
        assert self.fold is not None
        whole = self.fold.whole
        if self.generator is whole.generator:
            return whole.labeled(space)[rows]
        x = whole.x[rows]
        return in_space(space, x, self.generator.features(x), self.generator)

    def all_rows(self, space: Space) -> tuple[np.ndarray, np.ndarray]:
        """Return labeled and at most ``max_rows`` unlabeled rows, and labels, -1 where unlabeled.

        In the problem of a fold, the held-out rows are among the unlabeled ones, so that every fold
        has the same rows in the same order.
        """
        fold = self.fold or Fold(self, np.arange(len(self.y)))
        whole = fold.whole
        y = np.full(len(whole.y) + len(whole._sampled_unlabeled), -1)
        y[fold.kept] = self.y
        if self.generator is whole.generator:
            return whole._all_in_space(space), y
        x = whole._all_in_space("encoded")
        return in_space(space, x, self.generator.features(x), self.generator), y

    def graph(self, space: Space, n_neighbors: int) -> sparse.csr_array:
        """Return the neighbor graph of ``all_rows``, shape ``(n, n)``; folds share one graph."""
        whole = self.fold.whole if self.fold else self
        if self.generator is not whole.generator:
            x, _ = self.all_rows(space)
            return neighbor_graph(x, min(n_neighbors, len(x) - 1))
        key = (space, n_neighbors)
        if key not in whole._graphs:
            x = whole._all_in_space(space)
            whole._graphs[key] = neighbor_graph(x, min(n_neighbors, len(x) - 1))
        return whole._graphs[key]

    @cached_property
    def synthetic(self) -> Encoded:
        """Synthetic labeled rows; they depend on no labels other than those in ``y``."""
        if self.given_synthetic is not None:
            return self.given_synthetic
        generator = self.generator
        if not isinstance(generator, ClassifyingModel):
            generator = generator.with_classes(self._encoded_rows(), self._generator_held_out)
        classifier = fit_agreement_classifier(self.x, self.y, self.seed)
        return synthesize(generator, self.y, self.augment, self.seed, classifier).rows

    @cached_property
    def _graphs(self) -> dict[tuple[Space, int], sparse.csr_array]:
        return {}

    @cached_property
    def _sampled_unlabeled(self) -> np.ndarray:
        """Indices of the unlabeled rows in ``all_rows``, ascending, shape ``(<= max_rows,)``."""
        n_rows = len(self.x_unlabeled)
        if n_rows <= self.max_rows:
            return np.arange(n_rows)
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(n_rows, self.max_rows, replace=False))

    def _all_in_space(self, space: Space) -> np.ndarray:
        x = np.concatenate([self.x, self.x_unlabeled[self._sampled_unlabeled]])
        z = np.concatenate([self.z, self.z_unlabeled[self._sampled_unlabeled]])
        return in_space(space, x, z, self.generator)

    @cached_property
    def _generator_held_out(self) -> np.ndarray:
        """Indices of the rows of ``_encoded_rows`` that the generator was not trained on."""
        if self.fold is None:
            return self.generator.held_out(self._encoded_rows().y)
        whole = self.fold.whole
        unlabeled = np.arange(len(whole.y), len(whole.y) + len(self.x_unlabeled))
        rows = np.concatenate([self.fold.kept, unlabeled])
        return np.flatnonzero(np.isin(rows, whole._generator_held_out))

    def _encoded_rows(self) -> Encoded:
        y = np.concatenate([self.y, np.full(len(self.x_unlabeled), -1)])
        return Encoded(np.concatenate([self.x, self.x_unlabeled]), y)


@dataclass(frozen=True)
class Fold:
    """The origin of a fold's problem.

    Attributes:
        whole: Problem with all labeled rows.
        kept: Indices of the labeled rows of ``whole`` that the fold trains on, shape
            ``(n_labeled,)``.

    Examples:
        >>> from semigen.params.config import AugmentParams
        >>> x, none = np.arange(3.0)[:, None], np.zeros((0, 1))
        >>> whole = LearningProblem(
        ...     x, np.array([0, 1, 1]), none, x, none, None, AugmentParams(), seed=0
        ... )
        >>> part = whole.subset(np.array([0, 2]))
        >>> part.fold.kept.tolist(), part.all_rows("encoded")[1].tolist()
        ([0, 2], [0, -1, 1])
    """

    whole: LearningProblem
    kept: np.ndarray


def _features(generator: GenerativeModel, x: np.ndarray) -> np.ndarray:
    """Return generative features of rows; networks need at least one row."""
    if len(x):
        return generator.features(x)
    return generator.features(np.zeros((1, x.shape[1]), np.float32))[:0]


def in_space(
    space: Space, x: np.ndarray, z: np.ndarray, generator: GenerativeModel | None = None
) -> np.ndarray:
    """Return rows in a space.

    Args:
        space: Space of the result.
        x: Encoded rows, shape ``(n, n_features)``.
        z: Generative features of the same rows, shape ``(n, latent_dim)``.
        generator: Generator that classifies; only needed for the space ``posterior``.

    Returns:
        Shape ``(n, n_space)``.
    """
    if space == "posterior":
        assert isinstance(generator, ClassifyingModel)
        return generator.predict_proba(x)
    if space == "both":
        return np.concatenate([x, z], axis=1)
    return x if space == "encoded" else z
