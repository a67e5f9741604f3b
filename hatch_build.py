"""Build hook: the wheel carries the files that ``semigen init`` copies into a new project.

An editable installation finds the same files in the repository, so there they are not copied.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TEMPLATE = (
    "flows",
    "tasks",
    "dvc.yaml",
    "params.yaml",
    "prefect.yaml",
    ".gitignore",
    ".dvcignore",
    ".dvc/config",
    ".dvc/.gitignore",
    "data/README.md",
    "data/raw/.gitignore",
)


class ProjectTemplate(BuildHookInterface[Any]):
    """Adds the project template to ``semigen/project_template`` in the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"].update(
                {part: f"semigen/project_template/{part}" for part in TEMPLATE}
            )
