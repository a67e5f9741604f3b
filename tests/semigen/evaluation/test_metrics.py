"""Oracles: scikit-learn for metrics, simulation for intervals."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binomtest
from sklearn import metrics as oracle

from semigen.evaluation import metrics
from semigen.evaluation.metrics import METRICS, calibration_table, evaluate, resamples, score
from semigen.evaluation.scorer import Scorer, confidence_bin


def simulate(n_rows, n_classes, seed, *, skill=1.5, decimals=None):
    """Return labels and class probabilities; few decimals give ties."""
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n_rows)
    logits = rng.normal(size=(n_rows, n_classes))
    logits[np.arange(n_rows), y] += skill
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    if decimals is not None:
        p = p.round(decimals) + 1e-3
        p /= p.sum(1, keepdims=True)
    return y, p


def oracle_calibration_error(y, p, weights):
    confidence, is_right = p.max(1), p.argmax(1) == y
    error = 0.0
    for m in range(15):
        rows = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if weights[rows].sum() > 0:
            accuracy = np.average(is_right[rows], weights=weights[rows])
            gap = accuracy - np.average(confidence[rows], weights=weights[rows])
            error += weights[rows].sum() / weights.sum() * abs(gap)
    return error


def oracle_scores(y, p, weights):
    """Return scikit-learn's metrics of rows with positive weight; ROC AUC class by class."""
    rows = weights > 0
    y, p, w = y[rows], p[rows], weights[rows]
    predicted = p.argmax(1)
    present = [k for k in range(p.shape[1]) if 0 < (y == k).sum() < len(y)]
    areas = [oracle.roc_auc_score(y == k, p[:, k], sample_weight=w) for k in present]
    return {
        "accuracy": oracle.accuracy_score(y, predicted, sample_weight=w),
        "balanced_accuracy": oracle.recall_score(
            y, predicted, labels=np.unique(y), average="macro", sample_weight=w
        ),
        "macro_f1": oracle.f1_score(y, predicted, average="macro", sample_weight=w),
        "log_loss": oracle.log_loss(y, y_proba=p, labels=np.arange(p.shape[1]), sample_weight=w),
        "roc_auc": np.mean(areas) if areas else 0.5,
        "calibration_error": oracle_calibration_error(y, p, w),
    }


@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("decimals", [None, 1], ids=["no ties", "ties"])
@pytest.mark.parametrize("weighting", ["real", "counts"])
def test_matches_scikit_learn(n_classes, decimals, weighting):
    y, p = simulate(60, n_classes, seed=n_classes, decimals=decimals)
    rng = np.random.default_rng(5)
    weights = rng.random((60, 8)) + 0.01
    if weighting == "counts":  # as in a resample: weight zero for some rows
        weights = rng.poisson(0.5, size=(60, 8)).astype(float)
    scores = Scorer(y, p)(weights)
    for column in range(8):
        expected = oracle_scores(y, p, weights[:, column])
        for metric in METRICS:
            assert_allclose(scores[metric][column], expected[metric], rtol=1e-10, err_msg=metric)


def test_roc_auc_matches_scikit_learns_macro_one_vs_rest():
    y, p = simulate(200, 5, seed=0)
    assert_allclose(score(y, p)["roc_auc"], oracle.roc_auc_score(y, p, multi_class="ovr"))


def test_balanced_accuracy_matches_scikit_learn_if_predicted_classes_are_missing():
    y, p = simulate(80, 4, seed=1)
    rows = y != 3
    assert (p[rows].argmax(1) == 3).any()
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = oracle.balanced_accuracy_score(y[rows], p[rows].argmax(1))
    assert_allclose(score(y[rows], p[rows])["balanced_accuracy"], expected)


def test_classes_without_test_rows_give_no_nan():
    y, p = simulate(80, 6, seed=2)
    rows = (y == 1) | (y == 4)
    assert_allclose(
        [score(y[rows], p[rows])[m] for m in METRICS],
        [oracle_scores(y[rows], p[rows], np.ones(rows.sum()))[m] for m in METRICS],
    )
    only_one = score(y[y == 1], p[y == 1])
    assert only_one["roc_auc"] == 0.5
    assert np.isfinite(list(only_one.values())).all()


def test_perfect_classifier_has_perfect_scores_and_confident_errors_a_finite_loss():
    y = np.array([0, 1, 2, 1])
    assert_allclose([score(y, np.eye(3)[y])[m] for m in METRICS], [1, 1, 1, 0, 1, 0], atol=1e-12)
    assert_allclose(score(y, np.eye(3)[[0, 1, 2, 2]])["log_loss"], -np.log(np.finfo(float).eps) / 4)


def test_resamples_do_not_depend_on_the_block_size(monkeypatch):
    whole = np.concatenate(list(resamples(50, 30, seed=3)), axis=1)
    monkeypatch.setattr(metrics, "CHUNK_BYTES", 8 * 50 * 7)
    blocks = list(resamples(50, 30, seed=3))
    assert [block.shape[1] for block in blocks] == [7, 7, 7, 7, 2]
    assert_allclose(np.concatenate(blocks, axis=1), whole)
    assert (whole.sum(0) == 50).all()
    # A count is binomial(50, 1/50): variance 0.98, its standard error over 1,500 cells about 0.04.
    assert abs(whole.var() - 0.98) < 0.16


