import pandas as pd
import pytest

from semigen.report import summary


def metrics_with(value, low, high, p_value=0.5):
    gain = {"value": value, "low": low, "high": high, "p_value": p_value}
    return {"n_test": 20, "gain": {"accuracy": gain}, "test": {"accuracy": {"value": 0.9}}}


def selection_of(uses):
    candidate = {"name": "m", "uses": uses, "log_loss": {"value": 0.3}}
    return {"selected": "m", "candidates": [candidate], "committees": {"selected": candidate}}


@pytest.mark.parametrize(
    ("gain", "uses", "outcome", "says"),
    [
        (
            (0.1, 0.02, 0.2, 0.0004),
            ["unlabeled"],
            "helped",
            "only is +10.0 points [+2.0, +20.0]",
        ),
        ((0.1, 0.02, 0.2, 0.0004), ["unlabeled"], "helped", "p-value <0.001"),
        (
            (0.01, -0.02, 0.04),
            ["synthetic"],
            "not shown",
            "difference in accuracy is +1.0",
        ),
        ((0.01, 0.0, 0.04), ["synthetic"], "not shown", "+1.0 points [+0.0, +4.0] (90% confidence"),
        (
            (-0.03, -0.05, -0.01),
            ["unlabeled"],
            "worse",
            "\u22123.0 points [\u22125.0, \u22121.0]",
        ),
        ((0.1, 0.02, 0.2), [], "not used", "selected m, which is trained on labels only"),
    ],
)
def test_verdict_depends_on_the_interval_of_the_gain(gain, uses, outcome, says):
    found = summary.verdict(metrics_with(*gain), selection_of(uses), confidence=0.9)
    assert found.outcome == outcome
    assert says in found.sentence


@pytest.mark.parametrize(
    ("metric", "gain", "direction"),
    [
        ("accuracy", (0.1, 0.05, 0.2), "better"),
        ("accuracy", (-0.1, -0.2, -0.05), "worse"),
        ("log_loss", (-0.1, -0.2, -0.05), "better"),
        ("calibration_error", (0.1, 0.05, 0.2), "worse"),
        ("roc_auc", (0.1, -0.05, 0.2), "unclear"),
        ("log_loss", (0.0, 0.0, 0.0), "unclear"),
    ],
)
def test_lower_loss_is_better(metric, gain, direction):
    found = dict(zip(("value", "low", "high"), gain, strict=True))
    assert summary.gain_direction(metric, found) == direction


def test_figures_as_text():
    estimate = {"value": 0.93125, "low": 0.9, "high": 0.96}
    assert summary.estimate_text("accuracy", estimate) == "93.1% [90.0, 96.0]"
    assert summary.estimate_text("log_loss", estimate) == "0.931 [0.900, 0.960]"
    gain = {"value": -0.0123, "low": -0.03, "high": -0.0, "p_value": 0.3}
    assert summary.gain_text("accuracy", gain) == "\u22121.2 points [\u22123.0, +0.0]"
    assert summary.gain_text("log_loss", gain) == "\u22120.012 [\u22120.030, +0.000]"


def test_committees_are_listed_among_the_candidates():
    def candidate(name, loss, *uses):
        return {"name": name, "log_loss": {"value": loss}, "uses": list(uses)}

    alone = [candidate("a", 0.5), candidate("b", 0.4, "unlabeled")]
    both, one = candidate("committee", 0.3, "unlabeled"), candidate("a", 0.5)
    both["weights"] = {"b": 0.8, "a": 0.2}
    selection = {
        "selected": "committee",
        "labels_only": "a",
        "candidates": alone,
        "committees": {"selected": both, "labels_only": one},
    }
    assert [c["name"] for c in summary.candidates_of(selection)] == ["committee", "b", "a"]
    assert summary.uses_of_selected(selection) == ["unlabeled"]
    weights = [summary.weight_text(selection, name) for name in ("a", "b", "committee")]
    assert weights == ["20%", "80%", ""]


def test_cautions_if_all_test_rows_are_correct_or_too_few_for_intervals():
    assert summary.no_error_note({**metrics_with(0, 0, 0), "n_test": 30}) is None
    assert "20 test rows are too few" in summary.no_error_note(metrics_with(0, 0, 0))
    perfect = {"n_test": 20, "test": {"accuracy": {"value": 1.0}}}
    assert "All 20 test rows are labeled correctly" in summary.no_error_note(perfect)


@pytest.fixture
def confusion():
    """Class c has no test row; b is never predicted."""
    names = ["a", "b", "c"]
    return pd.DataFrame([[6, 0, 2], [3, 0, 1], [0, 0, 0]], index=names, columns=names)


def test_class_figures(confusion):
    figures = summary.class_figures(confusion).set_index("class")
    assert figures.index.tolist() == ["b", "a", "c"]
    assert figures.loc["a", ["n_rows", "recall", "precision"]].tolist() == [8, 0.75, 6 / 9]
    assert figures.loc["b", "recall"] == 0
    assert pd.isna(figures.loc["b", "precision"])
    assert pd.isna(figures.loc["c", "recall"])


