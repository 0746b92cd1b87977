"""What lists call sessions and people, and in which language; and where e-mails go."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from reminders.settings import Settings
from tests.starter.admin.conftest import Pages, with_sign_in
from tests.starter.conftest import ADDRESS, serving

TITLE = {"fr": "Cardiologie", "de": "Herzkunde", "en": "Cardiology"}


@pytest.mark.usefixtures("impatient")
async def test_operators_read_their_own_language(settings: Settings) -> None:
    """On every page and in every list `EMAIL_LOCALE`'s, or English, or the first; stored is stored."""
    for locale, title, place in (("de-AT", "Herzkunde", "Halle"), ("es", "Cardiology", "Salle")):
        ours = with_sign_in(settings, email_locale=locale)
        async with serving(ours) as api, Pages(api) as pages:
            await pages.sign_in()
            texts = {
                "title": json.dumps(TITLE),
                "location": json.dumps({"fr": "Salle", "de": "Halle"}),
            }
            session_id, user_id = await api.enrolled(**texts)
            await api.post(f"/v1/sessions/{session_id}/changed", json={"reason": "by hand"})
            for path in (
                f"sessions/{session_id}",
                f"sessions/{session_id}/cancel",
                f"enrollments/{session_id}/{user_id}",
                f"enrollments/{session_id}/{user_id}/cancel",
                f"people/{user_id}",
                f"audit?session={session_id}",
                f"rules?session={session_id}",
                f"failed?session={session_id}",
                f"preview?session={session_id}",
            ):
                page = (await pages.get(f"/admin/{path}")).text
                assert title in page, path
                assert "&#34;fr&#34;" not in page, path
            assert place in (await pages.get(f"/admin/sessions/{session_id}")).text
            listed = (await api.get("/v1/sessions", params={"query": str(session_id)})).json()
            enrolled = (await api.get(f"/v1/users/{user_id}/enrollments")).json()
            assert [title, title] == [one["items"][0]["title"] for one in (listed, enrolled)]
            stored = (await api.get(f"/v1/sessions/{session_id}")).json()
            assert texts == {name: stored[name] for name in texts}


async def test_lists_say_titles_and_names(pages: Pages) -> None:
    """Of whom and what a reminder is, an entry of the log, a rule of one session."""
    session_id, user_id = await pages.api.enrolled(
        title="Airway management", starts_in=timedelta(minutes=35)
    )
    own = {"session_id": str(session_id)}
    switched = await pages.api.patch(
        "/v1/reminder-configurations/1h", json={"is_enabled": True}, params=own
    )
    assert switched.status_code in (200, 202)
    enrollment = f'<a href="/admin/enrollments/{session_id}/{user_id}">{ADDRESS}</a>'
    assert enrollment in (await pages.get("/admin/reminders")).text
    to_session = f'<a href="/admin/sessions/{session_id}">Airway management</a>'
    for path in ("rules", "audit?action=rule_changed", "audit?action=&actor=api"):
        assert to_session in (await pages.get(f"/admin/{path}")).text, path
    for path in ("audit?action=sweep_started", "audit?actor=nobody"):
        assert to_session not in (await pages.get(f"/admin/{path}")).text, path
    form = (await pages.get(f"/admin/preview?session={session_id}")).text
    assert f'<option value="{user_id}">{ADDRESS}</option>' in form


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "none to an attendee"),
        ({"shadow_mode": True}, "<b>Shadow mode</b>"),
        ({"delivery_mode": "live", "resend_api_key": "re_1", "email_from": "a@b.example"}, "Live"),
    ],
    ids=["redirect", "shadow", "live"],
)
async def test_where_e_mails_go_is_in_plain_sight(
    settings: Settings, more: dict[str, object], says: str
) -> None:
    """On every page, in words, with the address that gets everything."""
    ours = with_sign_in(settings, verified_test_email="qa@example.org", **more)
    async with serving(ours) as api, Pages(api) as pages:
        await pages.sign_in()
        for path in ("", "/people", "/rules/edit"):
            page = (await pages.get(f"/admin{path}")).text
            assert says in page
            assert ("goes to qa@example.org" in page) is (says != "Live")
