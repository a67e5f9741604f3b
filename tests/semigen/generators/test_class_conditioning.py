"""What the families that learn without labels first have in common."""

from __future__ import annotations

import numpy as np
import pytest

from semigen.errors import UserError
from semigen.generators import load_generator, make_generator
from semigen.params.config import ComputeParams, PretrainParams
from semigen.params.generators import AutoregressiveParams, DiffusionParams
from semigen.tables.encoding import Encoded
from tests.semigen.example_tables import TARGET, encoded, mixed_table

SMALL = {
    "autoregressive": AutoregressiveParams(max_steps=250, class_steps=250, hidden_dim=16, bins=20),
    "diffusion": DiffusionParams(
        max_steps=400, class_steps=400, hidden_dim=64, bins=20, sampling_steps=16
    ),
}
SHORT = {"max_steps": 24, "class_steps": 24}
ILL, WELL = 0, 1


def made(family, encoder, **changes):
    small = SMALL[family].model_copy(update=changes)
    params = PretrainParams(generator=family, **{family: small})
    return make_generator(encoder, params, ComputeParams(checkpoint_seconds=1e-9), seed=1)


@pytest.fixture(scope="module", params=SMALL)
def trained(request):
    encoder, rows = encoded(mixed_table(400, missing=0.1), n_labeled=20)
    model = made(request.param, encoder)
    history = model.fit(rows)
    return model, rows, history, encoder


def test_training_lowers_the_held_out_loss(trained):
    _, _, history, _ = trained
    assert min(history.validation) < history.validation[0] - 0.5


def test_features_scores_and_samples_have_their_shapes(trained):
    model, rows, _, encoder = trained
    assert model.features(rows.x).shape == (400, 32)
    assert model.features(rows.x).dtype == np.float32
    assert model.score(rows.x).shape == (400,)
    assert np.isfinite(model.score(rows.x)).all()
    x = model.sample(np.array([0, 1, 1]), seed=0)
    assert x.shape == (3, encoder.n_features)
    assert x.dtype == np.float32
    assert list(model.classes_) == [ILL, WELL]
    assert model.sample(np.zeros(0, int), seed=0).shape == (0, encoder.n_features)


def test_scores_rank_real_rows_above_scrambled_ones(trained):
    model, rows, _, _ = trained
    rng = np.random.default_rng(0)
    scrambled = np.stack([rng.permutation(column) for column in rows.x.T], axis=1)
    scrambled[:, 0] *= 4
    assert np.median(model.score(rows.x)) > np.median(model.score(scrambled)) + 1.0


def test_rows_of_a_class_resemble_the_class(trained):
    model, _, _, encoder = trained
    tables = {
        c: encoder.inverse_transform(model.sample(np.full(500, c), seed=2)) for c in (ILL, WELL)
    }
    # In the table the classes' means are 80 and 60, and smokers' shares 0.8 and 0.2.
    assert tables[ILL]["weight"].mean() > tables[WELL]["weight"].mean() + 10
    smokers = {c: (t["smoker"] == "yes").mean() for c, t in tables.items()}
    assert smokers[ILL] > smokers[WELL] + 0.3


def test_rows_of_all_classes_together_are_distributed_as_the_table(trained):
    model, rows, _, _ = trained
    x = model.sample(np.repeat([ILL, WELL], 1000), seed=3)
    spreads = rows.x.std(axis=0)
    assert (np.abs(x.mean(axis=0) - rows.x.mean(axis=0)) < 0.3 * spreads + 0.02).all()
    numeric = rows.x[:, 0].std()
    assert 0.7 < x[:, 0].std() / numeric < 1.3


