"""Stage ``pretrain``: train the generative model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from semigen.artifacts import Layout, atomic_path
from semigen.generators import make_generator
from semigen.params.config import Params
from semigen.tables.encoding import Encoded, TableEncoder
from semigen.tables.sources import write_csv
from semigen.training import distributed
from semigen.training.compute import limit_threads, resolve_device
from semigen.training.plan import History
from semigen.training.progress import Progress
from semigen.training.shared_arrays import share


def run(params: Params, layout: Layout) -> None:
    """Train the generator on labeled and unlabeled rows; write the model and its learning curve.

    Args:
        params: Parameters of the run.
        layout: Paths of the project.

    Raises:
        TrainingDiverged: If the loss stays infinite or NaN at lower learning rates.
    """
    n_processes = distributed.processes_wanted(params.compute)
    if distributed.n_processes() == 1 and n_processes > 1:
        distributed.launch("pretrain", params, layout.root, n_processes)
        return
    limit_threads(params.compute)
    distributed.join(resolve_device(params.compute))
    rows = shared_training_rows(layout)
    encoder = TableEncoder.load(layout.encoder)
    generator = make_generator(encoder, params.pretrain, params.compute, params.seed)
    is_first = distributed.rank() == 0
    history = generator.fit(
        rows,
        checkpoint=layout.checkpoint("pretrain"),
        progress=Progress("pretrain", file=layout.progress("pretrain")) if is_first else None,
    )
    if not is_first:
        return
    with atomic_path(layout.generator) as temporary:
        generator.save(temporary)
    with atomic_path(layout.plot("pretrain")) as temporary:
        write_csv(learning_curve(history), temporary)
    print(
        f"pretrain: trained {params.pretrain.generator} on {len(rows.x)} rows, kept the weights of "
        f"epoch {history.best_epoch + 1} of {len(history.train)}{describe_held_out_loss(history)}"
    )


def read_training_rows(layout: Layout) -> Encoded:
    """Return the labeled rows followed by the unlabeled rows, whose ``y`` is -1."""
    labeled = Encoded.load(layout.encoded("labeled"))
    unlabeled = Encoded.load(layout.encoded("unlabeled"))
    return Encoded(
        np.concatenate([labeled.x, unlabeled.x]), np.concatenate([labeled.y, unlabeled.y])
    )


def shared_training_rows(layout: Layout) -> Encoded:
    """Return the same rows, read once if several processes of this machine train together."""

    def read() -> list[np.ndarray]:
        rows = read_training_rows(layout)
        return [rows.x, rows.y]

    return Encoded(*share("rows", read))


def learning_curve(history: History) -> pd.DataFrame:
    """Return the rounded losses by epoch; columns ``epoch``, ``train`` and ``validation``.

    The column ``validation`` is empty for families without a held-out loss.
    """
    epochs = np.arange(1, len(history.train) + 1)
    held_out = history.validation or [np.nan] * len(epochs)
    curve = {"epoch": epochs, "train": history.train, "validation": held_out}
    return pd.DataFrame(curve).round(5)


def describe_held_out_loss(history: History) -> str:
    """Return the held-out loss of the best epoch as text; empty if there is none."""
    if not history.validation:
        return ""
    return f", held-out loss {history.validation[history.best_epoch]:.4g} nats"
