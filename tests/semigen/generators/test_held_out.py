"""Rows that are held out of training: which ones, and what a class keeps."""

from __future__ import annotations

import numpy as np
import pytest

from semigen.classifiers.problem import LearningProblem
from semigen.generators import FAMILIES, make_generator
from semigen.params.config import AugmentParams, ComputeParams, PretrainParams
from semigen.tables.encoding import Encoded, Span
from tests.semigen.example_tables import encoded, mixed_table
from tests.semigen.generators.small_models import QUICK

SPANS = [Span("x", 0, 1, "numeric")]


def model(family, validation_size=0.1, seed=0):
    params_type = FAMILIES[family].params_type
    return FAMILIES[family](SPANS, params_type(validation_size=validation_size), seed=seed)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n_rows", [4, 11, 100])
def test_keeps_the_only_row_of_a_class_in_training(family, n_rows):
    y = np.where(np.arange(n_rows) == 2, 1, 0)
    for seed in range(100):
        held_out = model(family, seed=seed).held_out(y)
        assert len(held_out) == max(1, round(0.1 * n_rows))
        assert 2 not in held_out


@pytest.mark.parametrize("validation_size", [0.1, 0.5, 0.9])
def test_keeps_a_row_of_every_class_in_training(validation_size):
    y = np.concatenate([np.arange(30) // 2, [-1] * 4])
    for seed in range(50):
        held_out = model("vae", validation_size, seed).held_out(y)
        assert len(held_out)
        assert set(np.delete(y, held_out)) >= set(range(15))


def test_holds_nothing_out_where_every_row_is_the_only_one_of_its_class():
    assert len(model("vae").held_out(np.arange(3))) == 0


def test_draws_unlabeled_rows_where_there_are_enough():
    y = np.where(np.arange(50) < 30, np.arange(50) % 3, -1)
    held_out = model("vae").held_out(y)
    assert len(held_out) == 5
    assert (y[held_out] == -1).all()


@pytest.mark.parametrize("n_unlabeled", [4, 60])
def test_draws_the_same_rows_however_labeled_and_unlabeled_rows_are_interleaved(n_unlabeled):
    y = np.concatenate([np.arange(40) % 3, np.full(n_unlabeled, -1)])
    positions = np.random.default_rng(0).permutation(len(y))
    order = np.empty(len(y), int)  # labeled and unlabeled rows keep their order among themselves
    order[np.sort(positions[:40])] = np.arange(40)
    order[np.sort(positions[40:])] = np.arange(40, len(y))
    interleaved = order[model("vae").held_out(y[order])]
    np.testing.assert_array_equal(np.sort(interleaved), model("vae").held_out(y))


@pytest.mark.parametrize("n_labeled", [24, 100])
@pytest.mark.parametrize("family", ["ssvae", "gan", "ssgan", "diffusion", "autoregressive"])
def test_generators_of_folds_do_not_learn_from_held_out_rows(family, n_labeled, monkeypatch):
    encoder, rows = encoded(mixed_table(100), n_labeled)
    params = PretrainParams.model_validate({"generator": family, family: QUICK[family]})
    generator = make_generator(encoder, params, ComputeParams(), seed=0)
    generator.fit(rows)
    labeled, unlabeled = (Encoded(rows.x[part], rows.y[part]) for part in (rows.y >= 0, rows.y < 0))
    problem = LearningProblem.from_encoded(labeled, unlabeled, generator, AugmentParams(), seed=0)
    learned, learn = [], type(generator)._learn_classes

    def record(self, training, *others):
        learned.append(training.x)
        learn(self, training, *others)

    monkeypatch.setattr(type(generator), "_learn_classes", record)
    fold = np.arange(n_labeled) % 3 != 0
    assert len(problem.subset(np.flatnonzero(fold)).synthetic.y)
    (x,) = learned
    held_out = rows.x[generator.held_out(rows.y)]
    assert not (x[:, None] == held_out[None]).all(axis=2).any()
    n_kept_out = len(np.intersect1d(generator.held_out(rows.y), np.flatnonzero(~fold)))
    assert len(x) == fold.sum() + len(unlabeled.y) - len(held_out) + n_kept_out
