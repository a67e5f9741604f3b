"""``dvc.yaml``, ``params.yaml``, ``STAGES``, ``Params`` and ``Layout`` say the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from semigen.artifacts import Layout
from semigen.params.config import Params
from tasks import STAGES

ROOT = Path(__file__).parents[1]
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
TABLES = {"labeled", "unlabeled", "test"}
UNTRACKED = {
    "state",
    "progress",
    *("checkpoint", "lock", "report", "root", "source", "timings"),
    *("promotion_json", "promotion_markdown", "registry"),
    *("drift_json", "drift_markdown", "reported", "label_curve", "label_curve_fits"),
}
"""Members of Layout that are no deps or outs."""


def paths(stage: str, *keys: str) -> set[str]:
    entries = [entry for key in keys for entry in PIPELINE["stages"][stage].get(key, [])]
    return {path for entry in entries for path in (entry if isinstance(entry, dict) else [entry])}


def outs(stage: str) -> set[str]:
    return paths(stage, "outs", "metrics")


def deps(stage: str) -> set[str]:
    return {path for path in paths(stage, "deps") if not path.startswith("${")}


def layout_paths() -> dict[str, str]:
    """Return every tracked path of Layout with the name of its member."""
    layout = Layout(ROOT)
    calls = {
        "sample": TABLES,
        "prepared": TABLES,
        "encoded": {"labeled", "unlabeled"},
        "plot": {"pretrain", "train", "confusion", "calibration", "ablation", "search"},
    }
    members = [n for n in vars(Layout) if not n.startswith("_") and n not in {*UNTRACKED, "params"}]
    found = {}
    for name in members:
        value = getattr(layout, name)
        for path in [value(part) for part in calls[name]] if name in calls else [value]:
            found[path.relative_to(ROOT).as_posix()] = name
    return found


def attribute_chains(stage: str, variable: str) -> Iterator[list[str]]:
    """Yield what a stage's module takes from a variable, e.g. ``params.train`` as ``[train]``."""
    tree = ast.parse((ROOT / "tasks" / f"{stage}.py").read_text())
    inner = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            names, base = [], node
            while isinstance(base, ast.Attribute):
                names.insert(0, base.attr)
                base = base.value
            if isinstance(base, ast.Name) and base.id == variable:
                yield names


def fields(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """Return a section's parameters as ``params.yaml`` calls them, with the sections among them."""
    found = {}
    for name, field in model.model_fields.items():
        annotation = field.annotation
        is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        found[field.alias or name] = annotation if is_section else None
    return found


def test_stages_are_those_of_the_tasks_in_order() -> None:
    assert tuple(PIPELINE["stages"]) == STAGES
    assert all((ROOT / "tasks" / f"{stage}.py").exists() for stage in STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_command_runs_the_stage(stage: str) -> None:
    assert PIPELINE["stages"][stage]["cmd"] == f"python -m tasks {stage}"


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_outs_of_earlier_stages(stage: str) -> None:
    earlier = STAGES[: STAGES.index(stage)]
    assert deps(stage) <= {path for other in earlier for path in outs(other)}


def test_outs_are_the_layout_and_each_has_one_stage() -> None:
    made = [path for stage in STAGES for path in outs(stage)]
    assert sorted(made) == sorted(layout_paths())


def test_dvc_shows_few_metrics_and_a_plot_of_every_table() -> None:
    assert [path for stage in STAGES for path in paths(stage, "metrics")] == ["reports/scores.json"]
    tables = {path for stage in STAGES for path in outs(stage) if path.startswith("reports/plots/")}
    assert {path for plot in PIPELINE["plots"] for path in plot} == tables
    assert "/dvc_plots/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("stage", STAGES)
def test_stage_touches_what_it_declares(stage: str) -> None:
    """A file that a stage reads or writes without declaring it would go stale unseen."""
    members = layout_paths()
    used = {names[0] for names in attribute_chains(stage, "layout")} - UNTRACKED
    assert used <= {members[path] for path in deps(stage) | outs(stage)}
    assert {members[path] for path in outs(stage)} <= used


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_those_that_the_stage_uses(stage: str) -> None:
    listed = set(PIPELINE["stages"][stage].get("params", []))
    if "pretrain.${pretrain.generator}" in listed:  # the chosen family's section and its name
        listed = listed - {"pretrain.generator", "pretrain.${pretrain.generator}"} | {"pretrain"}
    chains = [".".join(names) for names in attribute_chains(stage, "params")]
    used = {
        name.replace("validate_", "validate")
        for name in chains
        if not name.startswith("compute")  # the machine reruns nothing
    }
    covers = {name: {key for key in listed if f"{name}.".startswith(f"{key}.")} for name in used}
    assert all(covers.values()), f"not in params of {stage}: {[n for n in used if not covers[n]]}"
    assert listed == set().union(*covers.values()), "listed but not used"


@pytest.mark.parametrize("stage", ["validate", "preprocess"])
def test_tables_are_where_the_parameters_say(stage: str) -> None:
    templated = {path for path in paths(stage, "deps") if path.startswith("${")}
    assert templated == {f"${{data.{part}}}" for part in TABLES}


def test_training_never_sees_the_test_rows() -> None:
    test = {Layout(ROOT).prepared("test").relative_to(ROOT).as_posix()}
    assert [stage for stage in STAGES if deps(stage) & test] == ["evaluate"]


def test_what_the_clock_enters_is_neither_tracked_nor_in_git() -> None:
    layout = Layout(ROOT)
    for path in (layout.timings, layout.report):
        assert path.relative_to(ROOT).as_posix() not in layout_paths()
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/reports/*" in ignored
    kept = {line.removeprefix("!/") for line in ignored if line.startswith("!")}
    uncached = {
        path
        for stage in PIPELINE["stages"].values()
        for entry in [*stage.get("outs", []), *stage.get("metrics", [])]
        if isinstance(entry, dict)
        for path, options in entry.items()
        if options.get("cache") is False
    }
    assert kept == uncached


def test_params_file_is_the_defaults() -> None:
    assert Params.load(ROOT / "params.yaml") == Params()


def check_order(content: dict[str, Any], model: type[BaseModel]) -> None:
    assert list(content) == list(fields(model)), model.__name__
    for name, section in fields(model).items():
        if section is not None:
            check_order(content[name], section)


def test_params_file_names_every_parameter_in_order_with_a_comment() -> None:
    text = (ROOT / "params.yaml").read_text()
    content = yaml.safe_load(text)
    check_order(content, Params)
    bare = [line for line in text.splitlines() if re.match(r"\s*\w+:", line) and " # " not in line]
    assert not bare
