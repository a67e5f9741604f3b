"""Parameters of small models, one of each family, that train in under a second."""

from __future__ import annotations

from typing import Any

NETWORKS = {"hidden_dims": (16, 8)}
QUICK: dict[str, dict[str, Any]] = {
    "vae": NETWORKS | {"epochs": 4},
    "ssvae": NETWORKS | {"classifier_dims": (16,), "epochs": 4, "pretrain_epochs": 3},
    "gan": NETWORKS | {"generator_dims": (16,), "max_steps": 8},
    "ssgan": NETWORKS | {"generator_dims": (16,), "max_steps": 12},
    "diffusion": {"hidden_dim": 16, "bins": 10, "max_steps": 24, "class_steps": 24},
    "autoregressive": {"hidden_dim": 8, "bins": 10, "max_steps": 24, "class_steps": 24},
}
