"""The statements of `reminders.db.deliveries`: round trips are what a delivery pays for.

Reading, freezing and settling are one statement each, and each its own transaction, whatever the
size of the batch. Nothing is locked while e-mails are rendered; a row that changed meanwhile makes
the freeze a no-op. Reminders are locked in the order of their ids, here and in `planning`, so that
two transactions cannot wait for each other.
"""

from __future__ import annotations

from reminders.db.mapping import ATTENDEES, RULES, SESSIONS
from reminders.db.sql import (
    HELD,
    belongs_here,
    counting_session,
    counts_for,
    looked_up,
    own_rows,
    stopping,
    typed,
)
from reminders.domain.pace import REMEMBERED, TOGETHER

_SESSION = looked_up("sessions", "id = r.session_id")
_ENROLLMENT = looked_up("enrollments", "session_id = r.session_id AND user_id = r.user_id")


def _taken(before: object) -> str:
    """A turn of before, counted from the next one; NULL if a clock that was wrong took it.

    Nobody waits so long for theirs.
    """
    turn = f"turns[cardinality(turns) + 1 - {before}]"
    furthest = "clock_timestamp() + greatest(interval '2 minutes', 50 * :window)"
    return f"CASE WHEN {turn} < {furthest} THEN {turn} END"


_SPREAD = f"""
CASE WHEN {_taken("2 * :requests")} > clock_timestamp() - 2.5 * :window
     THEN {_taken(TOGETHER)} + :window * {TOGETHER} / :requests END"""
_TAKE_TURN = f"""
turns = (turns || greatest(clock_timestamp() + :wait, {_taken(1)},
                           {_taken(":requests")} + :window, {_SPREAD})
        )[(cardinality(turns) + 2 - {REMEMBERED}) :]"""
_TURN = "turns[cardinality(turns)] - clock_timestamp() AS wait"
"""See `Pace`. Turns only ever follow each other: whoever is told to wait makes all others wait."""

_MOST_ATTEMPTS = 32_767
"""Where counting stops: what the column holds."""

_HOLD_FOR_US = f"""
 FROM provider_pace
  WHERE {HELD} AND (held_sender IS NULL OR held_sender = :sender)
"""
"""The hold that concerns this worker: everybody's, or that of its own key and sender."""

# Whoever may have been told that it is cancelled believes it, until they are told otherwise.
_MAY_BE_CALLED_OFF = """
    q.reminder_type = 'cancelled' AND q.plan_version > coalesce(told.plan_version, 0)
    AND (q.email_status = 'sending' OR q.status_reason = 'outcome_unknown')
"""

# Or that it starts then: of a request that nobody knows the end of.
_MAY_HAVE_TOLD_ANOTHER = """
    q.id <> r.id AND q.plan_version > coalesce(told.plan_version, 0)
    AND (q.reminder_type = 'cancelled' OR q.starts_at <> s.start_time)
    AND (q.email_status = 'sending' OR q.status_reason = 'outcome_unknown')
"""

