"""When and where: Prefect flows around the stages.

Prefect and DVC read their settings when they are imported, so importing this package sets those
that the environment leaves open.
"""

from pathlib import Path

from flows.environment import prepare

prepare(Path.cwd())
