"""Small models of every family, for tests."""

from __future__ import annotations

from typing import Any

from semigen.generators import make_generator
from semigen.generators.network_model import NetworkModel
from semigen.params.config import ComputeParams, PretrainParams
from semigen.tables.encoding import TableEncoder

NETWORKS = {"hidden_dims": (16, 8)}
QUICK: dict[str, dict[str, Any]] = {
    "vae": NETWORKS | {"epochs": 4},
    "ssvae": NETWORKS | {"classifier_dims": (16,), "epochs": 4, "pretrain_epochs": 3},
    "gan": NETWORKS | {"generator_dims": (16,), "max_steps": 8},
    "ssgan": NETWORKS | {"generator_dims": (16,), "max_steps": 12},
    "diffusion": {"hidden_dim": 16, "bins": 10, "max_steps": 24, "class_steps": 24},
    "autoregressive": {"hidden_dim": 8, "bins": 10, "max_steps": 24, "class_steps": 24},
}
"""Parameters with which a model trains in under a second, and learns little."""

_SSVAE = {
    "latent_dim": 3,
    "auxiliary_dim": 2,
    "hidden_dims": (32,),
    "classifier_dims": (32,),
    "epochs": 30,
    "pretrain_epochs": 15,
    "batch_size": 64,
    "warmup_epochs": 2,
    "patience": 30,
    "guided_epochs": 3,
}
TRAINED: dict[str, dict[str, Any]] = {
    "vae": {"latent_dim": 3, "hidden_dims": (32,), "epochs": 40, "batch_size": 32, "patience": 40},
    "ssvae": _SSVAE,
    "gan": {
        "hidden_dims": (64, 32),
        "generator_dims": (64,),
        "latent_dim": 8,
        "max_bins": 8,
        "batch_size": 64,
        "max_steps": 300,
        "learning_rate": 5e-3,
        "class_share": 4.0,
    },
    "ssgan": {
        "hidden_dims": (64, 32),
        "generator_dims": (32,),
        "latent_dim": 8,
        "max_steps": 250,
        "smoothness": 1.0,
    },
    "diffusion": {
        "max_steps": 400,
        "class_steps": 400,
        "hidden_dim": 64,
        "bins": 20,
        "sampling_steps": 16,
    },
    "autoregressive": {"max_steps": 250, "class_steps": 250, "hidden_dim": 16, "bins": 20},
}
"""Parameters with which a model trains in some seconds, and learns a table of 400 rows."""

FORMS = {"m1m2": {"form": "m1m2"}, "sdgm": {"form": "sdgm"}, "adgm": {"form": "adgm"}}
CASES = [*QUICK, *FORMS]
"""All families, and the forms of ``ssvae`` besides M2."""


def small_model(
    case: str, encoder: TableEncoder, parameters: dict[str, dict[str, Any]], **changes: Any
) -> NetworkModel[Any]:
    """Return an untrained model of a case.

    Args:
        case: One of ``CASES``.
        encoder: Encoder of the rows.
        parameters: ``QUICK`` or ``TRAINED``.
        changes: Other parameters.
    """
    family = "ssvae" if case in FORMS else case
    section = parameters[family] | FORMS.get(case, {}) | changes
    params = PretrainParams.model_validate({"generator": family, family: section})
    model = make_generator(encoder, params, ComputeParams(checkpoint_seconds=1e-9), seed=1)
    assert isinstance(model, NetworkModel)
    return model
