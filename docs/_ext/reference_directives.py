"""Directives that generate reference pages: ``parameters``, ``command-help`` and ``stages``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from docutils import nodes
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from semigen.cli.commands import command_parser
from semigen.params.config import Params

ROOT = Path(__file__).resolve().parents[2]
HELP_WIDTH = "88"
LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


class Parameters(SphinxDirective):
    """Tables of all parameters: name, default, allowed values and meaning."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(
            "\n".join(sections(Params, "")), allow_section_headings=True
        )


class Stages(SphinxDirective):
    """A list of the stages: what each one reads and writes."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(stage_list()))


class CommandHelp(SphinxDirective):
    """The text that ``semigen COMMAND --help`` prints."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        os.environ["COLUMNS"] = HELP_WIDTH  # argparse wraps to it
        text = command_parser(self.arguments[0]).format_help()
        block = nodes.literal_block(text, text)
        block["language"] = "text"
        return [block]


def sections(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Yield Markdown: a table of a section's own parameters, then its sections."""
    own, nested = [], []
    for name, field in model.model_fields.items():
        (nested if is_section(field) else own).append((field.alias or name, field))
    if own or prefix:
        yield f"\n## {f'`{prefix}`' if prefix else 'Top level'}\n"
        summary = (model.__doc__ or "").partition("\n\n")[0]
        yield f"{' '.join(summary.split())}\n".replace("``", "`")
    if own:
        yield "| parameter | default | allowed | meaning |\n| --- | --- | --- | --- |"
        for name, field in own:
            description = " ".join((field.description or "").split()).replace("``", "`")
            default = to_yaml(field.get_default(call_default_factory=True))
            yield f"| `{name}` | `{default}` | {allowed(field)} | {description} |"
    for name, field in nested:
        yield from sections(field.annotation, f"{prefix}.{name}".strip("."))


def is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def to_yaml(value: Any) -> str:
    """Return a default as it stands in ``params.yaml``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(to_yaml, value))}]"
    return f'"{value}"' if isinstance(value, str) and " " in value else str(value)


def allowed(field: FieldInfo) -> str:
    """Return which values a parameter may have."""
    options = literals(field.annotation)
    if options:
        return ", ".join(f"`{option}`" for option in options)
    kind = kind_of(field.annotation)
    limits = [
        f"{sign} {getattr(item, name)}"
        for item in field.metadata
        for name, sign in LIMITS.items()
        if getattr(item, name, None) is not None
    ]
    return f"{kind} {', '.join(limits)}".strip()


def literals(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for part in get_args(annotation) if (found := literals(part))), ())


def kind_of(annotation: Any) -> str:
    """Return the name of a type in the words of YAML."""
    names = {int: "integer", float: "number", bool: "`true`, `false`", str: "text"}
    if annotation in names:
        return names[annotation]
    origin = get_origin(annotation)
    if origin in (tuple, list):
        return f"list: {kind_of(get_args(annotation)[0])}"
    if origin is dict:
        return "mapping"
    parts = [kind_of(part) for part in get_args(annotation) if part is not type(None)]
    return f"{parts[0]} or null" if type(None) in get_args(annotation) else "".join(parts[:1])


def stage_list() -> Iterator[str]:
    """Yield a Markdown definition list of the stages in ``dvc.yaml``."""
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    for name, stage in content["stages"].items():
        yield f"`{name}`\n: {stage['desc']}.\n"
        yield f"  - parameters: {listed(stage['params'])}"
        if "deps" in stage:
            yield f"  - reads: {listed(stage['deps'])}"
        yield f"  - writes: {listed([*stage['outs'], *stage.get('metrics', [])])}\n"


def listed(names: list[Any]) -> str:
    """Return names from ``dvc.yaml``, which are keys where options follow."""
    plain = (name if isinstance(name, str) else next(iter(name)) for name in names)
    return ", ".join(f"`{name}`" for name in plain)


def shorten_title(_app: Sphinx, page: str, source: list[str]) -> None:
    """Remove "module" and "package" from the titles of the API pages, for the navigation."""
    if page.startswith("reference/api/"):
        source[0] = re.sub(r" (module|package)$", "", source[0], count=1, flags=re.M)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("parameters", Parameters)
    app.add_directive("command-help", CommandHelp)
    app.add_directive("stages", Stages)
    app.connect("source-read", shorten_title)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
