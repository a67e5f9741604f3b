"""Dialect of a text table: encoding, delimiter, and line of the header."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from semigen.errors import UserError
from semigen.params.reading import ReadParams

DELIMITERS = ",;\t|"
BLANKS = " "
"""Delimiter of columns that are separated by any number of blanks."""
SAMPLE_CHARACTERS = 1 << 18
SAMPLE_RECORDS = 200
MAX_TITLE_LINES = 10
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
CHUNK = 1 << 20
MIN_CONSISTENCY = 0.9
"""Minimum fraction of lines with equally many cells for columns that are separated by blanks."""
CONTROL = r"[\x00-\x08\x0e-\x1f]"


@dataclass(frozen=True)
class Dialect:
    r"""How a text table is written.

    Attributes:
        encoding: Name of the encoding.
        delimiter: Character between cells; ``BLANKS`` for any number of blanks.
        n_skipped: Number of lines above the header.
        notes: What a user should know, one sentence each without the name of the file.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> _ = path.write_text("Export of May\nage;ward\n31;east, north\n")
        >>> dialect = detect_dialect(path, ReadParams(), "table.csv")
        >>> dialect.delimiter, dialect.n_skipped
        (';', 1)
    """

    encoding: str
    delimiter: str
    n_skipped: int
    notes: tuple[str, ...] = ()


def detect_dialect(path: Path, read: ReadParams, name: str) -> Dialect:
    """Return the dialect of a file; what the user has set is not detected.

    The delimiter is the one by which most lines have equally many cells, quotes respected. Lines
    above the header are skipped if they have only one cell, such as a title, or state the delimiter
    (``sep=;``).

    Args:
        path: The file.
        read: Parameters set by the user.
        name: Name of the table in errors.

    Raises:
        UserError: If the file is not text.
    """
    encoding, notes = read.encoding or _detect_encoding(path, name), []
    with path.open(encoding=encoding, newline="") as file:
        sample = file.read(SAMPLE_CHARACTERS)
        is_whole = not file.read(1)
    if re.search(CONTROL, sample):
        raise UserError(
            f"{name}: contains control characters, so it is not text; save the table as CSV, or "
            "set data.read.encoding"
        )
    if read.encoding is None and not encoding.startswith("utf-8"):
        notes.append(f"read as {encoding} (data.read.encoding)")
    stated = re.match(r'"?sep=(.)"?[;,\t]*\r?\n', sample)
    delimiter = read.delimiter or (stated[1] if stated else None)
    n_skipped = _line_of_header(read, stated)
    body = "".join(_lines(sample)[n_skipped:])
    if delimiter is None:
        delimiter = _best_delimiter(body, read.comment, is_whole)
    if read.header is None:
        n_titles = _count_titles(body, delimiter, read.comment, is_whole)
        if n_titles:
            title = body.splitlines()[0].strip()
            notes.append(f"skips {n_titles} line(s) above the header, e.g. {title[:40]!r}")
        n_skipped += n_titles
    return Dialect(encoding, delimiter, n_skipped, tuple(notes))


def split_records(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the last line number and the cells of each record, blank lines left out."""
    is_blanks = delimiter == BLANKS
    if is_blanks:
        lines = (line.strip() + "\n" for line in lines)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=is_blanks)
    for cells in reader:
        if cells:
            yield reader.line_num, cells


def _line_of_header(read: ReadParams, stated: re.Match[str] | None) -> int:
    if read.header is not None:
        return read.header - 1
    return 1 if stated else 0


def _lines(text: str) -> list[str]:
    """Return the lines as files have them; ``str.splitlines`` splits at further characters."""
    return list(io.StringIO(text, newline=""))


def _detect_encoding(path: Path, name: str) -> str:
    """Return the encoding by the byte order mark, UTF-8 if the whole file is, else Windows-1252."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        start = file.read(CHUNK)
        for mark, encoding in BYTE_ORDER_MARKS.items():
            if start.startswith(mark):
                return encoding
        if b"\0" in start:
            raise UserError(
                f"{name}: contains NUL bytes, so it is not text; save the table as CSV, or set "
                "data.read.encoding"
            )
        try:
            while start:
                decoder.decode(start)
                start = file.read(CHUNK)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def _records(
    text: str, delimiter: str, comment: str | None, is_whole: bool
) -> list[tuple[int, list[str]]]:
    """Return the first records, without the last one if the text may end within it."""
    # Emptied instead of removed, so that the line numbers stay right.
    lines = ["\n" if comment and line.startswith(comment) else line for line in _lines(text)]
    records = []
    try:
        for record in split_records(iter(lines), delimiter):
            records.append(record)
            if len(records) == SAMPLE_RECORDS:
                return records
    except csv.Error:
        return []
    return records if is_whole or len(records) < 2 else records[:-1]


def _best_delimiter(text: str, comment: str | None, is_whole: bool) -> str:
    best, best_score = DELIMITERS[0], (0.0, False, 1)
    for delimiter in DELIMITERS:
        widths = [len(cells) for _, cells in _records(text, delimiter, comment, is_whole)]
        body = _without_titles(widths)
        fraction, width = _consistency(body)
        score = (fraction, len(body) == len(widths), width)  # a title only if there must be one
        if width > 1 and score > best_score:
            best, best_score = delimiter, score
    if not best_score[1] or best_score[0] < MIN_CONSISTENCY:
        widths = [len(cells) for _, cells in _records(text, BLANKS, comment, is_whole)]
        fraction, width = _consistency(widths)
        if width > 1 and (fraction, True) >= max((MIN_CONSISTENCY, True), best_score[:2]):
            return BLANKS
    return best


def _without_titles(widths: list[int]) -> list[int]:
    """Return the numbers of cells without those of lines above the header, which have one cell."""
    n_titles = next((i for i, width in enumerate(widths) if width > 1), 0)
    is_plausible = n_titles <= min(MAX_TITLE_LINES, len(widths) // 2, len(widths) - 2)
    return widths[n_titles:] if is_plausible else widths


def _consistency(widths: list[int]) -> tuple[float, int]:
    """Return the most frequent number of cells, and the fraction of lines that have it."""
    if not widths:
        return 0.0, 0
    width, n_lines = max(Counter(widths).items(), key=lambda item: (item[1], item[0]))
    return n_lines / len(widths), width


def _count_titles(text: str, delimiter: str, comment: str | None, is_whole: bool) -> int:
    """Return the number of lines above the first record that has as many cells as most have."""
    records = _records(text, delimiter, comment, is_whole)
    _, width = _consistency([len(cells) for _, cells in records])
    end_of_previous = 0
    for line, cells in records[: MAX_TITLE_LINES + 1]:
        n_filled = sum(bool(cell.strip()) for cell in cells)
        is_title = len(cells) == 1 < width or (n_filled < 2 and width > 2)
        if not is_title:
            break
        end_of_previous = line
    else:
        return 0
    return end_of_previous
