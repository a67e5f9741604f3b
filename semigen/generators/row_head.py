"""The last layer of generators that are trained by gradients through their rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from semigen.tables.encoding import Span


class RowHead(nn.Module):
    """Turns outputs without bounds into encoded rows that differ from real ones smoothly.

    Numeric columns that lie within [0, 1] in the training rows, as pixels do, are sigmoids, other
    numeric ones linear. Boolean and missing columns are relaxed Bernoulli draws and categories
    Gumbel-softmax draws (Jang et al. 2017, "Categorical Reparameterization with Gumbel-Softmax";
    Maddison et al. 2017): noise decides, so that one output stands for a distribution.

    Args:
        spans: Layout of an encoded row.
        temperature: How far draws are from zeros and ones.
    """

    is_bounded: Tensor
    is_binary: Tensor
    is_category: Tensor
    table: Tensor
    place: Tensor

    def __init__(self, spans: Sequence[Span], temperature: float) -> None:
        super().__init__()
        self.temperature, n_features = temperature, spans[-1].stop
        categories = [span for span in spans if span.kind == "category"]
        widest = max((span.stop - span.start for span in categories), default=0)
        # Categories as a padded table, so that one softmax serves all; the padding points at an
        # output of minus infinity behind the real ones.
        table = torch.full((len(categories), widest), n_features)
        place = torch.arange(n_features)
        is_binary = torch.zeros(n_features, dtype=torch.bool)
        for number, span in enumerate(categories):
            width = span.stop - span.start
            table[number, :width] = torch.arange(span.start, span.stop)
            first = n_features + number * widest
            place[span.start : span.stop] = torch.arange(first, first + width)
        is_category = place >= n_features
        for span in spans:
            is_binary[span.start : span.stop] = span.kind in ("missing", "boolean")
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("is_binary", is_binary, persistent=False)
        self.register_buffer("is_category", is_category, persistent=False)
        self.register_buffer("is_bounded", is_binary.clone())
        self.numeric = [span.start for span in spans if span.kind == "numeric"]

    def learn_bounds(self, x: Tensor) -> Tensor:
        """Note which numeric columns of training rows ``(n, n_features)`` lie within [0, 1].

        Returns:
            Outputs that stand for the mean row, shape ``(n_features,)``.
        """
        columns = x[:, self.numeric]
        self.is_bounded[self.numeric] = ((columns >= 0) & (columns <= 1)).all(0)
        mean = x.mean(0)
        likely = mean.clamp(0.01, 0.99)
        outputs = torch.where(self.is_category, likely.log(), mean)
        return torch.where(self.is_bounded, likely.logit(), outputs)

    def forward(self, outputs: Tensor) -> Tensor:
        """Return relaxed rows of outputs, both of shape ``(n, n_features)``."""
        outputs = outputs.float()
        if self.is_binary.any():
            noise = torch.rand_like(outputs[:, self.is_binary]).clamp(1e-6, 1 - 1e-6).logit()
            noisy = (outputs[:, self.is_binary] + noise) / self.temperature
            outputs = outputs.masked_scatter(self.is_binary, noisy)
        x = torch.where(self.is_bounded, outputs.sigmoid(), outputs)
        if not len(self.table):
            return x
        shares = self._category_logits(outputs).softmax(2)
        return torch.cat([x, shares.flatten(1)], 1)[:, self.place]

    def harden(self, x: Tensor) -> Tensor:
        """Return relaxed rows as rows of the table: zeros and ones where those alone occur."""
        hard = torch.where(self.is_binary, (x > 0.5).float(), x)
        if not len(self.table):
            return hard
        padded = torch.cat([x, x.new_full((len(x), 1), -1.0)], 1)
        best = padded[:, self.table].argmax(2, keepdim=True)
        one_hot = torch.zeros_like(padded[:, self.table]).scatter_(2, best, 1.0)
        return torch.cat([hard, one_hot.flatten(1)], 1)[:, self.place]

    def _category_logits(self, outputs: Tensor) -> Tensor:
        """Return logits with Gumbel noise, ``(n, n_categorical, widest)``; padding is impossible.

        Minus infinity would do for the padding but for its gradient.
        """
        padded = torch.cat([outputs, outputs.new_full((len(outputs), 1), -1e4)], 1)
        logits = padded[:, self.table]
        # Two logarithms cost a fifth of what torch's own exponential numbers do.
        exponential = -torch.rand_like(logits).clamp_min_(1e-20).log_()
        return (logits - exponential.clamp_min_(1e-20).log_()) / self.temperature