def test_frequent_confusions(confusion):
    found = summary.frequent_confusions(confusion, limit=2)
    assert found.to_dict("records") == [
        {"actual": "b", "predicted": "a", "n_rows": 3, "fraction": 0.75},
        {"actual": "a", "predicted": "c", "n_rows": 2, "fraction": 0.25},
    ]
    right = pd.DataFrame([[3, 0], [0, 2]], index=["a", "b"], columns=["a", "b"])
    assert summary.frequent_confusions(right).empty


def test_majority_accuracy(confusion):
    assert summary.majority_accuracy(confusion) == 8 / 12


@pytest.mark.parametrize(("low", "is_shown"), [(0.7, True), (8 / 12, False), (0.5, False)])
def test_cautions_if_accuracy_is_not_above_the_majority_class(confusion, low, is_shown):
    balanced = {"value": 0.375, "low": 0.2, "high": 0.5}
    test = {"accuracy": {"low": low}, "balanced_accuracy": balanced}
    text = summary.majority_text({"test": test}, confusion)
    assert "would reach 66.7%" in text
    assert "Balanced accuracy (mean recall over the classes) is 37.5% [20.0, 50.0]" in text
    assert "Never predicted: b (4 test rows)." in text
    assert ("not significantly higher" not in text) == is_shown


def test_figures_without_interval_are_a_dash():
    none = {"value": 0.5, "low": None, "high": None}
    assert summary.estimate_text("accuracy", none) == "50.0% [\u2013]"
    gain = {**none, "p_value": None}
    assert summary.gain_text("accuracy", gain) == "+50.0 points [\u2013]"
    assert summary.p_value_text(None) == "\u2013"
    assert summary.gain_direction("accuracy", gain) == "unclear"
    metrics = {"n_test": 12, "gain": {"accuracy": gain}}
    found = summary.verdict(metrics, selection_of(["unlabeled"]), confidence=0.95)
    assert found.outcome == "not shown"
    assert "12 test rows are too few to tell whether unlabeled rows helped" in found.sentence


@pytest.mark.parametrize(("n_test", "is_shown"), [(99, True), (100, False)])
def test_cross_validated_accuracy_is_shown_with_few_test_rows(n_test, is_shown):
    accuracy = {"value": 0.8, "low": 0.7, "high": 0.9}
    selection = {"committees": {"selected": {"accuracy": accuracy}}}
    found = summary.cross_validated_text({"n_test": n_test}, selection)
    assert found == ("80.0% [70.0, 90.0]" if is_shown else None)


def test_labels_that_look_missing_stay_text(tmp_path):
    (tmp_path / "c.csv").write_text("actual,predicted\nNA,None\nNone,None\n")
    assert summary.read_confusion(tmp_path / "c.csv").index.tolist() == ["NA", "None"]


def test_violations_are_sorted_errors_first():
    results = [
        {"success": False, "severity": "warning", "n": 1},
        {"success": True, "severity": "error", "n": 2},
        {"success": False, "severity": "error", "n": 3},
    ]
    assert [r["n"] for r in summary.warnings_of({"results": results})] == [3, 1]


def privacy_of(value, low, high):
    attack = {"value": value, "low": low, "high": high}
    return {
        "n_held_out": 144,
        "attacks": {"weak": dict.fromkeys(attack, 0.3), "strong": attack},
        "closest_record": {
            "closer_share": {"value": 0.52, "low": 0.44, "high": 0.6},
            "copies_share": 0.021,
            "held_out_copies_share": 0.004,
        },
    }


@pytest.mark.parametrize(
    ("auc", "says"),
    [
        ((0.62, 0.55, 0.69), "leak information about training rows"),
        ((0.62, 0.55, 0.69), "ROC AUC 0.62 [0.55, 0.69]"),
        ((0.53, 0.46, 0.6), "No leak was detected"),
        (
            (0.53, 0.46, 0.6),
            "from 144 held-out rows significantly better than chance",
        ),
        ((0.53, 0.46, 0.6), "52% [44, 60] of the synthetic rows are closer to a training row"),
        ((0.53, 0.46, 0.6), "2.1% equal a training row, 0.4% a held-out row"),
    ],
)
def test_leak_is_judged_by_the_interval_of_the_strongest_attack(auc, says):
    assert says in summary.privacy_text(privacy_of(*auc))


def test_diversity_is_compared_with_real_rows():
    said = summary.diversity_text({"precision": 0.9, "coverage": 0.85, "k": 5})
    assert "90% of the synthetic rows lie close to real rows" in said
    assert "85% of the real rows have a synthetic row as close as their 5 nearest real rows" in said
    assert "other real rows would reach 97%" in said
