"""Names of flow runs and forms of deployments in the web interface."""

from __future__ import annotations

from pathlib import Path

import yaml
from prefect.utilities.callables import parameter_schema
from prefect.utilities.importtools import import_object

from flows.label_curve import result_name as curve_name
from flows.monitor import NOT_MEASURED, result_name
from flows.run_name import MAX_LENGTH, training_name
from flows.train import train

ROOT = Path(__file__).parents[2]


def test_every_deployed_flow_names_its_runs() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    entrypoints = {deployment["entrypoint"] for deployment in deployments}
    assert len(entrypoints) == 5
    for entrypoint in entrypoints:
        path, name = entrypoint.split(":")
        module = path.removesuffix(".py").replace("/", ".")
        assert callable(import_object(f"{module}.{name}").flow_run_name), entrypoint


def test_form_of_train_has_described_fields_for_the_tables() -> None:
    fields = parameter_schema(train).properties
    assert list(fields)[:5] == ["labeled", "unlabeled", "target", "test", "overrides"]
    for name in ("labeled", "unlabeled", "target", "test"):
        assert fields[name]["type"] == "string"
        assert fields[name]["description"]
        assert fields[name]["default"] == ""


def test_names_are_one_line_of_limited_length_with_the_reason() -> None:
    assert training_name("churn", "semigen.drift.detected") == "churn, drift"
    assert training_name("a\nb", "by hand") == "a\\nb, by hand"
    assert len(training_name("x" * 500, "by hand")) == MAX_LENGTH


def test_names_of_monitor_and_label_curve_have_the_result() -> None:
    assert result_name({"changed_tables": ["a.csv"], "drift": {"has_drifted": True}}) == (
        "drift, 1 table changed"
    )
    assert result_name({"changed_tables": [], "drift": None}) == "tables unchanged"
    assert result_name(NOT_MEASURED) == "not checked during a retraining"
    gains = [{"n_labeled": n, "gain": {"value": n / 1000, "low": 0, "high": 1}} for n in (25, 50)]
    assert curve_name({"gains": gains}) == "+5.0 points with 50 labels"
