"""``-S key=value``: set parameters in ``params.yaml``, as ``dvc exp run -S`` does."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from semigen.artifacts import Layout, check_files, write_text
from semigen.cli.tables import quoted
from semigen.errors import UserError
from semigen.params.config import SAMPLE_TARGET, DataParams, Params, is_sample
from semigen.params.explain import explain, require_target

TABLE_PARAMETERS = ("labeled", "unlabeled", "target", "test")
"""Parameters of section ``data`` that the flow ``train`` has as parameters of its own."""
UNSET = "unset"
"""Value of a parameter that is not in the file."""


@dataclass(frozen=True)
class Change:
    """A parameter that an override changed."""

    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.name}: {self.before} -> {self.after}"


def apply_overrides(overrides: Sequence[str], path: Path) -> list[Change]:
    """Write overrides into a parameter file, all or none, and keep its comments.

    Args:
        overrides: Overrides in Hydra's grammar, e.g. ``train.epochs=20``.
        path: The parameter file.

    Returns:
        The changes, in the order of the file.

    Raises:
        UserError: If an override cannot be parsed, its name or value is not valid, or it names a
            table that does not exist. The file is then not changed.
    """
    if not overrides:
        return []
    text = overridden(overrides, path)
    before, after = dict(_leaves(_load(path))), dict(_leaves(yaml.safe_load(text)))
    changes = [
        Change(name, before.get(name, UNSET), after.get(name, UNSET))
        for name in {**after, **before}
        if before.get(name, UNSET) != after.get(name, UNSET)
    ]
    if changes:
        write_text(path, text)
    return changes


def data_overrides(labeled: str, unlabeled: str, target: str, test: str) -> list[str]:
    """Return overrides of section ``data``; an empty text keeps the value of the file.

    Args:
        labeled: Table of labeled rows. Alone it is the table of unlabeled rows too, as for
            ``semigen run``.
        unlabeled: Table of unlabeled rows.
        target: Name of the label column.
        test: Table of test rows.
    """
    given = {
        "labeled": labeled,
        "unlabeled": unlabeled or labeled,
        "target": target,
        "test": test,
    }
    return [f"data.{name}={quoted(value)}" for name, value in given.items() if value]


def overridden(overrides: Sequence[str], path: Path) -> str:
    """Return the text of a parameter file with overrides applied; the file is not changed.

    Raises:
        UserError: As ``apply_overrides``.
    """
    content = _load(path)
    for text in overrides:
        _apply(_parse(text.removeprefix(f"{path.name}:")), content)
    buffer = io.StringIO()
    _round_trip().dump(content, buffer)
    result = buffer.getvalue()
    try:
        params = Params.model_validate(yaml.safe_load(result) or {})
    except ValidationError as error:
        raise UserError(
            f"{path.name} with {', '.join(overrides)}: {explain(error, Params)}"
        ) from error
    check_files(params.data, Layout(path.parent), where="")
    return result


def checked_params(overrides: Sequence[str], layout: Layout) -> Params:
    """Return the parameters with overrides, checked against the tables; nothing is written.

    Raises:
        UserError: If a parameter is not valid, a table does not exist, or a table of labeled rows
            has no column ``data.target``.
    """
    if overrides:
        params = Params.model_validate(yaml.safe_load(overridden(overrides, layout.params)))
    else:
        params = load_params(layout)
    check_target(params.data, layout)
    return params


def check_target(data: DataParams, layout: Layout) -> None:
    """Check that every table of labeled rows has the label column.

    Raises:
        UserError: If a header cannot be read or lacks the column; the message names the nearest.
    """
    for path in (data.labeled, data.test_table):
        if path is None:
            continue
        if is_sample(path):
            require_target(path, data.target, [SAMPLE_TARGET])
        elif layout.source(path).exists():  # otherwise DVC has yet to pull the table
            from semigen.tables.sources import read_columns  # importing pandas takes long

            require_target(path, data.target, read_columns(layout.source(path), path, data.read))


def load_params(layout: Layout) -> Params:
    """Read the parameters, and check that the tables that they name exist.

    Raises:
        UserError: If a parameter is not valid or a table does not exist.
    """
    params = Params.load(layout.params)
    check_files(params.data, layout)
    return params


def _parse(text: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise UserError(
            f"-S {text}: cannot be read as KEY=VALUE; quote a value with commas, brackets or '=' "
            """twice: -S 'data.target="my label (2)"'"""
        ) from error
    if override.is_sweep_override():
        raise UserError(f"-S {text}: one value at a time; for several, `dvc exp run --queue -S`")
    return override


def _apply(override: Any, content: dict[str, Any]) -> None:
    *sections, key = override.key_or_group.split(".")
    for name in sections:
        if not isinstance(content.get(name), dict):
            content[name] = {}  # any error is reported by Params
        content = content[name]
    if not override.is_delete():
        value = override.value()
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            content[key].update(value)
        else:
            content[key] = _inline(value)
    elif key in content:
        del content[key]
    else:
        raise UserError(f"-S {override.input_line}: the file has no such parameter")


def _inline(value: Any) -> Any:
    """Return a list that YAML writes as ``[a, b]``; other values unchanged."""
    from ruamel.yaml.comments import CommentedSeq

    if not isinstance(value, list):
        return value
    inline = CommentedSeq(value)
    inline.fa.set_flow_style()
    return inline


def _round_trip() -> Any:
    from ruamel.yaml import YAML

    parser = YAML()  # preserves comments and order
    parser.width = 1000
    parser.preserve_quotes = True
    parser.representer.add_representer(type(None), _write_null)
    return parser


def _write_null(representer: Any, _: None) -> Any:
    """Write ``null``, where ruamel would write an empty value."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _load(path: Path) -> dict[str, Any]:
    from ruamel.yaml.error import YAMLError

    try:
        return _round_trip().load(path.read_text(encoding="utf-8")) or {}
    except (OSError, YAMLError):
        Params.load(path)  # raises an error of one line
        raise


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
