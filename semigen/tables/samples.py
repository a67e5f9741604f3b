"""Real data sets that scikit-learn ships, cut into a labeled, an unlabeled and a test table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split

from semigen.errors import UserError
from semigen.params.config import SampleParams
from semigen.tables.splits import pick_labeled

LOADERS = {
    "digits": datasets.load_digits,
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
}
TARGET = "label"


def load_sample(name: str) -> pd.DataFrame:
    """Return an embedded data set with its label in column ``label``."""
    bunch = LOADERS[name](as_frame=True)
    names = [str(label) for label in bunch.target_names]
    labels = [int(n) if n.isdigit() else n for n in names]
    return bunch.data.assign(**{TARGET: [labels[code] for code in bunch.target]})


def cut_sample(params: SampleParams, seed: int) -> dict[str, pd.DataFrame]:
    """Cut a data set into ``labeled``, ``unlabeled`` (no label column) and ``test`` tables.

    The test rows are drawn first, stratified by class; of the others, ``n_labeled`` rows spread
    evenly over the classes keep their label.

    Raises:
        UserError: If more labeled rows are asked for than there are.
    """
    table = load_sample(params.dataset)
    train, test = train_test_split(
        table, test_size=params.test_size, random_state=seed, stratify=table[TARGET]
    )
    n_most = len(train) - 1
    if params.n_labeled > n_most:
        raise UserError(
            f"sample.n_labeled: {params.dataset} has {n_most + 1} training rows, so at most "
            f"{n_most} can be labeled, not {params.n_labeled}"
        )
    picked = pick_labeled(train[TARGET].to_numpy(), params.n_labeled, np.random.default_rng(seed))
    is_labeled = np.zeros(len(train), bool)
    is_labeled[picked] = True
    return {
        "labeled": train[is_labeled].reset_index(drop=True),
        "unlabeled": train[~is_labeled].drop(columns=TARGET).reset_index(drop=True),
        "test": test.reset_index(drop=True),
    }
