"""``max_steps`` bounds the steps of every family, and shortens the schedules of its losses."""

from __future__ import annotations

import pytest

from semigen.generators.vae import kl_warmup
from semigen.params.generators import VAEParams
from semigen.training import engine
from tests.semigen.example_tables import encoded, mixed_table
from tests.semigen.generators.small_models import CASES, QUICK, small_model

MAX_STEPS = 6
N_ROWS = 120


@pytest.fixture(scope="module")
def table():
    return encoded(mixed_table(N_ROWS, missing=0.1), n_labeled=12)


@pytest.fixture
def trainings(monkeypatch):
    """Return a list that receives, for each training, its plan and the loss epoch of every step."""
    seen: list[tuple[engine.TrainingPlan, list[int]]] = []
    make, loss_epoch = engine._Training.__init__, engine._Training._loss_epoch

    def start(self, *arguments):
        make(self, *arguments)
        seen.append((self.plan, []))

    def step(self, *arguments):
        epoch = loss_epoch(self, *arguments)
        seen[-1][1].append(epoch)
        return epoch

    monkeypatch.setattr(engine._Training, "__init__", start)
    monkeypatch.setattr(engine._Training, "_loss_epoch", step)
    return seen


def small(case: str, encoder, max_steps: int):
    """Return a model of 60 epochs, each of many steps."""
    more: dict[str, object] = {}
    if case in ("diffusion", "autoregressive"):
        more = {"class_steps": max_steps}
    elif case == "gan":
        more = {"class_share": 1.0}
    elif case not in ("vae", "ssgan"):
        more = {"pretrain_epochs": 60}
    limits = {"max_steps": max_steps, "epochs": 60, "batch_size": 4}
    return small_model(case, encoder, QUICK, **limits | more)


@pytest.mark.parametrize("case", CASES)
def test_no_training_has_more_steps(case, table, trainings):
    encoder, rows = table
    small(case, encoder, MAX_STEPS).fit(rows)
    assert trainings
    for plan, epochs in trainings:
        assert 0 < len(epochs) <= MAX_STEPS < N_ROWS / plan.batch_size


@pytest.mark.parametrize("case", sorted(set(CASES) - {"diffusion", "autoregressive"}))
@pytest.mark.parametrize("max_steps", [MAX_STEPS, 70])
def test_all_epochs_of_the_loss_pass_in_few_steps(case, max_steps, table, trainings):
    encoder, rows = table
    small(case, encoder, max_steps).fit(rows)
    for plan, epochs in trainings:
        assert plan.epochs < plan.schedule_epochs
        assert epochs == [i * plan.schedule_epochs // len(epochs) for i in range(len(epochs))]


def test_weight_of_the_kl_term_reaches_one_in_large_tables():
    params = VAEParams()
    for n_rows in (1_000, 90_000, 900_000, 9_000_000):
        steps, epochs = params.steps_per_epoch(n_rows), params.n_epochs(n_rows)
        assert steps * epochs == params.n_steps(n_rows) <= params.max_steps
        last = (steps * epochs - 1) * params.epochs // (steps * epochs)
        assert kl_warmup(last, params.warmup_epochs, params.epochs) == 1.0
