"""Files of trained networks: a configuration as JSON and weights as safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from semigen.storage.saved_files import check_file, reading, require


def save_module(module: nn.Module, config: dict[str, Any], folder: Path) -> None:
    """Write a network as ``config.json`` and ``weights.safetensors`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in module.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_weights(module: nn.Module, folder: Path) -> None:
    """Load the weights that ``save_module`` wrote; the module is set to evaluation mode.

    Raises:
        UserError: If the file is damaged, or the module has other parameters or shapes.
    """
    path = folder / "weights.safetensors"
    with reading(path):
        check_file(path)
        weights = load_file(path)
        for name, tensor in weights.items():
            require(tensor.isfinite().all(), path, f"{name!r} has infinite or missing numbers")
        module.load_state_dict(weights)
    module.eval()
