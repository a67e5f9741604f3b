from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from semigen.params.config import ComputeParams
from semigen.training.compute import seeded
from semigen.training.engine import train
from semigen.training.plan import Player, TrainingDiverged, TrainingPlan
from semigen.training.progress import Progress

PLAN = TrainingPlan(epochs=12, batch_size=16, learning_rate=0.05, seed=3)
EVERY_EPOCH = ComputeParams(checkpoint_seconds=1e-9)


def regression_data():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(100, 3)).astype(np.float32))
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 3.0


def network() -> nn.Module:
    with seeded(0):
        return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 1))


def loss_of(module):
    def loss(batch, _epoch):
        x, y = batch
        noise = torch.randn_like(y) * 0.1  # as a reparametrized posterior would draw
        return ((module(x) - y + noise) ** 2).mean()

    return loss


def run(module, plan=PLAN, **options):
    x, y = regression_data()
    held_out = (x[80:], y[80:])
    return train(module, loss_of(module), (x[:80], y[:80]), plan, held_out=held_out, **options)


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_linear_network_converges_to_the_least_squares_solution():
    x, y = regression_data()
    with seeded(0):
        module = nn.Linear(3, 1)
    train(
        module,
        lambda batch, _: ((module(batch[0]) - batch[1]) ** 2).mean(),
        (x, y),
        TrainingPlan(epochs=200, batch_size=20, learning_rate=0.05, seed=0),
    )
    solution = [1.0, -2.0, 0.5, 3.0]  # the data have no noise
    np.testing.assert_allclose(weights(module).numpy(), solution, atol=1e-3)


def test_weights_depend_on_the_seed_only():
    modules = [network(), network(), network()]
    histories = [
        run(module, TrainingPlan(epochs=3, batch_size=16, learning_rate=0.05, seed=seed))
        for module, seed in zip(modules, (3, 3, 4), strict=True)
    ]
    assert torch.equal(weights(modules[0]), weights(modules[1]))
    assert histories[0] == histories[1]
    assert not torch.equal(weights(modules[0]), weights(modules[2]))


class Killed(Exception):
    pass


class KillAfter(Progress):
    """Raises ``Killed`` after a number of epochs."""

    def __init__(self, n_epochs: int) -> None:
        super().__init__("", stream=None)
        self.n_epochs = n_epochs

    def epoch(self, train, validation, n_epochs):
        super().epoch(train, validation, n_epochs)
        if len(train) == self.n_epochs:
            raise Killed


@pytest.mark.parametrize("n_epochs_done", [1, 5, 11])
def test_resumed_training_gives_bit_identical_weights(n_epochs_done, tmp_path):
    undisturbed = network()
    expected = run(undisturbed)

    module, checkpoint = network(), tmp_path / "checkpoint"
    with pytest.raises(Killed):
        run(module, compute=EVERY_EPOCH, checkpoint=checkpoint, progress=KillAfter(n_epochs_done))
    done = json.loads((checkpoint / "state.json").read_text())
    assert len(done["train"]) == n_epochs_done
    resumed = network()
    history = run(resumed, compute=EVERY_EPOCH, checkpoint=checkpoint)
    assert torch.equal(weights(resumed), weights(undisturbed))
    assert history == expected


class NoEpoch(Progress):
    def epoch(self, *_):
        raise AssertionError("an epoch was trained")


def test_completed_training_is_not_repeated(tmp_path):
    module, again = network(), network()
    history = run(module, checkpoint=tmp_path / "checkpoint")
    silent = NoEpoch("", stream=None)
    assert run(again, checkpoint=tmp_path / "checkpoint", progress=silent) == history
    assert torch.equal(weights(again), weights(module))


