"""Checks that a generator that was read from files belongs to an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from semigen.generators.base import GenerativeModel
from semigen.tables.encoding import Span, TableEncoder


def check_generator(encoder: TableEncoder, generator: GenerativeModel) -> None:
    """Check that a generator belongs to the table of an encoder, with one row.

    Raises:
        ValueError: If its rows have another layout, it has other classes, or its features or
            novelty are not finite.
    """
    spans: Sequence[Span] = getattr(generator, "spans", ())
    if tuple(spans) != encoder.spans_:
        raise ValueError("its columns are not those of the encoder")
    x = np.zeros((1, encoder.n_features), np.float32)
    z, novelty = generator.features(x), generator.novelty(x)
    if len(z) != 1 or not (np.isfinite(z).all() and np.isfinite(novelty).all()):
        raise ValueError("features or novelty of a row are not finite numbers")
    if generator.classes_.max() >= len(encoder.schema.classes):
        raise ValueError("it has other classes than the schema")
