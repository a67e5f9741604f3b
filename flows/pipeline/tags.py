"""The champion as git tags, those of GTO (https://dvc.org/doc/gto), which comes with DVC.

``classifier@v3.0.0`` says which commit made ``v0003`` of the registry, tags
``classifier#champion#N`` and ``classifier#champion!#N`` which version became champion and which
was one no more. ``gto show`` lists them.
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
"""Its name under ``artifacts`` in ``dvc.yaml``."""
STAGE = "champion"
TAGGER: dict[str, Any] = {"author": NAME, "author_email": EMAIL}
"""A worker's user may have told git no name."""


def tag_champion(root: Path, version: str, commit: str) -> list[str]:
    """Tag the commit that made a version, and the version as champion, unless they are already.

    GTO lets several versions be in a stage and shows the greatest, so the others leave it: after a
    rollback that would be the wrong one.

    Args:
        root: The project's root, in a git repository.
        version: Name in the registry, e.g. ``v0003``.
        commit: The commit of the run that made it; of no account if the version has its tag.

    Returns:
        Names of the new tags, which are not pushed.

    Raises:
        UserError: If git refuses, or another version was made by that commit.
    """
    name = _semantic(version)
    made = []
    try:
        artifact = _read(root)
        if name not in {found.version for found in artifact.versions}:
            made.append(api.register(root, ARTIFACT, commit, version=name, **TAGGER))
        champions = _champions(artifact)
        if name not in champions:
            made.append(api.assign(root, ARTIFACT, STAGE, version=name, force=True, **TAGGER))
        for former in sorted(champions - {name}):
            made.append(api.unassign(root, ARTIFACT, version=former, stage=STAGE, **TAGGER))
    except (GTOException, SCMError) as error:
        raise UserError(f"{version}: cannot tag commit {commit} as {name}: {error}") from error
    return [event.tag for event in made]


def is_tagged(root: Path, version: str) -> bool:
    """Return whether a tag says which commit made a version."""
    return _semantic(version) in {found.version for found in _read(root).versions}


def _semantic(version: str) -> str:
    """Return a version as GTO wants it: ``v3.0.0`` for ``v0003``."""
    return f"v{int(version.removeprefix('v'))}.0.0"


def _read(root: Path) -> Artifact:
    with GitRegistry.from_url(root) as registry:
        return registry.find_artifact(ARTIFACT, create_new=True)


def _champions(artifact: Artifact) -> set[str]:
    stages = artifact.get_vstages(versions_per_stage=-1)
    return {found.version for found in stages.get(STAGE, [])}
