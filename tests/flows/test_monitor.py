"""The monitor flow on the toy project, with a real temporary Prefect server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from prefect import State, flow, get_client, tags
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    DeploymentFilter,
    DeploymentFilterId,
)
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Completed, Pending
from prefect.testing.utilities import prefect_test_harness
from rich.console import Console

from benchmarks.server_api import ask
from flows.events import DATA_CHANGED, DRIFT_DETECTED, project_id
from flows.monitor import content_hash, describe, main, monitor, print_found
from flows.project import Project as Scope
from semigen.artifacts import Layout, read_json, write_json
from semigen.tables.schema import TableSchema
from tests.semigen.example_tables import people

if TYPE_CHECKING:
    from conftest import Project

NO_DRIFT = "no drift in 4 columns of 300 rows; no table changed"


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def here(done: Project, server: None, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The toy project after a run that was trained on 400 rows, as the working directory."""
    monkeypatch.chdir(done.root)
    monkeypatch.setenv("PATH", done.environment["PATH"])
    layout, reference = Layout(done.root), people(400, seed=0)
    layout.prepared("unlabeled").parent.mkdir(parents=True)
    TableSchema.infer(reference.assign(label="a"), reference, "label").save(layout.schema)
    reference.to_parquet(layout.prepared("unlabeled"))
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
        while not (found := mine(wanted, state)):  # events are sent in the background
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
def test_completes_without_findings(here: Project) -> None:
    state = run("new.csv")
    assert state.is_completed()
    assert state.message == NO_DRIFT
    assert state.result()["events"] == []
    assert flow_run_name(state).endswith(", no drift, tables unchanged")
    shown = artifacts(state)
    assert set(shown) == {"drift", "drift-columns"}
    assert shown["drift"].data.startswith("Tables changed since the last run: none\n\n# Drift")
    assert shown["drift"].description == "no drift in 4 columns of 300 rows"
    assert "city" in shown["drift-columns"].data


@pytest.mark.slow
def test_reports_drift_of_the_same_rows_once(here: Project) -> None:
    state = run("drifted.csv")
    assert state.is_completed()
    assert state.message.startswith("drift in city (distance 1.00) of")
    (event,) = sent(state)
    assert event["event"] == DRIFT_DETECTED == "semigen.drift.detected"
    assert event["resource"]["prefect.resource.id"] == project_id(Scope.of(here.root))
    assert event["resource"]["prefect.resource.id"] == "semigen.project.done"
    assert event["payload"]["drifted"] == ["city"]
    assert event["payload"]["input"] == "drifted.csv"
    assert run("drifted.csv").result()["events"] == []
    assert run("new.csv").result()["events"] == []
    assert run("drifted.csv").result()["events"] == []
    people(300, seed=2).assign(city="Oslo").to_csv("drifted.csv", index=False)
    assert run("drifted.csv").result()["events"] == [DRIFT_DETECTED]
    people(500, seed=3).to_parquet(Layout().prepared("unlabeled"))
    assert run("drifted.csv").result()["events"] == [DRIFT_DETECTED], "other reference rows"


@pytest.mark.slow
def test_measures_nothing_during_a_retraining(here: Project) -> None:
    """The run that a finding starts would be canceled, and the finding would be lost."""

    @flow(name="train")
    def train() -> State[Any]:
        return run("drifted.csv")

    with tags(Scope.of(here.root).tag):
        state = train(return_state=True).result(raise_on_failure=False)
    assert state.message.startswith("a retraining is running")
    assert state.result()["events"] == []
    print_found(state.result())
    with tags("project:another"):
        state = train(return_state=True).result(raise_on_failure=False)
    assert state.result()["events"] == [DRIFT_DETECTED], "not during that of another project"


@pytest.fixture
def train_deployment(here: Project) -> Iterator[UUID]:
    """The deployment ``train`` of the project; no worker runs it."""
    name = Scope.of(here.root).name
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("train")
        made = client.create_deployment(flow_id, name, enforce_parameter_schema=False)
        yield made
        client.delete_deployment(made)


def started_runs(deployment: UUID) -> list[dict[str, Any]]:
    """Return the parameters of the runs of a deployment."""
    wanted = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    with get_client(sync_client=True) as client:
        return [run.parameters for run in client.read_flow_runs(deployment_filter=wanted)]


@pytest.mark.slow
def test_finding_starts_one_retraining(here: Project, train_deployment: UUID) -> None:
    assert run("drifted.csv").result()["events"] == [DRIFT_DETECTED]
    assert started_runs(train_deployment) == [{"reason": DRIFT_DETECTED}]
    run("drifted.csv")
    assert len(started_runs(train_deployment)) == 1
    here.edit("params.yaml", "seed: 42", "retrain: {on_drift: false}\nseed: 42")
    people(300, seed=2).assign(city="Oslo").to_csv("drifted.csv", index=False)
    assert run("drifted.csv").result()["events"] == [DRIFT_DETECTED]
    assert len(started_runs(train_deployment)) == 1


