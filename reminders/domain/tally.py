"""Counts added up, field by field."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Tally = TypeVar("_Tally", bound="DataclassInstance")


def total(first: _Tally, *others: _Tally) -> _Tally:
    """Every `int` field summed over all of them; every other field is the first's."""
    names = [field.name for field in fields(first) if field.type in (int, "int")]
    sums = {name: sum(getattr(tally, name) for tally in (first, *others)) for name in names}
    return replace(first, **sums)