def test_intervals_are_percentiles_of_resampled_metrics():
    y, p = simulate(40, 3, seed=4)
    found = evaluate(y, p, p[::-1], n_bootstrap=60, confidence=0.8, seed=9).test
    counts = np.concatenate(list(resamples(40, 60, seed=9)), axis=1).astype(int)
    for metric in ("balanced_accuracy", "macro_f1", "log_loss", "roc_auc"):
        drawn = [oracle_scores(y, p, counts[:, column])[metric] for column in range(60)]
        estimate = found[metric]
        assert_allclose([estimate.low, estimate.high], np.quantile(drawn, [0.1, 0.9]))


@pytest.mark.parametrize("n_rows", [100, 400])
def test_interval_covers_the_true_accuracy(n_rows):
    """With 300 trials, the standard error of a coverage of 0.95 is 0.0126; tolerance 3.5."""
    rng, truth, n_trials = np.random.default_rng(0), 0.85, 300
    n_covered = 0
    for trial in range(n_trials):
        y = np.zeros(n_rows, int)
        p = np.where(rng.random(n_rows) < truth, 0.9, 0.1)
        p = np.column_stack([p, 1 - p])
        accuracy = evaluate(y, p, p, n_bootstrap=400, seed=trial).test["accuracy"]
        n_covered += accuracy.low <= truth <= accuracy.high
    assert abs(n_covered / n_trials - 0.95) < 3.5 * np.sqrt(0.95 * 0.05 / n_trials)


def test_p_values_of_equally_good_classifiers_are_uniform():
    """Classifiers of equal accuracy: the fraction of p <= 0.1 is 0.1 +- 0.021 in 200 trials."""
    rng = np.random.default_rng(1)
    y = np.zeros(300, int)
    n_trials, n_small = 200, 0
    for trial in range(n_trials):
        p, q = (np.where(rng.random(300) < 0.8, 0.9, 0.1) for _ in range(2))
        gain = evaluate(
            y, np.column_stack([p, 1 - p]), np.column_stack([q, 1 - q]), n_bootstrap=300, seed=trial
        ).gain
        n_small += gain["accuracy"].p_value <= 0.1
    assert abs(n_small / n_trials - 0.1) < 3.5 * 0.021


def test_identical_predictions_have_no_gain():
    y, p = simulate(150, 4, seed=6)
    evaluation = evaluate(y, p, p.copy(), n_bootstrap=300, seed=1)
    assert evaluation.test == evaluation.baseline
    for metric in METRICS:
        gain = evaluation.gain[metric]
        assert (gain.value, gain.low, gain.high, gain.p_value) == (0, 0, 0, 1), metric


def test_gain_is_paired_and_its_p_value_bounded_below():
    """Both err on the same rows, one on five more: only a paired test is significant."""
    y = np.zeros(400, int)
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    p = np.array([wrong] * 100 + [right] * 300)
    q = np.array([wrong] * 112 + [right] * 288)
    evaluation = evaluate(y, p, q, n_bootstrap=999, seed=0)
    gain, test = evaluation.gain["accuracy"], evaluation.test["accuracy"]
    assert gain.value == pytest.approx(0.03)
    assert 0 < gain.low < 0.03 < gain.high < test.high - test.low
    assert gain.p_value == 1 / 1000


def test_swapping_the_classifiers_negates_the_gain():
    y, p = simulate(120, 3, seed=7)
    _, q = simulate(120, 3, seed=8)
    forth = evaluate(y, p, q, n_bootstrap=200, seed=2).gain
    back = evaluate(y, q, p, n_bootstrap=200, seed=2).gain
    for metric in METRICS:
        assert_allclose(
            [back[metric].value, back[metric].low, back[metric].high, back[metric].p_value],
            [-forth[metric].value, -forth[metric].high, -forth[metric].low, forth[metric].p_value],
            atol=1e-12,
        )


def test_accuracy_without_errors_has_the_exact_interval():
    y = np.array([0, 1] * 15)
    accuracy = evaluate(y, np.eye(2)[y], np.eye(2)[1 - y], n_bootstrap=100)
    # Clopper & Pearson: 30 of 30 has the lower limit 0.025 ** (1 / 30) = 0.8843.
    assert accuracy.test["accuracy"].high == 1
    assert accuracy.test["accuracy"].low == pytest.approx(0.8843, abs=5e-5)
    assert accuracy.baseline["accuracy"].high == pytest.approx(1 - 0.8843, abs=5e-5)


