from __future__ import annotations

import numpy as np
import torch

from semigen.generators.row_head import RowHead
from semigen.tables.encoding import Span
from semigen.training.compute import seeded


def test_relaxed_rows_harden_into_rows_of_the_table():
    spans = [
        Span("a", 0, 1, "numeric"),
        Span("b", 1, 2, "numeric"),
        Span("b", 2, 3, "missing"),
        Span("c", 3, 6, "category"),
        Span("d", 6, 8, "category"),
    ]
    head = RowHead(spans, temperature=0.5)
    rows = torch.zeros(2, 8)
    rows[:, 0], rows[:, 1] = torch.tensor([0.2, 1.0]), torch.tensor([-3.0, 2.0])
    rows[:, [3, 7]] = 1
    outputs = head.learn_bounds(rows)
    torch.testing.assert_close(outputs[:2], torch.tensor([np.log(0.6 / 0.4), -0.5]).float())
    with seeded(0):
        relaxed = head(4 * torch.randn(200, 8))
    assert relaxed[:, 0].min() > 0
    assert relaxed[:, 0].max() < 1
    assert relaxed[:, 1].max() > 1
    for start, stop in ((3, 6), (6, 8)):
        torch.testing.assert_close(relaxed[:, start:stop].sum(1), torch.ones(200))
        hard = head.harden(relaxed)[:, start:stop]
        torch.testing.assert_close(hard.argmax(1), relaxed[:, start:stop].argmax(1))
        assert set(hard.unique().tolist()) == {0.0, 1.0}


def test_categories_have_the_probabilities_of_their_logits():
    head = RowHead([Span("c", 0, 3, "category")], temperature=0.5)
    probabilities = torch.tensor([0.2, 0.5, 0.3])
    with seeded(0):
        rows = head.harden(head(probabilities.log().expand(20_000, 3)))
    torch.testing.assert_close(rows.mean(0), probabilities, atol=4 * 0.5 / 20_000**0.5, rtol=0)
