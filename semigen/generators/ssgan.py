"""Semi-supervised GAN whose discriminator is also the classifier."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn import functional as F

from semigen.generators.network_model import NetworkModel
from semigen.generators.ssgan_loss import SSGANLosses
from semigen.generators.ssgan_network import SSGANNetwork
from semigen.methods.class_index import find_classes
from semigen.methods.column_warps import ColumnWarps
from semigen.methods.label_spreading import guess_labels
from semigen.params.config import ComputeParams
from semigen.params.generators import SSGANParams
from semigen.tables.encoding import Encoded, Span
from semigen.training.averaging import averaging_decay
from semigen.training.compute import seeded
from semigen.training.engine import train
from semigen.training.plan import History, Player
from semigen.training.progress import Progress

N_COMPONENTS = 60
"""Principal components of wide rows from which the neighbor graph is built. On MNIST this graph
takes 20 s, and 1.5 % of the labels of the 90 % most confident rows are wrong; a graph of the pixels
takes more than a minute."""
N_INITIAL = 500
"""Rows from which the discriminator's scales and biases are initialized."""
MIN_AVERAGING, MAX_AVERAGING = 0.5, 1 - 1 / 1000
"""Decay, per step, of the moving average of the weights in very short and in long trainings."""


class SSGAN(NetworkModel[SSGANParams]):
    """Semi-supervised GAN of Salimans et al. (2016, "Improved Techniques for Training GANs").

    The discriminator classifies labeled rows into K classes, and discriminates real from generated
    rows; the generator matches its mean features. Generated rows between the classes help to place
    the decision boundary there (Dai et al. 2017, "Good Semi-supervised Learning That Requires a Bad
    GAN"). Beyond the paper:

    - In the first epochs the discriminator also learns labels that are spread over the graph of
      nearest neighbors (``label_spreading``). With 100 labels alone, it would misclassify many
      rows, and later epochs would confirm the errors.
    - The prediction for an unlabeled row is made consistent under noise (``consistency``; Wei et
      al. 2018, "Improving the Improved Training of Wasserstein GANs"), under an adversarial
      perturbation (``smoothness``; Miyato et al. 2018, "Virtual Adversarial Training"), and under
      smooth warps of the columns (``movement``; ``column_warps``).
    - The weights kept are an exponential moving average (Yazıcı et al. 2019, "The Unusual
      Effectiveness of Averaging in GAN Training"), the modern form of historical averaging.
    - The generator is conditioned on the class and matches the mean features of each class (Bao et
      al. 2017, "CVAE-GAN").

    Matching means does not match distributions: images of digits are good, but rows of mixed tables
    are worse than those of the other families.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> y = np.arange(60) % 2
        >>> x = (4.0 * y[:, None] + rng.normal(size=(60, 2))).astype(np.float32)
        >>> rows = Encoded(x, np.where(np.arange(60) < 6, y, -1))
        >>> spans = [Span("a", 0, 1, "numeric"), Span("b", 1, 2, "numeric")]
        >>> model = SSGAN(spans, SSGANParams(max_steps=50, hidden_dims=(16,), generator_dims=(8,)))
        >>> _ = model.fit(rows)
        >>> model.predict_proba(x).shape
        (60, 2)
        >>> model.sample(np.array([0, 1, 1]), seed=0).shape
        (3, 2)
    """

    family = "ssgan"
    params_type = SSGANParams
    network: SSGANNetwork

    def __init__(
        self,
        spans: Sequence[Span],
        params: SSGANParams,
        compute: ComputeParams | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(spans, params, compute, seed)
        self._build()

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return the probabilities of ``classes_``, shape ``(n, n_classes)``.

        Raises:
            UserError: If the model was fitted without labeled rows.
        """
        _ = self.classes_  # raises UserError if there are none
        return self._map_chunks(lambda chunk: self._discriminate(chunk)[1].softmax(1), x)

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return the discriminator's last hidden layer, ``(n, hidden_dims[-1])``, float32."""
        return self._map_chunks(lambda chunk: self._discriminate(chunk)[0], x)

    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``, shape ``(len(y), n_features)``."""
        positions = self._positions(y)
        with seeded(seed):
            return self._map_chunks(self._sample_rows, positions)

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return the log-odds that each row is real rather than generated, shape ``(n,)``."""
        return self._map_chunks(lambda chunk: self._discriminate(chunk)[1].logsumexp(1), x)

    def _fit(
        self,
        training: Encoded,
        held_out: Encoded,  # noqa: ARG002
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        x, is_labeled = torch.from_numpy(training.x), training.y >= 0
        self._classes = np.unique(training.y[is_labeled]) if is_labeled.any() else None
        self._build()
        self._initialize(x, training.y[is_labeled])
        y = np.full(len(x), -1)
        if self._classes is not None:
            y = find_classes(training.y, self._classes)
        guesses = torch.from_numpy(self._spread_labels(training.x, y))
        labeled, targets = x[torch.from_numpy(is_labeled)], torch.from_numpy(y[is_labeled])
        warps = ColumnWarps(training.x, self.spans, self.seed) if self.params.movement else None
        losses = SSGANLosses(self.network, self.params, labeled, targets, x, warps)
        players = [
            Player(self.network.discriminator, losses.discriminator_loss),
            Player(self.network.generator, losses.generator_loss, self.params.generator_rate),
        ]
        plan = self._plan(
            len(x),
            schedule="late",
            betas=(0.5, 0.999),
            averaging=averaging_decay(self.params.n_steps(len(x)), MAX_AVERAGING, MIN_AVERAGING),
            objective=f"ssgan {self.params.model_dump_json()} {_digest(labeled, targets)}",
        )
        return train(
            self.network,
            players,
            [x, guesses],
            plan,
            check=losses.check_collapse,
            compute=self.compute,
            width=max(self.params.hidden_dims),
            checkpoint=checkpoint,
            progress=progress,
        )

    def _learn_classes(self, training: Encoded, held_out: Encoded) -> None:
        """Train again from the start: every weight of the discriminator depends on the labels."""
        self._fit(training, held_out, None, None)
        self._set_held_out_scores(held_out.x)

    def _build(self) -> None:
        """Create an untrained network for the classes."""
        n_classes = 1 if self._classes is None else len(self._classes)
        with seeded(self.seed):
            self.network = SSGANNetwork(self.spans, self.params, n_classes)

    def _initialize(self, x: Tensor, y: np.ndarray) -> None:
        """Initialize both networks from the training rows ``x`` and the known labels ``y``."""
        if len(y):
            frequencies = np.unique(y, return_counts=True)[1] / len(y)
            self.network.log_shares.copy_(torch.from_numpy(np.log(frequencies)))
        with seeded(self.seed):
            self.network.discriminator.initialize(x[torch.randperm(len(x))[:N_INITIAL]])
        self.network.generator.initialize(x)

    def _spread_labels(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the spread labels of the most confident unlabeled rows, -1 elsewhere.

        Args:
            x: Training rows, shape ``(n, n_features)``.
            y: Positions in ``classes_``, -1 where unlabeled, shape ``(n,)``.
        """
        params = self.params
        if self._classes is None or not params.guided_epochs:
            return np.full(len(y), -1)
        return guess_labels(
            _principal_components(x),
            y,
            n_neighbors=params.n_neighbors,
            confident_share=params.confident_share,
        )

    def _discriminate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.discriminator(x, noisy=False)

    def _sample_rows(self, positions: Tensor) -> Tensor:
        generator = self.network.generator
        return generator.head.harden(generator(F.one_hot(positions, len(self.classes_)).float()))

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"classes": np.zeros(0, np.int64) if self._classes is None else self._classes}

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:  # noqa: ARG002
        self._build()


def _principal_components(x: np.ndarray) -> np.ndarray:
    """Return the first ``N_COMPONENTS`` principal components of rows, or narrow rows as is."""
    n_components = min(N_COMPONENTS, len(x))
    if x.shape[1] <= n_components:
        return x
    return PCA(n_components, svd_solver="covariance_eigh").fit_transform(x)


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
