"""One checklist for the generators of all families."""

from __future__ import annotations

import numpy as np
import pytest

from semigen.errors import UserError
from semigen.generators import FAMILIES, load_generator
from semigen.generators.base import ClassifyingModel
from semigen.generators.class_conditioning import ClassConditionedModel
from semigen.tables.encoding import Encoded
from semigen.training import engine
from tests.semigen.example_tables import TARGET, encoded, mixed_table
from tests.semigen.generators.small_models import CASES, QUICK, TRAINED, small_model

ILL, WELL = 0, 1
WITHOUT_GRADIENT = {"gan": {"critic.out.bias"}}
"""The last bias of a Wasserstein critic shifts the scores of real and generated rows alike."""
N_LABELED = {"ssgan": 6, "ssvae": 8, "m1m2": 8, "sdgm": 8, "adgm": 8}
"""Labeled rows of 400 for the families that classify; 20 for the others."""
SLOW_FORM = {"epochs": 80, "patience": 80, "max_classes": 1}
"""M1+M2 needs more epochs to learn from the class what the latent code could represent as well."""


def test_all_families_are_checked():
    assert set(QUICK) == set(TRAINED) == set(FAMILIES)


def outputs(model, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the results of all methods of a fitted model."""
    found = {name: getattr(model, name)(x) for name in ("features", "score", "novelty")}
    found |= {"classes": model.classes_, "sample": model.sample(np.arange(50) % 2, 5)}
    if isinstance(model, ClassifyingModel):
        found["probabilities"] = model.predict_proba(x)
    return found


def assert_same_outputs(model, other, x: np.ndarray) -> None:
    expected, found = outputs(model, x), outputs(other, x)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def flipped(rows: Encoded) -> Encoded:
    return Encoded(rows.x, np.where(rows.y >= 0, 1 - rows.y, -1))


# Models that are trained for under a second


@pytest.fixture(scope="module", params=CASES)
def quick(request):
    encoder, rows = encoded(mixed_table(90, missing=0.1), n_labeled=20)
    model = small_model(request.param, encoder, QUICK)
    model.fit(rows)
    return model, rows, encoder, request.param


def test_outputs_have_their_shapes_and_types(quick):
    model, rows, encoder, _ = quick
    features = model.features(rows.x)
    assert features.ndim == 2 and len(features) == 90 and features.dtype == np.float32
    assert model.score(rows.x).shape == (90,)
    novelty = model.novelty(rows.x)
    assert novelty.shape == (90,) and novelty.min() >= 0 and novelty.max() <= 1
    x = model.sample(np.array([0, 1, 1]), seed=0)
    assert x.shape == (3, encoder.n_features) and x.dtype == np.float32
    assert model.sample(np.zeros(0, int), seed=0).shape == (0, encoder.n_features)
    assert model.classes_.tolist() == [ILL, WELL]
    assert all(np.isfinite(value).all() for value in (features, model.score(rows.x), x))
    if isinstance(model, ClassifyingModel):
        probabilities = model.predict_proba(rows.x)
        assert probabilities.shape == (90, 2)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_sampled_rows_are_rows_of_the_table(quick):
    model, _, encoder, _ = quick
    x = model.sample(np.arange(200) % 2, seed=3)
    for span in encoder.spans_:
        block = x[:, span.start : span.stop]
        if span.kind != "numeric":
            assert set(np.unique(block)) <= {0.0, 1.0}
        if span.kind == "category":
            np.testing.assert_array_equal(block.sum(axis=1), 1)


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_gets_a_gradient(case, monkeypatch):
    step, trained, gradients = engine._Training._step, [], set()

    def record(self, *args):
        loss = step(self, *args)
        if self.module not in trained:
            trained.append(self.module)
        for name, parameter in self.module.named_parameters():
            if parameter.grad is not None and parameter.grad.any():
                gradients.add((trained.index(self.module), name))
        return loss

    monkeypatch.setattr(engine._Training, "_step", record)
    encoder, rows = encoded(mixed_table(90, missing=0.2), n_labeled=20)
    small_model(case, encoder, QUICK).fit(rows)
    without = {
        name
        for number, module in enumerate(trained)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and (number, name) not in gradients
    }
    assert without == WITHOUT_GRADIENT.get(case, set())


def test_loaded_model_equals_the_saved_one(quick, tmp_path):
    model, rows, _, _ = quick
    model.save(tmp_path / "model")
    assert_same_outputs(model, load_generator(tmp_path / "model"), rows.x)
    assert "semigen" not in (tmp_path / "model" / "config.json").read_text()


def test_same_seed_gives_the_same_model_and_sample(quick):
    model, rows, encoder, case = quick
    again = small_model(case, encoder, QUICK)
    again.fit(rows)
    assert_same_outputs(model, again, rows.x)
    y = np.array([0, 1, 0])
    assert not np.array_equal(model.sample(y, 5), model.sample(y, 6))


def test_classes_of_a_copy_are_learned_from_the_given_labels_only(quick):
    model, rows, encoder, case = quick
    before = outputs(model, rows.x)
    other = small_model(case, encoder, QUICK)
    other.fit(flipped(rows))
    if not isinstance(model, ClassifyingModel):
        np.testing.assert_array_equal(other.features(rows.x), model.features(rows.x))
        np.testing.assert_array_equal(other.score(rows.x), model.score(rows.x))
    assert not np.array_equal(outputs(other, rows.x)["sample"], before["sample"])
    fold = Encoded(rows.x[8:], rows.y[8:])
    assert_same_outputs(model.with_classes(fold), other.with_classes(fold), rows.x)
    for name, value in outputs(model, rows.x).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_copy_with_the_same_labels_equals_the_model(quick, tmp_path):
    model, rows, _, case = quick
    if case == "vae":
        pytest.skip("the mixture of a copy also uses held-out rows")
    model.save(tmp_path / "model")
    loaded = load_generator(tmp_path / "model")
    assert_same_outputs(model, loaded.with_classes(rows), rows.x)


def test_copy_may_have_fewer_classes(quick):
    model, rows, _, _ = quick
    copy = model.with_classes(Encoded(rows.x, np.where(rows.y == WELL, WELL, -1)))
    assert copy.classes_.tolist() == [WELL]
    assert model.classes_.tolist() == [ILL, WELL]


def test_unknown_class_is_refused(quick):
    model, _, _, _ = quick
    with pytest.raises(UserError, match="no labeled row had class 2; known classes: 0, 1"):
        model.sample(np.array([0, 2]), seed=0)
    with pytest.raises(UserError, match="class -1"):
        model.sample(np.array([-1]), seed=0)


@pytest.mark.parametrize("case", CASES)
def test_classes_may_have_gaps_and_a_single_row(case):
    encoder, rows = encoded(mixed_table(40), n_labeled=40)
    y = np.where(rows.y == 1, 7, 2)
    y[5] = 4
    for seed in range(3):
        model = small_model(case, encoder, QUICK)
        model.seed = seed
        model.fit(Encoded(rows.x, y))
        assert model.classes_.tolist() == [2, 4, 7]
        assert model.sample(np.array([4, 7, 2]), seed=0).shape == (3, encoder.n_features)
    with pytest.raises(UserError, match="class 3"):
        model.sample(np.array([3]), seed=0)


@pytest.mark.parametrize("case", CASES)
def test_one_labeled_row_of_each_class_is_enough(case):
    encoder, rows = encoded(mixed_table(60), n_labeled=60)
    y = np.full(60, -1)
    for label in (ILL, WELL):
        y[np.flatnonzero(rows.y == label)[0]] = label
    model = small_model(case, encoder, QUICK)
    model.fit(Encoded(rows.x, y))
    assert model.classes_.tolist() == [ILL, WELL]
    assert np.isfinite(model.sample(np.array([0, 1]), seed=0)).all()


@pytest.mark.parametrize("case", CASES)
def test_without_labels_there_are_features_and_scores_but_no_classes(case, tmp_path):
    encoder, rows = encoded(mixed_table(60), n_labeled=0)
    model = small_model(case, encoder, QUICK)
    model.fit(rows)
    model.save(tmp_path / "model")
    loaded = load_generator(tmp_path / "model")
    for method in ("features", "score", "novelty"):
        np.testing.assert_array_equal(
            getattr(loaded, method)(rows.x), getattr(model, method)(rows.x)
        )
    with pytest.raises(UserError, match="learned no classes"):
        loaded.sample(np.array([0]), seed=0)
    if hasattr(loaded, "predict_proba"):
        with pytest.raises(UserError, match="learned no classes"):
            loaded.predict_proba(rows.x)


@pytest.mark.parametrize("case", QUICK)
def test_numeric_columns_alone_are_enough(case):
    table = mixed_table(60)[["weight", "visits", TARGET]]
    encoder, rows = encoded(table, n_labeled=60)
    model = small_model(case, encoder, QUICK)
    model.fit(rows)
    assert np.isfinite(model.sample(rows.y, 0)).all()


@pytest.mark.parametrize("case", QUICK)
def test_model_that_is_not_fitted_has_no_novelty(case):
    encoder, rows = encoded(mixed_table(30), n_labeled=0)
    with pytest.raises(UserError, match="not fitted"):
        small_model(case, encoder, QUICK).novelty(rows.x)


# Models that are trained for some seconds


@pytest.fixture(scope="module", params=CASES)
def trained(request):
    n_labeled = N_LABELED.get(request.param, 20)
    encoder, rows = encoded(mixed_table(400, missing=0.1), n_labeled)
    changes = SLOW_FORM if request.param == "m1m2" else {}
    model = small_model(request.param, encoder, TRAINED, **changes)
    history = model.fit(rows)
    return model, rows, encoder, history


def test_training_lowers_the_held_out_loss(trained):
    _, _, _, history = trained
    if not history.validation:
        pytest.skip("adversarial training has no held-out loss")
    assert min(history.validation) < history.validation[0] - 0.5


def test_rows_of_a_class_resemble_the_class(trained):
    model, _, encoder, _ = trained
    ill, well = (
        encoder.inverse_transform(model.sample(np.full(500, c), seed=2)) for c in (ILL, WELL)
    )
    # In the table the means are 80 and 60, and the proportions of smokers 0.8 and 0.2.
    assert ill["weight"].mean() > well["weight"].mean() + 10
    assert (ill["smoker"] == "yes").mean() > (well["smoker"] == "yes").mean() + 0.25
    assert ill["weight"].isna().mean() < 0.3


def test_rows_are_in_the_order_of_the_classes_given(trained):
    model, _, encoder, _ = trained
    y = np.random.default_rng(0).integers(0, 2, 501)
    weight = encoder.inverse_transform(model.sample(y, seed=3))["weight"]
    assert weight[y == ILL].mean() > weight[y == WELL].mean() + 10


def test_scores_of_real_rows_are_higher_than_those_of_permuted_rows(trained):
    model, rows, _, _ = trained
    if model.family.endswith("gan"):
        pytest.skip("the scores of adversarial critics are no densities")
    rng = np.random.default_rng(0)
    permuted = np.stack([rng.permutation(column) for column in rows.x.T], axis=1)
    permuted[:, 0] *= 4
    assert np.median(model.score(rows.x)) > np.median(model.score(permuted)) + 1.0


def test_few_labels_classify_new_rows(trained):
    model, _, encoder, _ = trained
    if not isinstance(model, ClassifyingModel):
        pytest.skip("the family does not classify")
    table = mixed_table(600, seed=9, missing=0.1)
    probabilities = model.predict_proba(encoder.transform(table))
    y = encoder.schema.encode_labels(table[TARGET])
    # The classes overlap: logistic regression on 2,000 labels has an accuracy of 0.97.
    assert (model.classes_[probabilities.argmax(axis=1)] == y).mean() > 0.9


def test_saved_model_contains_no_training_row(trained, tmp_path):
    model, rows, _, _ = trained
    model.save(tmp_path / "model")
    content = b"".join(path.read_bytes() for path in (tmp_path / "model").iterdir())
    assert all(row.tobytes() not in content for row in rows.x[:, :2].copy())
    assert all(row.tobytes() not in content for row in model.features(rows.x))
    if isinstance(model, ClassConditionedModel):
        assert all(row.tobytes() not in content for row in model.bins.encode(rows.x))
