"""The demo's judgement and its board; CI plays the demo itself."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from rich.console import Console
from starlette.requests import Request

from devstack import up
from devstack.demo import scenario
from devstack.demo.__main__ import OPERATOR, settings
from devstack.demo.board import Scene, board, ledger, span
from devstack.demo.platform import Arrival, Entry
from devstack.demo.play import Verdict, arrived
from devstack.demo.scenario import Mail, Meeting, Person
from reminders.settings import load
from starter.admin.auth import Access, AdminAuth

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OTHERS = (*scenario.MEETINGS[:-1], scenario.MOVED)
"""The sessions as they are in the end."""


def an_entry(person: Person, meeting: Meeting, reminder: str, status: str = "scheduled") -> Entry:
    """A row of the ledger, due as the scenario has it."""
    return Entry(
        id=str(uuid4()),
        session_id=meeting.id,
        user_id=person.id,
        reminder_type=reminder,
        generation=1,
        due_at=meeting.starts_at(NOW) - scenario.REMINDERS[reminder],
        status=status,
        reason="past_due" if status == "skipped" else None,
        sent_at=NOW if status == "delivered" else None,
    )


def an_arrival(person: Person, entry: Entry) -> Arrival:
    """The e-mail of a ledger's row."""
    return Arrival(
        to=person.email,
        subject="Starting Now",
        reminder_id=entry.id,
        accepted_at=entry.due_at + timedelta(seconds=0.1),
    )


def as_expected() -> list[tuple[Entry, Arrival]]:
    """What a good run leads to."""
    nobody = (scenario.CANCELLED, scenario.UNENROLLED)
    pairs = []
    for meeting in OTHERS:
        for person in meeting.people:
            if (person, meeting) not in nobody:
                entry = an_entry(person, meeting, meeting.reminder, "delivered")
                pairs.append((entry, an_arrival(person, entry)))
    return pairs


def judged(pairs: list[tuple[Entry, Arrival]], *more: Arrival) -> Verdict:
    """The verdict on these rows and e-mails."""
    arrivals = [*(arrival for _, arrival in pairs), *more]
    found = arrived(arrivals, [entry for entry, _ in pairs])
    return Verdict(expected=scenario.expected(), arrived=found, claims={})


def test_what_the_scenario_leads_to_is_good() -> None:
    """One e-mail each for those who are neither cancelled nor unenrolled."""
    verdict = judged(as_expected())
    assert verdict.is_good
    assert verdict.arrived.total() == 9


def test_a_missing_email_is_named() -> None:
    """Whoever got nothing is in the difference."""
    pairs = as_expected()
    missing = pairs.pop()[1]
    verdict = judged(pairs)
    assert not verdict.is_good
    assert [mail.to for mail in verdict.missing] == [missing.to]
    assert not verdict.unexpected


def test_a_second_copy_is_not_expected() -> None:
    """An e-mail that arrives twice is once too many."""
    pairs = as_expected()
    verdict = judged(pairs, pairs[0][1])
    assert not verdict.is_good
    assert verdict.unexpected.total() == 1


def test_somebody_elses_email_is_not_expected() -> None:
    """An e-mail at another address than its reminder was for is missing and unexpected."""
    (entry, arrival), *others = as_expected()
    verdict = judged([(entry, replace(arrival, to="mallory@example.com")), *others])
    assert verdict.missing.total() == 1
    assert verdict.unexpected == Counter([Mail("mallory@example.com", "?", arrival.subject)])


def test_a_false_claim_is_no_good() -> None:
    """All e-mails are not enough when something on the way was not so."""
    assert not replace(judged(as_expected()), claims={"it is so": False}).is_good


def test_nobodys_reminder_is_due_before_everybody_is_enrolled() -> None:
    """The scenario leaves time to enroll, cancel and move before the first reminder."""
    assert min(meeting.due_in for meeting in scenario.MEETINGS) >= timedelta(seconds=20)
    assert scenario.MOVED.starts_at(NOW) - scenario.CASES.starts_at(NOW) > timedelta(minutes=60)


@pytest.mark.parametrize("status", ["scheduled", "delivered", "cancelled", "skipped"])
def test_board_and_ledger_fit_a_narrow_terminal(status: str) -> None:
    """In 80 columns and 24 lines nothing is cut off, whatever the reminders have become."""
    entries = [
        an_entry(person, meeting, reminder, status)
        for meeting in OTHERS
        for person in meeting.people
        for reminder in scenario.REMINDERS
    ]
    scene = Scene(
        now=NOW,
        began_at=NOW,
        meetings=[(meeting, meeting.starts_at(NOW)) for meeting in OTHERS],
        entries=entries,
        arrivals=[],
        wanted=9,
    )
    console = Console(width=80)
    for shown in (board(scene), ledger(scene)):
        with console.capture() as capture:
            console.print(shown)
        assert "…" not in capture.get()
    with console.capture() as capture:
        console.print(board(scene))
    assert len(capture.get().splitlines()) <= 24


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (0.2, "1 s"), (60, "1 min"), (1800.5, "30 min 1 s"), (86_340, "23 h 59 min")],
)
def test_a_countdown_reads_as_one_counts(seconds: float, words: str) -> None:
    """Whole seconds, rounded up, and no more units than matter."""
    assert span(timedelta(seconds=seconds)) == words


def test_the_admin_pages_that_the_demo_names_let_people_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has API keys and writes to attendees, so the pages need the name and password it prints."""
    key = f"demo-{secrets.token_urlsafe(12)}"
    told = {**settings(key), "RESEND_API_KEY": "re_x", "EMAIL_FROM": "R <r@example.com>"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    auth = AdminAuth(load())
    assert Access.SIGN_IN is auth.access
    asked = Request({"type": "http", "headers": [], "client": ("127.0.0.1", 1)})
    operator = auth.sign_in(asked, OPERATOR, key)
    assert operator is not None
    assert OPERATOR == operator.name


def test_settings_that_have_no_effect_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those of the environment, of `.env`, and of a file that says where the parts are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHADOW_MODE", "true")
    (tmp_path / ".env").write_text("EMAIL_REPLY_TO=a@example.org\nPORT=3000\n")
    (tmp_path / "mine").write_text("email_locale=de\nDATABASE_URL=postgresql://elsewhere\nTYPO=1\n")
    asked = up._parser().parse_args(["--env", "mine"]).env
    taken = {name for name in asked if up._may_be_chosen(name)}
    assert taken == {"EMAIL_LOCALE"}
    console = Console(width=80)
    with console.capture() as capture:
        up.name_ignored(console, asked, taken)
    named = set(capture.get().partition(": ")[2].strip().split(", "))
    assert {"SHADOW_MODE", "EMAIL_REPLY_TO", "DATABASE_URL", "TYPO"} <= named
    assert not {"EMAIL_LOCALE", "PORT"} & named


def test_a_file_of_settings_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """It is wrong usage, and named."""
    with pytest.raises(SystemExit) as ended:
        up.main(["--env", "nowhere"])
    assert ended.value.code == 2
    assert "there is no file nowhere" in capsys.readouterr().err


def test_what_is_to_be_typed_brings_the_commands_to_a_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file has every variable, for its owner alone, and is gone when the stack is."""
    monkeypatch.chdir(tmp_path)
    with up.exported(tmp_path, "export TEMPORAL_ADDRESS=127.0.0.1:7233\n") as variables:
        assert "export TEMPORAL_ADDRESS=127.0.0.1:7233\n" == variables.read_text()
        assert 0o600 == variables.stat().st_mode & 0o777
        assert ". .venv/bin/activate && . env" == up.use(variables)
    assert not variables.exists()
