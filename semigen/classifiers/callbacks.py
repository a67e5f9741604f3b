"""Callbacks of a fit, so that callers can report its progress."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tqdm.auto import tqdm


class FitCallbacks:
    """Called while a committee is fitted; these methods do nothing.

    Examples:
        >>> class PrintLearners(FitCallbacks):
        ...     def on_learner_start(self, name):
        ...         print("evaluating", name)
        >>> PrintLearners().on_learner_start("extra_trees")
        evaluating extra_trees
        >>> PrintLearners().on_learner_end("extra_trees", log_loss=0.5)
    """

    def on_trial(self, summary: str) -> None:
        """Called after each trial of the search with a summary of one line."""

    def on_learners(self, names: Sequence[str]) -> None:
        """Called once with the names of all learners, before cross-validation."""

    def on_learner_start(self, name: str) -> None:
        """Called before a learner is cross-validated."""

    def on_learner_end(self, name: str, log_loss: float) -> None:
        """Called after a learner was cross-validated, with its log loss in nats."""


class LearnerProgressBar(FitCallbacks):
    """Shows the learners of a fit as a progress bar of tqdm: a widget in notebooks.

    Examples:
        >>> with LearnerProgressBar() as bar:  # tqdm writes to stderr
        ...     bar.on_learners(["extra_trees"])
        ...     bar.on_learner_start("extra_trees")
        ...     bar.on_learner_end("extra_trees", log_loss=0.5)
    """

    bar: tqdm | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def on_trial(self, summary: str) -> None:
        tqdm.write(f"semigen: {summary}")

    def on_learners(self, names: Sequence[str]) -> None:
        self.bar = tqdm(desc="compare", total=len(names), unit="learner")

    def on_learner_start(self, name: str) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(name)

    def on_learner_end(self, name: str, log_loss: float) -> None:
        del name, log_loss
        if self.bar is not None:
            self.bar.update()
