"""Whatever operators can do on a page they can do by API and by command, and the other way round."""

from __future__ import annotations

import re

import pytest

from docs import generate
from reminders.settings import Settings
from starter.admin.auth import PATH
from starter.app import create_app
from starter.cli.main import SECTIONS
from tests.starter.conftest import Api

VERBS: dict[str, tuple[set[str], set[str]]] = {
    # page: what does the same by API, and by command
    "GET ": ({"GET /v1/overview"}, {"overview", "doctor"}),
    "GET /sessions": ({"GET /v1/sessions"}, {"session list"}),
    "GET /sessions/{session_id}": (
        {"GET /v1/sessions/{session_id}", "GET /v1/sessions/{session_id}/enrollments"},
        {"session show", "session roster"},
    ),
    "POST /sessions/{session_id}/roster": ({"POST /v1/users/search"}, {"user find"}),
    "POST /sessions/{session_id}/cancel": ({"POST /v1/sessions/{session_id}/cancel"}, {"cancel"}),
    "POST /sessions/{session_id}/replan": (
        {"POST /v1/sessions/{session_id}/changed"},
        {"session changed"},
    ),
    "GET /enrollments/{session_id}/{user_id}": (
        {"GET /v1/enrollments/{session_id}/{user_id}"},
        {"why"},
    ),
    "POST /enrollments/{session_id}/{user_id}/cancel": (
        {"DELETE /v1/enrollments/{session_id}/{user_id}"},
        {"cancel"},
    ),
    "POST /enrollments/{session_id}/{user_id}/enroll": ({"POST /v1/enrollments"}, {"enroll"}),
    "GET /reminders": ({"GET /v1/reminders"}, {"list"}),
    "POST /reminders/{reminder_id}/resend": (
        {"POST /v1/reminders/{reminder_id}/resend"},
        {"resend"},
    ),
    "POST /reminders/{reminder_id}/send-now": (
        {"POST /v1/reminders/{reminder_id}/send-now"},
        {"send-now"},
    ),
    "GET /failed": ({"GET /v1/failures"}, {"failed"}),
    "POST /redrive": ({"POST /v1/reminders/redrive"}, {"redrive"}),
    "POST /people": ({"POST /v1/users/search"}, {"user find"}),
    "GET /search": ({"POST /v1/users/search", "GET /v1/sessions"}, {"user find", "session list"}),
    "GET /people/{user_id}": (
        {"GET /v1/users/{user_id}/enrollments", "GET /v1/users/{user_id}/preferences"},
        {"user show", "preferences show"},
    ),
    "POST /people/{user_id}/resume": (
        {"PUT /v1/users/{user_id}/preferences"},
        {"preferences stop", "preferences resume"},
    ),
    "POST /people/{user_id}/unblock": (
        {"POST /v1/users/{user_id}/unblock"},
        {"preferences unblock"},
    ),
    "GET /rules": ({"GET /v1/reminder-configurations"}, {"config list"}),
    "POST /rules/diff": ({"POST /v1/reminder-configurations/diff"}, {"config diff"}),
    "POST /rules/apply": (
        {
            "POST /v1/reminder-configurations",
            "PATCH /v1/reminder-configurations/{reminder_type}",
            "DELETE /v1/reminder-configurations/{reminder_type}",
        },
        {"config add", "config set", "config delete"},
    ),
    "GET /preview": ({"GET /v1/preview"}, {"preview"}),
    "POST /preview/test": ({"POST /v1/test-sends"}, {"test-send"}),
    "GET /rehearsal": (set(), {"rehearse"}),
    "GET /runs": ({"GET /v1/runs"}, {"runs"}),
    "POST /sessions/{session_id}/restore": (
        {"POST /v1/sessions/{session_id}/restore"},
        {"session restore"},
    ),
    "POST /sweeps": ({"POST /v1/sweeps"}, {"sweep"}),
    "GET /audit": ({"GET /v1/events"}, {"events"}),
    "POST /delivery/resume": ({"POST /v1/delivery/resume"}, {"delivery resume"}),
}
WAYS = {
    "GET /sign-in",
    "POST /sign-in",
    "POST /sign-out",
    "POST /search",
    "POST /sessions",
    "GET /{path:path}",
    "GET /people",
    "POST /times",
    "GET /sessions/{session_id}/cancel",
    "GET /sessions/{session_id}/restore",
    "GET /enrollments/{session_id}/{user_id}/cancel",
    "GET /reminders/{reminder_id}",
    "GET /redrive",
    "GET /rules/edit",
    "GET /preview/mail",
    "GET /audit/{event_id}",
}
"""Pages on the way to a verb: forms, what a dry run says, parts of a page, receipts."""

