"""Data sets that scikit-learn includes, split into a labeled, an unlabeled and a test table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split

from semigen.errors import UserError
from semigen.params.config import SAMPLE_TARGET, SampleParams
from semigen.tables.splits import pick_labeled

LOADERS = {
    "digits": datasets.load_digits,
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
}
TARGET = SAMPLE_TARGET


def load_sample(name: str) -> pd.DataFrame:
    """Return an embedded data set with its labels in column ``label``.

    Args:
        name: A key of ``LOADERS``.
    """
    bunch = LOADERS[name](as_frame=True)
    names = [str(label) for label in bunch.target_names]
    labels = [int(n) if n.isdigit() else n for n in names]
    return bunch.data.assign(**{TARGET: [labels[code] for code in bunch.target]})


def cut_sample(params: SampleParams, seed: int) -> dict[str, pd.DataFrame]:
    """Split a data set into ``labeled``, ``unlabeled`` (no label column) and ``test`` tables.

    The test rows are drawn first, stratified by class. Of the other rows, ``n_labeled`` rows keep
    their label, balanced over the classes.

    Args:
        params: Name of the data set and sizes of the tables.
        seed: Seed of the split.

    Raises:
        UserError: If ``n_labeled`` exceeds the number of training rows minus one.

    Examples:
        >>> tables = cut_sample(SampleParams(dataset="wine", n_labeled=9), seed=0)
        >>> {part: len(table) for part, table in tables.items()}
        {'labeled': 9, 'unlabeled': 133, 'test': 36}
    """
    table = load_sample(params.dataset)
    train, test = train_test_split(
        table, test_size=params.test_size, random_state=seed, stratify=table[TARGET]
    )
    maximum = len(train) - 1
    if params.n_labeled > maximum:
        raise UserError(
            f"sample.n_labeled: {params.dataset} has {maximum + 1} training rows, so at most "
            f"{maximum} can be labeled, not {params.n_labeled}"
        )
    picked = pick_labeled(train[TARGET].to_numpy(), params.n_labeled, np.random.default_rng(seed))
    is_labeled = np.zeros(len(train), bool)
    is_labeled[picked] = True
    return {
        "labeled": train[is_labeled].reset_index(drop=True),
        "unlabeled": train[~is_labeled].drop(columns=TARGET).reset_index(drop=True),
        "test": test.reset_index(drop=True),
    }
