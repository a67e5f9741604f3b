"""Links, commands, parameters and paths in the documentation exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from pydantic import BaseModel

from semigen.cli.commands import COMMANDS, build_parser
from semigen.params.config import Params
from tests.docs.documents import DOCUMENTS, ROOT, anchors, code_blocks, inline_code, links

README_LINES = 150
PASSING_ARGUMENTS = {command.name for command in COMMANDS if command.passes_arguments}
COMMAND = re.compile(r"(?:\.venv/bin/)?semigen (.+)")
PATH = re.compile(r"(?:semigen|flows|tasks|tests|benchmarks|docs|deploy)/[\w./-]*")
by_name = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda document: document.relative_to(ROOT).as_posix()
)


@by_name
def test_relative_links_and_images_exist(document: Path) -> None:
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), f"{document}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{document}: {link}"


def test_every_page_is_linked_from_another() -> None:
    pages = {path.resolve() for path in DOCUMENTS if path.parent != ROOT}
    text = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
    linked = {
        (path.parent / link.split("#")[0]).resolve() for path in DOCUMENTS for link in links(path)
    }
    for path, content in text.items():
        for block in re.findall(r"```\{toctree\}\n(.*?)```", content, re.S):
            entries = [line for line in block.split() if not line.startswith(":")]
            linked |= {(path.parent / f"{entry}.md").resolve() for entry in entries}
    assert pages - linked == {ROOT / "docs" / "index.md"}


@by_name
def test_semigen_commands_are_accepted_by_the_parser(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in commands(document):
        try:
            if arguments[0] in PASSING_ARGUMENTS:
                arguments = [arguments[0]]
            build_parser().parse_args(arguments)
        except SystemExit as ended:
            assert ended.code == 0, f"{document}: {arguments}\n{capsys.readouterr().err}"


def commands(document: Path) -> list[list[str]]:
    """Return the arguments of every ``semigen`` command line in a document."""
    lines = [
        line
        for language in ("bash", "text")
        for block in code_blocks(document, language)
        for line in block.replace("\\\n", "").splitlines()
    ]
    found = [shlex.split(m[1], comments=True) for line in lines if (m := COMMAND.match(line))]
    mentioned = [shlex.split(m[1]) for code in inline_code(document) if (m := COMMAND.match(code))]
    names = {command.name for command in COMMANDS}
    for words in mentioned:
        if len(words) == 1 and words[0] in names:  # names a command, without its required options
            continue
        if words[0] not in ("COMMAND", "…"):
            found.append(words)
    return found


@by_name
def test_parameters_exist(document: Path) -> None:
    for name in parameter_names(document):
        assert name in known_parameters(), f"{document}: {name}"


def parameter_names(document: Path) -> set[str]:
    """Return what a document calls a parameter: ``section.name`` and what follows ``-S``."""
    sections = "|".join(sorted({name.split(".")[0] for name in known_parameters()} - {"seed"}))
    text = document.read_text(encoding="utf-8")
    set_by_option = re.findall(r"-S '?([a-z_.]+)=", text)
    in_overrides = re.findall(r'overrides=\["([a-z_.]+)=', text)
    in_code = [
        match[0]
        for code in inline_code(document)
        if (match := re.match(rf"(?:{sections})(?:\.[a-z_]+)+(?![\w./])", code))
    ]
    return {*set_by_option, *in_overrides, *in_code} - {"section.name"}


def known_parameters(model: type[BaseModel] = Params, prefix: str = "") -> set[str]:
    """Return the names of all parameters and sections, as in ``params.yaml``."""
    names = set()
    for name, field in model.model_fields.items():
        names.add(full := f"{prefix}{field.alias or name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= known_parameters(field.annotation, f"{full}.")
    return names


@by_name
def test_paths_in_the_repository_exist(document: Path) -> None:
    for code in inline_code(document):
        if PATH.fullmatch(code):
            assert (ROOT / code).exists(), f"{document}: {code}"


@by_name
def test_make_targets_exist(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(VENV)", ".venv")
    targets = set(re.findall(r"^([\w./-]+):", makefile, re.M))
    blocks = "\n".join(code_blocks(document, "bash"))
    mentioned = [
        code.removeprefix("make ") for code in inline_code(document) if code[:5] == "make "
    ]
    for target in [*re.findall(r"^make ([\w./-]+)", blocks, re.M), *mentioned]:
        assert target.split()[0] in targets, f"{document}: make {target}"


def test_readme_fits_on_a_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


@by_name
def test_python_blocks_compile(document: Path) -> None:
    for block in code_blocks(document, "python"):
        compile(block, str(document), "exec")