WITHOUT_A_PAGE = {
    # a platform's own verbs, by API; those that an operator may need have a command
    "PUT /v1/sessions/{session_id}": set(),
    "PUT /v1/users/{user_id}": set(),
    "POST /v1/sessions/{session_id}/enrollments": {"enroll"},
    "DELETE /v1/users/{user_id}": {"erase"},
    "GET /v1/delivery": {"delivery show"},
}
ONLY_COMMANDS = {
    # what needs this machine, takes long, or is done once
    "worker",
    "api",
    "api-key",
    "ledger-restored",
    "db upgrade",
    "db check",
    "temporal setup",
    "installation moved",
    "installation new",
    "import-cron",
    "backfill",
    "shadow-diff",
    "cutover",
}

CHANGING_NOTHING = {
    "overview",
    "doctor",
    "session list",
    "session show",
    "session roster",
    "user find",
    "user show",
    "why",
    "list",
    "failed",
    "events",
    "runs",
    "config list",
    "config diff",
    "preview",
    "rehearse",
    "preferences show",
    "delivery show",
    "shadow-diff",
    "api-key",
    # What they change is no reminder, and no person's.
    "worker",
    "api",
    "db upgrade",
    "db check",
    "temporal setup",
    "installation moved",
    "installation new",
}
"""Commands that no audit log need tell of; `--reason` of `list` is that of a status."""


def pages(settings: Settings) -> set[str]:
    """Every route of the admin pages, below `/admin`."""
    found = set()
    for route in create_app(settings).routes:
        path = getattr(route, "path", None) or ""
        if path.startswith(PATH):
            methods: set[str] = getattr(route, "methods", set())
            found |= {f"{method} {path.removeprefix(PATH)}" for method in methods - {"HEAD"}}
    return found


def test_every_page_has_a_route_and_a_command(settings: Settings) -> None:
    """A new page is in the table, with what does the same by API and by command."""
    assert VERBS.keys() | WAYS == pages(settings)


async def test_every_operation_is_known(shared_api: Api) -> None:
    """Each does what a page does, or is one that needs none; and the table names no other."""
    document = (await shared_api.get("/openapi.json")).json()
    operations = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/v1/")
    }
    named = set().union(*(routes for routes, _ in VERBS.values()))
    assert named | WITHOUT_A_PAGE.keys() == operations


def test_every_command_is_known() -> None:
    """Each does what a page or a route does, or needs this machine; and the table names no other."""
    named = set().union(*(words for _, words in VERBS.values()), *WITHOUT_A_PAGE.values())
    assert named | ONLY_COMMANDS == generate.commands().keys()


def test_every_command_is_in_the_help() -> None:
    """Under one heading."""
    headed = [name for names in SECTIONS.values() for name in names]
    assert sorted(headed) == sorted({name.partition(" ")[0] for name in generate.commands()})


def test_nothing_is_explained_by_a_type_of_a_programming_language() -> None:
    """`--help` says what to write, not `<bool>`; usage has no brackets within brackets."""
    records = [
        p.get_help_record(command.make_context(words, [], resilient_parsing=True))
        for words, command in generate.commands().items()
        for p in command.params
    ]
    written = [record[0] for record in records if record]
    assert written
    assert not [w for w in written if re.search(r"(?i)<(bool|int|float|str|datetime|uuid)\b", w)]
    assert "[[" not in "".join(map(generate.usage, generate.commands().values()))


def test_every_command_that_changes_something_asks_why() -> None:
    """`--reason` is for the audit log; a command without it changes nothing that is kept there."""
    asking = {
        words
        for words, command in generate.commands().items()
        if any("--reason" in option.opts for option in command.params)
    }
    assert (generate.commands().keys() - asking) | {"list"} == CHANGING_NOTHING


@pytest.mark.parametrize(
    "path",
    sorted(
        {
            r.split()[1]
            for routes, _ in VERBS.values()
            for r in routes
            if r.startswith("GET") and "{" not in r
        }
    ),
)
async def test_every_list_can_be_read(shared_api: Api, path: str) -> None:
    """Whatever is in it; and a cursor that is none of ours is refused where there are pages."""
    answer = await shared_api.get(path)
    assert answer.status_code == 200, answer.text
    if "next_cursor" in answer.json():
        refused = await shared_api.get(path, params={"cursor": "bm90LW91cnM="})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "cursor")
