from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from semigen.classifiers.classifier import Classifier, Member
from semigen.classifiers.learner_table import make_learners
from semigen.classifiers.problem import LearningProblem
from semigen.cli.main import main
from semigen.errors import UserError
from semigen.generators import make_generator
from semigen.params.config import AugmentParams, ComputeParams, PretrainParams, TrainParams
from semigen.params.generators import VAEParams
from semigen.prediction import predict_table
from semigen.tables.encoding import Encoded
from semigen.tables.sources import read_table
from semigen.wording import hide_cells, show_cells
from tests.semigen.example_tables import encoded, mixed_table


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a classifier of ``mixed_table``."""
    encoder, rows = encoded(mixed_table(200), n_labeled=30)
    params = PretrainParams(vae=VAEParams(latent_dim=2, hidden_dims=(16,), epochs=5, batch_size=32))
    generator = make_generator(encoder, params, ComputeParams(), seed=0)
    generator.fit(rows)
    labeled, hidden = (Encoded(rows.x[part], rows.y[part]) for part in (rows.y >= 0, rows.y < 0))
    training = LearningProblem.from_encoded(labeled, hidden, generator, AugmentParams(), seed=0)
    learner = make_learners(TrainParams())[0]
    member = Member(learner.name, learner.fit(training), learner.space, 1.0)
    folder = tmp_path_factory.mktemp("models") / "classifier"
    Classifier(encoder, (member,), generator).save(folder)
    return folder


@pytest.fixture
def predict(model, tmp_path, capsys):
    """Run ``semigen predict`` on a table; return exit status, output table and stderr."""

    def run(table: pd.DataFrame, *options: str, suffix: str = ".csv"):
        source, destination = tmp_path / "new.csv", tmp_path / f"predictions{suffix}"
        table.to_csv(source, index=False)
        arguments = ["--input", str(source), "--output", str(destination), "--force"]
        arguments += ["--model", str(model)]
        status = main(["predict", *arguments, *options])
        read = pd.read_parquet if suffix == ".parquet" else pd.read_csv
        result = read(destination) if destination.exists() else None
        return status, result, capsys.readouterr().err

    return run


def test_writes_label_probabilities_and_novelty_in_the_rows_order(predict):
    table = mixed_table(40, seed=1)
    status, result, _ = predict(table.drop(columns="outcome"))
    assert status == 0
    columns = ["prediction", "probability_ill", "probability_well", "novelty", "error"]
    assert list(result.columns) == columns
    np.testing.assert_allclose(result[columns[1:3]].sum(axis=1), 1.0, atol=2e-6)
    wins = np.where(result["probability_ill"] > 0.5, "ill", "well")
    assert (result["prediction"] == wins).all()
    assert (result["prediction"] == table["outcome"]).mean() > 0.85
    assert result["novelty"].between(0, 1).all()
    assert result["error"].isna().all()


def test_extra_and_reordered_columns_change_nothing_and_unseen_categories_are_taken(predict):
    table = mixed_table(20, seed=1).drop(columns="outcome")
    _, expected, _ = predict(table)
    shuffled = table[reversed(table.columns)].assign(note="x")
    status, result, _ = predict(shuffled)
    assert status == 0
    pd.testing.assert_frame_equal(result, expected)
    few = np.arange(20) < 2
    new = {"ward": table["ward"].mask(few, "attic"), "smoker": table["smoker"].mask(few, "maybe")}
    status, result, error = predict(table.assign(**new))
    assert status == 0 and result["prediction"].notna().all()
    assert "warning: " in error and "column 'ward': 2 of 20 cells (10%) are unknown categ" in error
    status, _, error = predict(table.assign(ward="attic"))
    assert status == 1
    assert "column 'ward': 20 of 20 cells (100%) are unknown categories ('attic', first" in error


def test_own_columns_are_kept_on_request(predict):
    table = mixed_table(5, seed=1).assign(patient=range(5))
    status, result, _ = predict(table, "--keep-columns", suffix=".parquet")
    assert status == 0
    assert list(result.columns[: len(table.columns)]) == list(table.columns)
    assert list(result["patient"]) == list("01234")  # as in the text file
    assert "prediction" in result


def test_missing_column_is_named_with_its_remedy_and_can_be_imputed(predict):
    table = mixed_table(5, seed=1).drop(columns=["ward", "weight"])
    status, result, error = predict(table)
    assert status == 1 and result is None
    assert error.count("\n") == 1
    for part in ("new.csv", "'weight'", "'ward'", "--impute-missing-columns"):
        assert part in error
    status, result, _ = predict(table, "--impute-missing-columns")
    assert status == 0 and len(result) == 5


def test_reads_text_files_as_the_project_says(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("data:\n  read: {header: 2, comment: '!'}\n")
    table = mixed_table(5, seed=1).to_csv(index=False)
    names, *rows = table.splitlines()
    (tmp_path / "new.csv").write_text(
        "\n".join(["a,b,c", names, *rows[:2], "! checked", *rows[2:]])
    )
    arguments = ["--input", "new.csv", "--output", "out.csv", "--model", str(model)]
    assert main(["predict", *arguments]) == 0, capsys.readouterr().err
    assert len(pd.read_csv(tmp_path / "out.csv")["prediction"].dropna()) == 5


WRONG_CELLS = {"text": "heavy", "infinite": "inf", "float64": "1e40", "overflow": "1e999"}


@pytest.mark.parametrize("cell", [*WRONG_CELLS.values(), "1e14", "-1e300"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_row_that_cannot_be_encoded_fails_and_the_others_do_not(predict, cell, suffix):
    table = mixed_table(5, seed=1)
    _, expected, _ = predict(table, suffix=suffix)
    table = table.astype({"weight": object})
    table.loc[2, "weight"] = cell
    status, result, error = predict(table, suffix=suffix)
    assert status == 0
    others = [0, 1, 3, 4]
    pd.testing.assert_frame_equal(
        result.loc[others].drop(columns="error"), expected.loc[others].drop(columns="error")
    )
    assert result.loc[2].drop("error").isna().all()
    assert result.loc[others, "error"].isna().all()
    assert "'weight'" in result.loc[2, "error"]
    assert "1 of 5 rows" in error and "row 3" in error and "'weight'" in error
    if cell == "heavy":
        assert "'heavy'" in error and "'heavy'" in result.loc[2, "error"]


def test_values_of_cells_can_be_left_out_of_the_summary(model, tmp_path):
    """The server stores the log of the flow ``predict``."""
    table = mixed_table(30, seed=1).astype({"weight": object})
    table.loc[2, "weight"], table.loc[3, "weight"] = "heavy", "1e40"
    table.to_csv(tmp_path / "new.csv", index=False)
    summary = predict_table(tmp_path / "new.csv", tmp_path / "p.csv", model)
    text = "\n".join([summary.failures, *summary.warnings])
    for value in ("heavy", "1e40"):
        assert text.count(value) == 2
        assert value in show_cells(text) and value not in hide_cells(text)
    with pytest.raises(UserError, match="'heavy'") as error:
        table.assign(weight="heavy").to_csv(tmp_path / "new.csv", index=False)
        predict_table(tmp_path / "new.csv", tmp_path / "q.csv", model)
    assert "heavy" not in error.value.stored


def test_far_values_that_are_predicted_have_finite_figures(predict):
    status, result, _ = predict(mixed_table(5, seed=1).assign(weight=1e12, visits=-1e12))
    assert status == 0
    assert np.isfinite(result.drop(columns=["prediction", "error"])).all(axis=None)
    assert (result["novelty"] == 1).all()


def test_table_without_a_row_that_can_be_predicted_is_an_error(predict, tmp_path):
    kept = "from yesterday\n"
    (tmp_path / "predictions.csv").write_text(kept)
    status, _, error = predict(mixed_table(5, seed=1).assign(weight="heavy"))
    assert status == 1
    assert (tmp_path / "predictions.csv").read_text() == kept
    assert error.count("\n") == 1
    for part in ("new.csv", "no row can be predicted", "'weight'", "row 1", "'heavy'"):
        assert part in error


def test_predictions_do_not_depend_on_the_blocks(model, tmp_path):
    table = mixed_table(20_000, seed=2, missing=0.05).drop(columns="outcome")
    table.to_csv(tmp_path / "new.csv", index=False)
    written, seen = set(), []
    for n_rows in (8192, 16_384, 24_576):
        predict_table(
            tmp_path / "new.csv",
            tmp_path / f"{n_rows}.csv",
            model,
            n_rows=n_rows,
            progress=lambda n_done, n_all: seen.append((n_done, n_all)),
        )
        written.add((tmp_path / f"{n_rows}.csv").read_bytes())
    assert len(written) == 1
    assert seen[:3] == [(8192, 20_000), (16_384, 20_000), (20_000, 20_000)]
    result, classifier = pd.read_csv(tmp_path / "8192.csv"), Classifier.load(model)
    probabilities = classifier.predict_proba(read_table(tmp_path / "new.csv"))
    novelty = classifier.novelty(read_table(tmp_path / "new.csv"))
    np.testing.assert_array_equal(result.iloc[:, 1:3], probabilities.round(6))
    np.testing.assert_array_equal(result["novelty"], novelty.round(4))


def test_memory_does_not_grow_with_the_table(model, tmp_path):
    peaks = []
    table = mixed_table(8192, seed=2).drop(columns="outcome")
    for n_blocks in (1, 2):
        pd.concat([table] * n_blocks).to_csv(tmp_path / "new.csv", index=False)
        tracemalloc.start()
        predict_table(tmp_path / "new.csv", tmp_path / "p.csv", model, n_rows=8192, overwrite=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_classifier_without_generator_predicts_with_empty_novelty(predict, model, tmp_path, suffix):
    classifier = Classifier.load(model)
    Classifier(classifier.encoder, classifier.members).save(tmp_path / "labels_only")
    table = mixed_table(5, seed=1)
    _, expected, _ = predict(table, suffix=suffix)
    arguments = ["--model", str(tmp_path / "labels_only")]
    status, result, _ = predict(table, *arguments, suffix=suffix)
    assert status == 0
    assert result["novelty"].isna().all()
    pd.testing.assert_frame_equal(result.iloc[:, :3], expected.iloc[:, :3])


def test_features_that_no_member_uses_are_not_computed(model, monkeypatch):
    classifier = Classifier.load(model)
    assert {member.space for member in classifier.members} == {"encoded"}
    table = mixed_table(5, seed=1)
    expected = classifier.predict_proba(table)
    monkeypatch.setattr(type(classifier.generator), "features", None)
    np.testing.assert_array_equal(classifier.predict_proba(table), expected)


def test_kept_column_with_the_name_of_a_prediction_is_refused(predict):
    status, result, error = predict(mixed_table(5).assign(novelty=1), "--keep-columns")
    assert status == 1 and result is None
    assert "'novelty'" in error and "--keep-columns" in error


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_kept_columns_keep_their_values(predict, suffix):
    table = mixed_table(5, seed=1).assign(
        code=["007", "8", None, "x", "9"], whole=range(5), gaps=[1, None, 3, 4, 5], none=None
    )
    status, result, _ = predict(table, "--keep-columns", suffix=suffix)
    assert status == 0
    kept = result[list(table.columns)]
    dtype = str if suffix == ".parquet" else None  # the cells of a text file stay text
    expected = pd.read_csv(io.StringIO(table.to_csv(index=False)), dtype=dtype)
    pd.testing.assert_frame_equal(kept, expected, check_dtype=False)


def test_absent_model_is_a_one_line_error(tmp_path, capsys):
    mixed_table(5).to_csv(tmp_path / "new.csv")
    arguments = ["--input", str(tmp_path / "new.csv"), "--output", str(tmp_path / "out.csv")]
    assert main(["predict", *arguments, "--model", str(tmp_path / "none")]) == 1
    error = capsys.readouterr().err
    assert "no classifier here" in error and error.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()


def test_text_of_the_input_and_classes_is_no_formula_in_the_output(predict, model, tmp_path):
    classifier = Classifier.load(model)
    schema = classifier.schema.model_copy(update={"classes": ("=cmd|' /C calc'!A0", "-1")})
    classifier.encoder.schema = schema
    classifier.save(tmp_path / "hostile")
    table = mixed_table(40, seed=1).assign(**{"=note": "=1+1", "sign": "-", "n": -1})
    options = ["--keep-columns", "--model", str(tmp_path / "hostile")]
    status, result, _ = predict(table, *options)
    assert status == 0
    assert set(result["prediction"]) == {"'=cmd|' /C calc'!A0", "-1"}
    assert set(result["'=note"]) == {"'=1+1"}
    assert set(result["sign"]) == {"-"} and set(result["n"]) == {-1}
    _, raw, _ = predict(table, *options, "--raw-text")
    assert set(raw["prediction"]) == {"=cmd|' /C calc'!A0", "-1"} and set(raw["=note"]) == {"=1+1"}
