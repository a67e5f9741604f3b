"""Callbacks of a fit, so that callers can report its progress."""

from __future__ import annotations

from collections.abc import Sequence


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
