"""Public classes have an executable example."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NO_EXAMPLE = {"Protocol", "NamedTuple", "TypedDict", "Enum", "StrEnum", "Exception", "UserError"}
"""Bases of classes that users do not create."""
PARTS = re.compile(
    r"semigen\.(params\.(config|generators)\.\w+Params"  # sections: see the example of Params
    r"|generators\.\w+_(network|loss)\.\w+"  # parts of a family: see the example of its model
    r"|generators\.\w+\.(Sampler|ClassNetwork|ClassConditionedModel|NetworkModel|RowDistribution)"
    r"|registry\.(challenger\.Challenger|question\.Lineage|versions\.Staged)"
    r"|report\.html\.(Image|ReportContent)"
    r"|storage\.estimator_types\.Description"
    r"|(classifiers\.saved_classifier|saved_synthesizer)\.\w+Facts"  # content of JSON files
    r"|training\.checkpoint\.Checkpoint)"
)
"""Abstract classes, and classes that only one other class or function creates."""


def classes(path: Path) -> Iterator[ast.ClassDef]:
    """Yield the public classes of a module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node


def bases(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}


def find_public_classes() -> dict[str, ast.ClassDef]:
    return {
        f"{path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')}.{node.name}": node
        for path in sorted((ROOT / "semigen").rglob("*.py"))
        for node in classes(path)
        if not bases(node) & NO_EXAMPLE
    }


def is_part(name: str) -> bool:
    return PARTS.fullmatch(name) is not None


PUBLIC = find_public_classes()


@pytest.mark.parametrize("name", [name for name in PUBLIC if not is_part(name)])
def test_class_has_an_executable_example(name: str) -> None:
    """``make test`` runs the examples as doctests."""
    assert ">>>" in (ast.get_docstring(PUBLIC[name]) or "")
