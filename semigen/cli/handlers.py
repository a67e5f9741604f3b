"""Commands that need no project."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from semigen.artifacts import Layout, check_input
from semigen.cli.project import find_project
from semigen.errors import UserError
from semigen.wording import printable, show_cells


def _layout() -> Layout:
    """Return the files of the project, or of the current folder outside of projects."""
    return Layout(find_project() or Path.cwd())


def predict(arguments: argparse.Namespace) -> None:
    """``semigen predict``."""
    from tqdm import tqdm

    from semigen.prediction import predict_table, read_params, resolve_model

    check_input(Path(arguments.input))
    model = resolve_model(arguments.model, _layout(), Path(arguments.input))
    with tqdm(desc="predict", unit=" rows", disable=None, leave=False) as bar:

        def show(n_done: int, n_rows: int) -> None:
            bar.total = n_rows
            bar.update(n_done - bar.n)

        summary = predict_table(
            Path(arguments.input),
            Path(arguments.output),
            model.folder,
            keep_columns=arguments.keep_columns,
            impute_missing_columns=arguments.impute_missing_columns,
            overwrite=arguments.force,
            guard=not arguments.raw_text,
            progress=show,
            read=read_params(_layout()),
        )
    print(f"{arguments.output}: {summary.n_rows} rows labeled by {model.name}")
    for row in summary.classes:
        novelty = row["mean_novelty"]
        more = "" if novelty is None else f" (mean novelty {novelty:.2f})"
        print(f"  {printable(str(row['prediction']))}: {row['rows']}{more}")
    for warning in (*summary.warnings, *([summary.failures] if summary.failures else [])):
        print(f"warning: {printable(show_cells(warning))}", file=sys.stderr)


def synthesize(arguments: argparse.Namespace) -> None:
    """``semigen synthesize``."""
    from semigen.cli.synthesize import synthesize_table

    check_input(Path(arguments.input))
    synthesize_table(
        Path(arguments.input),
        Path(arguments.output),
        arguments.target,
        generator=arguments.generator,
        n_rows=arguments.rows,
        model=Path(arguments.model) if arguments.model else None,
        seed=arguments.seed,
        overwrite=arguments.force,
        guard=not arguments.raw_text,
        where=arguments.where,
        constraints=arguments.constraint,
        min_rows=arguments.min_rows,
        allow_leaks=arguments.allow_leaks,
    )


def rollback(arguments: argparse.Namespace) -> None:
    """``semigen rollback``."""
    from semigen.registry.question import Question
    from semigen.registry.registry import Registry

    layout = _layout()
    registry = Registry(layout.registry)
    has_several = len(registry.lineages()) > 1
    question = Question.of_project(layout) if has_several and arguments.to is None else None
    event = registry.rollback(arguments.to, trigger=arguments.reason, question=question)
    of = f" of {Question.of_version(registry.version(event.version))}" if has_several else ""
    print(f"{event.version} is the champion{of}; it replaces {event.replaced or 'none'}")


def registry(arguments: argparse.Namespace) -> None:
    """``semigen registry``.

    Raises:
        UserError: If a version is to be verified and differs from its registration.
    """
    from semigen.registry.registry import Registry
    from semigen.registry.versions import find_changed
    from semigen.report.promotion import registry_text

    registry = Registry(_layout().registry)
    if not arguments.verify:
        print(registry_text(registry))
        return
    versions = registry.versions()
    problems = find_changed(versions)
    for version in versions:
        text = problems.get(version.name, "the files are those that were registered")
        print(f"{version.name}: {text}")
    if problems:
        raise UserError(
            f"{len(problems)} of {len(versions)} versions differ from their registration: "
            f"{', '.join(problems)}"
        )


def completion(arguments: argparse.Namespace) -> None:
    """``semigen completion``."""
    import shtab

    from semigen.cli.commands import build_parser

    print(shtab.complete(build_parser(), arguments.shell))
