"""Last layer of generators that are trained by gradients through the generated rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from semigen.tables.encoding import Span


class RowHead(nn.Module):
    """Converts unbounded outputs to relaxed rows, which are differentiable.

    Numeric columns within [0, 1] in all training rows, such as pixels, have a sigmoid; other
    numeric columns are linear. Boolean and missing columns are relaxed Bernoulli samples, and
    categories Gumbel-softmax samples (Jang et al. 2017, "Categorical Reparameterization with
    Gumbel-Softmax"; Maddison et al. 2017, "The Concrete Distribution").

    Args:
        spans: Layout of an encoded row.
        temperature: Temperature of the relaxed samples; 0 would give zeros and ones.

    **Shape**: outputs and rows ``(n, n_features)``.

    Examples:
        >>> head = RowHead([Span("a", 0, 1, "numeric"), Span("b", 1, 4, "category")], 0.5)
        >>> head.harden(head(torch.zeros(2, 4)))[:, 1:].sum(1)
        tensor([1., 1.])
    """

    is_bounded: Tensor
    is_binary: Tensor
    is_category: Tensor
    table: Tensor
    position: Tensor

    def __init__(self, spans: Sequence[Span], temperature: float) -> None:
        super().__init__()
        self.temperature, n_features = temperature, spans[-1].stop
        categories = [span for span in spans if span.kind == "category"]
        widest = max((span.stop - span.start for span in categories), default=0)
        # A padded table of categories, so that one softmax serves all columns. The padding refers
        # to an additional output with an impossible logit.
        table = torch.full((len(categories), widest), n_features)
        position = torch.arange(n_features)
        is_binary = torch.zeros(n_features, dtype=torch.bool)
        for number, span in enumerate(categories):
            width = span.stop - span.start
            table[number, :width] = torch.arange(span.start, span.stop)
            first = n_features + number * widest
            position[span.start : span.stop] = torch.arange(first, first + width)
        is_category = position >= n_features
        for span in spans:
            is_binary[span.start : span.stop] = span.kind in ("missing", "boolean")
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("position", position, persistent=False)
        self.register_buffer("is_binary", is_binary, persistent=False)
        self.register_buffer("is_category", is_category, persistent=False)
        self.register_buffer("is_bounded", is_binary.clone())
        self.numeric = [span.start for span in spans if span.kind == "numeric"]

    def learn_bounds(self, x: Tensor) -> Tensor:
        """Find the numeric columns of training rows that are within [0, 1].

        Args:
            x: Training rows, shape ``(n, n_features)``.

        Returns:
            Outputs that give the mean row, shape ``(n_features,)``.
        """
        columns = x[:, self.numeric]
        self.is_bounded[self.numeric] = ((columns >= 0) & (columns <= 1)).all(0)
        mean = x.mean(0)
        probabilities = mean.clamp(0.01, 0.99)
        outputs = torch.where(self.is_category, probabilities.log(), mean)
        return torch.where(self.is_bounded, probabilities.logit(), outputs)

    def forward(self, outputs: Tensor) -> Tensor:
        """Return relaxed rows ``(n, n_features)`` of outputs of the same shape."""
        outputs = outputs.float()
        if self.is_binary.any():
            noise = torch.rand_like(outputs[:, self.is_binary]).clamp(1e-6, 1 - 1e-6).logit()
            noisy = (outputs[:, self.is_binary] + noise) / self.temperature
            outputs = outputs.masked_scatter(self.is_binary, noisy)
        x = torch.where(self.is_bounded, outputs.sigmoid(), outputs)
        if not len(self.table):
            return x
        probabilities = self._category_logits(outputs).softmax(2)
        return torch.cat([x, probabilities.flatten(1)], 1)[:, self.position]

    def harden(self, x: Tensor) -> Tensor:
        """Return rows of the table: boolean, missing and category columns are zeros and ones."""
        hard = torch.where(self.is_binary, (x > 0.5).float(), x)
        if not len(self.table):
            return hard
        padded = torch.cat([x, x.new_full((len(x), 1), -1.0)], 1)
        best = padded[:, self.table].argmax(2, keepdim=True)
        one_hot = torch.zeros_like(padded[:, self.table]).scatter_(2, best, 1.0)
        return torch.cat([hard, one_hot.flatten(1)], 1)[:, self.position]

    def _category_logits(self, outputs: Tensor) -> Tensor:
        """Return logits with Gumbel noise, shape ``(n, n_categorical, widest)``.

        The logits of the padding are finite, because minus infinity would have no gradient.
        """
        padded = torch.cat([outputs, outputs.new_full((len(outputs), 1), -1e4)], 1)
        logits = padded[:, self.table]
        # Two logarithms take a fifth of the time of torch's exponential random numbers.
        exponential = -torch.rand_like(logits).clamp_min_(1e-20).log_()
        return (logits - exponential.clamp_min_(1e-20).log_()) / self.temperature
