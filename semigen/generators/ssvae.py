"""Semi-supervised variational autoencoders: M2, M1+M2 and the auxiliary and skip-deep forms."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from semigen.generators.likelihoods import RowLikelihood
from semigen.generators.network_model import N_QUANTILES, NetworkModel
from semigen.generators.ssvae_loss import SSVAELoss, candidate_classes
from semigen.generators.ssvae_network import SSVAENetwork
from semigen.generators.vae import VAE
from semigen.methods.label_spreading import guess_labels
from semigen.params.config import ComputeParams
from semigen.params.generators import SSVAEParams, VAEParams
from semigen.tables.encoding import Encoded, Span
from semigen.training.compute import seeded
from semigen.training.engine import History, TrainingPlan, train
from semigen.training.progress import Progress

PREDICTION_DRAWS = 8
SCORE_DRAWS = 8
MIN_SPREAD = 1e-6


class SSVAE(NetworkModel[SSVAEParams]):
    """Semi-supervised VAEs of Kingma et al. (2014) and Maaløe et al. (2016).

    Training has two parts. **M1**, a VAE of all rows, knows no label. Its posterior means are the
    ``features``, and the few labels are spread over the graph of their nearest neighbors
    (``label_graph``). Then **M2**, or the form that is asked for, is trained: its classifier
    ``q(y | x)`` is led by the spread labels first, and by its bound, the labels and its own
    smoothness after that (``SSVAELoss``). With ``form: m1m2`` its rows are M1's features, as in the
    paper; with the others they are the table's.

    Rows of a class are drawn from the generative model itself, whose decoder knows ``y``. A fit
    without any label trains M1 alone: there are features and scores then, but no classes.
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
        self.known_classes = np.empty(0, np.int64)
        self.moments = np.empty((0, 0), np.float32)

    @property
    def classes_(self) -> np.ndarray:
        self._m2()
        return self.known_classes

    def held_out(self, y: np.ndarray) -> np.ndarray:
        """Return the indices of the rows that ``fit`` keeps out of training, at least one.

        As for every family, but that no class loses all of its labeled rows.
        """
        chosen = super().held_out(y)
        is_chosen = np.zeros(len(y), bool)
        is_chosen[chosen] = True
        for lost in np.setdiff1d(y[is_chosen & (y >= 0)], y[~is_chosen]):
            is_chosen[np.flatnonzero(y == lost)[0]] = False
        # If every row is the only one of its class, one of them has to do.
        return np.flatnonzero(is_chosen) if is_chosen.any() else chosen[:1]

    def with_classes(self, rows: Encoded) -> Self:
        """Return the model with M1 as it is, which knows no labels, and M2 learned anew."""
        other = copy.copy(self)
        is_held_out = np.zeros(len(rows.y), bool)
        is_held_out[self.held_out(rows.y)] = True
        held_out = Encoded(rows.x[is_held_out], rows.y[is_held_out])
        other._fit_m2(Encoded(rows.x[~is_held_out], rows.y[~is_held_out]), held_out, None, None)
        shares = np.linspace(0.0, 1.0, N_QUANTILES)
        other.held_out_scores = np.quantile(other.score(held_out.x), shares)
        return other

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return M1's posterior means, shape ``(n, latent_dim)``, float32; no label moves them."""
        return self.m1.features(x)

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return ``q(y | x)`` of ``classes_``, shape ``(n, n_classes)``.

        Forms with an auxiliary variable average over eight draws of it, the same in every call.
        """
        m2 = self._m2()
        n_draws = PREDICTION_DRAWS if m2.auxiliary_dim else 1

        def probabilities(view: Tensor) -> Tensor:
            draws = [m2.logits(view, m2.draw_auxiliary(view)).softmax(1) for _ in range(n_draws)]
            return torch.stack(draws).mean(0)

        with seeded(self.seed):
            return self._map_chunks(probabilities, self._view(x))

    def sample(self, y: np.ndarray, seed: int) -> np.ndarray:
        """Return one new encoded row of each class in ``y``, shape ``(len(y), n_features)``.

        Raises:
            ValueError: If there are no classes, or ``y`` holds one that had no labeled row.
        """
        m2, places = self._m2(), self._places(np.asarray(y))
        with seeded(seed):
            views = self._map_chunks(m2.sample, places)
            if self.params.form != "m1m2":
                return views
            codes = views * self.moments[1] + self.moments[0]
            return self._map_chunks(lambda z: self.m1.network.decode(z).sample(), codes)

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return a lower bound of every row's log density, in nats, shape ``(n,)``.

        The importance-weighted bound (Burda et al. 2016) of the rows' most probable classes,
        added up; M1's where there are no classes, and for ``m1m2``, whose M2 models codes, not
        rows. The draws are the same in every call.
        """
        if self.m2 is None or self.params.form == "m1m2":
            return self.m1.score(x)
        with seeded(self.seed):
            return self._map_chunks(self._marginal_bound, x)

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

    def _fit_m2(
        self,
        training: Encoded,
        held_out: Encoded,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> History:
        params = self.params
        self.known_classes = np.unique(training.y[training.y >= 0]).astype(np.int64)
        codes = self.features(training.x)
        self.moments = np.stack([codes.mean(0), np.maximum(codes.std(0), MIN_SPREAD)])
        m2, view, y = self._new_m2(), self._view(training.x), self._places(training.y)
        is_known = np.isin(held_out.y, self.known_classes)
        y_held_out = self._places(np.where(is_known, held_out.y, -1))
        no_guess = np.full_like(y_held_out, -1)
        data = (view, y, self._guess(codes, y))
        return train(
            m2,
            SSVAELoss(m2, params, view, y),
            [torch.from_numpy(array) for array in data],
            self._m2_plan(len(y)),
            held_out=[
                torch.from_numpy(array) for array in (self._view(held_out.x), y_held_out, no_guess)
            ],
            compute=self.compute,
            width=max(*params.hidden_dims, *params.classifier_dims),
            checkpoint=checkpoint,
            progress=progress,
        )

    def _m2_plan(self, n_rows: int) -> TrainingPlan:
        plan = self._plan(n_rows, patience=self.params.patience, schedule="late")
        n_steps = plan.epochs * -(-n_rows // plan.batch_size)
        # Where steps are few, the average is one of the last tenth, free of the first weights.
        averaging = min(self.params.averaging, max(0.0, 1 - 10 / n_steps))
        return replace(plan, averaging=averaging)

    def _guess(self, codes: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return spread labels of the surest rows, -1 elsewhere."""
        params = self.params
        if not params.guided_epochs:
            return np.full_like(y, -1)
        return guess_labels(
            codes, y, n_neighbors=params.n_neighbors, confident_share=params.confident_share
        )

    def _new_m2(self) -> SSVAENetwork:
        """Put an untrained M2 for the known classes in its place, and return it."""
        spans = self.spans
        if self.params.form == "m1m2":
            spans = tuple(
                Span(f"code {i}", i, i + 1, "numeric") for i in range(self.params.latent_dim)
            )
        with seeded(self.seed):
            self.m2 = SSVAENetwork(spans, len(self.known_classes), self.params)
        self.network = nn.ModuleDict({"m1": self.m1.network, "m2": self.m2})
        return self.m2

    def _view(self, x: np.ndarray) -> np.ndarray:
        """Return rows as M2 sees them: M1's standardized features for ``m1m2``."""
        if self.params.form != "m1m2":
            return x
        return (self.features(x) - self.moments[0]) / self.moments[1]

    def _marginal_bound(self, x: Tensor) -> Tensor:
        m2 = self._m2()
        rows = torch.arange(len(x))
        weights = []
        for _ in range(SCORE_DRAWS):
            a = m2.draw_auxiliary(x)
            log_shares = m2.logits(x, a).log_softmax(1)
            _, classes = candidate_classes(log_shares, self.params.max_classes)
            weights += [m2.log_weights(x, a, rows, y) for y in classes.T]
        return torch.stack(weights).logsumexp(0) - float(np.log(SCORE_DRAWS))

    def _places(self, y: np.ndarray) -> np.ndarray:
        """Return the positions of classes in ``classes_``; -1 where unlabeled."""
        known = self.known_classes
        places = np.searchsorted(known, y).clip(max=len(known) - 1)
        unknown = y[(known[places] != y) & (y >= 0)]
        if len(unknown):
            raise ValueError(f"no labeled row had class {unknown[0]}; known: {known}")
        return np.where(y < 0, -1, places).astype(np.int64)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {} if self.m2 is None else {"classes": self.known_classes, "moments": self.moments}

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        if arrays:
            self.known_classes, self.moments = arrays["classes"], arrays["moments"]
            self._new_m2()

    def _m2(self) -> SSVAENetwork:
        if self.m2 is None:
            raise ValueError("the model knows no classes: fit it with labeled rows among the rows")
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
