"""Chromium for tests of pages; tests are skipped where it is not installed."""

from __future__ import annotations

import shutil

import pytest


def browser_command(*options: str) -> list[str]:
    """Return the command line of a browser without a window, to which an address is added."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    common = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
    return [browser, *common, *options]
