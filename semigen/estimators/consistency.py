"""Neural network with consistency regularization on unlabeled rows."""

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

MIN_PROBABILITY = 1e-8


class ConsistencyNetwork(ProbabilisticClassifier):
    """Multilayer perceptron whose predictions are consistent on perturbed unlabeled rows.

    The predictions for noisy unlabeled rows must agree with the predictions of a teacher for the
    same rows without noise. The teacher is a moving average of the weights (Tarvainen & Valpola
    2017, "Mean teachers are better role models"). Optional terms are virtual adversarial training
    (Miyato et al. 2018) with ``smoothness``, and mutual information between rows and classes with
    ``information`` (see ``semigen.methods.vat.information``). With ``mixing``, pairs of rows are
    mixed instead of adding noise: mixup of labeled rows (Zhang et al. 2018) and interpolation
    consistency of unlabeled ones (Verma et al. 2019), which hurts if class boundaries are curved.

    The weights are stored as arrays, as in scikit-learn's networks, so that a saved model contains
    neither training rows nor pickles.

    Args:
        hidden_dims: Number of units of each hidden layer.
        n_steps: Number of optimization steps (Adam with decoupled weight decay).
        batch_size: Number of labeled and of unlabeled rows per step.
        learning_rate: Initial learning rate; it decays to zero along a half cosine.
        consistency: Weight of the teacher's term. This weight and the next two are ramped up during
            the first half of the training.
        smoothness: Weight of the virtual adversarial term; 0 omits the term.
        information: Weight of the information term; 0 omits the term.
        mixing: Whether to mix rows instead of adding noise.
        radius: Length of noise and adversarial steps, as a fraction of the median distance of a row
            to its tenth neighbor.
        averaging: Decay of the teacher's moving average per step.
        random_state: Seed of weights, batches and noise.

    Attributes:
        classes_: Labels, shape ``(n_classes,)``.
        coefs_: Weights of the teacher's layers, shapes ``(n_in, n_out)``.
        intercepts_: Biases of the teacher's layers, shapes ``(n_out,)``.
        n_iter_: Number of steps made.

    Examples:
        >>> X = np.array([[-1.0], [-0.9], [-0.8], [0.8], [0.9], [1.0]])
        >>> y = np.array([0, -1, -1, -1, -1, 1])
        >>> model = ConsistencyNetwork(hidden_dims=(8,), n_steps=100).fit(X, y)
        >>> model.predict(X)
        array([0, 0, 0, 1, 1, 1])
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
        """Train the network.

        Args:
            X: Rows, shape ``(n, n_features)``.
            y: Labels, -1 where unlabeled, shape ``(n,)``.
        """
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        is_labeled = y != -1
        self.classes_, codes = np.unique(y[is_labeled], return_inverse=True)
        labeled, unlabeled = (torch.from_numpy(X[rows]) for rows in (is_labeled, ~is_labeled))
        width = max(self.hidden_dims, default=1)
        with seeded(self.random_state), threads_for(width=width, batch_size=self.batch_size):
            self._train(labeled, torch.from_numpy(codes), unlabeled)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return class probabilities, shape ``(n, n_classes)``."""
        check_is_fitted(self)
        units = validate_data(self, X, dtype=np.float32, reset=False)
        for weight, bias in zip(self.coefs_[:-1], self.intercepts_[:-1], strict=True):
            units = np.maximum(units @ weight + bias, 0)
        probabilities: np.ndarray = softmax(units @ self.coefs_[-1] + self.intercepts_[-1], axis=1)
        return probabilities

    def _train(self, labeled: Tensor, codes: Tensor, unlabeled: Tensor) -> None:
        student = _perceptron(labeled.shape[1], self.hidden_dims, len(self.classes_))
        teacher = copy.deepcopy(student).requires_grad_(False)
        optimizer = torch.optim.AdamW(student.parameters(), self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.n_steps)
        targets = F.one_hot(codes, len(self.classes_)).float()
        proportions = targets.mean(0)
        rows = torch.cat([labeled, unlabeled]).numpy()
        radius = self.radius * typical_distance(rows) if len(rows) > 1 else 0.0
        for step in range(self.n_steps):
            loss = self._labeled_loss(student, labeled, targets, radius)
            if len(unlabeled):
                ramp = min(1.0, 2 * step / self.n_steps)
                loss = loss + ramp * self._unlabeled_loss(
                    student, teacher, unlabeled, proportions, radius
                )
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

    def _labeled_loss(
        self, student: nn.Module, x: Tensor, targets: Tensor, radius: float
    ) -> Tensor:
        first, second = (torch.randint(len(x), (min(self.batch_size, len(x)),)) for _ in range(2))
        if not self.mixing:
            return F.cross_entropy(student(_add_noise(x[first], radius)), targets[first])
        weight = torch.rand(len(first), 1)
        logits = student(weight * x[first] + (1 - weight) * x[second])
        return F.cross_entropy(logits, weight * targets[first] + (1 - weight) * targets[second])

    def _unlabeled_loss(
        self, student: nn.Module, teacher: nn.Module, x: Tensor, proportions: Tensor, radius: float
    ) -> Tensor:
        first, second = (x[torch.randint(len(x), (self.batch_size,))] for _ in range(2))

        def log_probabilities(rows: Tensor) -> Tensor:
            return student(rows).log_softmax(1)

        if self.mixing:
            weight = torch.rand(len(first), 1)
            one, other = teacher(first).softmax(1), teacher(second).softmax(1)
            expected = weight * one + (1 - weight) * other
            predicted = log_probabilities(weight * first + (1 - weight) * second)
        else:
            expected = teacher(first).softmax(1)
            predicted = log_probabilities(_add_noise(first, radius))
        loss = self.consistency * divergences((expected + MIN_PROBABILITY).log(), predicted).mean()
        if self.smoothness:
            current = log_probabilities(first).detach()
            perturbed = first + worst_step(log_probabilities, first, current, radius)
            loss = (
                loss + self.smoothness * divergences(current, log_probabilities(perturbed)).mean()
            )
        if self.information:
            loss = loss - self.information * information(log_probabilities(first), proportions)
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


def _add_noise(x: Tensor, radius: float) -> Tensor:
    """Return rows with normal noise of expected length ``radius``."""
    return x + radius / x.shape[1] ** 0.5 * torch.randn_like(x)
