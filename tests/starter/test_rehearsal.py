"""A rehearsal knows what the platform and its people want, and leaves nothing behind."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reminders.db.audit import By
from reminders.domain.errors import ConflictError, InvalidInputError
from reminders.domain.model import OptOut
from reminders.domain.rules import RuleFields
from reminders.settings import Settings
from starter.assembly import assembled
from starter.services.rehearsal import Move, rehearsed
from tests.starter.conftest import Api

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize("scope", [OptOut(), OptOut(reminder_type="2h")])
async def test_what_a_person_of_the_platform_chose_is_read(
    settings: Settings, api: Api, scope: OptOut
) -> None:
    """Their opt-outs count, those of other sessions do not; nobody is enrolled by it."""
    session_id, user_id = await api.session(starts_in=2 * DAY), await api.user()
    other = OptOut(session_id=await api.session(), reminder_type="30min")
    async with assembled(settings) as parts:
        chosen = frozenset({scope, other})
        await parts.preferences.put(user_id, chosen, by=By("test"))
        _, played = await rehearsed(parts, session_id, user_id=user_id)
        assert {} == await parts.catalogue.counts(session_id)
    kinds = {r.reminder.reminder_type for r in played if r.reminder.reason == "opted_out"}
    assert ({scope.reminder_type} if scope.reminder_type else {"24h", "2h", "30min"}) == kinds


async def test_what_cannot_happen_is_not_rehearsed(settings: Settings, api: Api) -> None:
    """A move before the enrollment, and reminders of a session that is cancelled."""
    cancelled = await api.session(status="cancelled")
    async with assembled(settings) as parts:
        now = parts.clock.now()
        with pytest.raises(InvalidInputError, match="before the enrollment"):
            await rehearsed(parts, cancelled, moves=(Move(at=now - HOUR, to=now + DAY),))
        with pytest.raises(ConflictError, match="restore it first"):
            await rehearsed(parts, cancelled)


async def test_a_move_is_rehearsed_with_its_notice(settings: Settings, api: Api) -> None:
    """Two moves within a minute are told in one e-mail, when it has cooled; where the rule is on."""
    session_id = await api.session(starts_in=3 * DAY)
    async with assembled(settings) as parts:
        start = (await parts.catalogue.session(session_id)).starts_at
        now = parts.clock.now().replace(microsecond=0)
        moves = (
            Move(at=now + HOUR, to=start + HOUR),
            Move(at=now + HOUR + timedelta(seconds=50), to=start + DAY),
        )
        _, without = await rehearsed(parts, session_id, moves=moves)
        on = RuleFields(is_enabled=True)
        await parts.rules.change("moved", session_id, on, by=By("test"))
        _, played = await rehearsed(parts, session_id, moves=moves)
    assert {"24h", "2h", "30min"} == {r.reminder.reminder_type for r in without}
    (notice,) = (r for r in played if r.reminder.reminder_type == "moved")
    assert notice.subject is not None
    assert notice.subject.startswith("New time for")
    assert now + HOUR + timedelta(seconds=170) == notice.reminder.sent_at
