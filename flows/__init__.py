"""When and where: Prefect flows around the stages.

Prefect and DVC read their settings when they are imported, so importing this package sets those
that the environment leaves open.
"""

import gc
from pathlib import Path

from flows.environment import prepare

prepare(Path.cwd())
# Imports make half a million objects, none of them garbage; looking for it takes a tenth of their
# time.
gc.set_threshold(100_000, 50, 100)
