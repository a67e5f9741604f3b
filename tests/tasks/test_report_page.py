"""The HTML report as readers see it: on phones, with a keyboard, with a screen reader."""

import html
import html.parser
import json
import re
import subprocess

import pytest

from semigen.params.config import Params, TrainParams
from tasks import report
from tests.browser import browser_command
from tests.tasks.test_report import write_project

LONG = "a_very_long_name_of_a_column_that_nobody_has_broken_into_words"
MEASURE = """<!doctype html><body><script>
const found = {};
const frame = document.createElement("iframe");
frame.style.height = "900px";
frame.srcdoc = PAGE;
frame.onload = () => {
  const page = frame.contentDocument;
  for (const width of [390, 1280]) for (const open of [false, true]) {
    frame.style.width = `${width}px`;
    page.querySelectorAll("details").forEach(part => part.open = open);
    found[`${width} ${open ? "open" : "folded"}`] = [...page.querySelectorAll("*")]
      .filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1)
      .map(e => `${e.tagName} ${e.className} ${e.closest("section")?.id}`);
  }
  document.title = JSON.stringify(found);
};
document.body.append(frame);
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a table with long names."""
    rename = {"alcohol": LONG, "class_0": LONG.upper(), "proline": f"{LONG} with words"}
    params, layout = write_project(tmp_path_factory.mktemp("page"), "wine", rename=rename)
    report.run(params.model_copy(update={"seed": 7, "train": TrainParams(epochs=7)}), layout)
    return layout.report.read_text(encoding="utf-8")


class Outline(html.parser.HTMLParser):
    """Where a page has which text: tags around each text, and tables' empty headers."""

    def __init__(self, text):
        super().__init__()
        self.open, self.folded, self.visible, self.outside, self.empty = [], [], [], [], 0
        self.last_header = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):  # noqa: ARG002 - the base class passes both
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag == "th":
            self.last_header = ""

    def handle_endtag(self, tag):
        while self.open.pop() != tag:
            pass
        if tag == "th":
            self.empty += not self.last_header.strip()

    def handle_data(self, data):
        if "th" in self.open:
            self.last_header += data
        if not data.strip() or "head" in self.open:
            return
        if not {"header", "main"} & set(self.open):
            self.outside.append(data)
        is_folded = "details" in self.open and "summary" not in self.open
        (self.folded if is_folded else self.visible).append(data)


def test_reference_material_is_folded_and_changed_parameters_are_not(page):
    outline = Outline(page)
    names = {name for name in outline.folded if re.fullmatch(r"[a-z_.]+", name)}
    assert {"train.epochs", "augment.ratio", "data.kinds", "label_spreading"} <= names
    assert "train.epochs" in outline.visible
    assert {"seed", "sample.dataset"} <= set(outline.visible)
    assert "augment.ratio" not in outline.visible
    assert "3 parameters with a value other than the default:" in outline.visible


def test_defaults_are_mentioned_in_one_sentence(tmp_path):
    _, layout = write_project(tmp_path, "wine")
    report.run(Params(), layout)
    outline = Outline(layout.report.read_text(encoding="utf-8"))
    assert "All parameters have their default values." in outline.visible


def test_page_has_landmarks_and_no_empty_header_and_nothing_that_scrolls(page):
    outline = Outline(page)
    assert page.count("<main>") == 1
    assert outline.outside == []
    assert outline.empty == 0
    assert "overflow-x" not in page  # a keyboard cannot reach what is cut


@pytest.mark.slow
def test_nothing_is_cut_on_phones_and_screens(page, tmp_path):
    wrapper = tmp_path / "measure.html"
    wrapper.write_text(MEASURE.replace("PAGE", json.dumps(page).replace("</", "<\\/")))
    options = ("--dump-dom", "--virtual-time-budget=5000", f"--user-data-dir={tmp_path / 'b'}")
    command = [*browser_command(*options), wrapper.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title, done.stdout[-500:] + done.stderr[-500:]
    found = json.loads(html.unescape(title[1]))
    assert found == {f"{w} {s}": [] for w in (390, 1280) for s in ("folded", "open")}
