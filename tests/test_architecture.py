"""Imports go down only: flows, tasks, semigen, and the packages inside them."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "semigen": {"prefect", "dvc", "tasks", "flows"},
    "tasks": {"prefect", "dvc", "flows"},
    "flows": set(),
}
FLOORS = {
    "semigen": [
        {"wording"},
        {"errors", "ablation"},
        {"params"},
        {"artifacts"},
        {"storage", "outputs"},
        {"training"},
        {"tables"},
        {"methods", "validation"},
        {"generators", "estimators", "evaluation"},
        {"registry", "augmentation", "costs"},
        {"report"},
        {"classifiers", "synthesis"},
        {"saved_synthesizer"},
        {"synthesizer", "prediction", "model_selection"},
        {"cli"},
    ],
    "flows": [
        {"interruption", "login", "cells"},
        {"environment", "project"},
        {"events", "report_address", "run_process", "temporary_server"},
        {"command", "run_name"},
        {"pipeline"},
        {"remote"},
        {"display", "service", "stage_run"},
        {"dispatch"},
        {"train", "predict", "monitor", "label_curve", "repro"},
    ],
}
"""What a package is made of, from the ground up. A module imports from its own package or module
and from lower floors."""
BY_EXTRA = {
    "classifiers": {"optuna"},
    "report": {"jinja2", "matplotlib"},
    "tables": {"fsspec", "python_calamine", "sqlalchemy"},
    "validation": {"great_expectations"},
}
"""Libraries of extras that packages of ``semigen`` may import."""
HEAVY = {"torch", "sklearn", "great_expectations", "prefect", "dvc"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield what a module imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def test_packages_have_modules() -> None:
    assert all(len(modules(package)) > 5 for package in FORBIDDEN)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_floor_knows_those_above_it(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imports(path)
        if name.split(".")[0] in FORBIDDEN[package]
    ]
    assert not wrong


@pytest.mark.parametrize("package", FLOORS)
def test_every_module_has_a_floor(package: str) -> None:
    found = {room_of(path, package) for path in modules(package)} - {"__init__"}
    assert found == set().union(*FLOORS[package])


@pytest.mark.parametrize("package", FLOORS)
def test_no_module_imports_from_a_higher_floor(package: str) -> None:
    floor = {room: level for level, rooms in enumerate(FLOORS[package]) for room in rooms}
    wrong = []
    for path in modules(package):
        here = room_of(path, package)
        if here == "__init__":  # the public names, imported when they are asked for
            continue
        for name in imported_modules(path):
            parts = name.split(".")
            there = parts[1] if parts[0] == package and len(parts) > 1 else None
            if there in floor and there != here and floor[there] >= floor[here]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def room_of(path: Path, package: str) -> str:
    """Return the package or module directly below ``package`` that a file belongs to."""
    return path.relative_to(ROOT / package).with_suffix("").parts[0]


def imported_modules(path: Path) -> Iterator[str]:
    """Yield what a module imports; ``from a import b`` counts as ``a`` and ``a.b``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_imported_library_is_a_dependency() -> None:
    libraries = {name for p in FORBIDDEN for m in modules(p) for name in third_party(m)}
    assert not libraries - provided_by("core") - provided_by("pipeline") - provided_by("excel")


def test_library_needs_only_the_core_dependencies() -> None:
    """The estimator, the synthesizer and ``semigen.load`` work without the extra ``pipeline``."""
    core = provided_by("core")
    wrong = [
        f"{path.relative_to(ROOT)} imports {library}"
        for path in modules("semigen")
        for library in third_party(path)
        if library not in core | BY_EXTRA.get(room_of(path, "semigen"), set())
    ]
    assert not wrong


def third_party(path: Path) -> set[str]:
    """Return the libraries that a module imports."""
    own = set(sys.stdlib_module_names) | set(FORBIDDEN)
    return {name.split(".")[0] for name in imports(path)} - own


def provided_by(group: str) -> set[str]:
    """Return the importable packages of the core dependencies, or of an extra."""
    names = {requirement_name(line) for line in requirements(group)}
    return {
        package
        for package, distributions in importlib.metadata.packages_distributions().items()
        if names & {name.lower().replace("_", "-") for name in distributions}
    }


def requirements(group: str) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    if group == "core":
        return list(project["dependencies"])
    return list(project["optional-dependencies"][group])


def requirement_name(line: str) -> str:
    return re.split(r"[<>=\[]", line)[0].lower().replace("_", "-")


def test_every_dependency_is_pinned() -> None:
    extras = ("core", "pipeline", "s3", "docs", "dev")
    names = {requirement_name(line) for group in extras for line in requirements(group)}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in pins)
    assert names - {"semigen"} <= {requirement_name(line) for line in pins}


def test_only_three_modules_touch_dvc() -> None:
    found = {p.name for p in modules("flows") if any(n.split(".")[0] == "dvc" for n in imports(p))}
    assert found == {"dvc_graph.py", "dvc_remote.py", "repair.py"}


def test_no_module_imports_itself_through_others() -> None:
    """Circles are found on imports at module level; those inside functions cannot deadlock."""
    graph = {}
    for package in FORBIDDEN:
        for path in modules(package):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            graph[name] = set(top_level_imports(path))
    graph = {name: targets & set(graph) - {name} for name, targets in graph.items()}
    while leaves := [name for name, targets in graph.items() if not targets]:
        for name in leaves:
            del graph[name]
        graph = {name: targets - set(leaves) for name, targets in graph.items()}
    assert not graph, f"in a circle, or importing one: {sorted(graph)}"


def top_level_imports(path: Path) -> Iterator[str]:
    """Yield modules imported when a module is; ``from a import b`` counts as ``a`` and ``a.b``."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_help_is_fast_because_heavy_libraries_are_not_imported() -> None:
    code = (
        "import sys; from semigen.cli.commands import build_parser; build_parser().format_help();"
        f"print(*sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
