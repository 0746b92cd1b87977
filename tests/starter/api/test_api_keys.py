"""Keys at rest, what each may do, who asked, and how often one may fail."""

from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256

import pytest
from pydantic import ValidationError
from sqlalchemy import func, update
from typer.testing import CliRunner

from reminders import api_keys
from reminders.db.audit import AuditLog
from reminders.db.engine import Database
from reminders.db.provider_tables import ProviderPaceRow
from reminders.settings import Settings
from starter.api.auth import RateLimit
from starter.cli.main import app
from tests.starter.conftest import serving

SESSION = "/v1/sessions/5e551000-0000-4000-8000-000000000001"
BODY = {"title": "Cardiology update", "start_time": "2036-05-01T10:00:00Z"}


def with_keys(settings: Settings, *entries: str) -> Settings:
    """These settings with other keys."""
    return Settings(**{**settings.model_dump(), "api_keys": ",".join(entries)})


def bearing(key: str) -> dict[str, str]:
    """The header of a caller with this key."""
    return {"Authorization": f"Bearer {key}"}


async def test_a_hashed_key_lets_its_key_in_and_not_its_hash(settings: Settings) -> None:
    """Whoever reads the environment of the API cannot ask with what stands there."""
    key, entry = api_keys.make("billing")
    hashed = entry.rpartition(":")[2]
    assert hashed == sha256(key.encode()).hexdigest()
    async with serving(with_keys(settings, entry)) as api:
        for asked, status in ((key, 404), (entry, 401), (hashed, 401), (f"sha256:{hashed}", 401)):
            answer = await api.get(SESSION, headers=bearing(asked))
            assert answer.status_code == status


async def test_rotation_needs_no_gap(settings: Settings) -> None:
    """While both entries stand, both keys pass; once the old one is gone, its key does not."""
    old, old_entry = api_keys.make("platform")
    new, new_entry = api_keys.make("platform-2027")
    for entries, expected in (
        ((old_entry,), {old: 404, new: 401}),
        ((old_entry, new_entry), {old: 404, new: 404}),
        ((new_entry,), {old: 401, new: 404}),
    ):
        async with serving(with_keys(settings, *entries)) as api:
            found = {k: (await api.get(SESSION, headers=bearing(k))).status_code for k in expected}
        assert found == expected


async def test_a_read_only_key_changes_nothing(settings: Settings) -> None:
    """It may read; whatever would change something is a 403 before the body is looked at."""
    key, entry = api_keys.make("dashboard", read_only=True)
    async with serving(with_keys(settings, entry)) as api:
        assert (await api.get("/v1/reminders", headers=bearing(key))).status_code == 200
        for method, path in (
            ("PUT", SESSION),
            ("POST", "/v1/enrollments"),
            ("POST", "/v1/sweeps"),
            ("DELETE", f"/v1/enrollments/{SESSION[-36:]}/{SESSION[-36:]}"),
        ):
            answer = await api.request(method, path, content="{", headers=bearing(key))
            assert answer.status_code == 403
            assert answer.json()["type"].endswith(":forbidden")


@pytest.mark.parametrize(
    "entry",
    ["sha256:abc", "Billing=sha256:" + "0" * 64, "ro:plain-key", "a=b=sha256:" + "0" * 64],
)
def test_an_entry_that_is_none(entry: str) -> None:
    """Is refused at the start, by the variable's name and without being repeated."""
    with pytest.raises(ValidationError) as refused:
        Settings(api_keys=entry)
    told = "; ".join(problem["msg"] for problem in refused.value.errors())
    assert "API_KEYS" in told
    assert "reminders api-key" in told
    assert entry not in told


def test_the_command_makes_a_key_that_passes() -> None:
    """What it prints for the caller is the key of what it prints for API_KEYS; never the same."""
    made = json.loads(
        CliRunner().invoke(app, ["api-key", "billing", "--read-only", "--json"]).stdout
    )
    known = api_keys.known(made["key"], [api_keys.parse(made["entry"])])
    assert known is not None
    assert (known.name, known.is_read_only) == ("billing", True)
    assert made["entry"].startswith("ro:billing=sha256:")


def test_the_command_refuses_a_name_that_settings_would() -> None:
    """In one line that says what a name is."""
    result = CliRunner().invoke(app, ["api-key", "Bill,ing"])
    assert result.exit_code == 1
    assert "lower-case" in result.stderr


async def test_the_api_names_the_key_in_the_audit_log(
    settings: Settings, database: Database
) -> None:
    """From the header to the entry."""
    key, entry = api_keys.make("operations")
    async with database.transaction() as connection:
        await connection.execute(
            update(ProviderPaceRow).values(
                held_until=func.now() + timedelta(hours=1), held_because="quota"
            )
        )
    async with serving(with_keys(settings, entry)) as api:
        resumed = await api.post("/v1/delivery/resume", json={}, headers=bearing(key))
        assert resumed.status_code == 200, resumed.text
    newest = (await AuditLog(database).entries(limit=1))[0]
    assert newest.actor == "api:operations"


async def test_failing_again_and_again(settings: Settings) -> None:
    """After some failures an address is told to wait; a good key passes from there all the same."""
    key, entry = api_keys.make("platform")
    async with serving(with_keys(settings, entry)) as api:
        told = [(await api.get(SESSION, headers=bearing("wrong"))).status_code for _ in range(25)]
        assert told == [401] * 20 + [429] * 5
        waiting = await api.get(SESSION, headers=bearing("wrong"))
        assert 0 < int(waiting.headers["retry-after"]) <= 60
        assert waiting.json()["type"].endswith(":too-many-requests")
        assert (await api.get(SESSION, headers=bearing(key))).status_code == 404


async def test_costly_requests_are_rationed_by_key(settings: Settings) -> None:
    """One key's haste is not another's wait."""
    hasty, hasty_entry = api_keys.make("hasty")
    calm, calm_entry = api_keys.make("calm")
    async with serving(with_keys(settings, hasty_entry, calm_entry)) as api:
        told = [(await api.get("/v1/runs", headers=bearing(hasty))).status_code for _ in range(40)]
        assert told[:30] == [200] * 30
        assert 429 in told[30:]
        assert (await api.get("/v1/runs", headers=bearing(calm))).status_code == 200


def test_permits_come_back_and_memory_is_bounded() -> None:
    """A burst, then one each so many seconds; however many callers, only so many are remembered."""
    clock = [0.0]
    limit = RateLimit(burst=3, every=2, largest=100, now=lambda: clock[0])
    assert [None, None, None, 2] == [limit.take("a") for _ in range(4)]
    clock[0] = 2
    assert [None, 2] == [limit.take("a") for _ in range(2)]
    clock[0] = 1000
    assert [None, None, None, 2] == [limit.take("a") for _ in range(4)]
    for caller in range(1000):
        limit.take(str(caller))
    assert len(limit._full_at) == 100
