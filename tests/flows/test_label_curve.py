"""The flow with simulated fits, on a real temporary Prefect server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect import State, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.testing.utilities import prefect_test_harness
from rich.console import Console

import tasks.label_curve
from flows.label_curve import label_curve, main, print_curve, rows
from semigen.artifacts import Layout
from semigen.tables.schema import TableSchema
from tasks.label_curve import Fit
from tests.semigen.example_tables import TARGET, mixed_table


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with prepared tables, as the working directory."""
    layout = Layout(tmp_path)
    for name in ("labeled", "unlabeled"):
        layout.sample(name).parent.mkdir(parents=True, exist_ok=True)
        layout.sample(name).touch()
    layout.params.write_text("seed: 1\n")
    table = mixed_table(100)
    TableSchema.infer(table, table, TARGET).save(layout.schema)
    layout.prepared("test").parent.mkdir()
    for part, some in (("labeled", table[:40]), ("unlabeled", table), ("test", table[40:])):
        some.to_parquet(layout.prepared(part))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Simulate fits, and list them."""
    made = []

    def fit(problem: Any, n_labeled: int, draw: int, params: Any) -> Fit:
        made.append((n_labeled, draw))
        hits = np.random.default_rng(n_labeled + draw).random((2, 60)) < n_labeled / 50
        return Fit(n_labeled, draw, 1.0, hits)

    monkeypatch.setattr(tasks.label_curve, "fit_once", fit)
    return made


def artifacts(state: State[Any]) -> list[Any]:
    of_run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=of_run))


@pytest.mark.slow
def test_flow_shows_progress_and_the_curve_while_it_runs(
    here: Path, server: None, fits: list[tuple[int, int]]
) -> None:
    state = label_curve(budgets=[10, 20, 40], draws=2, return_state=True)
    assert state.is_completed()
    assert re.match(r"[\d.]+ % accuracy with 40 labels; 40 more labels would be", state.message)
    assert len(fits) == 6
    shown = artifacts(state)
    assert len([a for a in shown if a.key == "label-curve"]) == 6
    assert all(a.data.startswith("data:image/png") for a in shown if a.key == "label-curve")
    (bar,) = (a for a in shown if a.key == "label-curve-progress")
    assert (bar.data, bar.description) == (100, "6 of 6 fits")
    (table,) = (a for a in shown if a.key == "label-curve-figures")
    assert table.description == state.message
    again = label_curve(budgets=[10, 20, 40], draws=2, return_state=True)
    assert again.message == state.message
    assert len(fits) == 6


@pytest.mark.slow
def test_mistake_fails_the_run_with_a_message_of_one_line(
    here: Path, server: None, fits: list[tuple[int, int]]
) -> None:
    state = label_curve(budgets=[100], return_state=True)
    assert state.is_failed()
    assert state.message.startswith("budgets: 100 is not between 4")
    assert fits == []


def test_rejects_mistakes_before_a_server_is_started(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in {
        ("--budgets", "2"): "error: budgets: 2 is not between 4",
        ("--draws", "0"): "error: --draws: must be at least 1, not 0",
    }.items():
        assert main(arguments) == 1
        output = capsys.readouterr()
        assert output.err.startswith(message)
        assert output.out == ""
    Layout().prepared("labeled").unlink()
    assert main([]) == 1
    assert "run the pipeline first" in capsys.readouterr().err


def test_prints_a_row_for_each_number_of_labels() -> None:
    figures = {"value": 0.9, "low": 0.85, "high": 0.94}
    found = {
        "points": [
            {"learner": name, "n_labeled": n, "accuracy": figures}
            for name in ("semigen", "labels only")
            for n in (25, 50)
        ],
        "gains": [
            {"n_labeled": n, "gain": {"value": 0.1, "low": 0, "high": 0.2}} for n in (25, 50)
        ],
        "sentence": "90.0 % accuracy with 50 labels",
        "n_test": 60,
    }
    assert rows(found)[1] == {
        "labels": 50,
        "semigen": "0.900 [0.850, 0.940]",
        "labels only": "0.900 [0.850, 0.940]",
        "gain": "+0.100 [+0.000, +0.200]",
    }
    console = Console(record=True, width=200)
    print_curve(found, console)
    lines = console.export_text().splitlines()
    assert lines[1].split() == ["labels", "semigen", "labels", "only", "gain"]
    assert lines[5] == "90.0 % accuracy with 50 labels (60 test rows)"
