"""Names that a project uses on a Prefect server, which several projects may share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import yaml

from semigen.errors import UserError
from semigen.params.config import Params

PREFECT_YAML = "prefect.yaml"
NAME = re.compile(r"(?!(?i:prefect))[A-Za-z0-9_-]+")
"""Prefect reserves names of work pools that start with ``prefect``."""
TAG_PREFIX = "project:"
NEVER = "0 0 1 1 *"
"""Cron of a schedule that is inactive; Prefect requires a cron."""


@dataclass(frozen=True)
class Project:
    """A project as it is known on a Prefect server.

    Attributes:
        root: The project's folder.
        name: ``name`` in the project's ``prefect.yaml``.
    """

    root: Path
    name: str

    @classmethod
    def of(cls, root: Path) -> Project:
        """Read the name of the project in a folder; without ``prefect.yaml``, use the folder's.

        Raises:
            UserError: If the file cannot be read, or Prefect would refuse the name.
        """
        path = root / PREFECT_YAML
        if not path.exists():
            return cls(root, slug(root.resolve().name))
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
        name = content.get("name") or slug(root.resolve().name)
        if not NAME.fullmatch(str(name)):
            raise UserError(
                f"{path}: name: {name!r} must consist of letters, digits, '-' and '_', and must "
                "not start with 'prefect'"
            )
        return cls(root, str(name))

    @property
    def tag(self) -> str:
        """The tag of the project's deployments and flow runs."""
        return f"{TAG_PREFIX}{self.name}"

    @property
    def key(self) -> str:
        """The name in the characters that Prefect allows for blocks and variables."""
        key = slug(self.name)
        return key if key == self.name else f"{key}-{sha256(self.name.encode()).hexdigest()[:6]}"

    def pool(self, kind: str) -> str:
        """Return the name of the work pool of a kind of worker, e.g. ``churn-gpu``."""
        return f"{self.name}-{kind}"

    def deployment(self, flow: str) -> str:
        """Return the deployment of a flow, e.g. ``train/churn``."""
        return f"{flow}/{self.name}"

    def stage_deployment(self, kind: str) -> str:
        """Return the deployment that runs one stage on a kind of worker: ``stage/churn-gpu``."""
        return f"stage/{self.pool(kind)}"


def slug(text: str) -> str:
    """Return a text as the name of a project: ``My_Folder 2`` gives ``my-folder-2``."""
    name = "-".join(re.findall("[a-z0-9]+", text.lower())) or "project"
    return f"project-{name}" if name.startswith("prefect") else name


def template_variables(project: Project, params: Params) -> dict[str, str]:
    """Return the environment variables that ``prefect.yaml`` refers to."""
    crons = {"TRAIN": params.retrain.cron, "MONITOR": params.monitor.cron}
    variables = {
        "SEMIGEN_PROJECT_NAME": project.name,
        "SEMIGEN_TIMEZONE": params.retrain.timezone,
    }
    for name, cron in crons.items():
        variables[f"SEMIGEN_{name}_CRON"] = cron or NEVER
        variables[f"SEMIGEN_{name}_ACTIVE"] = str(cron is not None).lower()
    return variables