# Rows and hold are one reading: of two, a hold that ends in between would make it look as if there
# were no rows. The hold comes first, and with it no row: there is always at least one line.
READ = typed(f"""
WITH held AS MATERIALIZED (
    SELECT held_until - clock_timestamp() AS held_for, held_because, held_sender {_HOLD_FOR_US})
SELECT held.held_for, held.held_because, held.held_sender, r.*, r.xmin::text AS row_version,
       statement_timestamp() AS read_at, (SELECT id FROM reminder_installation) AS installation,
       {SESSIONS.selected("s")}, {ATTENDEES.selected("u")}, {RULES.selected("c")},
       e.status AS enrollment_status, nullif(btrim(e.join_url), '') AS own_join_url,
       -- Only what will go out can take the place of what is late.
       (SELECT min(later.due_at) FROM {own_rows("r")} later
          JOIN reminder_configurations n
            ON n.reminder_type = later.reminder_type AND {counts_for("n", "later.session_id")}
         WHERE later.email_status = 'scheduled' AND later.requested_at IS NULL
           AND later.due_at > r.due_at AND n.is_enabled AND n.minutes_before > 0
           AND NOT EXISTS (SELECT FROM {stopping("later")})) AS next_due_at,
       told.starts_at AS told_start,
       coalesce(told.reminder_type = 'cancelled', false) OR EXISTS (
           SELECT FROM session_reminder_emails q
            WHERE q.session_id = r.session_id AND q.user_id = r.user_id AND {_MAY_BE_CALLED_OFF}
       ) AS was_called_off,
       -- What somebody said is to be told to nobody, people may know all the same.
       coalesce(told.starts_at = s.start_time AND told.reminder_type <> 'cancelled'
                AND NOT EXISTS (
                    SELECT FROM session_reminder_emails q
                     WHERE q.session_id = r.session_id AND q.user_id = r.user_id
                       AND (q.status_reason = 'untold' AND q.plan_version > told.plan_version
                            OR {_MAY_HAVE_TOLD_ANOTHER})),
                false) AS told_already,
       r.reminder_type IN ('cancelled', 'moved') AND EXISTS (
           SELECT FROM quiet_sessions q
            WHERE q.session_id = r.session_id AND q.start_time = s.start_time
              AND q.status = s.status) AS is_quiet,
       (SELECT n.moved_from FROM session_reminder_emails n
         WHERE n.session_id = r.session_id AND n.user_id = r.user_id
           AND n.reminder_type = 'moved' AND n.email_status = 'scheduled'
         ORDER BY n.generation DESC LIMIT 1) AS untold_start,
       coalesce(
       (SELECT greatest(told.starts_at, s.start_time) - least(told.starts_at, s.start_time)
               <= :threshold
          FROM {own_rows("r")} told
         WHERE told.reminder_type = r.reminder_type AND told.sent_at IS NOT NULL
         ORDER BY told.generation DESC LIMIT 1), false) AS was_told,
       -- Of several reasons the last by name: what the person asked for comes before all else.
       (SELECT max(p.reason) FROM {stopping("r")}) AS stopped,
       CASE WHEN NOT :shadow THEN 'ours' ELSE coalesce(
       (SELECT CASE WHEN o.taken_over_at IS NULL THEN 'between' ELSE 'ours' END
          FROM session_cutovers o WHERE o.session_id = r.session_id OR o.session_id IS NULL
         ORDER BY o.taken_over_at LIMIT 1), 'theirs') END AS turn
  FROM (VALUES (1)) AS one
  LEFT JOIN held ON true
  LEFT JOIN session_reminder_emails r ON held.held_for IS NULL AND r.id = ANY(:ids)
  LEFT JOIN {_SESSION} s ON true
  LEFT JOIN {looked_up("users", "id = r.user_id")} u ON true
  LEFT JOIN {_ENROLLMENT} e ON true
  LEFT JOIN reminder_configurations c
         ON c.reminder_type = r.reminder_type AND {counts_for("c", "r.session_id")}
  LEFT JOIN LATERAL (
       -- A cancellation names the start that people knew.
       SELECT coalesce(CASE t.reminder_type WHEN 'cancelled' THEN t.moved_from END, t.starts_at)
              AS starts_at, t.reminder_type, t.plan_version FROM {own_rows("r")} t
        WHERE t.sent_at IS NOT NULL
        ORDER BY t.sent_at DESC LIMIT 1) told ON true
""")  # noqa: S608 - composed of constants

_UNCHANGED = f"""
input AS (
    SELECT * FROM unnest(:ids, :versions, :statuses, :reasons, :errors, :run_ids, :starts)
        AS d (id, version, status, reason, error, run_id, starts_at)),
locked AS (
    SELECT r.id FROM session_reminder_emails r JOIN input d ON d.id = r.id
     WHERE r.email_status = 'scheduled' AND r.xmin::text = d.version
     ORDER BY r.id FOR UPDATE OF r),
unchanged AS (
    SELECT true AS yes
     WHERE (SELECT count(*) FROM locked) = (SELECT count(*) FROM input)
       AND coalesce(clock_timestamp() - :read_at < :believed, true)),
marked AS (
    UPDATE session_reminder_emails r
       SET email_status = d.status, status_reason = d.reason, last_error = d.error,
           batch_id = CASE WHEN d.status = 'sending' THEN :batch_id END,
           attempts = least(r.attempts + CASE WHEN d.status = 'sending' THEN 1 ELSE 0 END,
                            {_MOST_ATTEMPTS}),
           starts_at = coalesce(d.starts_at, r.starts_at),  -- the one that the e-mail tells
           shadowed_at = CASE WHEN d.reason = 'shadowed' THEN :now ELSE r.shadowed_at END,
           run_id = d.run_id, updated_at = now()
      FROM input d, unchanged
     WHERE r.id = d.id)
"""  # noqa: S608 - composed of constants

CLOSE_UNCHANGED = typed(f"""
WITH {_UNCHANGED}
SELECT interval '0' AS wait FROM unchanged
""")  # noqa: S608 - composed of constants

FREEZE = typed(f"""
WITH {_UNCHANGED},
frozen AS (
    INSERT INTO email_batches
           (id, reminder_ids, body, useful_until, repeatable_until, frozen_at, owner, lease_until,
            delivery_mode, sink, installation_id)
    SELECT :batch_id, :sending, :body, :useful_until, :repeatable_until, :now, :owner,
           clock_timestamp() + :lease, :delivery_mode, :sink, (SELECT id FROM reminder_installation)
      FROM unchanged
    RETURNING id)
UPDATE provider_pace SET {_TAKE_TURN}
 WHERE EXISTS (SELECT FROM frozen)  -- stored first: all wait for whoever takes a turn
RETURNING {_TURN}
""")  # noqa: S608 - composed of constants

