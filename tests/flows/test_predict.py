from __future__ import annotations

import pandas as pd
import pytest

from flows.predict import main, summarize


def test_summary_counts_rows_and_averages_novelty_by_class() -> None:
    predictions = pd.DataFrame(
        {"prediction": ["b", "a", "b", "b"], "novelty": [0.1, 0.5, 0.2, 0.6]}
    )
    assert summarize(predictions) == [
        {"prediction": "b", "rows": 3, "mean_novelty": 0.3},
        {"prediction": "a", "rows": 1, "mean_novelty": 0.5},
    ]


def test_missing_file_is_refused_before_a_server_is_started(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--input", "nowhere.csv", "--output", "out.csv"]) == 1
    told = capsys.readouterr()
    assert told.err == "error: nowhere.csv: no such file; check --input\n"
    assert told.out == ""
