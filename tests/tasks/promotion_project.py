"""A project with the files of a run, whose classifiers are fitted on small tables."""

from __future__ import annotations

import shutil

import pandas as pd
from sklearn.linear_model import LogisticRegression

from semigen.artifacts import Layout
from semigen.classifiers.classifier import Classifier, Member
from semigen.params.config import DataParams, EvaluateParams, Params, PromoteParams
from semigen.registry.registry import Registry
from semigen.tables.cells import as_text
from semigen.tables.encoding import TableEncoder, encode_rows
from tests.semigen.example_tables import TARGET, mixed_table, schema_of

DATA = DataParams(labeled="labeled.csv", unlabeled="unlabeled.csv", test="test.csv", target=TARGET)
EVALUATE = EvaluateParams(n_bootstrap=200)


def params(data: DataParams = DATA, seed: int = 3, **promote: object) -> Params:
    return Params(seed=seed, data=data, evaluate=EVALUATE, promote=PromoteParams(**promote))


def write_run(
    layout: Layout,
    labeled: pd.DataFrame,
    test: pd.DataFrame,
    unlabeled: pd.DataFrame | None = None,
    estimator: object = None,
) -> None:
    """Write the files of a run: prepared and encoded tables, validation report, classifier."""
    unlabeled = mixed_table(200, seed=9) if unlabeled is None else unlabeled
    schema = schema_of(labeled)
    for part, rows in (("labeled", labeled), ("test", test)):
        path = layout.prepared(part)
        path.parent.mkdir(parents=True, exist_ok=True)
        typed = schema.coerce(rows)
        typed.assign(**{TARGET: as_text(rows[TARGET])}).to_parquet(path, index=False)
    encoder = TableEncoder(schema).fit(labeled)
    y = schema.encode_labels(labeled[TARGET])
    encoded = encode_rows(encoder, labeled, y)
    encoded.save(layout.encoded("labeled"))
    encode_rows(encoder, unlabeled).save(layout.encoded("unlabeled"))
    layout.validation_json.parent.mkdir(exist_ok=True)
    layout.validation_json.write_text('{"success": true}')
    fitted = (estimator or LogisticRegression()).fit(encoded.x, y)
    shutil.rmtree(layout.classifier, ignore_errors=True)
    Classifier(encoder, (Member("logistic", fitted, "encoded", 1.0),)).save(layout.classifier)


def retrain(layout: Layout, strength: float = 0.9, n_labeled: int = 80) -> None:
    """Train another classifier of about the same accuracy on the same table."""
    labeled, test = mixed_table(n_labeled, seed=0), mixed_table(200, seed=1)
    write_run(layout, labeled, test, estimator=LogisticRegression(C=strength))


def train_constant(layout: Layout) -> None:
    """Train a constant classifier on the same table."""
    write_run(
        layout,
        mixed_table(80, seed=0),
        mixed_table(200, seed=1),
        estimator=LogisticRegression(C=1e-12),
    )


def champion(layout: Layout) -> str | None:
    found = Registry(layout.registry).champion()
    return found and found.name
