"""Models that an earlier commit saved still load and give the same probabilities."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import semigen
from semigen.artifacts import Layout
from semigen.cli.main import main
from semigen.errors import UserError
from semigen.prediction import predict_table, resolve_model
from semigen.registry.registry import Registry
from semigen.registry.versions import digest_of
from semigen.storage.estimator_files import RECORDED_MODULES, load_estimator
from semigen.storage.manifest import check_manifest, write_manifest

FOLDER = Path(__file__).parents[1] / "data" / "models_fd3f79a"
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


def test_champion_with_swapped_classes_is_not_served(tmp_path, caplog):
    shutil.copytree(FOLDER / "registry", tmp_path / "models" / "registry")
    model = resolve_model(None, Layout(tmp_path))
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    predict_table(tmp_path / "rows.csv", tmp_path / "before.csv", model.folder)
    assert not caplog.records  # its digest is recorded: no note that it has no manifest
    schema = model.folder / "encoder" / "schema.json"
    content = json.loads(schema.read_text())
    schema.write_text(json.dumps(content | {"classes": content["classes"][::-1]}))
    write_manifest(model.folder)
    with pytest.raises(UserError, match="the files are not those that were registered"):
        predict_table(tmp_path / "rows.csv", tmp_path / "after.csv", model.folder)
    assert not (tmp_path / "after.csv").exists()


@pytest.mark.parametrize("part", ["registry/versions/v0001/classifier", "synthesizer"])
def test_saved_again_models_have_a_manifest_and_older_ones_a_note(part, tmp_path, caplog):
    load = semigen.Synthesizer.load if part == "synthesizer" else semigen.load
    shutil.copytree(FOLDER / part, tmp_path / "old")
    load(tmp_path / "old").save(tmp_path / "new")
    assert "old has no manifest.json" in caplog.text
    caplog.clear()
    load(tmp_path / "new")
    assert not caplog.records
    assert check_manifest(tmp_path / "new")


def test_verify_lists_every_version_and_fails_if_one_differs(tmp_path, monkeypatch, capsys):
    shutil.copytree(FOLDER / "registry", tmp_path / "models" / "registry")
    monkeypatch.chdir(tmp_path)
    assert main(["registry", "--verify"]) == 0
    assert "v0001: the files are those that were registered" in capsys.readouterr().out
    facts = tmp_path / "models" / "registry" / "versions" / "v0001" / "classifier/classifier.json"
    facts.write_text(facts.read_text().replace("1.3", "1.4"))
    assert main(["registry", "--verify"]) == 1
    assert "1 of 1 versions differ from their registration: v0001" in capsys.readouterr().err
