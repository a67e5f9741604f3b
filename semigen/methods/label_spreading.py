"""Labels that are spread over the graph of nearest neighbors in a feature space."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from semigen.methods.neighbors import nearest_neighbors

MAX_GRAPH_ROWS = 60_000
"""Maximum number of unlabeled rows in the graph, evenly spaced. The cost grows with its square."""
SPREADING_FACTOR = 0.99
"""Weight of the neighbors, relative to the own label, in every step of the spreading."""
N_SPREADING_STEPS = 100
N_DIFFUSIONS = 20
N_DIFFUSION_STEPS = 10
N_BALANCING_STEPS = 100
TINY = 1e-12


def spread_labels(features: np.ndarray, y: np.ndarray, *, n_neighbors: int = 10) -> np.ndarray:
    """Return class probabilities of all rows.

    First, labels are spread over the graph of nearest neighbors (Zhou et al. 2004, "Learning with
    Local and Global Consistency"). Then, rounds of diffusion and thresholding shorten the
    boundaries between the classes (threshold dynamics of Merriman, Bence & Osher on graphs, as in
    Calder et al. 2020, "Poisson Learning", section 2.4), while the classes keep the frequencies of
    the labeled rows. The result are the probabilities after the last diffusion.

    Args:
        features: Features of the rows, shape ``(n, n_features)``.
        y: Class indices 0, 1, ... without gaps, -1 where unlabeled, shape ``(n,)``.
        n_neighbors: Neighbors of a row in the graph.

    Returns:
        Shape ``(n, n_classes)``; zeros for rows that no label reaches.

    Examples:
        >>> features = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
        >>> y = np.array([0, -1, -1, 1, -1, -1])
        >>> spread_labels(features, y, n_neighbors=2).argmax(axis=1)
        array([0, 0, 0, 1, 1, 1])
    """
    rows = _graph_rows(y)
    graph = neighbor_graph(features[rows], min(n_neighbors, len(rows) - 1))
    probabilities = spread_on_graph(graph, y[rows])
    result = np.zeros((len(y), probabilities.shape[1]))
    result[rows] = probabilities
    return result


def spread_on_graph(
    graph: sparse.csr_array, y: np.ndarray, *, n_diffusions: int = N_DIFFUSIONS
) -> np.ndarray:
    """Return class probabilities of the rows of a graph; see ``spread_labels``.

    Args:
        graph: Symmetric weights, shape ``(n, n)``.
        y: Class indices 0, 1, ... without gaps, -1 where unlabeled, shape ``(n,)``.
        n_diffusions: Rounds of diffusion and thresholding. With 0, the spread labels are only
            scaled to the class frequencies of the labeled rows (class mass normalization; Zhu,
            Ghahramani & Lafferty 2003, "Semi-Supervised Learning Using Gaussian Fields and Harmonic
            Functions").

    Returns:
        Shape ``(n, n_classes)``; zeros for rows that no label reaches.
    """
    is_labeled = y >= 0
    one_hot = np.eye(y.max() + 1)[y[is_labeled]]
    frequencies = one_hot.mean(axis=0)
    scores = _spread(graph, is_labeled, one_hot)
    if n_diffusions == 0:
        scores = scores * frequencies / np.maximum(scores.sum(axis=0), TINY)
    transitions = _normalize_rows(graph)
    for _ in range(n_diffusions):
        labels = np.eye(len(frequencies))[_balanced_labels(scores, frequencies)]
        scores = _diffuse(transitions, labels, is_labeled, one_hot)
    return scores / np.maximum(scores.sum(axis=1, keepdims=True), TINY)


def guess_labels(
    features: np.ndarray, y: np.ndarray, *, n_neighbors: int, confident_share: float
) -> np.ndarray:
    """Return the spread labels of the most confident unlabeled rows, -1 elsewhere.

    Args:
        features: Features of the rows, shape ``(n, n_features)``.
        y: Class indices 0, 1, ... without gaps, -1 where unlabeled, shape ``(n,)``.
        n_neighbors: Neighbors of a row in the graph.
        confident_share: Fraction of the unlabeled rows that get a label.

    Returns:
        Shape ``(n,)``.
    """
    is_unlabeled = y < 0
    if not is_unlabeled.any():
        return np.full_like(y, -1)
    probabilities = spread_labels(features, y, n_neighbors=n_neighbors)
    confidence = probabilities.max(axis=1)
    is_confident = confidence >= np.quantile(confidence[is_unlabeled], 1 - confident_share)
    has_guess = is_unlabeled & is_confident & (confidence > 0)
    return np.where(has_guess, probabilities.argmax(axis=1), -1)


def neighbor_graph(features: np.ndarray, n_neighbors: int) -> sparse.csr_array:
    """Return the symmetric weights of a graph of nearest neighbors.

    The weights are Gaussian; the bandwidth of a row is proportional to the distance of its farthest
    neighbor.

    Args:
        features: Features of the rows, shape ``(n, n_features)``.
        n_neighbors: Neighbors of a row, at most ``n - 1``.

    Returns:
        Shape ``(n, n)``.
    """
    n_rows = len(features)
    nearest = nearest_neighbors(features, features, n_neighbors, exclude_self=True)
    bandwidth = np.maximum(nearest.distances[:, -1:], 1e-12)
    weights = np.exp(-4 * (nearest.distances / bandwidth) ** 2)
    rows = np.repeat(np.arange(n_rows), n_neighbors)
    entries = (weights.ravel(), (rows, nearest.indices.ravel()))
    directed = sparse.csr_array(sparse.coo_array(entries, shape=(n_rows, n_rows)))
    return (directed + directed.T) / 2


def _graph_rows(y: np.ndarray) -> np.ndarray:
    """Return the indices of all labeled rows and of at most ``MAX_GRAPH_ROWS`` unlabeled rows."""
    unlabeled = np.flatnonzero(y < 0)
    step = -(-len(unlabeled) // MAX_GRAPH_ROWS) or 1
    return np.sort(np.concatenate([np.flatnonzero(y >= 0), unlabeled[::step]]))


def _spread(graph: sparse.csr_array, is_labeled: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    scale = sparse.diags_array(graph.sum(axis=1) ** -0.5)
    normalized = sparse.csr_array(scale @ graph @ scale)
    source = np.zeros((len(is_labeled), one_hot.shape[1]))
    source[is_labeled] = one_hot / one_hot.sum(axis=0)  # the classes have equal total weights
    scores = source
    for _ in range(N_SPREADING_STEPS):
        scores = SPREADING_FACTOR * (normalized @ scores) + (1 - SPREADING_FACTOR) * source
    return scores


def _diffuse(
    transitions: sparse.csr_array, scores: np.ndarray, is_labeled: np.ndarray, one_hot: np.ndarray
) -> np.ndarray:
    for _ in range(N_DIFFUSION_STEPS):
        scores = transitions @ scores
        scores[is_labeled] = one_hot
    return scores


def _normalize_rows(graph: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array(sparse.diags_array(1 / graph.sum(axis=1)) @ graph)


def _balanced_labels(scores: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Return the class of each row, with scores scaled so that classes have these frequencies."""
    scale = np.ones(len(frequencies))
    for _ in range(N_BALANCING_STEPS):
        labels = (scores * scale).argmax(axis=1)
        actual = np.bincount(labels, minlength=len(scale)) / len(scores)
        scale *= np.clip(1 + 0.2 * (frequencies - actual) / frequencies, 0.5, 2.0)
    return (scores * scale).argmax(axis=1)
