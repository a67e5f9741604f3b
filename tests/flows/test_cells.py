"""Values of cells: on the terminal, and not in what is sent to the server."""

from __future__ import annotations

import logging

import pytest
from prefect.logging.handlers import APILogHandler

from flows.cells import shown, split_log, stored
from flows.pipeline.stage import failure
from semigen.errors import UserError
from semigen.wording import MARK_CELLS, cell

MESSAGE = "test.csv: column 'age', row 3: 'ten' is not a number"


@pytest.fixture
def error():
    return UserError(f"test.csv: column 'age', row 3: {cell('ten')} is not a number")


def test_terminal_shows_the_value_and_reports_do_not(error):
    assert str(error) == MESSAGE
    assert error.stored == "test.csv: column 'age', row 3: … is not a number"


def test_failure_of_a_stage_is_stored_without_the_value_and_printed_with_it(error, monkeypatch):
    monkeypatch.setenv(MARK_CELLS, "1")
    lines = [f"error: {error}"]
    message = stored(failure(lines, "stage 'preprocess'", 1))
    assert message == error.stored
    assert shown(f"run failed: {message}") == f"run failed: {MESSAGE}"


def test_log_of_the_server_has_no_value(error, monkeypatch):
    monkeypatch.setenv(MARK_CELLS, "1")
    logger = logging.getLogger("test.cells")
    handler = APILogHandler()
    logger.addHandler(handler)
    record = logger.makeRecord("test.cells", logging.INFO, "f", 1, str(error), (), None)
    assert split_log(record)
    assert handler.format(record) == error.stored
    assert record.getMessage() == MESSAGE
