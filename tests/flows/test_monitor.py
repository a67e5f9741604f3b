"""The monitor flow on the toy project, with a real temporary Prefect server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect import State, flow, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
)
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness
from rich.console import Console

from benchmarks.server_api import ask
from flows.events import DATA_CHANGED, DRIFT_DETECTED, project_id
from flows.monitor import content_hash, in_words, main, monitor, print_found
from semigen.artifacts import Layout, read_json
from semigen.tables.schema import TableSchema
from tests.semigen.example_tables import people

if TYPE_CHECKING:
    from conftest import Project

ALIKE = "no drift in 4 columns of 300 rows; no table changed"


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def here(done: Project, server: None, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The toy project after a run that has learned from 400 rows, as the working directory."""
    monkeypatch.chdir(done.root)
    monkeypatch.setenv("PATH", done.environment["PATH"])
    layout, learned = Layout(done.root), people(400, seed=0)
    layout.prepared("unlabeled").parent.mkdir(parents=True)
    TableSchema.infer(learned.assign(label="a"), learned, "label").save(layout.schema)
    learned.to_parquet(layout.prepared("unlabeled"))
    people(300, seed=1).to_csv("new.csv", index=False)
    people(300, seed=1).assign(city="Rome").to_csv("drifted.csv", index=False)
    return done


def run(name: str | None = None) -> State[Any]:
    return monitor(name, return_state=True)


def sent(state: State[Any]) -> list[dict[str, Any]]:
    """Return the events that a flow run sent and that arrived at the server."""
    names, occurred = state.result()["events"], {"since": "2000-01-01T00:00:00Z"}
    arrived = []
    for name in names:
        wanted = {"event": {"name": [name]}, "occurred": occurred}
        deadline = time.monotonic() + 20
        while not (found := mine(wanted, state)):  # events travel on their own
            assert time.monotonic() < deadline, f"{name} did not arrive"
            time.sleep(0.2)
        arrived += found
    return arrived


def mine(wanted: dict[str, Any], state: State[Any]) -> list[dict[str, Any]]:
    url = f"{PREFECT_API_URL.value()}/events/filter"
    events = ask("POST", url, {"filter": wanted})["events"]
    run_id = f"prefect.flow-run.{state.state_details.flow_run_id}"
    related = [[r["prefect.resource.id"] for r in event["related"]] for event in events]
    return [event for event, ids in zip(events, related, strict=True) if run_id in ids]


def artifacts(state: State[Any]) -> dict[str, Any]:
    of_run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=of_run))
    return {artifact.key: artifact for artifact in found}


def flow_run_name(state: State[Any]) -> str:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(state.state_details.flow_run_id).name


@pytest.mark.slow
def test_nothing_new_is_a_completed_run_that_says_so(here: Project) -> None:
    state = run("new.csv")
    assert state.is_completed()
    assert state.message == ALIKE
    assert state.result()["events"] == []
    assert flow_run_name(state) == "tables and new.csv"
    shown = artifacts(state)
    assert set(shown) == {"drift", "drift-columns"}
    assert shown["drift"].data.startswith("Tables changed since the last run: none\n\n# Drift")
    assert shown["drift"].description == "no drift in 4 columns of 300 rows"
    assert "city" in shown["drift-columns"].data


@pytest.mark.slow
def test_drift_is_reported_once_for_the_same_rows(here: Project) -> None:
    state = run("drifted.csv")
    assert state.is_completed()
    assert state.message.startswith("drift in city (distance 1.00) of")
    (event,) = sent(state)
    assert event["event"] == DRIFT_DETECTED == "semigen.drift.detected"
    assert event["resource"]["prefect.resource.id"] == project_id(Layout())
    assert event["resource"]["prefect.resource.id"] == "semigen.project.done"
    assert event["payload"]["drifted"] == ["city"]
    assert event["payload"]["input"] == "drifted.csv"
    assert run("drifted.csv").result()["events"] == []
    assert run("new.csv").result()["events"] == []
    assert run("drifted.csv").result()["events"] == []
    people(300, seed=2).assign(city="Oslo").to_csv("drifted.csv", index=False)
    assert run("drifted.csv").result()["events"] == [DRIFT_DETECTED]
    people(500, seed=3).to_parquet(Layout().prepared("unlabeled"))
    assert run("drifted.csv").result()["events"] == [DRIFT_DETECTED], "of what was learned since"


@pytest.mark.slow
def test_findings_wait_for_a_retraining_that_is_at_work(here: Project) -> None:
    """The run that they start would be canceled, and nothing would tell of them again."""

    @flow(name="train")
    def train() -> State[Any]:
        return run("drifted.csv")

    state = train(return_state=True).result(raise_on_failure=False)
    assert state.message.startswith("a retraining is at work")
    assert state.result()["events"] == []
    print_found(state.result())
    assert run("drifted.csv").result()["events"] == [DRIFT_DETECTED]


