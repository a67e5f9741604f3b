from __future__ import annotations

import numpy as np
import pytest
import skops.io
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from semigen.errors import UserError
from semigen.estimators.latent_mixture import LatentMixtureClassifier
from semigen.storage.estimator_files import load_estimator, save_estimator

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ExtraTreesClassifier(10, random_state=0),
        lambda: LogisticRegression(),
        lambda: MLPClassifier((8,), max_iter=300, random_state=0),
        lambda: LatentMixtureClassifier(),
    ],
)
def test_reloaded_model_predicts_the_same_and_equal_models_have_equal_files(make, tmp_path):
    paths = [tmp_path / "one.skops", tmp_path / "two.skops"]
    for path in paths:
        save_estimator(make().fit(X, Y), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    expected = make().fit(X, Y).predict_proba(X)
    np.testing.assert_allclose(load_estimator(paths[0]).predict_proba(X), expected, rtol=1e-12)


def test_rejects_types_that_no_model_has(tmp_path):
    path = tmp_path / "model.skops"
    skops.io.dump({"hook": pytest.raises}, path)
    with pytest.raises(UserError, match="refused"):
        load_estimator(path)
    model = KMeans(2, n_init=1, random_state=0).fit(X)
    with pytest.raises(UserError, match=r"refused, because it contains types .*KMeans"):
        save_estimator(model, tmp_path / "other.skops")
    skops.io.dump(model, path)
    with pytest.raises(UserError, match=r"refused, because it contains types .*KMeans"):
        load_estimator(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.skops"):
        load_estimator(tmp_path / "nowhere.skops")
