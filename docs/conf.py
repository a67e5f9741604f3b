"""Sphinx configuration of the documentation; ``make docs`` builds it into ``build/docs``.

Sphinx with MyST, because it generates the API reference from docstrings, fails on broken links and
references (``-W``), and builds pages that can be read from disk without a network. MkDocs Material,
the usual alternative, is in maintenance mode.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]
os.environ["DO_NOT_TRACK"] = "1"

from semigen import __version__  # noqa: E402 - needs the path

# Its notices would hide Sphinx's warnings.
logging.getLogger("great_expectations").setLevel(logging.WARNING)

project = "semigen"
copyright = "the semigen authors, Apache-2.0"  # noqa: A001 - the name that Sphinx reads
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.apidoc",
    "sphinx.ext.napoleon",
    "reference_directives",
]
# Every reference to the library must resolve, but for type variables and private names. References
# to other packages would need their inventories from the network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!semigen\.).*"), ("py:.*", r"semigen\..*\.([A-Z]|_\w+)")]
exclude_patterns = ["_ext", "reference/api/modules.rst"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# One page for each module of the library, generated from its docstrings. Pages of modules that no
# longer exist would fail the build.
shutil.rmtree(ROOT / "docs" / "reference" / "api", ignore_errors=True)
apidoc_modules = [
    {
        "path": str(ROOT / "semigen"),
        "destination": "reference/api",
        "exclude_patterns": [str(ROOT / "semigen" / "cli")],
        "separate_modules": True,
        "module_first": True,
        "max_depth": 2,
        "automodule_options": {"members", "show-inheritance"},
    }
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
# Members that pydantic and scikit-learn add, and an import that autodoc takes for a member.
ADDED_MEMBERS = ["model_config", "set_fit_request", "set_score_request", "ks_2samp"]
autodoc_default_options = {"exclude-members": ", ".join(ADDED_MEMBERS)}
autodoc_preserve_defaults = True
add_module_names = False
python_display_short_literal_types = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
strip_signature_backslash = True  # otherwise fitted attributes lose their trailing underscore

html_theme = "furo"
html_title = "semigen"
html_copy_source = False
html_show_sphinx = False
html_static_path: list[str] = []
html_theme_options = {"navigation_with_keys": True}
