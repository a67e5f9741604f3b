"""A network whose answers must also be consistent on unlabeled rows."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import torch
from scipy.special import softmax
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn
from torch.nn import functional as F

from semigen.estimators.base import ProbabilisticClassifier
from semigen.methods.vat import (
    divergences,
    information,
    typical_distance,
    worst_step,
)
from semigen.training.averaging import update_average
from semigen.training.compute import seeded, threads_for

TINY = 1e-8


class ConsistencyNetwork(ProbabilisticClassifier):
    """A perceptron whose answers stay where a row moves a little, and are sure and balanced.

    On unlabeled rows the answer to a row with noise must be a teacher's answer to the row without;
    the teacher is the moving average of the weights (Tarvainen & Valpola 2017, "Mean teachers").
    With ``smoothness`` the answer must also stay when a row moves in the worst direction (Miyato et
    al. 2018), and with ``information`` the answers must tell classes apart (see
    ``smoothness.information``). With ``mixing`` rows are mixed in pairs instead of made noisy:
    mixup of labeled rows (Zhang et al. 2018), and interpolation consistency of unlabeled ones
    (Verma et al. 2019), which hurts where classes are curved. Weights are kept as arrays, as in
    scikit-learn's networks, so that no training row and no pickle is in a saved model.

    Args:
        hidden_dims: Hidden layers.
        n_steps: Steps of Adam.
        batch_size: Labeled rows, and unlabeled ones, of a step.
        learning_rate: At the start; it falls to zero along a half cosine.
        consistency: Weight of the teacher's term, reached in the middle of the training, as are the
            next two.
        smoothness: Weight of the worst direction's term; 0 leaves it out.
        information: Weight of the information term; 0 leaves it out.
        mixing: Whether rows are mixed.
        radius: Length of noise and steps, as a share of a row's typical distance to its tenth
            neighbor.
        averaging: Decay, per step, of the teacher.
        random_state: Seed.

    Attributes:
        classes_: Shape ``(n_classes,)``.
        coefs_: The teacher's weights, layer by layer, shapes ``(n_in, n_out)``.
        intercepts_: Its biases.
    """

    def __init__(
        self,
        hidden_dims: tuple[int, ...] = (128, 64),
        n_steps: int = 600,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        consistency: float = 1.0,
        smoothness: float = 0.0,
        information: float = 0.0,
        mixing: bool = False,
        radius: float = 0.5,
        averaging: float = 0.99,
        random_state: int = 0,
    ) -> None:
        self.hidden_dims = hidden_dims
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.consistency = consistency
        self.smoothness = smoothness
        self.information = information
        self.mixing = mixing
        self.radius = radius
        self.averaging = averaging
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Fit on rows ``(n, n_features)`` with labels ``y``, -1 where unlabeled."""
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        is_labeled = y != -1
        self.classes_, codes = np.unique(y[is_labeled], return_inverse=True)
        labeled, hidden = (torch.from_numpy(X[rows]) for rows in (is_labeled, ~is_labeled))
        width = max(self.hidden_dims, default=1)
        with seeded(self.random_state), threads_for(width=width, batch_size=self.batch_size):
            self._train(labeled, torch.from_numpy(codes), hidden)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return class probabilities, shape ``(n, n_classes)``."""
        check_is_fitted(self)
        units = validate_data(self, X, dtype=np.float32, reset=False)
        for weight, bias in zip(self.coefs_[:-1], self.intercepts_[:-1], strict=True):
            units = np.maximum(units @ weight + bias, 0)
        probabilities: np.ndarray = softmax(units @ self.coefs_[-1] + self.intercepts_[-1], axis=1)
        return probabilities

    def _train(self, labeled: Tensor, codes: Tensor, hidden: Tensor) -> None:
        student = _perceptron(labeled.shape[1], self.hidden_dims, len(self.classes_))
        teacher = copy.deepcopy(student).requires_grad_(False)
        optimizer = torch.optim.AdamW(student.parameters(), self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.n_steps)
        known = F.one_hot(codes, len(self.classes_)).float()
        expected = known.mean(0)
        rows = torch.cat([labeled, hidden]).numpy()
        reach = self.radius * typical_distance(rows) if len(rows) > 1 else 0.0
        for step in range(self.n_steps):
            loss = self._labeled_loss(student, labeled, known, reach)
            if len(hidden):
                ramp = min(1.0, 2 * step / self.n_steps)
                loss = loss + ramp * self._hidden_loss(student, teacher, hidden, expected, reach)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            decay = min(self.averaging, (step + 1) / (step + 10))
            update_average(teacher.state_dict(), student, decay)
        layers = [layer for layer in teacher if isinstance(layer, nn.Linear)]
        self.coefs_ = [np.ascontiguousarray(layer.weight.T.numpy()) for layer in layers]
        self.intercepts_ = [layer.bias.numpy().copy() for layer in layers]
        self.n_iter_ = self.n_steps

    def _labeled_loss(self, student: nn.Module, x: Tensor, known: Tensor, reach: float) -> Tensor:
        one, other = (torch.randint(len(x), (min(self.batch_size, len(x)),)) for _ in range(2))
        if not self.mixing:
            return F.cross_entropy(student(_noisy(x[one], reach)), known[one])
        share = torch.rand(len(one), 1)
        logits = student(share * x[one] + (1 - share) * x[other])
        return F.cross_entropy(logits, share * known[one] + (1 - share) * known[other])

    def _hidden_loss(
        self, student: nn.Module, teacher: nn.Module, x: Tensor, expected: Tensor, reach: float
    ) -> Tensor:
        one, other = (x[torch.randint(len(x), (self.batch_size,))] for _ in range(2))

        def log_shares_of(rows: Tensor) -> Tensor:
            return student(rows).log_softmax(1)

        if self.mixing:
            share = torch.rand(len(one), 1)
            wanted = share * teacher(one).softmax(1) + (1 - share) * teacher(other).softmax(1)
            answer = log_shares_of(share * one + (1 - share) * other)
        else:
            wanted, answer = teacher(one).softmax(1), log_shares_of(_noisy(one, reach))
        loss = self.consistency * divergences((wanted + TINY).log(), answer).mean()
        if self.smoothness:
            now = log_shares_of(one).detach()
            moved = one + worst_step(log_shares_of, one, now, reach)
            loss = loss + self.smoothness * divergences(now, log_shares_of(moved)).mean()
        if self.information:
            loss = loss - self.information * information(log_shares_of(one), expected)
        return loss

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags


def _perceptron(n_features: int, hidden_dims: tuple[int, ...], n_classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in hidden_dims:
        layers += [nn.Linear(n_features, width), nn.ReLU()]
        n_features = width
    return nn.Sequential(*layers, nn.Linear(n_features, n_classes))


def _noisy(x: Tensor, reach: float) -> Tensor:
    """Return rows with normal noise of expected length ``reach``."""
    return x + reach / x.shape[1] ** 0.5 * torch.randn_like(x)