# The start that it was planned for stays: the next plan tells of the move by it.
MOVE = typed("""
UPDATE session_reminder_emails SET due_at = :due_at, updated_at = now()
 WHERE id = :id AND email_status = 'scheduled' AND xmin::text = :version
""")

# The provider's id proves an acceptance. Whatever was concluded without it gives way: that nobody
# can know, that it was too late, or that the request was refused and is to be decided anew. What a
# webhook has told since stays, and so does a row that is in another request by now.
SETTLE = typed(f"""
WITH proven AS (  -- who accepts our e-mails does not refuse us
    UPDATE provider_pace SET held_until = NULL
     WHERE :accepted AND {HELD}
       AND (held_sender IS NULL OR held_sender = :sender)),
settled AS (
    UPDATE email_batches SET state = 'settled', body = NULL, settled_at = :now
     WHERE id = :batch_id AND state = 'frozen'),
found AS (
    SELECT r.id, d.status, d.reason, d.email_id, d.error,
           r.batch_id = :batch_id AND r.email_status = 'sending'
           OR d.email_id IS NOT NULL AND r.resend_email_id IS NULL
              AND r.email_status IN ('scheduled', 'failed', 'cancelled', 'skipped') AS counts
      FROM session_reminder_emails r
      JOIN unnest(:ids, :statuses, :reasons, :email_ids, :errors)
           AS d (id, status, reason, email_id, error) ON d.id = r.id
     WHERE r.batch_id = :batch_id OR r.batch_id IS NULL AND d.email_id IS NOT NULL
     ORDER BY r.id FOR UPDATE OF r)
UPDATE session_reminder_emails r
   SET email_status = CASE WHEN f.counts THEN f.status ELSE r.email_status END,
       status_reason = CASE WHEN f.counts THEN f.reason ELSE r.status_reason END,
       resend_email_id = CASE  -- it leads to the address, in the provider's own log
           WHEN EXISTS (SELECT FROM erased_users x WHERE x.user_id = r.user_id) THEN NULL
           ELSE coalesce(r.resend_email_id, f.email_id) END,
       sent_at = CASE WHEN f.email_id IS NULL THEN r.sent_at ELSE coalesce(r.sent_at, :now) END,
       last_error = CASE WHEN f.counts THEN f.error ELSE r.last_error END,
       updated_at = now()
  FROM found f
 WHERE r.id = f.id
""")  # noqa: S608 - composed of constants

RELEASE = typed("""
WITH released AS (
    UPDATE email_batches SET state = 'released', body = NULL, settled_at = :now
     WHERE id = :batch_id AND state = 'frozen' AND owner = :owner RETURNING id)
UPDATE session_reminder_emails r
   SET email_status = 'scheduled', batch_id = NULL, updated_at = now()
  FROM released
 WHERE r.batch_id = released.id AND r.email_status = 'sending'
""")

_ENDS_AT = "coalesce(b.repeatable_until, b.useful_until)"

# A request tells its sessions' start: it is false when one of them does not take place then, or
# does, although it says that it is cancelled. Who of many has left is mailed with the others, who
# would be left without; but not if there is nobody else.
_STILL_TRUE = f"""
SELECT coalesce(
       bool_and(coalesce((s.status = 'cancelled') = (r.reminder_type = 'cancelled')
                         AND s.start_time = r.starts_at, false))
       AND bool_or(coalesce(e.status = 'confirmed', false)
                   AND NOT EXISTS (SELECT FROM {stopping("r")})), false) AS still_true
  FROM session_reminder_emails r
  LEFT JOIN {counting_session("r.session_id")} s ON true
  LEFT JOIN {_ENROLLMENT} e ON true
 WHERE r.batch_id = :batch_id AND r.email_status = 'sending'
"""  # noqa: S608 - composed of constants

TRUE = typed(_STILL_TRUE)

