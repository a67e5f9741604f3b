from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semigen.classifiers.classifier import Classifier, Member
from semigen.classifiers.learner_table import make_learners
from semigen.classifiers.problem import LearningProblem
from semigen.cli.main import main
from semigen.generators import make_generator
from semigen.params.config import AugmentParams, ComputeParams, PretrainParams, TrainParams
from semigen.params.generators import VAEParams
from semigen.tables.encoding import Encoded
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
    columns = ["prediction", "probability_ill", "probability_well", "novelty"]
    assert list(result.columns) == columns
    np.testing.assert_allclose(result[columns[1:3]].sum(axis=1), 1.0, atol=2e-6)
    wins = np.where(result["probability_ill"] > 0.5, "ill", "well")
    assert (result["prediction"] == wins).all()
    assert (result["prediction"] == table["outcome"]).mean() > 0.85
    assert result["novelty"].between(0, 1).all()


def test_extra_and_reordered_columns_change_nothing_and_unseen_categories_are_taken(predict):
    table = mixed_table(20, seed=1).drop(columns="outcome")
    _, expected, _ = predict(table)
    shuffled = table[reversed(table.columns)].assign(note="x")
    status, result, _ = predict(shuffled)
    assert status == 0
    pd.testing.assert_frame_equal(result, expected)
    status, result, _ = predict(table.assign(ward="attic", smoker="sometimes"))
    assert status == 0 and result["prediction"].notna().all()


def test_own_columns_are_kept_on_request(predict):
    table = mixed_table(5, seed=1).assign(patient=range(5))
    status, result, _ = predict(table, "--keep-columns", suffix=".parquet")
    assert status == 0
    assert list(result.columns[: len(table.columns)]) == list(table.columns)
    assert list(result["patient"]) == list(range(5))
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


def test_text_among_numbers_is_named_by_file_column_row_and_value(predict):
    table = mixed_table(5, seed=1).astype({"weight": object})
    table.loc[2, "weight"] = "heavy"
    status, result, error = predict(table)
    assert status == 1 and result is None
    for part in ("new.csv", "'weight'", "row 3", "'heavy'"):
        assert part in error


def test_absent_model_is_a_one_line_error(tmp_path, capsys):
    mixed_table(5).to_csv(tmp_path / "new.csv")
    arguments = ["--input", str(tmp_path / "new.csv"), "--output", str(tmp_path / "out.csv")]
    assert main(["predict", *arguments, "--model", str(tmp_path / "none")]) == 1
    error = capsys.readouterr().err
    assert "no classifier here" in error and error.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()
