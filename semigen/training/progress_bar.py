"""Progress of a training as a bar of tqdm: a widget in notebooks, text on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from tqdm.auto import tqdm

from semigen.training.progress import Progress


class ProgressBar(Progress):
    """Shows the epochs of a training as a progress bar.

    Args:
        title: Name of the training.

    Examples:
        >>> with ProgressBar("pretrain") as progress:  # tqdm writes to stderr
        ...     progress.epoch([0.7], [], n_epochs=5)
    """

    def __init__(self, title: str) -> None:
        super().__init__(title, stream=None)
        self.epochs: tqdm | None = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.epochs is not None:
            self.epochs.close()
            self.epochs = None

    def epoch(self, train: Sequence[float], validation: Sequence[float], n_epochs: int) -> None:
        if not train:
            return
        if self.epochs is None:
            self.epochs = tqdm(desc=self.title, total=n_epochs, unit="epoch")
        held_out = {"held_out_loss": validation[-1]} if validation else {}
        self.epochs.set_postfix(loss=train[-1], **held_out, refresh=False)
        self.epochs.update(len(train) - self.epochs.n)
