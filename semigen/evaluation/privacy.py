"""Privacy of synthetic rows: what they reveal about the training rows of their generator.

Distances to the closest record are not sufficient: generators whose synthetic rows are far from
training rows may still leak membership (Yao et al. 2025, "The DCR Delusion: Measuring the Privacy
Risk of Synthetic Data"). So membership inference attacks are run too. They use the synthetic rows
and other rows of the same distribution, not the model. Stronger attacks may find leaks that these
do not find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from semigen.evaluation.estimates import Estimate
from semigen.evaluation.statistics import proportion_from_error, roc_auc
from semigen.methods.neighbors import nearest_neighbors

MAX_ROWS = 20_000
"""Maximum number of rows of each kind; larger tables are subsampled. Distances between this many
rows take about 10 s on one core."""
MAX_AUC = 0.6
"""Success of an attack above which synthetic rows are not published."""
MIN_HELD_OUT = 4
N_REFERENCE_NEIGHBORS = 5
"""Rank of the neighbor that estimates the density of the reference distribution. Of ranks 1 to 20,
the fifth was best or nearly best on Adult rows leaked in various fractions and with noise; for the
density of synthetic rows, the first was."""
MIN_DISTANCE = 1e-6
"""Lower bound of distances whose logarithm is taken."""


@dataclass(frozen=True)
class ClosestRecord:
    """Distances of synthetic rows to training rows, compared with distances to held-out rows.

    Attributes:
        closer_share: Fraction of synthetic rows that are closer to a training row than to any of as
            many held-out rows, with ties counting half; 0.5 without a leak.
        copies_share: Fraction of synthetic rows that equal a training row.
        held_out_copies_share: Fraction of synthetic rows that equal a held-out row, by chance. The
            chance grows with the number of rows.
        median_to_training: Median distance to the closest training row.
        median_to_held_out: Median distance to the closest held-out row.

    Examples:
        >>> training, held_out = np.array([[0.0], [1.0]]), np.array([[5.0], [6.0]])
        >>> found = closest_record(np.array([[0.0], [5.5]]), training, held_out)
        >>> found.copies_share, found.closer_share.value
        (0.5, 0.5)
    """

    closer_share: Estimate
    copies_share: float
    held_out_copies_share: float
    median_to_training: float
    median_to_held_out: float


@dataclass(frozen=True)
class Privacy:
    """Distances of synthetic rows to training rows, and results of membership inference attacks.

    Attributes:
        closest_record: Distances to training and to held-out rows.
        attacks: ROC AUC of each attack, which separates training from held-out rows, by name; 0.5
            is chance. The intervals hold simultaneously (Bonferroni), so the strongest attack can
            be selected without false alarms.
        n_synthetic: Number of synthetic rows used.
        n_members: Number of training rows used.
        n_held_out: Number of held-out rows used.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> training, held_out = rng.normal(size=(100, 4)), rng.normal(size=(100, 4))
        >>> copies = privacy(training, training, held_out)
        >>> f"{copies.attacks[copies.strongest]:.2f}"
        '1.00 [0.96, 1.00]'
    """

    closest_record: ClosestRecord
    attacks: Mapping[str, Estimate]
    n_synthetic: int
    n_members: int
    n_held_out: int

    @property
    def strongest(self) -> str:
        """Name of the attack with the highest AUC."""
        return max(self.attacks, key=lambda name: self.attacks[name].value)

    @property
    def problem(self) -> str | None:
        """What keeps the rows from being published, in one line; None if nothing does."""
        auc = self.attacks[self.strongest]
        if auc.low <= MAX_AUC:
            return None
        return f"an attack tells training rows from held-out rows (ROC AUC {auc:.2f})"


def privacy(
    synthetic: np.ndarray,
    training: np.ndarray,
    held_out: np.ndarray,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    max_rows: int = MAX_ROWS,
    space: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Privacy:
    """Measure distances and run membership inference attacks.

    Args:
        synthetic: Synthetic rows in a ``DistanceSpace``, shape ``(n_synthetic, n_features)``.
        training: Training rows of the generator, in that space, shape ``(n, n_features)``.
        held_out: Rows of the same distribution that were not used for training, shape ``(n_held,
            n_features)``: the baseline of the distances and the non-members of the attacks.
        seed: Seed of the subsamples.
        confidence: Coverage of the intervals.
        max_rows: Maximum number of rows of each of the three.
        space: Transforms the rows that are used, if they are not in a ``DistanceSpace`` yet.

    Raises:
        ValueError: If there is no synthetic row, or fewer than four training or held-out rows.
    """
    if not len(synthetic) or min(len(training), len(held_out)) < MIN_HELD_OUT:
        raise ValueError(
            f"expected at least 1 synthetic and {MIN_HELD_OUT} training and held-out rows, got "
            f"{len(synthetic)}, {len(training)} and {len(held_out)}"
        )
    rng = np.random.default_rng(seed)
    synthetic, training, held_out = (
        rows[rng.permutation(len(rows))[:max_rows]] for rows in (synthetic, training, held_out)
    )
    if space is not None:
        synthetic, training, held_out = map(space, (synthetic, training, held_out))
    return Privacy(
        closest_record=closest_record(synthetic, training, held_out, confidence=confidence),
        attacks=membership_attacks(synthetic, training, held_out, confidence=confidence),
        n_synthetic=len(synthetic),
        n_members=len(training),
        n_held_out=len(held_out),
    )


def closest_record(
    synthetic: np.ndarray,
    training: np.ndarray,
    held_out: np.ndarray,
    *,
    confidence: float = 0.95,
) -> ClosestRecord:
    """Compare the distances to training rows with those to equally many held-out rows.

    If there are more rows of one kind, only the first ones are used, except for copies. Synthetic
    rows with the same closest record are not independent, so the standard error of the fraction is
    that of clusters, one for each closest record (Liang & Zeger 1986).

    Args:
        synthetic: Synthetic rows, shape ``(n_synthetic, n_features)``, at least one.
        training: Training rows of the generator, in random order.
        held_out: Rows that were not used for training, in random order.
        confidence: Coverage of the interval.
    """
    n_rows = min(len(training), len(held_out))
    found = [nearest_neighbors(synthetic, rows[:n_rows]) for rows in (training, held_out)]
    to_training, to_held_out = (neighbors.distances[:, 0] for neighbors in found)
    is_closer = np.where(to_training == to_held_out, 0.5, to_training < to_held_out)
    clusters = np.where(
        to_training <= to_held_out, found[0].indices[:, 0], n_rows + found[1].indices[:, 0]
    )
    return ClosestRecord(
        closer_share=_clustered_mean(is_closer, clusters, confidence),
        copies_share=_copies_share(synthetic, to_training, training[n_rows:]),
        held_out_copies_share=_copies_share(synthetic, to_held_out, held_out[n_rows:]),
        median_to_training=float(np.median(to_training)),
        median_to_held_out=float(np.median(to_held_out)),
    )


def membership_attacks(
    synthetic: np.ndarray,
    members: np.ndarray,
    non_members: np.ndarray,
    *,
    confidence: float = 0.95,
) -> dict[str, Estimate]:
    """Return the ROC AUC of each attack, with simultaneous intervals.

    ``closest_record`` predicts membership for rows close to a synthetic row (Chen et al. 2020,
    "GAN-Leaks", sec. 4.3). ``density_ratio`` predicts membership where the density of synthetic
    rows exceeds that of the distribution (DOMIAS; van Breugel et al. 2023, eq. 2). With densities
    estimated from the distances to the nearest synthetic row and to the fifth-nearest reference
    row, the log ratio is, up to a positive factor and a constant, the difference of the logarithms
    of these distances. Reference rows are the non-members of the other half, so that no row is its
    own reference.

    Args:
        synthetic: Synthetic rows, shape ``(n_synthetic, n_features)``.
        members: Training rows of the generator, in random order.
        non_members: Other rows of the same distribution, at least two, in random order.
        confidence: Simultaneous coverage of the intervals.
    """
    to_synthetic = [
        nearest_neighbors(rows, synthetic).distances[:, 0] for rows in (members, non_members)
    ]
    to_reference = [_to_other_half(rows, non_members) for rows in (members, non_members)]
    ratios = [
        np.log(np.maximum(reference, MIN_DISTANCE) / np.maximum(own, MIN_DISTANCE))
        for own, reference in zip(to_synthetic, to_reference, strict=True)
    ]
    scores = {"closest_record": [-d for d in to_synthetic], "density_ratio": ratios}
    each = 1 - (1 - confidence) / len(scores)
    return {name: roc_auc(*pair, confidence=each) for name, pair in scores.items()}


def _to_other_half(rows: np.ndarray, non_members: np.ndarray) -> np.ndarray:
    """Return each row's distance to the fifth-nearest non-member of the other half."""
    half = len(non_members) // 2
    references = non_members[:half], non_members[half : 2 * half]
    cut = len(rows) // 2
    parts = zip((rows[:cut], rows[cut:]), reversed(references), strict=True)
    k = min(N_REFERENCE_NEIGHBORS, half)
    return np.concatenate([nearest_neighbors(*part, k).distances[:, -1] for part in parts])


def _copies_share(synthetic: np.ndarray, distances: np.ndarray, others: np.ndarray) -> float:
    """Return the fraction of rows with distance 0 to the rows measured, or to other rows."""
    if len(others):
        distances = np.minimum(distances, nearest_neighbors(synthetic, others).distances[:, 0])
    return float((distances == 0).mean())


def _clustered_mean(values: np.ndarray, clusters: np.ndarray, confidence: float) -> Estimate:
    mean = values.mean()
    residuals = np.bincount(clusters, weights=values - mean)
    error = np.sqrt((residuals**2).sum()) / len(values)
    return proportion_from_error(float(mean), float(error), len(np.unique(clusters)), confidence)
