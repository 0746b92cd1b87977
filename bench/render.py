"""How fast e-mails are composed: subject, HTML, text and envelope, on one core.

`python3 dev.py bench render --help`. No database, no provider: what a worker does between reading
the facts and freezing the request.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from css_inline import CSSInliner

from bench.measure import Numbers, load, percentile, report
from reminders.domain.model import DeliveryFacts, Session
from reminders.mail.addressing import DeliveryMode
from reminders.mail.compose import MailComposer
from reminders.mail.links import AttendeeLinks
from reminders.mail.render import MailRenderer
from reminders.mail.samples import LINKS, RULE, SESSION, facts_about, sample_attendee

_LOCALES = ("en", "en-GB", "de", "de-AT", "es", "es-MX", "fr", "fr-CA", None, "pt-BR")
_ZONES = ("Europe/Lisbon", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", None)
_SESSIONS = 20
_INLINED = 50
"""E-mails that are inlined one by one, to see what that would cost."""


class _Links:
    """The same links for everybody; making them is measured elsewhere."""

    def links(self, session: Session, user_id: UUID) -> AttendeeLinks:
        """The links."""
        del session, user_id
        return LINKS


def main(arguments: Sequence[str] | None = None) -> int:
    """Compose e-mails and report how many a second.

    Returns:
        Exit code: 0.
    """
    parser = argparse.ArgumentParser(prog="dev.py bench render", description=__doc__)
    parser.add_argument("--n", type=int, default=5_000, help="e-mails in a run")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments)
    runs = [_run(max(options.n, 100)) for _ in range(max(options.runs, 1))]
    constants = {"benchmark": "render", "n": options.n, "load": load()}
    report(f"composing {options.n} e-mails on one core", runs, constants)
    return 0


def _run(n: int) -> Numbers:
    """One run, with a renderer of its own."""
    began = time.perf_counter()
    composer = MailComposer(
        sender="Session Reminders <reminders@example.com>",
        reply_to=None,
        mode=DeliveryMode.LIVE,
        test_recipient=None,
        renderer=MailRenderer(links=_Links()),
    )
    built = time.perf_counter() - began
    reminders = [_facts(number) for number in range(n)]
    now = SESSION.starts_at - RULE.lead
    seconds = []
    size = 0
    cpu = time.process_time()
    for facts in reminders:
        started = time.perf_counter()
        message = composer.compose(facts, now=now)
        seconds.append(time.perf_counter() - started)
        size = max(size, len(message.html.encode()))
    cpu = time.process_time() - cpu
    inliner = CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)
    began = time.process_time()
    for _ in range(_INLINED):
        inliner.inline(message.html)
    inlining = (time.process_time() - began) / _INLINED
    return {
        "emails_per_cpu_second": n / cpu,
        "emails_per_second": n / sum(seconds),
        "p50_us": percentile(seconds, 50) * 1e6,
        "p99_us": percentile(seconds, 99) * 1e6,
        "largest_html_bytes": size,
        "renderer_built_ms": built * 1e3,
        "inlining_each_per_cpu_second": 1 / (cpu / n + inlining),
    }


def _facts(number: int) -> DeliveryFacts:
    """A reminder of one of several sessions, to somebody somewhere."""
    session = replace(
        SESSION, id=UUID(int=number % _SESSIONS), title=f"Session {number % _SESSIONS}"
    )
    attendee = replace(
        sample_attendee(
            locale=_LOCALES[number % len(_LOCALES)],
            time_zone=_ZONES[number // len(_LOCALES) % len(_ZONES)],
        ),
        user_id=UUID(int=number),
        email=f"attendee{number}@example.com",
        full_name=f"Attendee {number}",
    )
    moved_from = SESSION.starts_at - timedelta(days=1) if number % 10 == 0 else None
    return facts_about(session, attendee, RULE, reminder_id=UUID(int=number), moved_from=moved_from)