@pytest.mark.parametrize("family", SMALL)
def test_other_labels_leave_no_trace(family):
    encoder, rows = encoded(mixed_table(80), n_labeled=12)
    flipped = Encoded(rows.x, np.where(rows.y >= 0, 1 - rows.y, -1))
    model, other = made(family, encoder, **SHORT), made(family, encoder, **SHORT)
    model.fit(rows)
    other.fit(flipped)
    np.testing.assert_array_equal(other.features(rows.x), model.features(rows.x))
    np.testing.assert_array_equal(other.score(rows.x), model.score(rows.x))
    fold = Encoded(rows.x, np.where(np.arange(80) < 8, rows.y, -1))
    y = np.array([0, 1] * 20)
    expected = model.with_classes(fold).sample(y, 5)
    np.testing.assert_array_equal(other.with_classes(fold).sample(y, 5), expected)
    assert not np.array_equal(other.sample(y, 5), model.sample(y, 5))


def test_new_classes_leave_the_model_as_it_was(trained):
    model, rows, _, _ = trained
    y = np.array([0, 1, 1])
    before = model.sample(y, 5)
    one = model.with_classes(Encoded(rows.x, np.where(rows.y == WELL, WELL, -1)))
    assert list(one.classes_) == [WELL]
    np.testing.assert_array_equal(model.sample(y, 5), before)


@pytest.mark.parametrize("family", SMALL)
def test_same_seed_same_rows_and_saving_changes_nothing(family, tmp_path):
    encoder, rows = encoded(mixed_table(80), n_labeled=12)
    model, again = (made(family, encoder, **SHORT) for _ in range(2))
    model.fit(rows)
    again.fit(rows)
    model.save(tmp_path / "model")
    loaded = load_generator(tmp_path / "model")
    anew = loaded.with_classes(rows)
    y = np.array([0, 1, 0])
    for other in (again, loaded, anew):
        np.testing.assert_array_equal(other.sample(y, 5), model.sample(y, 5))
        np.testing.assert_array_equal(other.features(rows.x), model.features(rows.x))
        np.testing.assert_array_equal(other.score(rows.x), model.score(rows.x))
        np.testing.assert_array_equal(other.novelty(rows.x), model.novelty(rows.x))
    assert not np.array_equal(model.sample(y, 5), model.sample(y, 6))


def test_saved_model_holds_no_training_row(trained, tmp_path):
    model, rows, _, _ = trained
    model.save(tmp_path / "model")
    content = b"".join(path.read_bytes() for path in (tmp_path / "model").iterdir())
    assert all(row.tobytes() not in content for row in rows.x[:, :2].copy())
    assert all(code.tobytes() not in content for code in model.features(rows.x))
    assert all(code.tobytes() not in content for code in model.bins.encode(rows.x))


@pytest.mark.parametrize("family", SMALL)
def test_unlabeled_rows_alone_train_but_give_no_classes(family, tmp_path):
    encoder, rows = encoded(mixed_table(60), n_labeled=0)
    model = made(family, encoder, max_steps=4)
    model.fit(rows)
    with pytest.raises(UserError, match="learned no classes"):
        model.sample(np.array([0]), seed=0)
    model.save(tmp_path / "model")
    reloaded = load_generator(tmp_path / "model")
    np.testing.assert_array_equal(reloaded.score(rows.x), model.score(rows.x))


def test_a_class_without_a_label_cannot_be_asked_for(trained):
    model, _, _, _ = trained
    with pytest.raises(UserError, match="no labeled row had class 2"):
        model.sample(np.array([0, 2]), seed=0)


@pytest.mark.parametrize("family", SMALL)
def test_all_rows_labeled_need_no_guesses(family):
    table = mixed_table(300)
    encoder, rows = encoded(table, n_labeled=300)
    model = made(family, encoder)
    model.fit(rows)
    weights = {
        c: encoder.inverse_transform(model.sample(np.full(500, c), seed=2))["weight"].mean()
        for c in (ILL, WELL)
    }
    for c, name in ((ILL, "ill"), (WELL, "well")):
        real = table.loc[table[TARGET] == name, "weight"]
        assert abs(weights[c] - real.mean()) < 2.0  # standard errors: 0.4 real, 0.25 drawn
