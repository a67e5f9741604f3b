"""A ``SemiSupervisedClassifier`` whose fit takes about a second."""

from __future__ import annotations

from semigen import SemiSupervisedClassifier
from semigen.params.config import PretrainParams, TrainParams
from semigen.params.generators import VAEParams

PRETRAIN = PretrainParams(vae=VAEParams(latent_dim=2, hidden_dims=(8,), epochs=1))
TRAIN = TrainParams(folds=2, repeats=1, epochs=1)


def quick_estimator(**params) -> SemiSupervisedClassifier:
    """Return an estimator without time for more than the labels-only learners."""
    defaults = {"pretrain": PRETRAIN, "train": TRAIN, "time_budget_s": 1e-9}
    return SemiSupervisedClassifier(**defaults | params)
