"""Predictions while promotions are killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import semigen
from semigen.artifacts import Layout
from semigen.prediction import resolve_model
from semigen.registry.registry import Registry
from semigen.registry.versions import digest_of
from tasks.promote import promote
from tests.semigen.example_tables import TARGET, mixed_table
from tests.tasks.promotion_project import DATA, params, retrain, write_run

REPOSITORY = Path(__file__).parents[2]
PROMOTION = """
from pathlib import Path
from semigen.artifacts import Layout
from semigen.params.config import Params
from tasks.promote import promote
layout, params = Layout(Path.cwd()), Params.load("params.yaml")
print("ready", flush=True)
promote(params, layout, force=True)
"""
NEW_ROWS = mixed_table(20, seed=6).drop(columns=TARGET)


@pytest.fixture
def layout(tmp_path):
    """A project after its first run."""
    layout = Layout(tmp_path)
    write_run(layout, mixed_table(80, seed=0), mixed_table(200, seed=1))
    return layout


@pytest.mark.slow
def test_predictions_use_complete_champions_while_promotions_are_killed(layout):
    content = {"data": DATA.model_dump(), "evaluate": {"n_bootstrap": 200}}
    layout.params.write_text(json.dumps(content))
    started = time.monotonic()
    promote(params(), layout)
    seconds, chance = time.monotonic() - started, random.Random(0)
    for i in range(4):
        retrain(layout, strength=0.5 + 0.1 * i)
        with promotion(layout) as process:
            end = time.monotonic() + chance.uniform(0, 1.5 * seconds)
            while time.monotonic() < end:
                predict_and_check(layout)
            process.kill()
        predict_and_check(layout)
    with promotion(layout) as process:
        assert process.wait(60) == 0
    newest = Registry(layout.registry).champion()
    assert newest.digest == digest_of(layout.classifier)
    predict_and_check(layout)


@contextlib.contextmanager
def promotion(layout: Layout) -> Iterator[subprocess.Popen[str]]:
    """Promote in another process, whose imports are complete when the block begins."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-c", PROMOTION],
        cwd=layout.root,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process


def predict_and_check(layout: Layout) -> None:
    """Label rows with the champion, whose files must match a registered version."""
    found = resolve_model(None, layout)
    version = Registry(layout.registry).version(found.name.removeprefix("champion "))
    assert digest_of(found.folder) == version.digest
    assert len(semigen.load(found.folder).predict_proba(NEW_ROWS)) == len(NEW_ROWS)
