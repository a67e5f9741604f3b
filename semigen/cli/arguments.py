"""The arguments of each command.

The flows of a project parse their arguments with the same parsers, so that every option
is described once.
"""

from __future__ import annotations

import argparse
from typing import get_args

from semigen.params.config import PrivacyParams
from semigen.params.generators import Family

DEFAULT_DRAWS = 3
"""Number of draws of labels for each point of the label curve."""


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Add ``--debug``, which every command has."""
    parser.add_argument(
        "--debug",
        action="store_true",
        help="show tracebacks and messages of the libraries (also: SEMIGEN_DEBUG=1)",
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``semigen run``."""
    parser.add_argument("labeled", nargs="?", help="table of labeled rows (sets data.labeled)")
    parser.add_argument(
        "unlabeled",
        nargs="?",
        help="table of unlabeled rows (sets data.unlabeled; default: the rows of the labeled table "
        "without a label)",
    )
    parser.add_argument(
        "--target", metavar="COLUMN", help="name of the label column (sets data.target)"
    )
    parser.add_argument(
        "--test",
        metavar="TABLE",
        help="table of test rows (sets data.test; default: split off the labeled rows)",
    )
    parser.add_argument(
        "-S",
        "--set-param",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set a parameter in params.yaml first, as `dvc exp run -S` does; may be repeated",
    )
    parser.add_argument("--force", action="store_true", help="also run stages that are up to date")
    add_debug(parser)


def add_label_curve(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``semigen label-curve``."""
    parser.add_argument(
        "--budgets",
        type=int,
        nargs="+",
        metavar="N",
        help="numbers of labels (default: a quarter, a half, three quarters and all of them)",
    )
    parser.add_argument(
        "--draws",
        type=int,
        default=DEFAULT_DRAWS,
        help=f"number of random draws of the labels to keep (default: {DEFAULT_DRAWS})",
    )
    add_debug(parser)


def add_monitor(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``semigen monitor``."""
    parser.add_argument("--input", help="table of new rows (default: monitor.input in params.yaml)")
    add_debug(parser)


def add_predict(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``semigen predict``."""
    parser.add_argument("--input", required=True, help="table of new rows")
    parser.add_argument("--output", required=True, help="CSV or Parquet table to write")
    parser.add_argument(
        "--model",
        metavar="FOLDER",
        help="folder of the classifier, or name of a version in the registry (default: the "
        "champion whose columns the input has or, before the first promotion, models/classifier)",
    )
    parser.add_argument(
        "--keep-columns", action="store_true", help="also write the columns of the input table"
    )
    parser.add_argument(
        "--impute-missing-columns",
        action="store_true",
        help="treat feature columns that the input table lacks as missing values",
    )
    _add_raw_text(parser)
    _add_overwrite(parser)
    add_debug(parser)


def add_synthesize(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``semigen synthesize``."""
    parser.add_argument("--input", required=True, help="table of real rows")
    parser.add_argument(
        "--target",
        required=True,
        metavar="COLUMN",
        help="name of the label column; empty cells mark unlabeled rows",
    )
    parser.add_argument("--output", required=True, help="CSV or Parquet table to write")
    parser.add_argument(
        "--rows", type=int, metavar="N", help="number of rows (default: as many as the input has)"
    )
    parser.add_argument(
        "--generator",
        choices=get_args(Family),
        default="autoregressive",
        help="model family (default: autoregressive)",
    )
    parser.add_argument("--model", metavar="FOLDER", help="folder to save the trained model to")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="only rows with this value, or LOW..HIGH for numbers and dates; can be repeated",
    )
    parser.add_argument(
        "--constraint",
        action="append",
        default=[],
        metavar="RULE",
        help="'start <= end', or 'city,country' for fixed combinations; can be repeated",
    )
    parser.add_argument(
        "--min-rows",
        type=int,
        default=PrivacyParams().min_rows,
        metavar="N",
        help="categories with fewer rows are merged into one (default: 5)",
    )
    parser.add_argument(
        "--allow-leaks",
        action="store_true",
        help="write the rows although rare values of real rows are among them",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of training and sampling (default: 0)"
    )
    _add_raw_text(parser)
    _add_overwrite(parser)
    add_debug(parser)


def add_promote(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``semigen promote``."""
    parser.add_argument("--params", default="params.yaml", help="parameter file")
    parser.add_argument("--force", action="store_true", help="promote whatever the comparison says")
    _add_reason(parser)
    add_debug(parser)


def add_rollback(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``semigen rollback``."""
    parser.add_argument(
        "--to",
        metavar="VERSION",
        help="version to return to, e.g. v0003 "
        "(default: the previous champion for the table and target in params.yaml)",
    )
    _add_reason(parser)
    add_debug(parser)


def add_registry(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``semigen registry``."""
    parser.add_argument(
        "--verify",
        action="store_true",
        help="check that the files of every version are those that were registered",
    )
    add_debug(parser)


def add_up(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``semigen up``."""
    parser.add_argument(
        "--port", type=int, help="port of the server (default: 4200, or the last one used)"
    )
    add_debug(parser)


def add_init(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``semigen init``."""
    parser.add_argument("folder", metavar="FOLDER", help="folder of the new project")
    parser.add_argument(
        "--name", help="name of the project on a Prefect server (default: the folder's name)"
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="replace flows/ and tasks/ of an existing project by those of this version of semigen",
    )
    add_debug(parser)


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``semigen completion``."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="shell to complete in")
    add_debug(parser)


def _add_raw_text(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--raw-text",
        action="store_true",
        help="write text to CSV as it is, without an apostrophe before what a spreadsheet would "
        "run as a formula (=, +, -, @)",
    )


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="overwrite the output file")


def _add_reason(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reason", default="by hand", help="reason that the registry's history records"
    )
