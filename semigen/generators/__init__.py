"""Generative models: a module for each family, and a common protocol (``base``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semigen.errors import UserError
from semigen.generators.autoregressive import Autoregressive
from semigen.generators.base import GenerativeModel
from semigen.generators.diffusion import Diffusion
from semigen.generators.gan import GAN
from semigen.generators.network_model import NetworkModel
from semigen.generators.ssgan import SSGAN
from semigen.generators.ssvae import SSVAE
from semigen.generators.vae import VAE
from semigen.params.config import ComputeParams, PretrainParams
from semigen.storage.saved_files import read_saved_json
from semigen.tables.encoding import TableEncoder
from semigen.tables.scaling import share_unit

FAMILIES: dict[str, type[NetworkModel[Any]]] = {
    "vae": VAE,
    "gan": GAN,
    "ssgan": SSGAN,
    "ssvae": SSVAE,
    "diffusion": Diffusion,
    "autoregressive": Autoregressive,
}


def make_generator(
    encoder: TableEncoder, params: PretrainParams, compute: ComputeParams, seed: int
) -> GenerativeModel:
    """Return an untrained model for the rows of an encoder.

    Args:
        encoder: Encoder of the rows; it also resolves ``noise_scale: auto``.
        params: Family of the model, and the parameters of the families.
        compute: Device and precision.
        seed: Seed of initial weights, batches and noise.
    """
    chosen = params.chosen
    if getattr(chosen, "noise_scale", None) == "auto":
        scale = "shared" if share_unit(encoder.schema) else "column"
        chosen = chosen.model_copy(update={"noise_scale": scale})
    model = FAMILIES[params.generator](encoder.spans_, chosen, compute, seed)
    model.min_rows = max(model.min_rows, encoder.schema.min_rows)
    return model


def load_generator(folder: Path) -> GenerativeModel:
    """Return the model in a folder that its ``save`` wrote.

    Raises:
        UserError: If the folder contains no model, or a model of an unknown family.
    """
    family = read_saved_json(folder / "config.json").get("family")
    if not isinstance(family, str) or family not in FAMILIES:
        path = folder / "config.json"
        raise UserError(f"{path}: unknown model family {family!r}; known: {', '.join(FAMILIES)}")
    return FAMILIES[family].load(folder)
