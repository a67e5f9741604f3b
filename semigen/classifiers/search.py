"""Search for learner settings that beat the defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from semigen.classifiers.learners import Learner
from semigen.classifiers.problem import LearningProblem
from semigen.errors import UserError
from semigen.params.config import TrainParams

TRIAL_COLUMNS = ("trial", "kind", "state", "log_loss", "best")


@dataclass(frozen=True)
class Search:
    """The result of a search.

    Attributes:
        learners: Best learner of each of the best kinds, best first.
        trials: A row per trial: number, kind, state, out-of-fold log loss in nats, and the lowest
            log loss so far. A pruned trial has no log loss: its first folds cannot be compared with
            all folds of another trial.

        n_left_out: Number of trials that the time budget left out.

    Examples:
        >>> Search((), pd.DataFrame(columns=TRIAL_COLUMNS)).trials.empty
        True
    """

    learners: tuple[Learner, ...]
    trials: pd.DataFrame
    n_left_out: int = 0


def search(
    problem: LearningProblem,
    params: TrainParams,
    journal: Path | None = None,
    on_trial: Callable[[str], None] = lambda _summary: None,
) -> Search:
    """Evaluate settings of the learners on folds of the labeled rows.

    A trial is pruned once its folds are worse than the median of earlier trials.

    Args:
        problem: Labeled and unlabeled rows; test rows are not involved.
        params: Number of trials and folds, and the time budget (``params.search``).
        journal: File of finished trials; an interrupted search resumes from it.
        on_trial: Called after each trial with a summary of one line.

    Raises:
        UserError: If Optuna is needed and not installed.
    """
    if params.search.trials == 0:
        return Search((), pd.DataFrame(columns=TRIAL_COLUMNS))
    try:
        from semigen.classifiers.optuna_search import run_trials
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise UserError(
            f"train.search.trials is {params.search.trials}, but Optuna is not installed; "
            "run `pip install semigen[pipeline]`, or set it to 0"
        ) from error
    learners, trials, n_finished = run_trials(problem, params, journal, on_trial)
    return Search(learners, trials, max(0, params.search.trials - n_finished))
