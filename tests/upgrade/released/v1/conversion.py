"""How payloads are written: pydantic's JSON, without what is absent.

Every payload stays in a history for weeks, and absent fields are read back as their defaults: a
dozen `null`s per enrollment would say nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import Any, cast

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter, pydantic_data_converter
from temporalio.converter import (
    CompositePayloadConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
)


class CompactJsonPayloadConverter(PydanticJSONPlainPayloadConverter):
    """Pydantic's JSON converter, leaving out fields that are `None`."""

    def to_payload(self, value: Any) -> Payload | None:  # noqa: ANN401 - as the base class
        """See base class."""
        # Only a serializer made for the class leaves fields of a dataclass out.
        kind = cast("Hashable", type(value))
        data = self._type_adapter(kind).dump_json(value, exclude_none=True)
        return Payload(metadata={"encoding": self.encoding.encode()}, data=data)


_COMPACT = CompactJsonPayloadConverter()
"""Shared: Temporal makes a payload converter for each activation, and a type adapter is costly."""


class CompactPayloadConverter(CompositePayloadConverter):
    """Temporal's default converters with the JSON one replaced."""

    def __init__(self) -> None:
        """See base class."""
        super().__init__(
            *(
                _COMPACT if isinstance(converter, JSONPlainPayloadConverter) else converter
                for converter in DefaultPayloadConverter.default_encoding_payload_converters
            )
        )


data_converter = dataclasses.replace(
    pydantic_data_converter, payload_converter_class=CompactPayloadConverter
)