@pytest.mark.parametrize(
    ("other", "factor"),
    [(replace(PLAN, learning_rate=0.01), 1.0), (replace(PLAN, objective="times 3"), 3.0)],
)
def test_checkpoint_of_another_plan_or_objective_is_not_resumed(other, factor, tmp_path):
    def run_other(module, **options):
        def loss(batch, epoch):
            return factor * loss_of(module)((batch[0], factor * batch[1]), epoch)

        x, y = regression_data()
        return train(module, loss, (x[:80], y[:80]), other, held_out=(x[80:], y[80:]), **options)

    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        run(network(), compute=EVERY_EPOCH, checkpoint=checkpoint, progress=KillAfter(1))
    assert (checkpoint / "state.json").exists()
    resumed, fresh = network(), network()
    assert run_other(resumed, checkpoint=checkpoint) == run_other(fresh)
    assert torch.equal(weights(resumed), weights(fresh))


def test_checkpoint_of_other_code_is_not_resumed(monkeypatch, tmp_path):
    checkpoint, stream = tmp_path / "checkpoint", io.StringIO()
    monkeypatch.setattr("semigen.training.checkpoint.TRAINING_CODE", "the code before an upgrade")
    with pytest.raises(Killed):
        run(network(), compute=EVERY_EPOCH, checkpoint=checkpoint, progress=KillAfter(5))
    monkeypatch.undo()
    resumed, fresh = network(), network()
    history = run(resumed, checkpoint=checkpoint, progress=Progress("fit", stream))
    assert history == run(fresh)
    assert torch.equal(weights(resumed), weights(fresh))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "fit: starting again, because other code wrote the checkpoint"
    assert not any("resuming" in line for line in lines)


def test_checkpoint_of_another_plan_is_not_blamed_on_the_code(tmp_path):
    checkpoint, stream = tmp_path / "checkpoint", io.StringIO()
    run(network(), checkpoint=checkpoint)
    other = replace(PLAN, learning_rate=0.01)
    run(network(), other, checkpoint=checkpoint, progress=Progress("fit", stream))
    assert "other code" not in stream.getvalue()


def test_early_stopping_keeps_the_weights_of_the_best_epoch():
    module = network()
    history = run(
        module, TrainingPlan(epochs=200, batch_size=16, learning_rate=0.5, seed=0, patience=5)
    )
    best = int(np.argmin(history.validation))
    assert history.best_epoch == best
    assert len(history.train) == best + 1 + 5 < 200


def test_retries_at_a_lower_rate_if_the_loss_is_not_finite():
    x, y = regression_data()
    module = network()
    calls = []

    def loss(batch, epoch):
        calls.append(epoch)
        value = loss_of(module)(batch, epoch)
        return value * torch.nan if len(calls) == 3 else value

    plan = TrainingPlan(epochs=4, batch_size=50, learning_rate=0.05, seed=0)
    history = train(module, loss, (x, y), plan)
    assert history.n_retries == 1
    assert len(history.train) == 4
    assert torch.isfinite(weights(module)).all()


def test_lasting_divergence_raises_training_diverged():
    x, y = regression_data()
    module = network()
    with pytest.raises(TrainingDiverged, match=r"epoch 1.*learning rate"):
        train(module, lambda b, _: module(b[0]).sum() * torch.nan, (x, y), PLAN)


def test_progress_prints_lines_without_a_terminal(monkeypatch):
    monkeypatch.setattr("semigen.training.progress.SECONDS_BETWEEN_LINES", 0.0)
    stream = io.StringIO()
    run(network(), progress=Progress("fit", stream))
    lines = stream.getvalue().splitlines()
    assert len(lines) == PLAN.epochs
    assert lines[-1].startswith(f"fit: epoch {PLAN.epochs}/{PLAN.epochs}, loss ")


