"""Questions: what a classifier predicts, and from which columns.

A registry may hold classifiers of several questions, since a project's parameters may name another
table. Each question has a champion of its own: only classifiers of one question are compared, and
a rollback stays within a question.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from semigen.artifacts import Layout
from semigen.errors import UserError
from semigen.params.config import Params, is_sample
from semigen.registry.history import Event, succession
from semigen.registry.versions import Staged, Version
from semigen.tables.schema import TableSchema
from semigen.wording import count


@dataclass(frozen=True)
class Question:
    """The label column, its classes and the feature columns of a classifier.

    Attributes:
        target: Name of the label column; None if it was not recorded.
        embedded: Name of the embedded data set; None for the user's own tables, whose files may be
            renamed. Many tables call the label column "label".
        classes: The classes; empty if unknown.
        features: Names of the feature columns; empty if unknown.

    Examples:
        >>> churn = Question("Churn", None, ("No", "Yes"), ("tenure", "plan"))
        >>> churn.is_same(Question("Churn", None, ("No", "Yes"), ("tenure", "plan", "city")))
        True
        >>> print(churn)
        'Churn' of your own tables (2 classes, 2 columns)
    """

    target: str | None
    embedded: str | None
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()

    @classmethod
    def of(cls, params: Params, schema: TableSchema | None) -> Question:
        """Return the question of classifiers trained with these parameters.

        Args:
            params: All parameters.
            schema: Schema of the tables; None if it is not known yet.
        """
        embedded = params.sample.dataset if is_sample(params.data.labeled) else None
        return cls(params.data.target, embedded, *_columns(schema))

    @classmethod
    def of_project(cls, layout: Layout) -> Question:
        """Return the question of the parameters and the schema in a project's files.

        Raises:
            UserError: If the parameters cannot be read.
        """
        params = Params.load(layout.params)
        schema = TableSchema.load(layout.schema) if layout.schema.exists() else None
        if schema is not None and schema.target != params.data.target:  # of an earlier run
            schema = None
        return cls.of(params, schema)

    @classmethod
    def of_version(cls, version: Version) -> Question:
        """Return the question of a registered version.

        Versions of earlier releases do not record it: their schema has the columns and classes.
        """
        recorded = version.facts.get("question") or {}
        if "features" in recorded:
            return cls(**{**recorded, **{k: tuple(recorded[k]) for k in ("classes", "features")}})
        target, embedded = recorded.get("target"), recorded.get("embedded")
        return cls(target, embedded, *_columns(schema_of(version)))

    def is_same(self, other: Question) -> bool:
        """Return whether classifiers of both may be compared; unknown parts count as equal.

        A table may gain or lose columns and classes. It is another table if less than half of the
        feature columns, or no class, are in both.
        """
        ours, theirs = (self.target, self.embedded), (other.target, other.embedded)
        if None not in (self.target, other.target) and ours != theirs:
            return False
        if not (self.features and other.features):
            return True
        n_shared = len(set(self.features) & set(other.features))
        has_half = 2 * n_shared >= max(len(self.features), len(other.features))
        return has_half and bool(set(self.classes) & set(other.classes))

    def lacking(self, columns: Collection[str]) -> list[str]:
        """Return the feature columns that a table lacks."""
        return [name for name in self.features if name not in columns]

    def to_json(self) -> dict[str, Any]:
        """Return the question as plain types."""
        return {
            "target": self.target,
            "embedded": self.embedded,
            "classes": list(self.classes),
            "features": list(self.features),
        }

    def __str__(self) -> str:
        name = f"{self.target!r} of {self.embedded or 'your own tables'}"
        if not self.features:
            return name
        n_columns = count(len(self.features), "column")
        return f"{name} ({len(self.classes)} classes, {n_columns})"


@dataclass
class Lineage:
    """All champions of one question.

    Attributes:
        versions: Versions that are or were champion, by name, the oldest first.
        history: Events about these versions, the oldest first.
    """

    versions: dict[str, Version] = field(default_factory=dict)
    history: list[Event] = field(default_factory=list)

    @property
    def question(self) -> Question:
        """The question of the champion."""
        return Question.of_version(self.champion)

    @property
    def succession(self) -> list[str]:
        """The champions that rollbacks go back through, the present champion last."""
        return succession(tuple(self.history))

    @property
    def champion(self) -> Version:
        """The champion."""
        return self.versions[self.succession[-1]]

    def answers(self, question: Question) -> bool:
        """Return whether a question is the one of any of the versions."""
        return any(Question.of_version(v).is_same(question) for v in self.versions.values())

    def __str__(self) -> str:
        return f"{self.champion.name} {self.question}"


def lineages(versions: Sequence[Version], history: Sequence[Event]) -> list[Lineage]:
    """Group the champions of a registry by question, in the order of their first promotion.

    Args:
        versions: Versions that are or were champion.
        history: Events of the registry.
    """
    by_name = {version.name: version for version in versions}
    found: list[Lineage] = []
    for event in history:
        if event.move == "kept" or event.version not in by_name:
            continue
        version = by_name[event.version]
        lineage = next((known for known in found if version.name in known.versions), None)
        lineage = lineage or find_lineage(found, Question.of_version(version))
        if lineage is None:
            lineage = Lineage()
            found.append(lineage)
        lineage.versions[version.name] = version
        lineage.history.append(event)
    return found


def find_lineage(known: Sequence[Lineage], question: Question) -> Lineage | None:
    """Return the champions of a question, or None if it has none."""
    return next((lineage for lineage in known if lineage.answers(question)), None)


def require_lineage(known: Sequence[Lineage], question: Question | None) -> Lineage:
    """Return the champions of a question.

    Args:
        known: The champions of all questions, at least one.
        question: The question; None if there is only one.

    Raises:
        UserError: If the question is not clear. The message names all questions.
    """
    found = [line for line in known if question is None or line.answers(question)]
    if len(found) == 1:
        return found[0]
    asked = "" if question is None else f" {question}"
    number = "several questions fit" if found else "no champion for the question"
    raise UserError(
        f"{number}{asked}; the champions are {describe(known)}; name a version with --to"
    )


def describe(known: Sequence[Lineage]) -> str:
    """Return the champions with their questions for messages."""
    return "; ".join(map(str, known))


def schema_of(version: Version | Staged) -> TableSchema | None:
    """Return the schema of a classifier in the registry, or None if it cannot be read."""
    try:
        return TableSchema.load(version.classifier / "encoder" / "schema.json")
    except (UserError, ValidationError):
        return None


def _columns(schema: TableSchema | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return classes and feature columns."""
    if schema is None:
        return (), ()
    return schema.classes, tuple(column.name for column in schema.features)
