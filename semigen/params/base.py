"""Base class and types of the sections of parameters."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Base class of all sections: immutable, and unknown keys are rejected.

    Examples:
        >>> from semigen.params.config import SampleParams
        >>> SampleParams(n_labeled=20).n_labeled
        20
        >>> SampleParams(n_labeled=20)  # parameters with their default are not shown
        SampleParams(n_labeled=20)
        >>> SampleParams(labels=20)
        Traceback (most recent call last):
        pydantic_core._pydantic_core.ValidationError: 1 validation error for SampleParams
        ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value != field.get_default(call_default_factory=True):
                yield name, value


def _checked_cron(value: str) -> str:
    if len(value.split()) != 5:  # Prefect, which parses the fields, reports errors in them
        raise ValueError("must be five fields as in crontab, e.g. '0 3 * * *' for daily at 3:00")
    return value


def _checked_time_zone(value: str) -> str:
    if value not in zoneinfo.available_timezones():
        raise ValueError("must be a time zone, e.g. 'UTC' or 'Europe/Berlin'")
    return value


Fraction = Annotated[float, Field(gt=0, lt=1)]
Cron = Annotated[str, AfterValidator(_checked_cron)]
TimeZone = Annotated[str, AfterValidator(_checked_time_zone)]