class Duel(nn.Module):
    """Two numbers; each minimizes its distance from a multiple of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(1, 1, bias=False)
        self.right = nn.Linear(1, 1, bias=False)
        for layer in (self.left, self.right):
            nn.init.constant_(layer.weight, 5.0)

    def players(self, rate=1.0):
        def apart(batch, sign):
            ones = torch.ones_like(batch[0])
            gap = self.left(ones) - self.right(ones) * sign
            return (gap**2).mean()

        return [
            Player(self.left, lambda batch, _: apart(batch, 0.5)),
            Player(self.right, lambda batch, _: apart(batch, -1.0), rate),
        ]


DUEL = TrainingPlan(epochs=12, batch_size=10, learning_rate=0.1, seed=0)


def duel(module, rate=1.0, plan=DUEL, **options):
    return train(module, module.players(rate), [torch.zeros(50, 1)], plan, **options)


def test_players_change_their_own_networks_only():
    module = Duel()
    duel(module, rate=0.0, plan=replace(DUEL, epochs=60))
    assert float(module.right.weight.detach()) == 5.0
    assert float(module.left.weight.detach()) == pytest.approx(2.5, abs=0.05)  # half of the right


def test_players_converge_to_the_equilibrium():
    module = Duel()
    duel(module, plan=replace(DUEL, epochs=150))
    assert weights(module).abs().max() < 0.01  # left = right / 2 and right = -left: both 0


@pytest.mark.parametrize("n_epochs_done", [1, 7])
def test_resumed_game_with_averaging_gives_bit_identical_weights(n_epochs_done, tmp_path):
    plan = replace(DUEL, averaging=0.9)
    undisturbed = Duel()
    expected = duel(undisturbed, plan=plan)
    checkpoint = tmp_path / "checkpoint"
    options = {"plan": plan, "compute": EVERY_EPOCH, "checkpoint": checkpoint}
    with pytest.raises(Killed):
        duel(Duel(), progress=KillAfter(n_epochs_done), **options)
    resumed = Duel()
    assert duel(resumed, **options) == expected
    assert torch.equal(weights(resumed), weights(undisturbed))


def test_averaged_weights_follow_the_recursion():
    x, y = torch.ones(3, 1), torch.zeros(3, 1)
    seen: list[float] = []

    def fit(averaging):
        module = nn.Linear(1, 1, bias=False)
        nn.init.constant_(module.weight, 1.0)

        def loss(batch, _epoch):
            if module.training and averaging == 0:
                seen.append(float(module.weight.detach()))
            return ((module(batch[0]) - batch[1]) ** 2).mean()

        plan = TrainingPlan(3, batch_size=1, learning_rate=0.1, seed=0, averaging=averaging)
        train(module, loss, (x, y), plan)
        return float(module.weight.detach())

    last = fit(0.0)
    average = 1.0
    for weight in [*seen[1:], last]:
        average = 0.8 * average + 0.2 * weight
    assert fit(0.8) == pytest.approx(average, abs=1e-6)


def test_held_out_loss_uses_the_averaged_weights():
    module = network()
    evaluated = []

    def loss(batch, _epoch):
        if not module.training:
            evaluated.append(weights(module))
        return ((module(batch[0]) - batch[1]) ** 2).mean()

    x, y = regression_data()
    plan = TrainingPlan(epochs=1, batch_size=16, learning_rate=0.05, seed=0, averaging=1 - 1e-9)
    train(module, loss, (x[:80], y[:80]), plan, held_out=(x[80:], y[80:]))
    torch.testing.assert_close(evaluated[0], weights(network()))  # the decay is close to 1
    torch.testing.assert_close(weights(module), evaluated[0])


def held_out_losses(monkeypatch, n_at_once: int) -> tuple[list[float], list[int]]:
    """Return the held-out losses of a training without noise, and the rows of each evaluation."""
    monkeypatch.setattr("semigen.training.engine.HELD_OUT_ROWS", n_at_once)
    module, sizes = network(), []

    def loss(batch, _epoch):
        if not module.training:
            sizes.append(len(batch[0]))
        return ((module(batch[0]) - batch[1]) ** 2).mean()

    x, y = regression_data()
    plan = replace(PLAN, epochs=2)
    history = train(module, loss, (x[:80], y[:80]), plan, held_out=(x[80:], y[80:]))
    return history.validation, sizes


def test_held_out_loss_is_the_mean_over_batches(monkeypatch):
    whole, sizes = held_out_losses(monkeypatch, n_at_once=20)
    assert sizes == [20, 20]
    batched, sizes = held_out_losses(monkeypatch, n_at_once=7)
    assert sizes == [7, 7, 6] * 2
    assert batched == pytest.approx(whole, rel=1e-6)


def test_epoch_of_few_steps_sees_a_random_part_of_the_rows():
    module, seen = network(), []

    def loss(batch, _epoch):
        seen.append(batch[1].flatten().tolist())
        return ((module(batch[0]) - batch[1]) ** 2).mean()

    train(module, loss, regression_data(), replace(PLAN, epochs=2, steps_per_epoch=3))
    assert [len(batch) for batch in seen] == [16] * 6
    first, second = ({row for batch in seen[i : i + 3] for row in batch} for i in (0, 3))
    assert len(first) == len(second) == 48
    assert first != second


@pytest.mark.parametrize(
    ("loss_epochs", "expected"),
    [(None, [0] * 5 + [1] * 5), (20, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]), (1, [0] * 10)],
)
def test_epochs_of_the_loss_follow_the_steps(loss_epochs, expected):
    module, epochs, last = network(), [], []

    def loss(batch, epoch):
        (epochs if module.training else last).append(epoch)
        return ((module(batch[0]) - batch[1]) ** 2).mean()

    x, y = regression_data()
    plan = TrainingPlan(2, batch_size=16, learning_rate=0.01, seed=0, loss_epochs=loss_epochs)
    train(module, loss, (x[:80], y[:80]), plan, held_out=(x[80:], y[80:]))
    assert epochs == expected
    assert set(last) == {(loss_epochs or 2) - 1}


def test_returns_to_the_best_weights_rather_than_to_the_last_finite_ones():
    """Losses often increase for some epochs before they are infinite: such weights are finite."""
    x, y = regression_data()
    module, failures = network(), []

    def loss(batch, epoch):
        predicted, y = module(batch[0]), batch[1]
        if not module.training or failures or epoch < 5:
            return ((predicted - y) ** 2).mean()
        if epoch < 7:
            return ((predicted - y - 30) ** 2).mean()  # increases the held-out loss
        failures.append(epoch)
        return predicted.mean() * torch.nan

    plan = TrainingPlan(epochs=9, batch_size=16, learning_rate=0.1, seed=0)
    history = train(module, loss, (x[:80], y[:80]), plan, held_out=(x[80:], y[80:]))
    assert (history.n_retries, failures) == (1, [7])
    losses = history.validation
    assert losses[6] > losses[5] > losses[4]
    assert losses[7] - losses[4] < 0.1 * (losses[5] - losses[4])


def test_retries_at_a_lower_rate_if_the_health_check_fails():
    module, calls = network(), []

    def check():
        calls.append(module.training)
        return "nothing varies" if len(calls) == 3 else None

    history = run(module, check=check)
    assert not any(calls)
    assert history.n_retries == 1
    assert len(history.train) == PLAN.epochs
    assert len(calls) == PLAN.epochs + 1


def test_lasting_failure_of_the_health_check_raises_training_diverged():
    with pytest.raises(TrainingDiverged, match="epoch 1: nothing varies even at a learning rate"):
        run(network(), check=lambda: "nothing varies")


@pytest.mark.parametrize(("schedule", "half"), [("cosine", 0.5), ("late", 1.0)])
def test_learning_rate_follows_the_schedule(schedule, half):
    module, rates = nn.Linear(1, 1), []

    def loss(batch, _epoch):
        rates.append(float(module.weight.detach()))
        return module(batch[0]).mean() * 1000  # a constant gradient: Adam's steps equal the rate

    plan = TrainingPlan(epochs=4, batch_size=10, learning_rate=0.1, seed=0, schedule=schedule)
    train(module, loss, [torch.ones(100, 1)], plan)
    steps = -np.diff(rates)
    assert steps[0] == pytest.approx(0.1, rel=0.01)
    assert steps[20] == pytest.approx(0.1 * half, rel=0.01)
    assert steps[-1] < 0.02
    assert (np.diff(steps) <= 1e-5).all()
