"""Values of cells in messages: shown on the terminal, left out of what the server stores."""

from __future__ import annotations

import logging

from semigen.wording import hide_cells, show_cells

_shown: dict[str, str] = {}
"""Messages with values of cells, by the stored message without them."""


def stored(text: str) -> str:
    """Return a message without values of cells; ``shown`` gives them back in this process."""
    hidden = hide_cells(text)
    if hidden != text:
        _shown[hidden] = show_cells(text)
    return hidden


def shown(text: str) -> str:
    """Return a message with the values of cells that ``stored`` left out in this process."""
    for hidden, full in _shown.items():
        text = text.replace(hidden, full)
    return show_cells(text)


def split_log(record: logging.LogRecord) -> bool:
    """Filter of a logger: values of cells are shown on the terminal, not sent to the server."""
    from prefect.logging.handlers import APILogHandler  # after the settings of the environment

    message = record.getMessage()
    record.__dict__["stored"] = hide_cells(message)
    record.msg, record.args = show_cells(message), ()
    for handler in logging.getLogger(record.name).handlers:
        if isinstance(handler, APILogHandler):
            handler.setFormatter(_STORED)
    return True


class _StoredFormatter(logging.Formatter):
    """Formats a record without the values of cells in its message."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return str(record.__dict__.get("stored", record.message))


_STORED = _StoredFormatter()
