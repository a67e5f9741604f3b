from __future__ import annotations

import numpy as np

from semigen.evaluation.fit_journal import FitJournal
from semigen.evaluation.label_curve import Fit

HITS = np.array([[True, False, True], [False, False, True]])


def test_reads_the_fits_of_equal_inputs(tmp_path):
    journal = FitJournal(tmp_path / "new" / "fits.jsonl", "one")
    assert journal.read() == []
    journal.append(Fit(12, 3, 1.234, HITS))
    FitJournal(journal.path, "two").append(Fit(24, 0, 1.0, HITS))
    (fit,) = journal.read()
    assert (fit.n_labeled, fit.draw, fit.seconds) == (12, 3, 1.23)
    np.testing.assert_array_equal(fit.hits, HITS)


def test_ignores_a_truncated_line_and_appends_after_it(tmp_path):
    journal = FitJournal(tmp_path / "fits.jsonl", "one")
    journal.append(Fit(12, 0, 1.0, HITS))
    journal.append(Fit(24, 0, 1.0, HITS))
    journal.path.write_text(journal.path.read_text()[:-20])
    assert [fit.n_labeled for fit in journal.read()] == [12]
    journal.append(Fit(36, 0, 1.0, HITS))
    assert [fit.n_labeled for fit in journal.read()] == [12, 36]
