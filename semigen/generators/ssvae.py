"""Semi-supervised variational autoencoders: M2, M1+M2, SDGM and ADGM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from semigen.generators.likelihoods import RowLikelihood
from semigen.generators.network_model import NetworkModel
from semigen.generators.ssvae_loss import SSVAELoss, candidate_classes
from semigen.generators.ssvae_network import SSVAENetwork
from semigen.generators.vae import VAE
from semigen.methods.class_index import find_classes
from semigen.methods.label_spreading import guess_labels
from semigen.params.config import ComputeParams
from semigen.params.generators import SSVAEParams, VAEParams
from semigen.tables.encoding import Encoded, Span
from semigen.training.averaging import averaging_decay
from semigen.training.compute import seeded
from semigen.training.engine import train
from semigen.training.plan import History, TrainingPlan
from semigen.training.progress import Progress

N_PREDICTION_SAMPLES = 8
N_SCORE_SAMPLES = 8
MIN_DEVIATION = 1e-6


class SSVAE(NetworkModel[SSVAEParams]):
    """Semi-supervised VAEs of Kingma et al. (2014) and Maaløe et al. (2016).

    Training has two stages. **M1**, a VAE, is trained on all rows without labels. Its posterior
    means are the ``features``, and the labels are spread over the graph of their nearest neighbors
    (``label_spreading``). Then **M2**, or the form chosen by ``params.form``, is trained. Its
    classifier ``q(y | x)`` learns the spread labels in the first epochs, and then from the bound,
    the labels and regularizers (``SSVAELoss``). The input of ``m1m2`` is M1's features, as in the
    paper; the input of the other forms is the encoded row.

    Rows of a class are sampled from the generative model, whose decoder is conditioned on ``y``.
    Without any label only M1 is trained; the model then has features and scores, but no classes.

    Attributes:
        m1: The VAE of all rows.
        m2: The network of the second stage; None without labeled rows.
        moments: Mean and standard deviation of M1's features, shape ``(2, latent_dim)``.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> y = np.arange(60) % 2
        >>> x = (4.0 * y[:, None] + rng.normal(size=(60, 2))).astype(np.float32)
        >>> rows = Encoded(x, np.where(np.arange(60) < 6, y, -1))
        >>> spans = [Span("a", 0, 1, "numeric"), Span("b", 1, 2, "numeric")]
        >>> params = SSVAEParams(epochs=3, pretrain_epochs=2, hidden_dims=(8,))
        >>> model = SSVAE(spans, params)
        >>> _ = model.fit(rows)
        >>> model.predict_proba(x).shape
        (60, 2)
        >>> model.sample(np.array([0, 1, 1]), seed=0).shape
        (3, 2)
    """

    family = "ssvae"
    params_type = SSVAEParams
    network: nn.ModuleDict

    def __init__(
        self,
        spans: Sequence[Span],
        params: SSVAEParams,
        compute: ComputeParams | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(spans, params, compute, seed)
        self.m1 = _m1(self.spans, params, self.compute, seed)
        self.m2: SSVAENetwork | None = None
        self.network = nn.ModuleDict({"m1": self.m1.network})
        self.moments = np.empty((0, 0), np.float32)

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return M1's posterior means, shape ``(n, latent_dim)``, float32.

        They do not depend on the labels.
        """
        return self.m1.features(x)

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return ``q(y | x)`` of ``classes_``, shape ``(n, n_classes)``.

        For forms with an auxiliary variable, the mean of eight samples, which are the same in every
        call.

        Raises:
            UserError: If the model was fitted without labeled rows.
        """
        m2 = self._fitted_m2()
        n_samples = N_PREDICTION_SAMPLES if m2.auxiliary_dim else 1

        def probabilities(x: Tensor) -> Tensor:
            samples = [m2.logits(x, m2.sample_auxiliary(x)).softmax(1) for _ in range(n_samples)]
            return torch.stack(samples).mean(0)

        return self._map_chunks(probabilities, self._m2_input(x), seed=self.seed)

    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``, shape ``(len(y), n_features)``.

        Raises:
            UserError: If ``y`` holds a class that had no labeled row, or there are no classes.
        """
        positions, m2 = self._positions(y), self._fitted_m2()
        with seeded(seed):
            rows = self._map_chunks(m2.sample, positions)
            if self.params.form != "m1m2":
                return rows
            codes = rows * self.moments[1] + self.moments[0]
            return self._map_chunks(lambda z: self.m1.network.decode(z).sample(), codes)

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return a lower bound of the log density of every row, in nats, shape ``(n,)``.

        The importance-weighted bound (Burda et al. 2016, "Importance Weighted Autoencoders"),
        summed over the most probable classes of each row. Without labels, and for ``m1m2``, whose
        M2 is a model of latent codes, it is the bound of M1. The samples are the same in every
        call.
        """
        if self.m2 is None or self.params.form == "m1m2":
            return self.m1.score(x)
        return self._map_chunks(self._marginal_bound, x, seed=self.seed)

    def _fit(
        self,
        training: Encoded,
        held_out: Encoded,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        unlabeled, others = (Encoded(r.x, np.full_like(r.y, -1)) for r in (training, held_out))
        history = self.m1._fit(unlabeled, others, checkpoint and checkpoint / "m1", progress)
        if (training.y >= 0).any():
            return self._fit_m2(training, held_out, checkpoint and checkpoint / "m2", progress)
        return history

    def _learn_classes(self, training: Encoded, held_out: Encoded) -> None:
        self._fit_m2(training, held_out, None, None)
        self._set_held_out_scores(held_out.x)

    def _fit_m2(
        self,
        training: Encoded,
        held_out: Encoded,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        params = self.params
        self._classes = np.unique(training.y[training.y >= 0]).astype(np.int64)
        codes = self.features(training.x)
        self.moments = np.stack([codes.mean(0), np.maximum(codes.std(0), MIN_DEVIATION)])
        m2, x = self._new_m2(), self._m2_input(training.x)
        y, y_held_out = (find_classes(rows.y, self._classes) for rows in (training, held_out))
        data = (x, y, self._spread_labels(codes, y))
        held_out_data = (self._m2_input(held_out.x), y_held_out, np.full_like(y_held_out, -1))
        return train(
            m2,
            SSVAELoss(m2, params, x, y),
            [torch.from_numpy(array) for array in data],
            self._m2_plan(len(y)),
            held_out=[torch.from_numpy(array) for array in held_out_data],
            compute=self.compute,
            width=max(*params.hidden_dims, *params.classifier_dims),
            checkpoint=checkpoint,
            progress=progress,
        )

    def _m2_plan(self, n_rows: int) -> TrainingPlan:
        plan = self._plan(n_rows, patience=self.params.patience, schedule="late")
        decay = averaging_decay(self.params.n_steps(n_rows), self.params.averaging)
        return replace(plan, averaging=decay)

    def _spread_labels(self, codes: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the spread labels of the most confident rows, -1 elsewhere."""
        params = self.params
        if not params.guided_epochs:
            return np.full_like(y, -1)
        return guess_labels(
            codes, y, n_neighbors=params.n_neighbors, confident_share=params.confident_share
        )

    def _new_m2(self) -> SSVAENetwork:
        """Set ``m2`` to an untrained network for the classes, and return it."""
        spans = self.spans
        if self.params.form == "m1m2":
            spans = tuple(
                Span(f"code {i}", i, i + 1, "numeric") for i in range(self.params.latent_dim)
            )
        with seeded(self.seed):
            self.m2 = SSVAENetwork(spans, len(self.classes_), self.params)
        self.network = nn.ModuleDict({"m1": self.m1.network, "m2": self.m2})
        return self.m2

    def _m2_input(self, x: np.ndarray) -> np.ndarray:
        """Return the input of M2: M1's standardized features for ``m1m2``, else the rows."""
        if self.params.form != "m1m2":
            return x
        return (self.features(x) - self.moments[0]) / self.moments[1]

    def _marginal_bound(self, x: Tensor) -> Tensor:
        m2 = self._fitted_m2()
        rows = torch.arange(len(x))
        weights = []
        for _ in range(N_SCORE_SAMPLES):
            a = m2.sample_auxiliary(x)
            log_probabilities = m2.logits(x, a).log_softmax(1)
            _, classes = candidate_classes(log_probabilities, self.params.max_classes)
            weights += [m2.log_weights(x, a, rows, y) for y in classes.T]
        return torch.stack(weights).logsumexp(0) - float(np.log(N_SCORE_SAMPLES))

    def _arrays(self) -> dict[str, np.ndarray]:
        return {} if self.m2 is None else {"classes": self.classes_, "moments": self.moments}

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        if arrays:
            self.moments = arrays["moments"]
            self._new_m2()

    def _fitted_m2(self) -> SSVAENetwork:
        _ = self.classes_  # raises UserError if there are none
        assert self.m2 is not None
        return self.m2


def _m1(spans: Sequence[Span], params: SSVAEParams, compute: ComputeParams, seed: int) -> VAE:
    has_intensities = params.noise_scale == "intensity"
    settings = VAEParams(
        epochs=params.pretrain_epochs,
        max_steps=params.max_steps,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        validation_size=params.validation_size,
        latent_dim=params.latent_dim,
        hidden_dims=params.hidden_dims,
        noise_scale="shared" if has_intensities else params.noise_scale,
        beta=params.beta,
        warmup_epochs=params.warmup_epochs,
        patience=params.patience,
    )
    m1 = VAE(spans, settings, compute, seed)
    m1.network.likelihood = RowLikelihood(
        spans, shared_scale=params.noise_scale == "shared", intensities=has_intensities
    )
    return m1
