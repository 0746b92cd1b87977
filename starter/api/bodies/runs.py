"""Which sweeps and other runs are meant."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from starter.api.bodies.base import In


class RunFilters(In):
    """Which runs to list."""

    cursor: Annotated[str, Field(max_length=2000)] | None = None
    """`next_cursor` of the page before."""
    limit: int = Field(default=20, ge=1, le=100)
