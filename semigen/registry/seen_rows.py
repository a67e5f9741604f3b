"""Which rows a classifier has learned from, kept without keeping the rows.

Test rows that are split off the user's labeled table are split anew when rows are added to it.
Some of them may then be rows from which an earlier classifier learned, and would flatter it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from semigen.artifacts import read_json, write_json
from semigen.tables.schema import TableSchema, as_text

DIGEST_BYTES = 8
"""Two of a million rows on each side share one with a chance of 1 in 18 million."""
SALT_BYTES = 16


@dataclass(frozen=True)
class SeenRows:
    """Digests of the labeled rows that a classifier learned from, and of its test rows.

    A digest covers a row's features, as the classifier's schema types them, and its label. It
    cannot be turned back into the row, and the salt, new for every record, makes those of two
    records incomparable. But who has the file, salt included, can check a guess: that a row known
    in full was, or was not, among the training or test rows. Rows of few possible values can all
    be guessed. Where membership is a secret, guard the registry like the tables.

    Attributes:
        salt: Key of the digests.
        trained: Of the training rows, sorted, uint64.
        tested: Of the test rows, sorted, uint64.
    """

    salt: bytes
    trained: np.ndarray
    tested: np.ndarray

    @classmethod
    def of(cls, schema: TableSchema, labeled: pd.DataFrame, test: pd.DataFrame) -> SeenRows:
        """Take the digests of a classifier's training and test rows, labels included."""
        salt = secrets.token_bytes(SALT_BYTES)
        trained, tested = (np.unique(row_digests(rows, schema, salt)) for rows in (labeled, test))
        return cls(salt, trained, tested)

    def leaked(self, schema: TableSchema, test: pd.DataFrame) -> np.ndarray:
        """Return which of other test rows the classifier learned from, shape ``(n,)``, bool.

        A row that was also among its own test rows is no leak, but one of many equal rows of a
        table: its own test figures counted it as well.

        Args:
            schema: The classifier's schema, not that of the test rows.
            test: Test rows with their labels.

        Raises:
            UserError: If a column of the schema is absent, or a value has another type.
        """
        digests = row_digests(test, schema, self.salt)
        return np.isin(digests, self.trained) & ~np.isin(digests, self.tested)

    def save(self, path: Path) -> None:
        """Write salt and digests as JSON, the latter as base64 of little-endian numbers."""
        content = {
            "salt": self.salt.hex(),
            **{name: _to_text(getattr(self, name)) for name in ("trained", "tested")},
        }
        write_json(path, content)

    @classmethod
    def load(cls, path: Path) -> SeenRows:
        """Read what ``save`` wrote."""
        content = read_json(path)
        trained, tested = (_from_text(content[name]) for name in ("trained", "tested"))
        return cls(bytes.fromhex(content["salt"]), trained, tested)


def row_digests(rows: pd.DataFrame, schema: TableSchema, salt: bytes) -> np.ndarray:
    """Return a 64-bit digest of every row's typed features and label, shape ``(n,)``, uint64.

    The order of columns does not count, nor do columns that are not in the schema.
    """
    typed = schema.coerce(rows)
    names = sorted(column.name for column in schema.features)
    cells = [typed[name].astype(object).where(typed[name].notna(), None) for name in names]
    texts = map(json.dumps, zip(*cells, as_text(rows[schema.target]), strict=True))
    digests = [
        hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES, key=salt).digest()
        for text in texts
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8")


def _to_text(digests: np.ndarray) -> str:
    return base64.b64encode(digests.astype("<u8").tobytes()).decode()


def _from_text(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype="<u8")
