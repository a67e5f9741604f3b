"""Exponential moving averages of the weights of a network.

``torch.optim.swa_utils.AveragedModel`` gives the same parameters, but other counters of batch
normalization, and it also averages buffers that are not part of the state, such as masks and pools
of noise: an update of the semi-supervised GAN takes 2.8 ms instead of 0.2 ms.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

AVERAGES_PER_TRAINING = 10


def averaging_decay(n_steps: int, max_decay: float, min_decay: float = 0.0) -> float:
    """Return the decay per step of a moving average that spans at most a tenth of a training.

    An average over more steps would contain the first, untrained weights.

    Args:
        n_steps: Steps of the training.
        max_decay: Decay of a long training.
        min_decay: Decay of a very short training.

    Examples:
        >>> averaging_decay(10_000, 0.99), averaging_decay(200, 0.99), averaging_decay(5, 0.99)
        (0.99, 0.95, 0.0)
    """
    return min(max_decay, max(min_decay, 1 - AVERAGES_PER_TRAINING / n_steps))


def copy_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the state of a module: the start of a moving average."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def update_average(average: Mapping[str, Tensor], module: nn.Module, decay: float) -> None:
    """Update a moving average in place: ``average = decay * average + (1 - decay) * weights``.

    Integers, such as the step counter of batch normalization, are copied.

    Args:
        average: State of a module of the same architecture.
        module: Module in training.
        decay: Decay per step, from 0 to 1.

    Examples:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 0.0)
        >>> average = copy_state(layer)
        >>> _ = nn.init.constant_(layer.weight, 1.0)
        >>> update_average(average, layer, decay=0.75)
        >>> average["weight"].item()
        0.25
    """
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - decay)
            else:
                average[name].copy_(value)
