"""Conditional tabular GAN: rows as codes, conditioned on one column and the class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn import functional as F

from semigen.generators.bins import RowBins
from semigen.generators.gan_loss import ConditionSampler, GANLosses
from semigen.generators.gan_network import GANNetwork
from semigen.generators.network_model import CHUNK_ROWS, NetworkModel
from semigen.methods.soft_labels import soft_labels
from semigen.params.generators import GANParams
from semigen.tables.encoding import Encoded
from semigen.training.averaging import averaging_decay
from semigen.training.compute import seeded
from semigen.training.engine import train
from semigen.training.plan import History, Player
from semigen.training.progress import Progress

MIN_AVERAGING, MAX_AVERAGING = 0.5, 1 - 1 / 500
"""Decay, per step, of the moving average of the weights in very short and in long trainings."""
N_COMPONENTS = 16
"""Principal components of the critic's features from which unlabeled rows are classified."""
MIN_CLASS_STEPS = 0.25
"""Steps of the second training with few labels, as a fraction of its steps if all rows are labeled.
Cross-validation repeats this training for every fold."""
PRIOR_ROWS = 10
"""Weight, in rows, of the code frequencies of all rows in those of a class."""


class GAN(NetworkModel[GANParams]):
    """Conditional tabular GAN: CTGAN (Xu et al. 2019) on codes of all columns.

    Numeric columns are cut into bins of about equal mass; a value that many rows share has its own
    bin. These bins take the place of CTGAN's Gaussian mixtures. The generator draws codes by
    Gumbel-softmax, and a value within a bin follows the distribution of the training rows. The
    critic is that of WGAN-GP (Gulrajani et al. 2017). The weights kept are a moving average
    (Yazıcı et al. 2019, "The Unusual Effectiveness of Averaging in GAN Training").

    One column of every row is given to the generator (training by sampling), so this column has the
    frequencies of the training rows. The class is another input. The first training uses no labels.
    A second, shorter training uses the labels; the class of an unlabeled row is drawn in each step
    from its class probabilities (``soft_labels``; Lucic et al. 2019, "High-Fidelity Image
    Generation With Fewer Labels").

    Attributes:
        bins: Converts encoded rows to codes and back; set by ``fit``.
        base: The network of the first training, which gives features and scores.
        code_probabilities: Probability of every code given the class, shape ``(n_classes, n_all)``.

    Examples:
        >>> from semigen.tables.encoding import Span
        >>> rng = np.random.default_rng(0)
        >>> rows = Encoded(rng.normal(size=(60, 2)).astype(np.float32), np.arange(60) % 3 - 1)
        >>> spans = [Span("a", 0, 1, "numeric"), Span("b", 1, 2, "numeric")]
        >>> model = GAN(spans, GANParams(max_steps=10, hidden_dims=(8,), generator_dims=(8,)))
        >>> _ = model.fit(rows)
        >>> model.classes_
        array([0, 1])
        >>> model.sample(np.array([0, 1, 1]), seed=0).shape
        (3, 2)
    """

    family = "gan"
    params_type = GANParams
    network: GANNetwork
    bins: RowBins
    base: GANNetwork
    code_probabilities: np.ndarray

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return the critic's last hidden layer, shape ``(n, hidden_dims[-1])``, float32.

        The critic is that of the first training, without labels.
        """
        return self._map_chunks(lambda codes: self._criticize(codes)[0], self.bins.encode(x))

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return the critic's score of each row, shape ``(n,)``.

        The critic is that of the first training, without labels.
        """
        return self._map_chunks(lambda codes: self._criticize(codes)[1], self.bins.encode(x))

    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``, shape ``(len(y), n_features)``."""
        positions = self._positions(y)
        with seeded(seed):
            return self._map_chunks(self._sample_rows, positions)

    def _fit(
        self,
        training: Encoded,
        held_out: Encoded,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        self.bins = RowBins.fit(training.x, self.spans, self.params.max_bins, self.min_rows)
        with seeded(self.seed):
            self.base = self.network = GANNetwork(self.bins, self.params, 0)
        self._classes, self.code_probabilities = None, np.zeros((0, len(self.base.owner)))
        codes = torch.from_numpy(self.bins.encode(training.x))
        no_classes = torch.zeros(len(codes), 0)
        history = self._train(
            self.base, codes, no_classes, 1.0, checkpoint and checkpoint / "all", progress
        )
        if (training.y >= 0).any():
            self._learn_classes(training, held_out, checkpoint and checkpoint / "classes", progress)
        return history

    def _learn_classes(
        self,
        training: Encoded,
        held_out: Encoded,  # noqa: ARG002
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Train a copy of the base network on the classes of the rows."""
        labels = soft_labels(training.x, self._principal_features, training.y, self.seed)
        self._classes, probabilities = labels.classes, torch.from_numpy(labels.probabilities)
        codes = torch.from_numpy(self.bins.encode(training.x))
        with seeded(self.seed):
            self.network = GANNetwork(self.bins, self.params, len(labels.classes))
        self.network.copy_weights(self.base)
        self.code_probabilities = estimate_code_probabilities(
            self.network.one_hot, codes, probabilities
        )
        length = self.params.class_share * max(MIN_CLASS_STEPS, float(np.mean(training.y >= 0)))
        self._train(self.network, codes, probabilities.log(), length, checkpoint, progress)

    def _principal_features(self, x: np.ndarray) -> np.ndarray:
        features = self.features(x)
        n_components = min(N_COMPONENTS, *features.shape)
        return PCA(n_components, whiten=True, random_state=self.seed).fit_transform(features)

    def _train(
        self,
        network: GANNetwork,
        codes: Tensor,
        log_probabilities: Tensor,
        length: float,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        """Train a network.

        Args:
            network: Network to train.
            codes: Codes of the training rows, shape ``(n, n_columns)``.
            log_probabilities: Logarithms of their class probabilities, shape ``(n, n_classes)``.
            length: Factor on the epochs of the parameters.
            checkpoint: Folder for checkpoints.
            progress: Receives the losses.
        """
        params, n_rows = self.params, len(codes)
        epochs = max(1, round(length * params.n_epochs(n_rows)))
        max_steps = max(1, round(length * params.n_steps(n_rows)))
        steps_per_epoch = min(params.steps_per_epoch(n_rows), max_steps)
        n_steps = epochs * steps_per_epoch
        loss_epochs = max(epochs, round(length * params.epochs))
        conditions = ConditionSampler(codes, self.bins.n_codes)
        losses = GANLosses(network, params, conditions, log_probabilities, loss_epochs, n_steps)
        players = [
            Player(network.critic, losses.critic_loss),
            Player(network.generator, losses.generator_loss),
        ]
        plan = self._plan(
            n_rows,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            loss_epochs=loss_epochs,
            betas=(0.5, 0.9),
            averaging=averaging_decay(n_steps, MAX_AVERAGING, MIN_AVERAGING),
        )
        return train(
            network,
            players,
            [codes, log_probabilities],
            plan,
            check=losses.check_collapse,
            compute=self.compute,
            width=max(self.params.hidden_dims),
            checkpoint=checkpoint,
            progress=progress,
        )

    def _criticize(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        no_column = torch.full((len(codes),), -1)
        rows = self.base.one_hot(codes)
        return self.base.criticize(no_column, rows, rows[:, :0])

    def _sample_rows(self, positions: Tensor) -> Tensor:
        network, n = self.network, len(positions)
        columns = torch.randint(len(network.n_codes), (n,))
        # The Gumbel-max trick draws a code of the given column by its probability in the class.
        logits = torch.from_numpy(self.code_probabilities).log()[positions]
        logits = logits.masked_fill(network.owner != columns[:, None], -torch.inf)
        logits.sub_(torch.empty_like(logits).exponential_().log_())
        given = F.one_hot(logits.argmax(1), logits.shape[1])
        classes = F.one_hot(positions, network.n_classes).float()
        rows = network.generate(columns, given.float(), classes)
        return self.bins.decode([block.argmax(1) for block in rows.split(network.n_codes, dim=1)])

    def _arrays(self) -> dict[str, np.ndarray]:
        base = {f"base.{name}": value.numpy() for name, value in self.base.state_dict().items()}
        classes = np.zeros(0, np.int64) if self._classes is None else self._classes
        own = {"classes": classes, "shares": self.code_probabilities}
        return own | base | self.bins.arrays()

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.bins = RowBins.from_arrays(arrays, self.spans)
        self.code_probabilities = arrays["shares"]
        self.base = GANNetwork(self.bins, self.params, 0)
        state = {n: torch.from_numpy(arrays[f"base.{n}"]) for n in self.base.state_dict()}
        self.base.load_state_dict(state)
        self.base.eval()
        self.network = self.base
        if self._classes is not None:
            self.network = GANNetwork(self.bins, self.params, len(self._classes))


def estimate_code_probabilities(
    one_hot: Callable[[Tensor], Tensor], codes: Tensor, probabilities: Tensor
) -> np.ndarray:
    """Return the frequencies of all codes in each class, shrunk towards those of all rows.

    Args:
        one_hot: Returns concatenated one-hot codes ``(n, n_all)``. The rows are converted in
            chunks: all rows of MNIST at once would take 5 GB.
        codes: Codes of rows, shape ``(n, n_columns)``.
        probabilities: Class probabilities of the rows, shape ``(n, n_classes)``.

    Returns:
        Shape ``(n_classes, n_all)``, float32; they sum to 1 within each column.
    """
    weights = torch.cat([torch.ones(len(codes), 1), probabilities], 1).double()
    chunks = zip(codes.split(CHUNK_ROWS), weights.split(CHUNK_ROWS), strict=True)
    counts = torch.stack([some.T @ one_hot(rows).double() for rows, some in chunks]).sum(0)
    prior = PRIOR_ROWS * counts[0] / len(codes)
    return ((counts[1:] + prior) / (weights.sum(0)[1:, None] + PRIOR_ROWS)).float().numpy()
