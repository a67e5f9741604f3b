"""What synthetic rows give away about the rows that their generator was trained on.

Distances to the closest record alone do not show it: generators whose synthetic rows keep their
distance leak members to attacks all the same (Yao et al. 2025, "The DCR Delusion: Measuring the
Privacy Risk of Synthetic Data"). So attacks are carried out too. What an attack does not find, a
stronger one may; these know the synthetic rows and rows of the same distribution, not the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from semigen.evaluation.estimates import Estimate
from semigen.evaluation.statistics import proportion_from_error, roc_auc
from semigen.methods.neighbors import nearest_neighbors

MAX_ROWS = 20_000
"""Rows of each kind that are looked at; more are thinned by seed. At this size distances between
them take about 10 s on one core."""
MIN_HELD_OUT = 4
N_REFERENCE_NEIGHBORS = 5
"""Neighbor among the other rows that gives the density at a row: of 1 to 20 the fifth did best or
nearly so on Adult rows leaked with various shares and noise; among synthetic rows the first did."""
LEAST_DISTANCE = 1e-6
"""Distances below count as this one where their logarithm is taken."""


@dataclass(frozen=True)
class ClosestRecord:
    """Distances of synthetic rows to training rows, beside those to as many held-out rows.

    Attributes:
        closer_share: Share of synthetic rows nearer to a training row than to any of as many
            held-out rows, ties counting half. 0.5 where training rows have no more influence.
        copies_share: Share of synthetic rows that equal any training row.
        held_out_copies_share: Share that equal any held-out row: by coincidence. Among more
            training rows there is more of it.
        median_to_training: Median distance to the closest training row.
        median_to_held_out: Median distance to the closest held-out row.
    """

    closer_share: Estimate
    copies_share: float
    held_out_copies_share: float
    median_to_training: float
    median_to_held_out: float


@dataclass(frozen=True)
class Privacy:
    """How close synthetic rows come to training rows, and how well attacks tell members.

    Attributes:
        closest_record: Distances, with a baseline.
        attacks: ROC AUC of each attack that tells training rows from held-out ones, by name; 0.5 is
            guessing, 1 certainty. The intervals hold all at once (Bonferroni), so that picking the
            strongest attack does not make a leak of chance.
        n_synthetic: Synthetic rows looked at.
        n_members: Training rows looked at.
        n_held_out: Held-out rows looked at.
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


def privacy(
    synthetic: np.ndarray,
    training: np.ndarray,
    held_out: np.ndarray,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    max_rows: int = MAX_ROWS,
) -> Privacy:
    """Measure distances and attack the membership of training rows.

    Args:
        synthetic: Synthetic rows in a ``DistanceSpace``, shape ``(n_synthetic, n_features)``.
        training: Rows that the generator learned from, in that space.
        held_out: Rows of the same distribution that it never saw: the baseline of the distances,
            and the attacks' non-members.
        seed: Seed of all draws of rows.
        confidence: Coverage of the intervals.
        max_rows: Most rows of each of the three.

    Raises:
        ValueError: If there is no synthetic row, or fewer than four training or held-out rows.
    """
    if not len(synthetic) or min(len(training), len(held_out)) < MIN_HELD_OUT:
        raise ValueError(
            f"expected a synthetic row and {MIN_HELD_OUT} training and held-out rows, got "
            f"{len(synthetic)}, {len(training)} and {len(held_out)}"
        )
    rng = np.random.default_rng(seed)
    synthetic, training, held_out = (
        rng.permutation(rows)[:max_rows] for rows in (synthetic, training, held_out)
    )
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

    Where there are more of one kind, the first ones count, but for copies. The interval of the
    share takes the real rows into account, not the synthetic ones alone: those that share their
    closest record were not drawn towards one side independently, so that the standard error is that
    of clusters, one a closest record (Liang & Zeger 1986).

    Args:
        synthetic: Shape ``(n_synthetic, n_features)``, at least one row.
        training: Rows that the generator learned from, in random order.
        held_out: Rows that it never saw, in random order.
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
    """Return the ROC AUC of each attack, its interval at the confidence for all of them together.

    ``closest_record`` takes rows close to a synthetic row for members (Chen et al. 2020,
    "GAN-Leaks", sec. 4.3). ``density_ratio`` takes rows for members where synthetic rows are denser
    than other rows of the distribution (DOMIAS; van Breugel et al. 2023, eq. 2). With densities
    from the distances to the nearest synthetic and the fifth-nearest other row, the log ratio is,
    up to a positive factor and a constant, the difference of the logs of those distances. Its other
    rows are non-members of the half that a row is not in, so that no row is judged by itself.

    Args:
        synthetic: Shape ``(n_synthetic, n_features)``.
        members: Rows that the generator was trained on, in random order.
        non_members: Other rows of the same distribution, at least two, in random order.
        confidence: Coverage of all intervals together.
    """
    to_synthetic = [
        nearest_neighbors(rows, synthetic).distances[:, 0] for rows in (members, non_members)
    ]
    to_reference = [_to_other_half(rows, non_members) for rows in (members, non_members)]
    ratios = [
        np.log(np.maximum(reference, LEAST_DISTANCE) / np.maximum(own, LEAST_DISTANCE))
        for own, reference in zip(to_synthetic, to_reference, strict=True)
    ]
    scores = {"closest_record": [-d for d in to_synthetic], "density_ratio": ratios}
    each = 1 - (1 - confidence) / len(scores)
    return {name: roc_auc(*pair, confidence=each) for name, pair in scores.items()}


def _to_other_half(rows: np.ndarray, non_members: np.ndarray) -> np.ndarray:
    """Return each row's distance to the fifth-nearest non-member of the half that it is not in."""
    half = len(non_members) // 2
    references = non_members[:half], non_members[half : 2 * half]
    cut = len(rows) // 2
    parts = zip((rows[:cut], rows[cut:]), reversed(references), strict=True)
    k = min(N_REFERENCE_NEIGHBORS, half)
    return np.concatenate([nearest_neighbors(*part, k).distances[:, -1] for part in parts])


def _copies_share(synthetic: np.ndarray, distances: np.ndarray, others: np.ndarray) -> float:
    """Return the share of rows at distance 0 from rows looked at already, or from others."""
    if len(others):
        distances = np.minimum(distances, nearest_neighbors(synthetic, others).distances[:, 0])
    return float((distances == 0).mean())


def _clustered_mean(values: np.ndarray, clusters: np.ndarray, confidence: float) -> Estimate:
    mean = values.mean()
    residuals = np.bincount(clusters, weights=values - mean)
    error = np.sqrt((residuals**2).sum()) / len(values)
    return proportion_from_error(float(mean), float(error), len(np.unique(clusters)), confidence)
