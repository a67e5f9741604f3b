"""Generative models: one file a family, one protocol (``base.py``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semigen.artifacts import read_json
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
from semigen.tables.encoding import TableEncoder, share_unit

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
    """Return an untrained model for rows of an encoder; settings left to ``auto`` are resolved."""
    chosen = params.chosen
    if getattr(chosen, "noise_scale", None) == "auto":
        scale = "shared" if share_unit(encoder.schema) else "column"
        chosen = chosen.model_copy(update={"noise_scale": scale})
    return FAMILIES[params.generator](encoder.spans_, chosen, compute, seed)


def load_generator(folder: Path) -> GenerativeModel:
    """Read a model that its ``save`` wrote.

    Raises:
        UserError: If there is none, or it is of an unknown family.
    """
    family = read_json(folder / "config.json").get("family")
    if family not in FAMILIES:
        raise UserError(f"{folder}: unknown model family {family!r}; known: {', '.join(FAMILIES)}")
    return FAMILIES[family].load(folder)
