"""Git tags of the champion in the format of GTO (https://dvc.org/doc/gto), which DVC installs.

``classifier@v3.0.0`` tags the commit that trained ``v0003`` of the registry.
``classifier#champion#N`` and ``classifier#champion!#N`` record which version became champion and
which one was replaced. ``gto show`` lists them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gto import api
from gto.base import Artifact
from gto.exceptions import GTOException
from gto.registry import GitRegistry
from scmrepo.exceptions import SCMError

from flows.pipeline.git import EMAIL, NAME
from semigen.errors import UserError

ARTIFACT = "classifier"
"""Name of the classifier under ``artifacts`` in ``dvc.yaml``."""
STAGE = "champion"
TAGGER: dict[str, Any] = {"author": NAME, "author_email": EMAIL}
"""Git may not be configured for the user of a worker."""


def tag_champion(root: Path, version: str, commit: str) -> list[str]:
    """Tag the commit that trained a version, and the version as champion, unless it is tagged.

    GTO allows several versions in a stage and shows the greatest, which after a rollback is not the
    champion. Other versions are therefore removed from the stage.

    Args:
        root: The project's root, in a git repository.
        version: Name in the registry, e.g. ``v0003``.
        commit: Commit of the run that trained the version; ignored if the version is tagged.

    Returns:
        Names of the new tags. They are not pushed.

    Raises:
        UserError: If git refuses, or the commit is tagged with another version.
    """
    name = _semantic(version)
    events = []
    try:
        artifact = _read(root)
        if name not in {found.version for found in artifact.versions}:
            events.append(api.register(root, ARTIFACT, commit, version=name, **TAGGER))
        champions = _champions(artifact)
        if name not in champions:
            events.append(api.assign(root, ARTIFACT, STAGE, version=name, force=True, **TAGGER))
        for former in sorted(champions - {name}):
            events.append(api.unassign(root, ARTIFACT, version=former, stage=STAGE, **TAGGER))
    except (GTOException, SCMError) as error:
        raise UserError(f"{version}: cannot tag commit {commit} as {name}: {error}") from error
    return [event.tag for event in events]


def is_tagged(root: Path, version: str) -> bool:
    """Return whether a tag records the commit that trained a version."""
    return _semantic(version) in {found.version for found in _read(root).versions}


def _semantic(version: str) -> str:
    """Return a version in the format of GTO: ``v3.0.0`` for ``v0003``."""
    return f"v{int(version.removeprefix('v'))}.0.0"


def _read(root: Path) -> Artifact:
    with GitRegistry.from_url(root) as registry:
        return registry.find_artifact(ARTIFACT, create_new=True)


def _champions(artifact: Artifact) -> set[str]:
    stages = artifact.get_vstages(versions_per_stage=-1)
    return {found.version for found in stages.get(STAGE, [])}
