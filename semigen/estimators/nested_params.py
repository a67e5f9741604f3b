"""Nested parameters of estimators whose parameters include sections, such as ``train__epochs``."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import ValidationError
from sklearn.base import BaseEstimator

from semigen.errors import UserError
from semigen.params.base import Section
from semigen.params.explain import explain


class NestedParams(BaseEstimator):  # type: ignore[misc]
    """Base class of estimators with sections of parameters, which are immutable.

    ``get_params`` lists the parameters of every section, and ``set_params`` replaces a section by a
    changed copy. A section that is None has its default values.

    Attributes:
        sections: Class of each section, by parameter name.

    Examples:
        >>> from semigen.params.config import TrainParams
        >>> class Model(NestedParams):
        ...     sections = {"train": TrainParams}
        ...     def __init__(self, train=None):
        ...         self.train = train
        >>> model = Model().set_params(train__epochs=7, train__search__trials=2)
        >>> model
        Model(train=TrainParams(epochs=7, search=SearchParams(trials=2)))
        >>> model.get_params()["train__folds"]
        4
    """

    sections: ClassVar[dict[str, type[Section]]] = {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Args:
            deep: Whether to include the parameters of the sections, as ``section__parameter``.
        """
        params: dict[str, Any] = super().get_params(deep=False)
        if deep:
            for name in self.sections:
                params |= _flatten(name, self._section(name))
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters.

        Args:
            **params: Values by name, such as ``train`` or ``train__epochs``.

        Raises:
            UserError: If a name is unknown or a value is invalid.
        """
        own = self.get_params(deep=False)
        nested: dict[str, dict[str, Any]] = {}
        for key, value in params.items():
            name, _, rest = key.partition("__")
            if name not in own or (rest and name not in self.sections):
                raise UserError(
                    f"Invalid parameter {key!r} for estimator {type(self).__name__}. "
                    f"Valid parameters are: {sorted(own)}, and section__parameter for "
                    f"{sorted(self.sections)}."
                )
            if rest:
                nested.setdefault(name, {})[rest] = value
        for name in own.keys() & params.keys():
            setattr(self, name, params[name])
        for name, changes in nested.items():
            setattr(self, name, _changed(self._section(name), changes, name))
        return self

    def _section(self, name: str) -> Section:
        section: Section | None = getattr(self, name)
        return self.sections[name]() if section is None else section


def _flatten(prefix: str, section: Section) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, value in section:
        params[f"{prefix}__{name}"] = value
        if isinstance(value, Section):
            params |= _flatten(f"{prefix}__{name}", value)
    return params


def _changed(section: Section, changes: dict[str, Any], prefix: str) -> Section:
    """Return a copy of a section with other values.

    Args:
        section: The section.
        changes: Values by name below the section, such as ``search__trials``.
        prefix: Name of the section in errors.

    Raises:
        UserError: If a name is unknown or a value is invalid.
    """
    values = dict(section)
    inner: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        name, _, rest = key.partition("__")
        if not rest:
            values[name] = value
        elif isinstance(values.get(name), Section):
            inner.setdefault(name, {})[rest] = value
        else:
            raise UserError(f"{prefix}__{key}: {prefix}__{name} is not a section of parameters")
    for name, deeper in inner.items():
        values[name] = _changed(values[name], deeper, f"{prefix}__{name}")
    try:
        return type(section)(**values)
    except ValidationError as error:
        raise UserError(f"{prefix}: {explain(error, type(section))}") from error
