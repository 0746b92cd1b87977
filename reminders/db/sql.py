"""What statements written as SQL share: the types of their parameters, and conditions said once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    DateTime,
    FromClause,
    Integer,
    Interval,
    LargeBinary,
    SmallInteger,
    Text,
    TextClause,
    Uuid,
    bindparam,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase

_INSTANT = DateTime(timezone=True)
_TYPES: dict[str, Any] = {
    name: kind
    for kind, names in (
        (
            Uuid(),
            "id session_id user_id reminder_id batch_id after_session after_user installation",
        ),
        (ARRAY(Uuid()), "ids sending sessions users"),
        (Text(), "status reason error type reminder_type workflow_id version owner sender email"),
        (Text(), "delivery_mode sink quota svix_id email_id detail asked after_type"),
        (ARRAY(Text()), "statuses reasons errors email_ids run_ids versions earlier names links"),
        (ARRAY(Text()), "types workflow_ids"),
        (
            _INSTANT,
            "now at since until late recent settled read_at after_at due_at starts_at sent_at resets_at",
        ),
        (_INSTANT, "occurred_at accepted_at useful_until repeatable_until"),
        (ARRAY(_INSTANT), "starts due sent"),
        (Interval(), "apart lease wait window quiet lasts threshold kept believed tolerance"),
        (Boolean(), "accepted shadow is_found ends_shadow"),
        (Integer(), "limit used quota_limit requests"),
        (SmallInteger(), "generation"),
        (ARRAY(SmallInteger()), "generations"),
        (BigInteger(), "plan_version"),
        (ARRAY(BigInteger()), "plan_versions"),
        (LargeBinary(), "body"),
    )
    for name in names.split()
}
"""By the name of a parameter, which means the same in every statement."""


def typed(statement: str) -> TextClause:
    """The statement with its parameters typed, as PostgreSQL cannot guess arrays and NULLs."""
    clause = text(statement)
    names = clause._bindparams  # noqa: SLF001 - the only list of a text's parameters
    return clause.bindparams(*(bindparam(n, type_=_TYPES[n]) for n in names if n in _TYPES))


def among(table: type[DeclarativeBase], wanted: Mapping[str, object | None]) -> FromClause:
    """Rows of a session, or of a person: all of a table, if nobody is wanted.

    They are found by the index of whoever is wanted, and sorted afterwards. Otherwise PostgreSQL
    may follow the order of a page until its `LIMIT` is reached, past millions of others'.

    Args:
        table: Has indexes that begin with each of the columns.
        wanted: By column; `None` leaves it out.
    """
    rows = table.__table__
    conditions = [rows.c[name] == value for name, value in wanted.items() if value is not None]
    return select(rows).where(*conditions).offset(0).subquery() if conditions else rows


HELD = "held_until > clock_timestamp()"
"""Whether a row of `provider_pace` says that delivery is held, for somebody or for all."""


def next_start(session_id: str) -> str:
    """When a session starts, for pages in which whoever starts next comes first.

    A platform may show several rows of one: its next start is that of a row which takes place. A
    cursor names no instant: after a session that is gone it begins anew, and of one that has moved
    meanwhile whoever lies in between comes twice, or is left to the sweep.

    Args:
        session_id: An expression.
    """
    start = f"SELECT min(start_time) FROM sessions WHERE id = {session_id}"  # noqa: S608 - of ours
    return f"coalesce(({start} AND status = 'scheduled' AND start_time > :now), ({start}), :now)"


AFTER_START = next_start(":after_session")
"""Of the session of a cursor."""


def overdue(reminder: str, instant: str) -> str:
    """Whether a reminder still waits although it was due before an instant."""
    return f"({reminder}.email_status = 'scheduled' AND {reminder}.due_at < {instant})"


def counts_for(rule: str, session_id: str) -> str:
    """Whether a row of `reminder_configurations` is the one of its type for a session.

    Args:
        rule: Alias of the row.
        session_id: An expression.
    """
    return (
        f"({rule}.session_id = {session_id} OR {rule}.session_id IS NULL AND NOT EXISTS ("
        " SELECT FROM reminder_configurations own"
        f" WHERE own.session_id = {session_id} AND own.reminder_type = {rule}.reminder_type))"
    )


def looked_up(relation: str, where: str) -> str:
    """A relation's rows of one key, to be joined with each row that has the key.

    PostgreSQL looks a key up in whatever an existing platform's view computes, but of a view with a
    `UNION` or a `DISTINCT` a join reads all. `OFFSET 0` keeps it from making a join of this again.

    Args:
        relation: Its name.
        where: Columns of its, and what they are to be.
    """
    return f"LATERAL (SELECT * FROM {relation} WHERE {where} OFFSET 0)"  # noqa: S608 - composed of constants


def own_rows(row: str) -> str:
    """All rows of the ledger about the session and the person of a row: a few.

    Who asks for those that were sent, or for the last of them, is to ask it of these. PostgreSQL may
    else look through everybody's, by an index that it believes to be small: so in a new installation.
    """
    where = f"session_id = {row}.session_id AND user_id = {row}.user_id"
    return looked_up("session_reminder_emails", where)


def counting_session(session_id: str) -> str:
    """The row of a session that counts, where a platform shows several; see `mapping.sessions_first`.

    Args:
        session_id: An expression.
    """
    return (
        f"LATERAL (SELECT * FROM sessions WHERE id = {session_id}"  # noqa: S608 - of ours
        " ORDER BY status DESC, start_time LIMIT 1)"
    )


def covers(preference: str, column: str, value: str) -> str:
    """Whether a preference is about a session or a type, which all are that name none."""
    return f"({preference}.{column} IS NULL OR {preference}.{column} = {value})"


def digest(email: str) -> str:
    """Of an address, however it is written: an expression."""
    return f"sha256(convert_to(lower(btrim({email})), 'UTF8'))"


def in_effect(preference: str) -> str:
    """Whether a preference counts: what lies with an address ends when the person has another.

    Args:
        preference: Alias of the row, or its table.
    """
    return (
        f"({preference}.address_digest IS NULL OR EXISTS (SELECT FROM users a"
        f" WHERE a.id = {preference}.user_id"
        f" AND {digest('a.email')} = {preference}.address_digest))"
    )


def stopping(reminder: str) -> str:
    """The preferences that stop a reminder, as `p`; whoever asked for it or why.

    Args:
        reminder: Alias of anything with a user, a session and a type.
    """
    return (
        f"reminder_preferences p WHERE p.user_id = {reminder}.user_id"
        f" AND {covers('p', 'session_id', f'{reminder}.session_id')}"
        f" AND {covers('p', 'reminder_type', f'{reminder}.reminder_type')}"
        f" AND {in_effect('p')}"
    )


# Session by session: so that each is looked up.
NEWEST = """
    SELECT n.* FROM ahead s CROSS JOIN LATERAL (
           SELECT DISTINCT ON (r.user_id, r.reminder_type)
                  r.session_id, r.user_id, r.reminder_type, r.generation, r.email_status,
                  r.status_reason, r.due_at, r.starts_at, r.requested_at, r.plan_version
             FROM session_reminder_emails r WHERE r.session_id = s.id
            ORDER BY r.user_id DESC, r.reminder_type DESC, r.generation DESC) n
"""
"""The newest generation of every reminder in the sessions of a relation `ahead`."""

CALLED_OFF = """
    SELECT DISTINCT session_id, user_id FROM newest
     WHERE email_status = 'cancelled'
       AND coalesce(status_reason, '') NOT IN ('session_cancelled', 'session_deleted', 'unenrolled')
"""
"""`reminders.domain.revise.is_called_off` over a relation `newest`: nothing but enrolling anew revives them."""


def belongs_here(batch: str) -> str:
    """Whether a row of `email_batches` may be posted under `:delivery_mode` and `:sink`.

    What was frozen under another delivery mode, for another test address or by another installation
    is never posted from here: a database may have been copied while requests were frozen in it.

    Args:
        batch: Alias of the row.
    """
    # Without an installation it was frozen by a release that did not know of any: here, then.
    us = "(SELECT id FROM reminder_installation)"
    return (
        f"({batch}.delivery_mode = :delivery_mode AND {batch}.sink IS NOT DISTINCT FROM :sink"
        f" AND coalesce({batch}.installation_id = {us}, true))"
    )
