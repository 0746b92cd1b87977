"""What all JSON that goes out has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Out(BaseModel):
    """JSON that goes out."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
