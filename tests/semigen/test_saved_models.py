"""Models that an earlier commit saved still load and give the same probabilities."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import semigen
from semigen.estimator_files import RECORDED_MODULES, load_estimator
from semigen.registry.registry import Registry
from semigen.registry.versions import digest_of

FOLDER = Path(__file__).parent / "data" / "models_fd3f79a"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
ROWS = pd.DataFrame(EXPECTED["rows"])
INPUTS = {"latent_mixture": "latent", "posterior": "posterior_rows"}
"""Which rows of ``expected.json`` an estimator predicts; encoded rows if not listed."""
TOLERANCE = {"rtol": 1e-5, "atol": 1e-7}
"""Networks compute in float32, whose last digits differ between machines."""


def test_a_saved_model_of_every_estimator_module_is_checked():
    names = {module.split(".")[-1] for module in RECORDED_MODULES}
    assert names == {path.stem for path in (FOLDER / "estimators").glob("*.skops")}


@pytest.mark.parametrize("module", RECORDED_MODULES)
def test_estimator_gives_the_recorded_probabilities(module):
    name = module.split(".")[-1]
    estimator = load_estimator(FOLDER / "estimators" / f"{name}.skops")
    assert type(estimator).__module__ == module
    rows = np.array(EXPECTED[INPUTS.get(name, "encoded")], dtype=np.float32)
    expected = EXPECTED["probabilities"][name]
    np.testing.assert_allclose(estimator.predict_proba(rows), expected, **TOLERANCE)


def test_champion_of_a_registry_gives_the_recorded_probabilities(tmp_path):
    shutil.copytree(FOLDER / "registry", tmp_path / "registry")
    champion = Registry(tmp_path / "registry").champion()
    assert champion is not None and champion.name == "v0001"
    assert digest_of(champion.classifier) == champion.digest
    classifier = semigen.load(champion.classifier)
    expected = EXPECTED["probabilities"]["classifier"]
    np.testing.assert_allclose(classifier.predict_proba(ROWS), expected, **TOLERANCE)
    np.testing.assert_allclose(classifier.novelty(ROWS), EXPECTED["novelty"], **TOLERANCE)


def test_registry_accepts_a_challenger_and_a_rollback(tmp_path):
    shutil.copytree(FOLDER / "registry", tmp_path / "registry")
    registry = Registry(tmp_path / "registry")
    first = registry.champion()
    assert first is not None
    with registry.staged(first.classifier) as staged:
        registry.add(staged, {}, promoted=True, trigger="test", reason="newer")
    assert registry.rollback().version == "v0001"
    assert registry.champion() == first


def test_synthesizer_gives_the_recorded_scores():
    synthesizer = semigen.Synthesizer.load(FOLDER / "synthesizer")
    np.testing.assert_allclose(synthesizer.score(ROWS), EXPECTED["score"], rtol=1e-4)
    assert len(synthesizer.sample(5)) == 5
