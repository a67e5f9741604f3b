"""Prefect flows that run the stages: when and where.

Prefect and DVC read their settings when they are imported, so importing this package sets the
settings that the environment does not contain.
"""

import gc
from pathlib import Path

from flows import interruption as _interruption  # noqa: F401 - first, for Ctrl-C during imports
from flows.environment import prepare

prepare(Path.cwd())
# Imports create half a million objects and no garbage; collecting takes a tenth of their time.
gc.set_threshold(100_000, 50, 100)
