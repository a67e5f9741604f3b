from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from semigen.errors import UserError
from semigen.generators import load_generator, make_generator
from semigen.generators.likelihoods import RowLikelihood
from semigen.generators.vae import VAE, VAENetwork, negative_elbo
from semigen.params.config import ComputeParams, PretrainParams
from semigen.params.generators import VAEParams
from semigen.tables.encoding import Span
from semigen.training.compute import seeded
from tests.semigen.example_tables import encoded, encoder_of, mixed_table

SMALL = VAEParams(latent_dim=3, hidden_dims=(32,), epochs=40, batch_size=32, patience=40)


@pytest.fixture(scope="module")
def trained():
    encoder, rows = encoded(mixed_table(400, missing=0.1), n_labeled=20)
    model = make_generator(encoder, PretrainParams(vae=SMALL), ComputeParams(), seed=1)
    history = model.fit(rows)
    return model, rows, history, encoder


class LinearGaussian:
    """``z ~ N(0, 1)``, ``x | z ~ N(w z, s^2)``: evidence and posterior are known."""

    weight, scale = 1.7, 0.6

    def evidence(self, x: torch.Tensor) -> torch.Tensor:
        spread = (self.weight**2 + self.scale**2) ** 0.5
        return Normal(0.0, spread).log_prob(x[:, 0])

    def posterior(self, x: torch.Tensor) -> Normal:
        precision = 1 + self.weight**2 / self.scale**2
        mean = self.weight * x / self.scale**2 / precision
        return Normal(mean, torch.full_like(mean, precision**-0.5))

    def decoded(self, z: torch.Tensor):
        likelihood = RowLikelihood([Span("x", 0, 1, "numeric")], shared_scale=True)
        with torch.no_grad():
            likelihood.log_scale.fill_(float(np.log(self.scale)))
        return likelihood(self.weight * z)


def test_elbo_is_the_evidence_under_the_true_posterior_and_below_it_under_another():
    model, n = LinearGaussian(), 40_000
    x = torch.tensor([[0.8]]).expand(n, 1)
    exact = model.posterior(x)
    wrong = Normal(exact.mean + 0.5, exact.stddev * 1.5)
    with seeded(0):
        bounds = [-negative_elbo(x, model.decoded(q.sample()), q).detach() for q in (exact, wrong)]
    evidence = model.evidence(x)[0]
    errors = [float(b.std()) / n**0.5 for b in bounds]
    assert abs(bounds[0].mean() - evidence) < 5 * errors[0]
    gap = torch.distributions.kl_divergence(wrong, exact)[0].item()
    assert abs(bounds[1].mean() - (evidence - gap)) < 5 * errors[1]


def test_beta_zero_leaves_reconstruction_alone():
    model = LinearGaussian()
    x = torch.randn(5, 1)
    posterior = model.posterior(x)
    decoded = model.decoded(posterior.mean)
    expected = -decoded.log_prob(x)
    torch.testing.assert_close(negative_elbo(x, decoded, posterior, beta=0.0), expected)


def test_every_parameter_gets_a_gradient():
    encoder = encoder_of(mixed_table(60, missing=0.2))
    network = VAENetwork(encoder.spans_, SMALL)
    x = torch.from_numpy(encoder.transform(mixed_table(60, missing=0.2)))
    posterior = network.posterior(x)
    negative_elbo(x, network.decode(posterior.rsample()), posterior).mean().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_training_lowers_the_held_out_loss(trained):
    _, _, history, _ = trained
    assert min(history.validation) < history.validation[0] - 1.0


def test_features_scores_and_samples_have_their_shapes(trained):
    model, rows, _, encoder = trained
    assert model.features(rows.x).shape == (400, 3)
    assert model.score(rows.x).shape == (400,)
    assert np.isfinite(model.score(rows.x)).all()
    assert model.sample(np.array([0, 1, 1]), seed=0).shape == (3, encoder.n_features)
    assert list(model.classes_) == [0, 1]


def test_scores_rank_real_rows_above_scrambled_ones(trained):
    model, rows, _, _ = trained
    rng = np.random.default_rng(0)
    scrambled = np.stack([rng.permutation(column) for column in rows.x.T], axis=1)
    scrambled[:, 0] *= 4
    assert np.median(model.score(rows.x)) > np.median(model.score(scrambled)) + 1.0


def test_novelty_of_new_rows_of_the_same_kind_is_uniform(trained):
    model, _, _, encoder = trained
    novelty = model.novelty(encoder.transform(mixed_table(2000, seed=7, missing=0.1)))
    # 40 held-out rows: the share of new rows below their q-th quantile is off by up to 0.08
    # (standard error), which four times covers.
    for share in (0.25, 0.5, 0.75):
        assert abs((novelty < share).mean() - share) < 4 * (share * (1 - share) / 40) ** 0.5


def test_untrained_model_knows_no_novelty():
    encoder, rows = encoded(mixed_table(30), n_labeled=0)
    with pytest.raises(UserError, match="not fitted"):
        VAE(encoder.spans_, SMALL).novelty(rows.x)


def test_rows_of_a_class_resemble_the_class(trained):
    model, _, _, encoder = trained
    ill, well = 0, 1
    tables = {
        c: encoder.inverse_transform(model.sample(np.full(500, c), seed=2)) for c in (ill, well)
    }
    assert tables[ill]["weight"].mean() > tables[well]["weight"].mean() + 10
    smokers = {c: (t["smoker"] == "yes").mean() for c, t in tables.items()}
    assert smokers[ill] > smokers[well] + 0.3


def test_same_seed_same_rows_and_saving_changes_nothing(trained, tmp_path):
    model, rows, _, encoder = trained
    again = make_generator(encoder, PretrainParams(vae=SMALL), ComputeParams(), seed=1)
    again.fit(rows)
    model.save(tmp_path / "model")
    reloaded = load_generator(tmp_path / "model")
    y = np.array([0, 1, 0])
    for other in (again, reloaded):
        np.testing.assert_array_equal(other.sample(y, 5), model.sample(y, 5))
        np.testing.assert_array_equal(other.features(rows.x), model.features(rows.x))
        np.testing.assert_array_equal(other.score(rows.x), model.score(rows.x))
        np.testing.assert_array_equal(other.novelty(rows.x), model.novelty(rows.x))
    assert not np.array_equal(model.sample(y, 5), model.sample(y, 6))


def test_saved_model_holds_no_training_row(trained, tmp_path):
    model, rows, _, _ = trained
    model.save(tmp_path / "model")
    content = b"".join(path.read_bytes() for path in (tmp_path / "model").iterdir())
    numbers = rows.x[:, :2].copy()
    assert all(row.tobytes() not in content for row in numbers)
    codes = model.features(rows.x)
    assert all(code.tobytes() not in content for code in codes)


def test_unlabeled_rows_alone_train_but_give_no_classes():
    encoder, rows = encoded(mixed_table(60), n_labeled=0)
    model = VAE(encoder.spans_, SMALL.model_copy(update={"epochs": 2}))
    model.fit(rows)
    with pytest.raises(UserError, match="learned no classes"):
        model.sample(np.array([0]), seed=0)


def test_large_tables_are_passed_over_less_often():
    encoder, rows = encoded(mixed_table(400), n_labeled=10)
    params = SMALL.model_copy(update={"max_steps": 30})
    history = VAE(encoder.spans_, params).fit(rows)
    assert len(history.train) == 30 // int(np.ceil(360 / 32))
