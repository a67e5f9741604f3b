"""The documentation builds without a warning, and its pages need no network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.documents import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
FETCHED = re.compile(r"""<(?:script|img|iframe)[^>]*\ssrc="https?:|<link[^>]*\shref="https?:""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a broken link or reference fails the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), "docs", str(folder / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_pages_fetch_nothing_from_the_network(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 100
    for page in pages:
        assert not FETCHED.search(page.read_text(encoding="utf-8")), page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\W?https?:", style.read_text(encoding="utf-8")), style


def test_reference_pages_are_generated_from_the_code(site: Path) -> None:
    estimator = (site / "reference/api/semigen.classifiers.semi_supervised.html").read_text("utf-8")
    assert "time_budget_s" in estimator
    assert "<strong>classes_</strong>" in estimator
    parameters = (site / "reference/parameters.html").read_text("utf-8")
    assert "min_gain_probability" in parameters
    command_line = (site / "reference/command-line.html").read_text("utf-8")
    assert "--impute-missing-columns" in command_line
