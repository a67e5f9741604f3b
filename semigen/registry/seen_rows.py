"""Digests of the rows that a classifier was trained and tested on.

Test rows that are split off the user's labeled table are split anew when rows are added to it. Some
of them may then be rows that an earlier classifier was trained on, and would inflate its score. The
registry keeps digests instead of rows to recognize them.
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
from semigen.tables.cells import as_text
from semigen.tables.schema import TableSchema

SEEN_ROWS = "seen_rows.json"
"""Name of the file in a version's folder."""
DIGEST_BYTES = 8
"""Two of a million rows on each side share a digest with a probability of 1 in 18 million."""
SALT_BYTES = 16


@dataclass(frozen=True)
class SeenRows:
    """Digests of the labeled rows that a classifier was trained on, and of its test rows.

    A digest covers a row's features, typed by the classifier's schema, and its label. It cannot be
    turned back into the row, and the salt, new for every record, makes digests of different records
    incomparable. But whoever has the file, salt included, can check a guess: whether a row known in
    full was among the training or test rows. Rows with few possible values can all be guessed. If
    membership is confidential, protect the registry like the tables.

    Attributes:
        salt: Key of the digests.
        trained: Digests of the training rows, sorted, uint64.
        tested: Digests of the test rows, sorted, uint64.

    Examples:
        >>> rows = pd.DataFrame({"age": [31, 47, 52, 68], "label": ["a", "b", "a", "b"]})
        >>> schema = TableSchema.infer(rows, rows, "label")
        >>> seen = SeenRows.of(schema, labeled=rows[:2], test=rows[2:3])
        >>> seen.leaked(schema, rows).tolist()
        [True, True, False, False]
    """

    salt: bytes
    trained: np.ndarray
    tested: np.ndarray

    @classmethod
    def of(cls, schema: TableSchema, labeled: pd.DataFrame, test: pd.DataFrame) -> SeenRows:
        """Return the digests of a classifier's training and test rows, labels included."""
        salt = secrets.token_bytes(SALT_BYTES)
        trained, tested = (np.unique(row_digests(rows, schema, salt)) for rows in (labeled, test))
        return cls(salt, trained, tested)

    def leaked(self, schema: TableSchema, test: pd.DataFrame) -> np.ndarray:
        """Return which of other test rows the classifier was trained on, shape ``(n,)``, bool.

        A row that was also among the classifier's own test rows is not leaked: the table holds
        several equal rows, and the classifier's own test score counted it too.

        Args:
            schema: Schema of the classifier, not of the test rows.
            test: Test rows with their labels.

        Raises:
            UserError: If a column of the schema is missing, or a value has the wrong type.
        """
        digests = row_digests(test, schema, self.salt)
        return np.isin(digests, self.trained) & ~np.isin(digests, self.tested)

    def save(self, path: Path) -> None:
        """Write JSON, with the digests as base64 of little-endian integers."""
        content = {
            "salt": self.salt.hex(),
            **{name: _to_text(getattr(self, name)) for name in ("trained", "tested")},
        }
        write_json(path, content)

    @classmethod
    def load(cls, path: Path) -> SeenRows:
        """Read the file that ``save`` wrote."""
        content = read_json(path)
        trained, tested = (_from_text(content[name]) for name in ("trained", "tested"))
        return cls(bytes.fromhex(content["salt"]), trained, tested)


def row_digests(rows: pd.DataFrame, schema: TableSchema, salt: bytes) -> np.ndarray:
    """Return a 64-bit digest of every row's typed features and label, shape ``(n,)``, uint64.

    The order of the columns does not matter, nor do columns that are not in the schema.

    Args:
        rows: Rows with their labels, shape ``(n, any)``.
        schema: Schema that types the features.
        salt: Key of the digests.

    Raises:
        UserError: If a column of the schema is missing, or a value has the wrong type.
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
