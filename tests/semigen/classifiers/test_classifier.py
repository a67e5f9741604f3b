from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB

import semigen
from semigen.classifiers.classifier import Classifier, Member
from semigen.classifiers.cross_validation import fit_learner
from semigen.classifiers.learner_table import make_learners
from semigen.errors import UserError
from semigen.params.config import TrainParams
from semigen.storage.estimator_files import save_estimator
from semigen.storage.manifest import write_manifest
from tests.semigen.example_tables import TARGET, mixed_table

WEIGHTS = {
    "latent_mixture": 0.4,
    "label_diffusion": 0.2,
    "logistic_regression_latent": 0.2,
    "naive_bayes_em": 0.1,
    "kernel_machine": 0.1,
}


@pytest.fixture(scope="module")
def classifier(fitted_generator):
    encoder, generator, problem = fitted_generator
    learners = {learner.name: learner for learner in make_learners(TrainParams(epochs=5))}
    members = tuple(
        Member(name, fit_learner(learners[name], problem), learners[name].space, 1.3, weight)
        for name, weight in WEIGHTS.items()
    )
    return Classifier(encoder, members, generator)


def test_probabilities_are_the_weighted_mean_of_the_members(classifier):
    table = mixed_table(50, seed=1)
    alone = [
        Classifier(classifier.encoder, (member,), classifier.generator).predict_proba(table)
        for member in classifier.members
    ]
    expected = sum(w * p for w, p in zip(WEIGHTS.values(), alone, strict=True))
    np.testing.assert_allclose(classifier.predict_proba(table), expected)
    np.testing.assert_allclose(classifier.predict_proba(table).sum(axis=1), 1.0)


def test_predicts_labels_of_new_rows(classifier):
    table = mixed_table(200, seed=1)
    accuracy = (classifier.predict(table) == table["outcome"]).mean()
    assert accuracy > 0.9  # guessing has standard error 0.035
    assert classifier.learner_name == "committee of 5 learners"


def test_reloaded_classifier_predicts_the_same(classifier, tmp_path):
    table = mixed_table(50, seed=1, missing=0.1)
    classifier.save(tmp_path / "classifier")
    reloaded = semigen.load(tmp_path / "classifier")
    np.testing.assert_array_equal(reloaded.predict_proba(table), classifier.predict_proba(table))
    np.testing.assert_array_equal(reloaded.novelty(table), classifier.novelty(table))
    assert list(reloaded.classes_) == ["ill", "well"]


def test_equal_classifiers_have_equal_files_without_training_rows(classifier, problem, tmp_path):
    for name in ("one", "two"):
        classifier.save(tmp_path / name)
    paths = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    content = {p: (tmp_path / "one" / p).read_bytes() for p in paths}
    assert content == {p: (tmp_path / "two" / p).read_bytes() for p in paths}
    everything = b"".join(unpacked(tmp_path / "one" / p) for p in paths)
    for row in np.concatenate([problem.x, problem.x_unlabeled])[:, :2].astype(np.float64):
        assert row.tobytes() not in everything
        assert row.astype(np.float32).tobytes() not in everything


def unpacked(path: Path) -> bytes:
    """Return a file's bytes; of an archive, those of all its members."""
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist())


def test_rows_unlike_the_training_rows_have_high_novelty(classifier):
    unusual = mixed_table(5).assign(weight=300.0, visits=40.0)
    assert (classifier.novelty(unusual) == 1.0).all()


def test_rejects_missing_column_and_novelty_without_generator(classifier):
    table = mixed_table(5)
    with pytest.raises(UserError, match="'ward'"):
        classifier.predict(table.drop(columns="ward"))
    with pytest.raises(UserError, match="labels alone"):
        Classifier(classifier.encoder, classifier.members).novelty(table)


def test_members_that_were_written_before_are_copied(classifier, tmp_path, monkeypatch):
    dumped: list[str] = []

    def save_and_count(estimator, path):
        dumped.append(path.stem)
        save_estimator(estimator, path)

    monkeypatch.setattr("semigen.classifiers.classifier.save_estimator", save_and_count)
    classifier.save(tmp_path / "alone")
    assert sorted(dumped) == sorted(WEIGHTS)
    dumped.clear()
    written: dict[str, Path] = {}
    few = Classifier(classifier.encoder, classifier.members[:2], classifier.generator)
    few.save(tmp_path / "few", written=written)
    classifier.save(tmp_path / "whole", written=written)
    assert sorted(dumped) == sorted(WEIGHTS)
    assert set(written) == set(WEIGHTS)
    for name in WEIGHTS:
        files = [
            (tmp_path / folder / f"{name}.skops").read_bytes() for folder in ("alone", "whole")
        ]
        assert files[0] == files[1]
    semigen.load(tmp_path / "whole")


def test_load_rejects_folder_without_classifier(tmp_path):
    with pytest.raises(UserError, match="no classifier here"):
        semigen.load(tmp_path)


def test_load_rejects_another_format_version(classifier, tmp_path):
    classifier.save(tmp_path / "model")
    facts = tmp_path / "model" / "classifier.json"
    facts.write_text(facts.read_text().replace('"format": 2', '"format": 0'))
    write_manifest(tmp_path / "model")
    with pytest.raises(UserError, match="another version"):
        semigen.load(tmp_path / "model")


def test_notebook_shows_the_members(fitted_generator):
    encoder, _, problem = fitted_generator
    estimator = GaussianNB().fit(problem.labeled("encoded"), problem.y)
    classifier = Classifier(encoder, (Member("<nb>", estimator, "encoded", 1.0),))
    html = classifier._repr_html_()
    assert "&lt;nb&gt;" in html and "temperature" in html and "<nb>" not in html
    rows = mixed_table(100, seed=5)
    labels = rows[TARGET]
    assert classifier.score(rows, labels) == (classifier.predict(rows) == labels).mean()
