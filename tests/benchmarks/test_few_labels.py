from __future__ import annotations

from benchmarks.few_labels import make_classifier
from semigen import SemiSupervisedClassifier


def test_patience_scales_time_budget_but_not_pretraining():
    default, patient = SemiSupervisedClassifier(random_state=3), make_classifier(3, patience=10.0)
    assert patient.time_budget_s == 10 * default.time_budget_s
    assert patient.pretrain_params() == default.pretrain_params()
    assert patient.random_state == 3
    assert make_classifier(3).get_params() == default.get_params()
