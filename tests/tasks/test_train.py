from __future__ import annotations

import json

import pandas as pd
import pytest

import semigen
from semigen.artifacts import Layout
from semigen.generators import make_generator
from semigen.params.config import AugmentParams, Params, PretrainParams, TrainParams
from semigen.params.generators import VAEParams
from semigen.tables.encoding import Encoded
from tasks import augment, train
from tests.semigen.example_tables import TARGET, encoded, mixed_table

PARAMS = Params(
    pretrain=PretrainParams(vae=VAEParams(latent_dim=2, hidden_dims=(16,), epochs=3)),
    augment=AugmentParams(ratio=2),
    train=TrainParams(folds=2, repeats=1, epochs=3),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project after the stage ``train``: 24 labeled and 176 unlabeled rows."""
    layout = Layout(tmp_path_factory.mktemp("project"))
    table = mixed_table(200)
    encoder, rows = encoded(table, n_labeled=24)
    encoder.save(layout.encoder)
    for part, kept in (("labeled", rows.y >= 0), ("unlabeled", rows.y < 0)):
        Encoded(rows.x[kept], rows.y[kept]).save(layout.encoded(part))
        layout.prepared(part).parent.mkdir(exist_ok=True)
        table[kept].to_parquet(layout.prepared(part))
    generator = make_generator(encoder, PARAMS.pretrain, PARAMS.compute, PARAMS.seed)
    generator.fit(rows)
    generator.save(layout.generator)
    augment.run(PARAMS, layout)
    train.run(PARAMS, layout)
    return layout


def test_classifiers_predict_new_rows(trained):
    table = mixed_table(200, seed=1)
    for folder in (trained.classifier, trained.labels_only, *trained.ablation.iterdir()):
        classifier = semigen.load(folder)
        assert (classifier.predict(table) == table[TARGET]).mean() > 0.8, folder
    assert semigen.load(trained.labels_only).generator is None
    assert semigen.load(trained.classifier).generator is not None


def test_evidence_is_written_and_temporary_files_are_removed(trained):
    selection = json.loads(trained.selection.read_text())
    assert set(selection["committees"]) == {
        "selected", "labels_only", "unlabeled", "synthetic", "all",
    }  # fmt: skip
    losses = pd.read_csv(trained.plot("train"))
    assert losses["epoch"].tolist() == [1, 2, 3] and losses["loss"].is_monotonic_decreasing
    header = trained.plot("search").read_text()
    assert header.splitlines() == ["trial,kind,state,log_loss,best"]
    assert not trained.progress("train").exists()
    assert not trained.checkpoint("train").exists()


def test_progress_file_names_the_learner_and_the_losses_so_far(tmp_path, capsys):
    progress = train.StageProgress(tmp_path / "train.json")
    progress.on_learners(["mlp", "graph"])
    progress.on_learner_start("mlp")
    progress.on_learner_end("mlp", 0.1234567)
    progress.on_learner_start("graph")
    content = json.loads((tmp_path / "train.json").read_text())
    assert (content["done"], content["total"], content["at"]) == (1, 2, "graph")
    assert content["log_loss"] == {"mlp": 0.12346}
    progress.on_trial("trial 1 of 5")
    assert capsys.readouterr().out.splitlines() == [
        "train: 1/2 mlp, log loss 0.123", "train: trial 1 of 5",
    ]  # fmt: skip
