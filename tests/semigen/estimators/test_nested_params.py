from __future__ import annotations

import pytest
from sklearn.base import clone

from semigen import SemiSupervisedClassifier, Synthesizer
from semigen.params.config import PretrainParams, TrainParams


def test_default_sections_list_their_parameters():
    params = SemiSupervisedClassifier().get_params()
    assert params["train"] is None and params["train__epochs"] == TrainParams().epochs
    assert params["pretrain__vae__latent_dim"] == PretrainParams().vae.latent_dim
    assert "train__epochs" not in SemiSupervisedClassifier().get_params(deep=False)


def test_every_listed_parameter_can_be_set():
    model = SemiSupervisedClassifier()
    params = model.get_params()
    again = model.set_params(**params | {"train": TrainParams(), "train__epochs": 3})
    assert again is model and model.train == TrainParams(epochs=3)


def test_setting_a_parameter_keeps_the_others_and_the_original_section():
    train = TrainParams(folds=3)
    model = SemiSupervisedClassifier(train=train)
    copy = clone(model).set_params(train__search__trials=4, pretrain__generator="gan")
    assert copy.train.folds == 3 and copy.train.search.trials == 4
    assert copy.pretrain.generator == "gan"
    assert model.train == TrainParams(folds=3)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"trains": None}, "Invalid parameter 'trains' for estimator SemiSupervisedClassifier"),
        ({"verbose__x": 1}, "Invalid parameter 'verbose__x'"),
        ({"train__epoch": 1}, "train: unknown parameter 'epoch'; did you mean 'epochs'"),
        ({"train__epochs": 0}, "train: epochs: must be greater than or equal to 1, not 0"),
        ({"train__epochs__x": 0}, "train__epochs is not a section"),
        ({"pretrain__vae__latent": 0}, "pretrain__vae: unknown parameter 'latent'"),
    ],
)
def test_rejects_unknown_names_and_values(params, words):
    with pytest.raises(ValueError, match=words):
        SemiSupervisedClassifier().set_params(**params)


def test_repr_shows_what_differs_from_the_defaults():
    model = SemiSupervisedClassifier(train=TrainParams(epochs=3), random_state=None)
    assert repr(model).split() == (
        ["SemiSupervisedClassifier(random_state=None,", "train=TrainParams(epochs=3))"]
    )
    assert "latent_dim=4" in repr(Synthesizer("vae").set_params(params__vae__latent_dim=4))
