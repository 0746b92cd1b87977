"""What the demo shows: a board that stays in place on a terminal, and lines anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from devstack.demo.platform import Arrival, Entry
from devstack.demo.scenario import LAST_DUE, REMINDERS, Meeting, Person

SOON = timedelta(minutes=2)
"""Within this, a due instant is counted down in seconds; beyond, it is far away for this demo."""

PLAIN_EVERY = timedelta(seconds=5)
"""How often the state is printed where there is no board."""

NAME_WIDTH, CELL_WIDTH, INBOX_WIDTH = 17, 19, 5

LEGEND = "asleep: a durable timer in Temporal · skipped: too late when they signed up"

_LOOKS = {
    "sending": "magenta",
    "sent": "green",
    "delivered": "green",
    "skipped": "dim",
    "cancelled": "red",
    "failed": "bold red",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Everything that the board shows, at one instant."""

    now: datetime
    began_at: datetime
    meetings: Sequence[tuple[Meeting, datetime]]
    """Each with its start as it is now."""
    entries: Sequence[Entry]
    arrivals: Sequence[Arrival]
    wanted: int
    """How many e-mails are to arrive in all."""

    @property
    def elapsed(self) -> timedelta:
        """Since the beginning."""
        return self.now - self.began_at

    def newest(self) -> dict[tuple[UUID, UUID, str], Entry]:
        """By session, person and reminder: the entry that counts."""
        ascending = sorted(self.entries, key=lambda entry: entry.generation)
        return {(e.session_id, e.user_id, e.reminder_type): e for e in ascending}

    def summary(self) -> str:
        """How things stand, in a line."""
        arrived = f"{len(self.arrivals)} of {self.wanted} e-mails have arrived"
        coming = [
            e for e in self.newest().values() if e.status == "scheduled" and e.due_at > self.now
        ]
        soonest = min(coming, key=lambda e: e.due_at, default=None)
        if soonest is None or soonest.due_at > self.began_at + LAST_DUE:
            return arrived
        return f"{arrived}; the next is due in {span(soonest.due_at - self.now)}"


class Screen:
    """Where the demo is shown."""

    def __init__(self, console: Console) -> None:
        """Show it here; a board only on a terminal."""
        self._console = console
        # What has been said scrolls away above the board; the final ledger replaces the board.
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._said_at: datetime | None = None

    def __enter__(self) -> Self:
        """Take the terminal."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self._live.stop()

    def say(self, markup: str, *, at: timedelta) -> None:
        """Say what just happened."""
        seconds = f"[dim]{int(at.total_seconds()):+4} s[/]"
        table = Table.grid(padding=(0, 2))
        table.add_row(seconds, markup)
        self._console.print(table)

    def quote(self, text: str, *, style: str = "") -> None:
        """Show words of a program, whole, so that they can be copied."""
        self._console.print(Text(f"        {text}", style=style), soft_wrap=True)

    def show(self, scene: Scene) -> None:
        """Show how things stand."""
        if self._live.is_started:
            self._live.update(board(scene), refresh=True)
        elif self._said_at is None or scene.now - self._said_at >= PLAIN_EVERY:
            self._said_at = scene.now
            self.say(scene.summary(), at=scene.elapsed)


def board(scene: Scene) -> RenderableType:
    """The board."""
    newest = scene.newest()
    lines: list[RenderableType] = [Text(), _row("", *(f"{n} before" for n in REMINDERS), "inbox")]
    for meeting, starts_at in scene.meetings:
        title = Text.assemble((meeting.title, "bold"), f", starts in {span(starts_at - scene.now)}")
        lines.append(title)
        for person in meeting.people:
            cells = [_cell(newest.get((meeting.id, person.id, n)), scene.now) for n in REMINDERS]
            lines.append(_row(f"  {person.name}", *cells, _count(scene, meeting, person)))
    lines += [Text(LEGEND, style="dim"), Text(f"{scene.summary()}", style="bold")]
    return Group(*lines)


def _row(*cells: str | Text) -> Table:
    """A line of the board; widths are fixed, so that lines of several tables are in columns."""
    table = Table.grid()
    table.add_column(width=NAME_WIDTH, no_wrap=True)
    for _ in REMINDERS:
        table.add_column(width=CELL_WIDTH, no_wrap=True)
    table.add_column(width=INBOX_WIDTH, justify="right")
    table.add_row(*cells)
    return table


def _cell(entry: Entry | None, now: datetime) -> Text:
    """What has become of one reminder, in a few words."""
    if entry is None:
        return Text()
    left = entry.due_at - now
    if entry.status == "scheduled" and left > SOON:
        return Text(f"asleep {span(left)}", style="blue")
    if entry.status == "scheduled":
        return Text(f"due in {span(max(left, timedelta()))}", style="bold yellow")
    words = entry.status if entry.sent_at is None else f"✓ {entry.status}"
    return Text(words, style=_LOOKS.get(entry.status, ""))


def _count(scene: Scene, meeting: Meeting, person: Person) -> Text:
    """How many e-mails a person has got about a session."""
    ours = {e.id for e in scene.entries if (e.session_id, e.user_id) == (meeting.id, person.id)}
    count = sum(arrival.reminder_id in ours for arrival in scene.arrivals)
    return Text(str(count), style="bold green" if count == 1 else "dim" if not count else "red")


def span(duration: timedelta) -> str:
    """A duration as one counts down: `23 h 59 min`, `29 min 12 s`, `8 s`."""
    seconds = max(0, -(-duration // timedelta(seconds=1)))
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    return f"{seconds} s"


def ledger(scene: Scene) -> Table:
    """Every reminder with its instant and what became of it, for the end."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("", "type", "due", "status", "why, or when"):
        table.add_column(name, no_wrap=True, header_style="bold")
    for meeting, starts_at in scene.meetings:
        table.add_row()
        table.add_row(
            f"[bold]{escape(meeting.title)}[/]", "", _clock(starts_at, scene.now), "[dim]start[/]"
        )
        for person in meeting.people:
            mine = [
                e for e in scene.entries if (e.session_id, e.user_id) == (meeting.id, person.id)
            ]
            for entry in sorted(mine, key=lambda e: (e.due_at, e.generation)):
                table.add_row(
                    f"  {escape(person.name)}" if entry is mine[0] else "",
                    entry.reminder_type,
                    _clock(entry.due_at, scene.now),
                    Text(entry.status, style=_LOOKS.get(entry.status, "blue")),
                    _remark(entry, scene),
                )
    return table


def _remark(entry: Entry, scene: Scene) -> str:
    """Why a reminder was not sent, how punctual it was, or how long it sleeps."""
    arrival = next((a for a in scene.arrivals if a.reminder_id == entry.id), None)
    if arrival is not None:
        late = (arrival.accepted_at - entry.due_at).total_seconds()
        remark = f"{late:.2f} s after due"
    elif entry.status == "scheduled":
        remark = f"asleep for {span(entry.due_at - scene.now)}"
    else:
        remark = entry.reason or ""
    return remark if entry.generation == 1 else f"{remark}, planned anew"


def _clock(instant: datetime, now: datetime) -> str:
    """A time of this machine's zone; with the weekday if it is not today."""
    here = instant.astimezone()
    today = here.date() == now.astimezone().date()
    return f"{here:%H:%M:%S}" if today else f"{here:%a %H:%M:%S}"
