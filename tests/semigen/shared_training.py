"""Script that ``test_distributed`` runs in one process and in two, to compare the results."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn

from semigen.params.config import ComputeParams
from semigen.training import distributed
from semigen.training.compute import seeded
from semigen.training.engine import train
from semigen.training.plan import TrainingPlan


def main(path: Path) -> None:
    with seeded(0):
        x = torch.randn(101, 4)
        module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    y = x[:, :1] * x[:, 1:2]
    history = train(
        module,
        lambda batch, _: ((module(batch[0]) - batch[1]) ** 2).mean(),
        (x[:80], y[:80]),
        TrainingPlan(epochs=6, batch_size=17, learning_rate=0.02, seed=3, averaging=0.9),
        held_out=(x[80:], y[80:]),
        compute=ComputeParams(checkpoint_seconds=1e-9, device="cpu"),
        checkpoint=path.with_suffix(".checkpoint"),
    )
    weights = torch.cat([p.detach().flatten() for p in module.parameters()])
    everyone = [torch.empty_like(weights) for _ in range(distributed.n_processes())]
    if len(everyone) > 1:
        dist.all_gather(everyone, weights)
    else:
        everyone = [weights]
    if distributed.rank() == 0:
        losses = torch.tensor([history.train, history.validation])
        save_file({"weights": torch.stack(everyone), "losses": losses}, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
