"""Statements of the estimated time and memory of stages, and the memory limit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import ComputeParams, DataParams, Params
from semigen.tables.splits import read_tables
from tasks.command_line import run_stage
from tasks.costs import announce, table_size
from tasks.validate import infer_schema

N_LABELED, N_UNLABELED, N_TEST = 40, 200, 60


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return parameters, and a project whose tables are prepared."""
    layout = Layout(tmp_path_factory.mktemp("project"))
    rng = np.random.default_rng(0)
    paths = {}
    for part, n in (("labeled", N_LABELED), ("unlabeled", N_UNLABELED), ("test", N_TEST)):
        columns = {"age": rng.normal(size=n).round(3), "city": rng.choice(["Rome", "Oslo"], n)}
        label = {} if part == "unlabeled" else {"bought": rng.choice(["no", "yes"], n)}
        paths[part] = f"{part}.csv"
        pd.DataFrame(columns | label).to_csv(layout.root / paths[part], index=False)
    params = Params(data=DataParams(**paths, target="bought"))
    tables = read_tables(params.data, layout)
    infer_schema(tables, params).save(layout.schema)
    run_stage("preprocess", params, layout)
    return params, layout


def test_size_of_prepared_tables_is_exact(project):
    params, layout = project
    size = table_size(params, layout, "train")
    assert (size.n_labeled, size.n_unlabeled, size.n_test) == (N_LABELED, N_UNLABELED, N_TEST)
    assert (size.n_columns, size.n_encoded, size.n_classes) == (2, 3, 2)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_size_of_raw_files_is_estimated_without_reading_them(project, ending, tmp_path):
    params, layout = project
    if ending == "parquet":
        layout = Layout(tmp_path)
        for part in ("labeled", "unlabeled", "test"):
            table = pd.read_csv(project[1].root / f"{part}.csv")
            table.to_parquet(layout.root / f"{part}.parquet")
        data = {part: f"{part}.parquet" for part in ("labeled", "unlabeled", "test")}
        params = Params(data=DataParams(**data, target="bought"))
    size = table_size(params, layout, "validate")
    assert size.n_rows == pytest.approx(N_LABELED + N_UNLABELED, abs=2)
    assert size.n_columns == 3


def test_size_of_a_long_csv_is_extrapolated_from_its_first_lines(tmp_path):
    layout = Layout(tmp_path)
    for part in ("labeled", "unlabeled", "test"):
        (tmp_path / f"{part}.csv").write_text("a;b;c\n" + "1.5;2.5;yes\n" * 30_000)
    data = DataParams(labeled="labeled.csv", unlabeled="unlabeled.csv", test="test.csv", target="c")
    size = table_size(Params(data=data), layout, "preprocess")
    assert size.n_rows == pytest.approx(60_000, rel=0.01)
    assert size.n_columns == 3


def test_size_of_other_files_is_unknown(project):
    params, layout = project
    data = params.data.model_copy(update={"unlabeled": "unlabeled.csv.gz"})
    assert table_size(params.model_copy(update={"data": data}), layout, "validate") is None


@pytest.mark.parametrize(
    "stage", ["validate", "preprocess", "pretrain", "augment", "train", "evaluate", "report"]
)
def test_stage_states_its_estimate(project, stage, capsys):
    params, layout = project
    announce(stage, params, layout)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert line.startswith(f"{stage}: about ")
    assert "s of CPU time" in line and "GiB" in line and "columns" in line


@pytest.mark.parametrize("name", ["damaged.parquet", "empty.csv", "absent.csv", "."])
def test_file_that_cannot_be_read_is_left_to_the_stage(project, name, tmp_path, capsys):
    params, layout = project
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "empty.csv").write_bytes(b"")
    data = params.data.model_copy(update={"unlabeled": str(tmp_path / name)})
    announce("validate", params.model_copy(update={"data": data}), layout)
    assert capsys.readouterr().out == ""


def test_estimate_precedes_the_work(project, capsys):
    params, layout = project
    run_stage("preprocess", params, layout)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("preprocess: about ")
    assert lines[1].startswith("preprocess: 2 columns encoded")


@pytest.mark.parametrize(
    ("stage", "parameter"),
    [("train", "train.max_rows_graph"), ("pretrain", "preprocess.max_categories")],
)
def test_limit_that_is_too_small_is_refused_before_the_work(project, stage, parameter):
    params, layout = project
    limited = params.model_copy(update={"compute": ComputeParams(memory_limit=0.01)})
    with pytest.raises(UserError, match=rf"{stage}: needs about .* compute\.memory_limit") as error:
        run_stage(stage, limited, layout)
    message = str(error.value)
    assert "\n" not in message and "(0.01 GiB)" in message
    assert parameter in message
    assert not layout.generator.exists() and not layout.classifier.exists()


def test_limit_that_suffices_is_accepted(project):
    params, layout = project
    limited = params.model_copy(update={"compute": ComputeParams(memory_limit=64)})
    announce("train", limited, layout)
