"""What the overview says of the provider's quotas, which are asked for every few minutes only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from reminders.clock import SystemClock
from reminders.db.deliveries import PostgresDeliveryLedger
from reminders.db.engine import Database
from reminders.domain.pace import Pace, Quota, Usage
from reminders.settings import Settings
from tests.starter.admin.conftest import Pages
from tests.starter.test_delivery_state import accepted


@pytest.fixture
def settings(settings: Settings, database_url: str) -> Settings:
    """Settings with a database of this test's own: quotas are everybody's."""
    return settings.model_copy(update={"database_url": SecretStr(database_url)})


async def told(database: Database, used: int, *, renewed_in: timedelta) -> None:
    """Have the provider tell how much of ten e-mails a day is used."""
    ledger = PostgresDeliveryLedger(database, SystemClock(), owner="w", pace=Pace.of(8))
    resets_at = datetime.now(UTC) + renewed_in
    daily, monthly = [Quota(used=used, limit=m, resets_at=resets_at) for m in (10, None)]
    await ledger.record_usage(Usage(daily=daily, monthly=monthly))


async def test_what_went_out_since_the_provider_was_asked_counts(
    pages: Pages, database: Database
) -> None:
    """Not known at first; then no zero stands there while e-mails go out, and a low quota is said."""
    assert "No quota is known" in (await pages.get("/admin")).text
    await told(database, 7, renewed_in=timedelta(hours=1))
    assert "quota are used" not in (await pages.get("/admin")).text
    session_id, _ = await pages.api.enrolled()
    await accepted(database, session_id)
    page = (await pages.get("/admin")).text
    assert "8 of 10 used" in page
    assert "and 1 sent since" in page
    assert "8 of 10 e-mails of the daily quota are used" in page


async def test_what_was_told_before_the_renewal_is_not_shown_as_if_it_counted(
    pages: Pages, database: Database
) -> None:
    """No worker has asked since: that is what the page says."""
    await told(database, 9, renewed_in=-timedelta(minutes=1))
    page = (await pages.get("/admin")).text
    assert "not asked since it was renewed" in page
    assert "9 of 10" not in page
