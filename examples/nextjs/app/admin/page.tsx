import { query, type Session } from "@/lib/db";
import { when } from "@/lib/when";
import { cancel, move, restore } from "../actions";

type Row = Session & { local: string; seats: number };

export default async function Page() {
  const rows = await query<Row>(
    `select s.*, to_char(starts_at at time zone time_zone, 'YYYY-MM-DD"T"HH24:MI') as local,
            (select count(*) from enrollments e where e.session_id = s.id and e.status = 'confirmed')::int as seats
       from sessions s order by starts_at`,
  );
  return (
    <>
      <h1>Admin</h1>
      {rows.map((session) => (
        <article key={session.id}>
          <h2>{session.title}</h2>
          <p>
            {when(session.starts_at, session.time_zone)} ({session.time_zone}), {session.seats} enrolled
          </p>
          {session.status === "cancelled" && <p className="bad">Cancelled</p>}
          {session.told < session.revision && <p className="bad">Its reminders are not confirmed yet.</p>}
          <form action={move.bind(null, session.id)}>
            <label>
              Start{" "}
              <input type="datetime-local" name="start" key={session.local} defaultValue={session.local} required />
            </label>
            <button>Move</button>
          </form>
          <form action={(session.status === "cancelled" ? restore : cancel).bind(null, session.id)}>
            <button>{session.status === "cancelled" ? "Restore" : "Cancel"}</button>
          </form>
        </article>
      ))}
    </>
  );
}