def test_twelve_correct_rows_have_the_exact_interval_and_no_other():
    y = np.array([0, 1] * 6)
    good = np.eye(2)[y] * 0.8 + 0.1
    found = evaluate(y, good, np.eye(2)[1 - y], n_bootstrap=100)
    # Clopper & Pearson: 12 of 12 has the lower limit 0.025 ** (1 / 12) = 0.7354.
    assert found.test["accuracy"].low == pytest.approx(0.025 ** (1 / 12))
    assert f"{found.test['balanced_accuracy']}" == "1.000 [\u2013]"
    content = json.loads(json.dumps(found.to_json_dict(), allow_nan=False))
    for metric in METRICS[1:]:
        assert (content["test"][metric]["low"], content["test"][metric]["high"]) == (None, None)
    gain = content["gain"]["accuracy"]
    assert gain == {"value": 1.0, "low": None, "high": None, "p_value": None}
    same = evaluate(y, good, good, n_bootstrap=100).gain["accuracy"]
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize("n_rows", [20, 50, 99])
def test_few_rows_have_the_exact_interval_of_accuracy(n_rows):
    y = np.zeros(n_rows, int)
    p = np.eye(2)[(np.arange(n_rows) < 3).astype(int)]
    accuracy = evaluate(y, p, p, n_bootstrap=100).test["accuracy"]
    expected = binomtest(n_rows - 3, n_rows).proportion_ci(method="exact")
    assert_allclose([accuracy.low, accuracy.high], [expected.low, expected.high])


def test_constant_resamples_give_no_interval():
    y = np.array([0, 1] * 100)
    found = evaluate(y, np.eye(2)[y], np.eye(2)[y], n_bootstrap=100).test
    for metric in ("balanced_accuracy", "macro_f1", "roc_auc"):
        assert np.isnan([found[metric].low, found[metric].high]).all(), metric
    assert found["accuracy"].low == pytest.approx(0.025 ** (1 / 200))


def test_interval_of_the_calibration_error_is_bias_corrected():
    """200 rows of a slightly overconfident classifier, true error 0.05 (see ``_corrected``)."""
    rng, n_trials, n_covered = np.random.default_rng(2), 100, 0
    for trial in range(n_trials):
        confidence = rng.uniform(0.6, 1.0, 200)
        is_right = rng.random(200) < confidence - 0.05
        p = np.column_stack([confidence, 1 - confidence])
        found = evaluate((~is_right).astype(int), p, p, n_bootstrap=200, seed=trial)
        estimate = found.test["calibration_error"]
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        n_covered += estimate.low <= 0.05 <= estimate.high
    assert n_covered / n_trials > 0.8


def test_json_has_the_documented_keys_and_depends_on_the_seed_only():
    y, p = simulate(90, 3, seed=10)
    first, second, other = (
        evaluate(y, p, p[::-1], n_bootstrap=150, seed=seed).to_json_dict() for seed in (4, 4, 5)
    )
    assert first == second != other
    assert list(first) == ["test", "labels_only", "gain"]
    assert list(first["test"]) == list(first["gain"]) == list(METRICS)
    assert list(first["labels_only"]["roc_auc"]) == ["value", "low", "high"]
    assert list(first["gain"]["roc_auc"]) == ["value", "low", "high", "p_value"]
    assert "-0.0," not in json.dumps(first)
    assert all(
        figure == round(figure, 6)
        for part in first.values()
        for estimate in part.values()
        for figure in estimate.values()
    )


def test_confidence_bins_are_closed_above():
    confidence = np.array([0.0, 1 / 15, 0.6, 0.6000001, 14 / 15, 1.0])
    assert confidence_bin(confidence).tolist() == [0, 0, 8, 9, 13, 14]


def test_calibration_table_adds_up_to_the_calibration_error():
    y, p = simulate(500, 4, seed=11)
    table = calibration_table(y, p)
    assert table["n_rows"].sum() == 500
    is_inside = (table["confidence"] > table["bin_low"]) & (
        table["confidence"] <= table["bin_high"]
    )
    assert is_inside.all()
    gap = (table["n_rows"] / 500 * (table["accuracy"] - table["confidence"]).abs()).sum()
    assert gap == pytest.approx(score(y, p)["calibration_error"], abs=1e-5)


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], r"0\.\.1, got 0\.\.2"),
        ([0, -1], [[0.5, 0.5], [0.5, 0.5]], r"got -1\.\.0"),
        ([0], [[0.5, 0.5], [0.5, 0.5]], "y.shape"),
        ([], np.empty((0, 2)), "at least one row"),
        ([0, 1], [[0.5, 0.5], [0.5, 0.9]], "row 1 sum to 1.4"),
        ([0, 1], [[0.5, 0.5], [0.5, np.nan]], "row 1 sum to nan"),
    ],
)
def test_rejects_invalid_labels_and_probabilities(y, p, message):
    with pytest.raises(ValueError, match=message):
        score(np.array(y, int), np.array(p))


def test_two_thousand_resamples_take_seconds():
    """10,000 rows x 26 classes take 1.1 s on two cores; the limit allows for busy machines."""
    import time

    y, p = simulate(10_000, 26, seed=12)
    started = time.perf_counter()
    evaluate(y, p, p[::-1], n_bootstrap=2000)
    assert time.perf_counter() - started < 15
