"""Answers by example, for `/docs`: composed of each schema, with values that one of ours could have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BY_NAME: dict[str, Any] = {
    "title": "Cardiology update: heart failure in 2026",
    "start_time": "2026-12-01T15:00:00Z",
    "end_time": "2026-12-01T16:30:00Z",
    "time_zone": "Europe/Lisbon",
    "speaker_name": "Dr. Ada Sample",
    "location": "Lecture Hall B",
    "join_url": "https://meet.example.org/sample",
    "preparation_notes": "Please read https://example.org/case.",
    "reminder_type": "24h",
    "minutes_before": 1440,
    "display_name": "24 Hours Before",
    "email_subject_template": "Reminder: {session_title} starts tomorrow",
    "subject": "Reminder: Cardiology update starts tomorrow",
    "sender": "Session Reminders <reminders@example.com>",
    "text": "Hello Ana,\n\nYour session starts tomorrow at 3:00 PM.",
    "html": "<p>Hello Ana,</p>",
    "actor": "admin:maria",
    "withheld": [],
    "in_words": ["2 waiting reminders move, from 2026-12-01 13:00 UTC to 2026-12-01 12:00 UTC."],
    "remains": ["Backups and logs of PostgreSQL hold what they held, until they expire."],
    "workflow_id": "session-change:0b9d2c36-4a35-4a5c-9c3f-2f6b1d0f7a11",
    "run_id": "019ad3b0-f100-793b-b235-b3f86f2dc382",
    "sweep_id": "reminder-sweep-manual",
    "counts": {"scheduled": 6, "delivered": 2},
    "enrolled": 8,
    "enrollments": 8,
    "replanned": 8,
    "scheduled": 6,
    "ready": True,
    "ok": True,
    "is_enabled": True,
    "is_complete": True,
    "next_cursor": None,
    "held_because": None,
    "held_until": None,
    "held_sender": None,
    "cause": None,
    "remedy": None,
    "under_way": None,
}
"""Of fields by their name; others get one by their type."""
_BY_FORMAT = {
    "uuid": "0b9d2c36-4a35-4a5c-9c3f-2f6b1d0f7a11",
    "date-time": "2026-12-01T14:00:00Z",
    "email": "ana@hospital.example",
}
_BY_TYPE: dict[str, Any] = {"integer": 2, "number": 1.5, "boolean": False, "null": None}


def example(schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str = "") -> Any:  # noqa: ANN401
    """A value that the schema allows.

    Args:
        schema: As JSON Schema has it.
        schemas: What it may refer to, by name.
        name: Of the field, if it is one.
    """
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rpartition("/")[2]], schemas, name)
    for given in (schema.get("examples"), schema.get("enum")):
        if given:
            return given[0]
    for fixed in ("example", "const"):
        if fixed in schema:
            return schema[fixed]
    if name in _BY_NAME and "properties" not in schema:
        return _BY_NAME[name]
    if "anyOf" in schema:
        return example(schema["anyOf"][0], schemas, name)
    return _by_type(schema, schemas)


def _by_type(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:  # noqa: ANN401
    if "properties" in schema:
        return {
            field: example(inner, schemas, field) for field, inner in schema["properties"].items()
        }
    kind = schema.get("type")
    if kind == "object":
        return {}
    if kind == "array":
        return [example(schema["items"], schemas)]
    if kind == "string":
        return _BY_FORMAT.get(schema.get("format", ""), "as it is")
    return _BY_TYPE.get(kind or "null")