@pytest.mark.slow
def test_retraining_that_collided_with_another_run_is_started_again(
    here: Project, train_deployment: UUID
) -> None:
    """A scheduled run that starts in the same second takes the only slot."""
    url = f"{PREFECT_API_URL.value()}/deployments/{train_deployment}"
    limit = {"concurrency_options": {"collision_strategy": "CANCEL_NEW"}, "concurrency_limit": 1}
    ask("PATCH", url, limit)
    with get_client(sync_client=True) as client:
        scheduled = client.create_flow_run_from_deployment(train_deployment)
        assert client.set_flow_run_state(scheduled.id, Pending()).state.is_pending()
        assert run("drifted.csv").result()["events"] == [DRIFT_DETECTED]
        of_finding = read_json(Layout().reported)[DRIFT_DETECTED]["run"]
        assert client.set_flow_run_state(of_finding, Pending()).state.is_cancelled()
        client.set_flow_run_state(scheduled.id, Completed(), force=True)
        assert run("drifted.csv").result()["events"] == [], "the event is sent once"
        again = read_json(Layout().reported)[DRIFT_DETECTED]["run"]
        assert client.set_flow_run_state(again, Pending()).state.is_pending()
        client.set_flow_run_state(again, Cancelled(message="by the user"), force=True)
    run("drifted.csv")
    assert read_json(Layout().reported)[DRIFT_DETECTED]["run"] == again
    assert len(started_runs(train_deployment)) == 3


@pytest.mark.slow
def test_finding_that_an_earlier_version_reported_is_not_reported_again(here: Project) -> None:
    run("drifted.csv")
    found = read_json(Layout().reported)
    write_json(Layout().reported, {name: entry["content"] for name, entry in found.items()})
    assert run("drifted.csv").result()["events"] == []


@pytest.mark.slow
def test_finding_is_reported_again_if_the_server_refused_the_run(
    here: Project, train_deployment: UUID
) -> None:
    def enforce(schema: bool) -> None:
        url = f"{PREFECT_API_URL.value()}/deployments/{train_deployment}"
        required = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        content = {"enforce_parameter_schema": schema, "parameter_openapi_schema": required}
        ask("PATCH", url, content)

    enforce(True)
    assert run("drifted.csv").is_failed()
    assert not Layout().reported.exists()
    assert started_runs(train_deployment) == []
    enforce(False)
    assert run("drifted.csv").result()["events"] == [DRIFT_DETECTED]
    assert started_runs(train_deployment) == [{"reason": DRIFT_DETECTED}]


@pytest.mark.slow
def test_reports_changed_tables_of_the_same_content_once(here: Project) -> None:
    Path("own.csv").write_text("1\n")
    here.edit("dvc.yaml", "deps: [schema.json]", "deps: [schema.json, own.csv]")
    assert here.run("dvc", "repro", "report").returncode == 0
    assert run().message == ("no table changed; no table of new rows is set (monitor.input)")
    Path("own.csv").write_text("2\n")
    state = run()
    assert state.message.startswith("changed tables: own.csv; ")
    (event,) = sent(state)
    assert event["event"] == DATA_CHANGED == "semigen.data.changed"
    assert event["payload"]["tables"] == ["own.csv"]
    assert "- own.csv" in artifacts(state)["drift"].data
    assert flow_run_name(state) == "digits, 1 table changed"
    assert run().result()["events"] == []
    Path("own.csv").write_text("3\n")
    assert run().result()["events"] == [DATA_CHANGED]
    Path("own.csv").write_text("4\n")
    assert run("drifted.csv").result()["events"] == [DRIFT_DETECTED], "one retraining reads both"
    assert run("drifted.csv").result()["events"] == [DATA_CHANGED], "they were not read since"
    assert here.run("dvc", "repro", "report").returncode == 0
    assert run().result() == {
        "changed_tables": [],
        "drift": None,
        "not_measured": "no table of new rows is set (monitor.input)",
        "events": [],
    }


@pytest.mark.slow
def test_reads_the_table_of_new_rows_from_params(here: Project) -> None:
    with Path("params.yaml").open("a") as file:
        file.write("monitor:\n  input: later.csv\n")
    state = run()
    assert state.is_completed()
    assert state.message == "no table changed; later.csv (monitor.input) does not exist"
    assert flow_run_name(state) == "digits, tables unchanged"
    people(300, seed=1).to_csv("later.csv", index=False)
    assert run().message == NO_DRIFT
    Layout().prepared("unlabeled").unlink()
    assert run().message.endswith(
        "later.csv cannot be compared: no run has prepared the tables yet"
    )


@pytest.mark.slow
def test_mistake_fails_the_run_with_a_message_of_one_line(here: Project) -> None:
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
def test_reports_nothing_to_a_temporary_server(here: Project) -> None:
    result = here.run("flows.monitor", "--input", "drifted.csv")
    assert result.returncode == 0, result.stderr
    assert "drift in city" in result.stdout
    assert "Event sent" not in result.stdout
    assert not Layout().reported.exists()
    assert run("drifted.csv").result()["events"] == [DRIFT_DETECTED]
    assert set(read_json(Layout().reported)) == {DRIFT_DETECTED}


def test_rejects_missing_file_before_a_server_is_started(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.root)
    assert main(["--input", "nowhere.csv"]) == 1
    printed = capsys.readouterr()
    assert printed.err == "error: nowhere.csv: no such file; check --input\n"
    assert printed.out == ""


def test_prints_the_columns_that_differ_most() -> None:
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


def test_describes_why_drift_was_not_measured() -> None:
    found = {"changed_tables": [], "drift": None, "not_measured": "no reason"}
    assert describe(found) == "no table changed; no reason"


def test_hash_depends_on_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = content_hash(tmp_path, ["a"])
    assert content_hash(tmp_path, ["a"]) == first
    assert content_hash(tmp_path, ["b"]) != content_hash(tmp_path, ["c"]) != first
    (tmp_path / "a").write_text("2")
    assert content_hash(tmp_path, ["a"]) != first
