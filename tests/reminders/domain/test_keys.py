"""Names are made of ids, and read back."""

from __future__ import annotations

import pytest

from reminders.domain import keys
from tests.builders import SESSION, USER


def test_a_workflow_id_says_whose_it_is() -> None:
    """Of an enrollment's run, and of a session's changes."""
    run = keys.session_reminder_workflow_id(SESSION, USER)
    change = keys.session_change_workflow_id(SESSION)
    assert (SESSION, USER) == keys.enrollment_of(run)
    assert SESSION == keys.session_of_change(change)


@pytest.mark.parametrize(
    "other",
    [
        "",
        "session-reminder",
        f"session-reminder:{SESSION}",
        f"session-reminder:{SESSION}:x",
        f"session-reminder:{SESSION}:{USER}:1",
        f"reminder:{SESSION}:{USER}",
        f"session-change:{USER}:1",
        f"change:{SESSION}",
    ],
)
def test_what_is_not_ours_is_nobodys(other: str) -> None:
    """Others may have workflows in the namespace, too."""
    assert keys.enrollment_of(other) is None
    assert keys.session_of_change(other) is None