RESUME = typed(f"""
WITH taken AS (
    UPDATE email_batches b SET owner = :owner, lease_until = clock_timestamp() + :lease
     WHERE b.id = :batch_id AND b.state = 'frozen' AND b.lease_until <= clock_timestamp()
       AND ({belongs_here("b")} OR {_ENDS_AT} <= :now)
    RETURNING b.*, {belongs_here("b")} AS is_ours),
judged AS ({_STILL_TRUE}),
posted AS (
    SELECT taken.id FROM taken, judged
     WHERE taken.is_ours AND judged.still_true
       AND coalesce(taken.repeatable_until, taken.useful_until) > :now),
counted AS (
    UPDATE session_reminder_emails r SET attempts = least(r.attempts + 1, {_MOST_ATTEMPTS})
      FROM posted WHERE r.batch_id = posted.id AND r.email_status = 'sending'),
paced AS (
    UPDATE provider_pace SET {_TAKE_TURN}
     WHERE EXISTS (SELECT FROM posted)
    RETURNING {_TURN})
SELECT taken.*, judged.still_true, coalesce(paced.wait, interval '0') AS wait
  FROM taken CROSS JOIN judged LEFT JOIN paced ON true
""")  # noqa: S608 - composed of constants

AGAIN = typed(f"""
WITH judged AS ({_STILL_TRUE}),
paced AS (
    UPDATE provider_pace SET {_TAKE_TURN}
    RETURNING {_TURN})
SELECT judged.still_true, paced.wait FROM judged, paced
""")  # noqa: S608 - composed of constants

RENEW = typed("""
UPDATE email_batches SET lease_until = clock_timestamp() + :lease
 WHERE id = :batch_id AND owner = :owner AND state = 'frozen'
""")

PACE = typed(f"UPDATE provider_pace SET {_TAKE_TURN} RETURNING {_TURN}")  # noqa: S608 - of constants

OVERTAKEN = typed("""
SELECT r.id, asked.due_at FROM unnest(:ids, :due) AS asked (id, due_at)
  JOIN session_reminder_emails r USING (id)
 WHERE r.email_status <> 'scheduled' OR r.due_at <> asked.due_at
""")

WOKEN = typed("""
SELECT (SELECT wake_apart FROM reminder_installation) AS apart,
       (SELECT count(*) FROM session_reminder_emails
         WHERE due_at = :due_at AND email_status NOT IN ('cancelled', 'skipped')
           AND reminder_type <> ALL(:types)) AS woken
""")

WAKE = typed("UPDATE reminder_installation SET wake_apart = :apart")

RECORD_USAGE = typed("""
INSERT INTO provider_usage (quota, used, quota_limit, resets_at, checked_at)
VALUES (:quota, :used, :quota_limit, :resets_at, :now)
ON CONFLICT (quota) DO UPDATE
   SET used = excluded.used, quota_limit = excluded.quota_limit, resets_at = excluded.resets_at,
       checked_at = excluded.checked_at
""")

# What is held for everybody is not forgotten for the sake of some.
HOLD = typed(f"""
UPDATE provider_pace
   SET held_until = clock_timestamp() + :lasts, held_because = :reason, held_sender = :sender,
       held_detail = :detail
 WHERE :sender IS NULL OR held_sender IS NOT NULL
    OR ({HELD}) IS NOT TRUE
""")  # noqa: S608 - composed of constants

# What it is too late for is only ended, which needs no provider: in a hold, too, and of others.
IN_DOUBT = typed(f"""
SELECT b.id FROM email_batches b
 WHERE b.state = 'frozen' AND b.lease_until <= clock_timestamp()
   AND ({_ENDS_AT} <= :now OR {belongs_here("b")} AND NOT EXISTS (SELECT {_HOLD_FOR_US}))
 ORDER BY useful_until LIMIT :limit
""")  # noqa: S608 - composed of constants

FROZEN = typed("SELECT id FROM email_batches WHERE id = ANY(:ids) AND state = 'frozen'")

STRANDED = typed(f"""
SELECT b.id, cardinality(b.reminder_ids) AS reminders, b.delivery_mode, {_ENDS_AT} AS ends_at
  FROM email_batches b WHERE b.state = 'frozen' AND NOT {belongs_here("b")}
 ORDER BY useful_until LIMIT 100
""")  # noqa: S608 - composed of constants

# Locked first, and judged by what the lock shows: a freeze that commits while this waits makes the
# row one in doubt, which the snapshot of before does not have. A row that is here is not missing,
# whatever somebody concluded from a reading that did not find it.
CLOSE = typed("""
WITH seen AS (
    SELECT id, email_status FROM session_reminder_emails
     WHERE id = ANY(:ids) ORDER BY id FOR UPDATE),
closed AS (
    UPDATE session_reminder_emails r
       SET email_status = :status, status_reason = :reason, updated_at = now()
      FROM seen
     WHERE r.id = seen.id AND seen.email_status = 'scheduled' AND :reason <> 'not_found'
       AND (CAST(:plan_version AS bigint) IS NULL OR r.plan_version <= :plan_version)
    RETURNING r.id)
SELECT (SELECT count(*) FROM closed) AS closed,
       (SELECT count(*) FROM seen WHERE email_status = 'sending') AS in_doubt
""")
