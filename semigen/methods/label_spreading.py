"""Few labels spread over the graph of nearest neighbors in a feature space."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from semigen.methods.neighbors import nearest_neighbors

MAX_GRAPH_ROWS = 60_000
"""Unlabeled rows in the graph, evenly spaced; the cost grows with the square."""
WALKING_SHARE = 0.99
"""Share of a label that moves on to the neighbors in every step of the spreading."""
N_SPREADING_STEPS = 100
N_DIFFUSIONS = 20
N_DIFFUSION_STEPS = 10
N_BALANCING_STEPS = 100
TINY = 1e-12


def spread_labels(features: np.ndarray, y: np.ndarray, *, n_neighbors: int = 10) -> np.ndarray:
    """Return class shares of every row, shape ``(n, n_classes)``; zeros where nothing is known.

    Labels first spread over the graph of nearest neighbors (Zhou et al. 2004, "Learning with Local
    and Global Consistency"). Then rounds of diffusion and of choosing each row's class shorten the
    boundaries between the classes (threshold dynamics of Merriman, Bence & Osher on graphs, as in
    Calder et al. 2020, "Poisson Learning", section 2.4), the classes keeping the shares that they
    have among the labeled rows. A row's shares in the end are those of the labels around it.

    Args:
        features: Shape ``(n, n_features)``.
        y: Class indices 0, 1, ... without gaps, -1 where unlabeled, shape ``(n,)``.
        n_neighbors: Neighbors of a row in the graph.
    """
    members = _members(y)
    graph = neighbor_graph(features[members], min(n_neighbors, len(members) - 1))
    shares = spread_on_graph(graph, y[members])
    result = np.zeros((len(y), shares.shape[1]))
    result[members] = shares
    return result


def spread_on_graph(
    graph: sparse.csr_array, y: np.ndarray, *, n_diffusions: int = N_DIFFUSIONS
) -> np.ndarray:
    """Return class shares of a graph's rows; see ``spread_labels``.

    Args:
        graph: Symmetric weights, shape ``(n, n)``.
        y: Class indices 0, 1, ... without gaps, -1 where unlabeled, shape ``(n,)``.
        n_diffusions: Rounds that shorten the classes' boundaries; 0 leaves what was spread, scaled
            so that the classes weigh what they do among the labeled rows (the class mass
            normalization of Zhu, Ghahramani & Lafferty 2003).
    """
    is_labeled = y >= 0
    known = np.eye(y.max() + 1)[y[is_labeled]]
    fractions = known.mean(axis=0)
    shares = _spread(graph, is_labeled, known)
    if n_diffusions == 0:
        shares = shares * fractions / np.maximum(shares.sum(axis=0), TINY)
    walk = _scaled_rows(graph)
    for _ in range(n_diffusions):
        chosen = np.eye(len(fractions))[_balanced_choice(shares, fractions)]
        shares = _diffuse(walk, chosen, is_labeled, known)
    return shares / np.maximum(shares.sum(axis=1, keepdims=True), TINY)


def guess_labels(
    features: np.ndarray, y: np.ndarray, *, n_neighbors: int, confident_share: float
) -> np.ndarray:
    """Return the spread labels of the surest unlabeled rows, -1 elsewhere, shape ``(n,)``.

    Args:
        features: Shape ``(n, n_features)``.
        y: Class indices 0, 1, ... without gaps, -1 where unlabeled, shape ``(n,)``.
        n_neighbors: Neighbors of a row in the graph.
        confident_share: Share of the unlabeled rows that get a label.
    """
    unlabeled = y < 0
    if not unlabeled.any():
        return np.full_like(y, -1)
    shares = spread_labels(features, y, n_neighbors=n_neighbors)
    sureness = shares.max(axis=1)
    is_sure = sureness >= np.quantile(sureness[unlabeled], 1 - confident_share)
    return np.where(unlabeled & is_sure & (sureness > 0), shares.argmax(axis=1), -1)


def neighbor_graph(features: np.ndarray, n_neighbors: int) -> sparse.csr_array:
    """Return symmetric weights ``(n, n)``: Gaussian, of a width that follows the local density."""
    n_rows = len(features)
    nearest = nearest_neighbors(features, features, n_neighbors, exclude_self=True)
    width = np.maximum(nearest.distances[:, -1:], 1e-12)
    weights = np.exp(-4 * (nearest.distances / width) ** 2)
    rows = np.repeat(np.arange(n_rows), n_neighbors)
    entries = (weights.ravel(), (rows, nearest.indices.ravel()))
    one_way = sparse.csr_array(sparse.coo_array(entries, shape=(n_rows, n_rows)))
    return (one_way + one_way.T) / 2


def _members(y: np.ndarray) -> np.ndarray:
    """Return the indices of all labeled rows and of as many others as the graph takes."""
    unlabeled = np.flatnonzero(y < 0)
    step = -(-len(unlabeled) // MAX_GRAPH_ROWS) or 1
    return np.sort(np.concatenate([np.flatnonzero(y >= 0), unlabeled[::step]]))


def _spread(graph: sparse.csr_array, is_labeled: np.ndarray, known: np.ndarray) -> np.ndarray:
    scale = sparse.diags_array(graph.sum(axis=1) ** -0.5)
    normalized = sparse.csr_array(scale @ graph @ scale)
    source = np.zeros((len(is_labeled), known.shape[1]))
    source[is_labeled] = known / known.sum(axis=0)  # a class weighs the same with one label or ten
    shares = source
    for _ in range(N_SPREADING_STEPS):
        shares = WALKING_SHARE * (normalized @ shares) + (1 - WALKING_SHARE) * source
    return shares


def _diffuse(
    walk: sparse.csr_array, shares: np.ndarray, is_labeled: np.ndarray, known: np.ndarray
) -> np.ndarray:
    for _ in range(N_DIFFUSION_STEPS):
        shares = walk @ shares
        shares[is_labeled] = known
    return shares


def _scaled_rows(graph: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array(sparse.diags_array(1 / graph.sum(axis=1)) @ graph)


def _balanced_choice(shares: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Return each row's largest share after scaling classes to be chosen as often as asked."""
    scale = np.ones(len(fractions))
    for _ in range(N_BALANCING_STEPS):
        chosen = np.bincount((shares * scale).argmax(axis=1), minlength=len(scale)) / len(shares)
        scale *= np.clip(1 + 0.2 * (fractions - chosen) / fractions, 0.5, 2.0)
    return (shares * scale).argmax(axis=1)