@pytest.mark.slow
def test_changed_tables_are_reported_once_for_the_same_content(here: Project) -> None:
    Path("own.csv").write_text("1\n")
    here.edit("dvc.yaml", "deps: [schema.json]", "deps: [schema.json, own.csv]")
    assert here.run("dvc", "repro", "report").returncode == 0
    assert run().message == ("no table changed; no table of new rows is watched (monitor.input)")
    Path("own.csv").write_text("2\n")
    state = run()
    assert state.message.startswith("changed tables: own.csv; ")
    (event,) = sent(state)
    assert event["event"] == DATA_CHANGED == "semigen.data.changed"
    assert event["payload"]["tables"] == ["own.csv"]
    assert "- `own.csv`" in artifacts(state)["drift"].data
    assert flow_run_name(state) == "tables"
    assert run().result()["events"] == []
    Path("own.csv").write_text("3\n")
    assert run().result()["events"] == [DATA_CHANGED]
    Path("own.csv").write_text("4\n")
    assert run("drifted.csv").result()["events"] == [DRIFT_DETECTED], "one retraining is enough"
    assert run("drifted.csv").result()["events"] == [DATA_CHANGED], "unless it did not come"
    assert here.run("dvc", "repro", "report").returncode == 0
    assert run().result() == {
        "changed_tables": [],
        "drift": None,
        "not_measured": "no table of new rows is watched (monitor.input)",
        "events": [],
    }


@pytest.mark.slow
def test_the_watched_table_is_that_of_the_parameters(here: Project) -> None:
    with Path("params.yaml").open("a") as file:
        file.write("monitor:\n  input: later.csv\n")
    state = run()
    assert state.is_completed()
    assert state.message == "no table changed; later.csv (monitor.input) is not there"
    assert flow_run_name(state) == "tables and later.csv"
    people(300, seed=1).to_csv("later.csv", index=False)
    assert run().message == ALIKE
    Layout().prepared("unlabeled").unlink()
    assert run().message.endswith(
        "later.csv has nothing to be compared with: no run prepared the tables so far"
    )


@pytest.mark.slow
def test_mistakes_end_the_run_as_failed_with_one_line(here: Project) -> None:
    state = run("nowhere.csv")
    assert state.is_failed()
    assert state.message == "nowhere.csv: no such file; check input"
    Path("empty.csv").write_text("")
    assert run("empty.csv").message.startswith("empty.csv: the file is empty")
    here.edit("params.yaml", "epochs", "epoch")
    state = run()
    assert state.is_failed()
    assert "did you mean 'epochs'" in state.message


@pytest.mark.slow
def test_a_temporary_server_hears_of_nothing_so_the_finding_is_kept_for_later(
    here: Project,
) -> None:
    result = here.run("flows.monitor", "--input", "drifted.csv")
    assert result.returncode == 0, result.stderr
    assert "drift in city" in result.stdout
    assert "Event sent" not in result.stdout
    assert not Layout().reported.exists()
    assert run("drifted.csv").result()["events"] == [DRIFT_DETECTED]
    assert set(read_json(Layout().reported)) == {DRIFT_DETECTED}


def test_missing_file_is_refused_before_a_server_is_started(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.root)
    assert main(["--input", "nowhere.csv"]) == 1
    told = capsys.readouterr()
    assert told.err == "error: nowhere.csv: no such file; check --input\n"
    assert told.out == ""


def test_terminal_shows_the_columns_that_are_farthest_off() -> None:
    columns = [
        {
            "column": f"c{i}",
            "has_drifted": i == 19,
            "distance": i / 20,
            "p_value": 0.00001 if i == 19 else 0.5,
            "missing": [0.0, 0.1],
            "new_categories": ["x"] if i == 19 else [],
        }
        for i in range(20)
    ]
    drift = {"sentence": "drift in c19 (distance 0.95)", "columns": columns}
    found = {"changed_tables": ["a.csv"], "drift": drift, "events": [DRIFT_DETECTED]}
    console = Console(record=True, width=200)
    print_found({**found, "not_measured": None}, console)
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert lines[1] == "drift in c19 (distance 0.95); changed tables: a.csv"
    assert lines[3] == "c19 drift 0.950 < 0.0001 0.0% 10.0% x"
    assert lines[-2:] == ["5 more in reports/drift.md", "Event sent: semigen.drift.detected"]


def test_what_was_not_measured_has_its_reason() -> None:
    found = {"changed_tables": [], "drift": None, "not_measured": "no reason"}
    assert in_words(found) == "no table changed; no reason"


def test_hash_is_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = content_hash(tmp_path, ["a"])
    assert content_hash(tmp_path, ["a"]) == first
    assert content_hash(tmp_path, ["b"]) != content_hash(tmp_path, ["c"]) != first
    (tmp_path / "a").write_text("2")
    assert content_hash(tmp_path, ["a"]) != first
