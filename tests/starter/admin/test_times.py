"""In which zone instants are shown, and whether a browser is led nowhere else by choosing it."""

from __future__ import annotations

import pytest

from starter.admin.rendering import Mode, Times
from tests.starter.admin.conftest import Pages

MADRID = "Europe/Madrid"


@pytest.mark.parametrize(
    ("cookie", "session", "zone"),
    [
        (None, MADRID, MADRID),
        (None, None, "UTC"),
        ("utc:Asia/Tokyo", MADRID, "UTC"),
        ("session:", MADRID, MADRID),
        ("session:Asia/Tokyo", None, "UTC"),
        ("mine:Asia/Tokyo", MADRID, "Asia/Tokyo"),
        ("mine:../../etc/passwd", MADRID, "UTC"),
        ("forged", MADRID, MADRID),
    ],
)
def test_whose_zone_counts(cookie: str | None, session: str | None, zone: str) -> None:
    """The session's unless something else was chosen, and UTC where that says nothing."""
    assert zone == Times.of(cookie, session).zone.key


async def test_a_session_is_shown_in_its_own_zone_until_another_is_chosen(pages: Pages) -> None:
    """The page, the one of an enrollment, and what somebody else's form may have it lead to."""
    about = {"start_time": "2031-12-01T15:30:00Z", "time_zone": MADRID}
    session_id, user_id = await pages.api.enrolled(**about)
    here = f"/admin/sessions/{session_id}?status=scheduled"
    for path in (here, f"/admin/enrollments/{session_id}/{user_id}"):
        page = (await pages.get(path)).text
        assert f"All times are <b>{MADRID}</b>" in page
        assert '<time datetime="2031-12-01T15:30:00Z">2031-12-01 16:30</time>' in page
    for mode, zone, shown in ((Mode.MINE, "Asia/Tokyo", "12-02 00:30"), (Mode.UTC, "", "01 15:30")):
        chosen = await pages.submit("/admin/times", times=mode, zone=zone, next=here)
        assert (303, here) == (chosen.status_code, chosen.headers["location"])
        assert f"{shown}</time>" in (await pages.get(here)).text
    odd = await pages.submit("/admin/times", times=Mode.UTC, zone="日本", next=here)
    assert 303 == odd.status_code
    again = await pages.submit("/admin/times", times=Mode.MINE, next="https://evil.example/")
    assert "/admin" == again.headers["location"]
    assert 422 == (await pages.submit("/admin/times", times="theirs", next=here)).status_code
