"""What was asked of the system, when, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

Subject = tuple[Literal["enrollment", "session", "person", "rule", "worker"], *tuple[str, ...]]
"""What a call is about; of two calls about the same, the later one counts."""


_ENROLLING = ("enroll", "unenroll")
"""What else is asked of an enrollment takes nothing back."""


@dataclass(slots=True)
class Call:
    """Something that was asked."""

    number: int
    verb: str
    about: Subject
    session_id: UUID | None
    user_id: UUID | None
    method: str = ""
    path: str = ""
    body: dict[str, Any] | None = None
    repeats: int | None = None
    """The number of the call that it repeats."""
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    outcome: str = "under way"
    is_answered: bool = False

    def end(self, outcome: str, *, is_answered: bool) -> None:
        """Note what came of it."""
        self.ended_at = datetime.now(UTC)
        self.outcome = outcome
        self.is_answered = is_answered

    def concerns(self, session_id: UUID, user_id: UUID) -> bool:
        """Whether it may touch an enrollment."""
        return self.session_id in (None, session_id) and self.user_id in (None, user_id)

    def __str__(self) -> str:
        """One line of a trace."""
        took = f"{(self.ended_at - self.began_at).total_seconds():.2f} s" if self.ended_at else "-"
        again = f" (repeats #{self.repeats})" if self.repeats is not None else ""
        told = {k: v for k, v in (self.body or {}).items() if k not in ("session_id", "user_id")}
        return f"#{self.number} {self.verb}{again} {told or ''} -> {self.outcome}, {took}"


class Journal:
    """Every call, in the order in which they were made."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.calls: list[Call] = []

    def begin(self, verb: str, about: Subject, **fields: Any) -> Call:
        """Note that something is being asked."""
        fields = {"session_id": None, "user_id": None, **fields}
        call = Call(number=len(self.calls), verb=verb, about=about, **fields)
        self.calls.append(call)
        return call

    def unanswered(self) -> Iterator[Call]:
        """Calls that a client would repeat: without an answer, and nothing later was asked.

        Something is later if it was asked when the call had ended: of two at the same time nobody
        knows which was first.
        """
        for call in self.calls:
            if call.is_answered or call.ended_at is None or not call.method:
                continue
            is_enrollment = call.about[0] == "enrollment"
            later = (
                c
                for c in self.calls[call.number + 1 :]
                if c.about == call.about and (c.verb in _ENROLLING or not is_enrollment)
            )
            if not any(call.ended_at <= c.began_at for c in later):
                yield call
