"""The course platform of the demo: it calls our HTTP API, and reads the inbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import httpx
from pydantic import BaseModel, ConfigDict, Field

from devstack.demo.scenario import Meeting, Person
from devstack.process import EmbeddedServerError

TIMEOUT_SECONDS = 15

LARGEST_PAGE = 200
"""Reminders in one answer of our API, at most."""


class UnexpectedAnswerError(EmbeddedServerError):
    """The API answered what it should not have."""


class Entry(BaseModel):
    """A row of the ledger, as our API has it."""

    model_config = ConfigDict(frozen=True, validate_by_name=True)

    id: str
    session_id: UUID
    user_id: UUID
    reminder_type: str
    generation: int
    due_at: datetime
    status: str = Field(alias="email_status")
    reason: str | None = Field(alias="status_reason")
    sent_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """An e-mail in the inbox."""

    to: str
    subject: str
    reminder_id: str
    accepted_at: datetime


class Platform:
    """What a platform does, over HTTP."""

    def __init__(self, api_url: str, api_key: str, provider_url: str) -> None:
        """Connect when first asked.

        Args:
            api_url: Base of our API.
            api_key: One of its `API_KEYS`.
            provider_url: Base of the Resend stand-in.
        """
        # A proxy of the user's has no business between two programs on this machine.
        self._api = httpx.Client(
            base_url=f"{api_url}/v1",
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )
        self._provider = httpx.Client(
            base_url=provider_url, timeout=TIMEOUT_SECONDS, trust_env=False
        )
        self._seen = 0
        self._arrivals: list[Arrival] = []

    def __enter__(self) -> Self:
        """Close the connections at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._api.close()
        self._provider.close()

    def put_person(self, person: Person) -> None:
        """Say who somebody is."""
        self._ask(
            "PUT",
            f"/users/{person.id}",
            {
                "email": person.email,
                "full_name": person.name,
                "time_zone": person.time_zone,
                "locale": person.locale,
            },
        )

    def put_session(self, meeting: Meeting, starts_at: datetime) -> dict[str, Any]:
        """Create or move a session.

        Returns:
            What it did to the enrollments: counts.
        """
        body = {
            "title": meeting.title,
            "start_time": starts_at.isoformat(),
            "time_zone": meeting.time_zone,
            "speaker_name": meeting.speaker,
            "join_url": f"https://meet.example.com/{meeting.id.hex[:8]}",
            "preparation_notes": meeting.notes,
        }
        changes: dict[str, Any] | None = None
        while changes is None:  # on a slow machine, the answer may come before the counts
            changes = self._ask("PUT", f"/sessions/{meeting.id}", body)["changes"]
        return changes

    def enroll(self, person: Person, meeting: Meeting) -> tuple[str, bool]:
        """Enroll somebody.

        Returns:
            The run id of their workflow, and whether it is new.
        """
        response = self._response(
            "POST", "/enrollments", {"session_id": str(meeting.id), "user_id": str(person.id)}
        )
        return response.json()["run_id"], response.status_code == httpx.codes.CREATED

    def unenroll(self, person: Person, meeting: Meeting) -> dict[str, int]:
        """Take an enrollment back.

        Returns:
            How many reminders were cancelled, already sent, in flight.
        """
        receipt: dict[str, int] = self._ask("DELETE", f"/enrollments/{meeting.id}/{person.id}")
        return receipt

    def workflow(self, person: Person, meeting: Meeting) -> dict[str, str]:
        """Id, status and address of an enrollment's workflow."""
        found: dict[str, str] = self._ask("GET", f"/enrollments/{meeting.id}/{person.id}")[
            "workflow"
        ]
        return found

    def ledger(self, meeting: Meeting) -> list[Entry]:
        """Every reminder of a session, by ascending due instant."""
        path = f"/reminders?session_id={meeting.id}&limit={LARGEST_PAGE}"
        return [Entry.model_validate(row) for row in self._ask("GET", path)["items"]]

    def inbox(self) -> list[Arrival]:
        """All that was accepted so far, in that order."""
        response = self._provider.get("/_/accepted", params={"since_seq": self._seen})
        page = response.raise_for_status().json()
        self._seen = page["next_seq"]
        self._arrivals += [
            Arrival(
                to=email["to"][0],
                subject=email["subject"],
                reminder_id=email["tags"].get("reminder_id", ""),
                accepted_at=datetime.fromisoformat(email["accepted_at"]),
            )
            for email in page["data"]
        ]
        return list(self._arrivals)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
        return self._response(method, path, body).json()

    def _response(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        try:
            response = self._api.request(method, path, json=body)
        except httpx.TransportError as error:
            message = f"{method} {path} was not answered: {type(error).__name__}"
            raise UnexpectedAnswerError(message) from error
        if not response.is_success:
            message = f"{method} {path} was answered {response.status_code}: {response.text}"
            raise UnexpectedAnswerError(message)
        return response
