"""The checks of scikit-learn that every classifier should pass."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from tests.semigen.classifiers.quick_estimator import quick_estimator

INAPPLICABLE = {
    "check_classifiers_classes": "uses -1 as a class, which marks unlabeled rows here",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([quick_estimator()], expected_failed_checks=lambda _: INAPPLICABLE)
def test_follows_the_conventions_of_scikit_learn(estimator, check):
    check(estimator)
