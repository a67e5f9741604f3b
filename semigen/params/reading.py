"""Parameters of reading text files, ``data.read``."""

from __future__ import annotations

import codecs
from typing import Literal

from pydantic import Field, field_validator

from semigen.params.base import Section


class ReadParams(Section):
    """How text files are read. Everything is detected where nothing is set.

    Examples:
        >>> ReadParams(decimal=",", na_values=["-999"])
        ReadParams(decimal=',', na_values=('-999',))
    """

    encoding: str | None = None
    """Encoding of the files, e.g. ``cp1252``. Detected: UTF-8, UTF-16 with a byte order mark, else
    Windows-1252."""
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    """Character between cells; a blank for columns that are separated by blanks."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of all numbers. Detected for each column."""
    thousands: Literal[",", ".", " ", "'"] | None = None
    """Thousands separator of all numbers. Detected for each column."""
    na_values: tuple[str, ...] | None = None
    """Cells that are missing, besides empty cells; they replace the default marks. ``[]`` keeps
    cells such as ``NA`` and ``None`` as values."""
    header: int | None = Field(None, ge=1)
    """Line of the column names, counted from 1. Detected below title lines."""
    comment: str | None = Field(None, min_length=1, max_length=1)
    """Character that starts a comment, e.g. ``#``."""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str | None) -> str | None:
        if encoding is not None:
            try:
                codecs.lookup(encoding)
            except LookupError:
                raise ValueError("unknown encoding; use e.g. utf-8, utf-16 or cp1252") from None
        return encoding
