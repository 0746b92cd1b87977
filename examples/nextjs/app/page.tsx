import { cookies } from "next/headers";
import { people, query, sessions, type Enrollment, type Person, type Session } from "@/lib/db";
import { remindersOf } from "@/lib/reminders";
import { when } from "@/lib/when";
import { be, enroll, leave } from "./actions";

export default async function Page() {
  const known = await people();
  const chosen = (await cookies()).get("person")?.value;
  const me = known.find(({ id }) => id === chosen) ?? known[0]!;
  const seats = await query<Enrollment>("select * from enrollments where user_id = $1", me.id);
  return (
    <>
      <h1>Sessions</h1>
      <form action={be} className="who">
        <label>
          You are{" "}
          <select name="person" key={me.id} defaultValue={me.id}>
            {known.map((person) => (
              <option key={person.id} value={person.id}>
                {person.full_name}
              </option>
            ))}
          </select>
        </label>
        <button>Switch</button>
      </form>
      {(await sessions()).map((session) => (
        <Card key={session.id} me={me} session={session} seat={seats.find((s) => s.session_id === session.id)} />
      ))}
    </>
  );
}

function Card({ me, session, seat }: { me: Person; session: Session; seat?: Enrollment }) {
  const isEnrolled = seat?.status === "confirmed";
  return (
    <article>
      <h2>{session.title}</h2>
      <p>
        <time dateTime={session.starts_at.toISOString()}>{when(session.starts_at, me.time_zone)}</time>, your time,
        with {session.speaker}
      </p>
      {session.status === "cancelled" && <p className="bad">Cancelled</p>}
      {isEnrolled && <Reminders me={me} seat={seat} />}
      {session.status === "scheduled" && (
        <form action={(isEnrolled ? leave : enroll).bind(null, session.id, me.id)}>
          <button>{isEnrolled ? "Leave" : "Enroll"}</button>
        </form>
      )}
    </article>
  );
}

async function Reminders({ me, seat }: { me: Person; seat: Enrollment }) {
  const reminders = seat.told < seat.revision ? null : await remindersOf(seat.session_id, me.id);
  if (!reminders) return <p className="bad">Your reminders are not confirmed yet.</p>;
  return (
    <ul>
      {reminders.map((reminder) => (
        <li key={reminder.id}>
          {reminder.reminder_type}: {when(reminder.due_at, me.time_zone)}, {reminder.email_status}
          {reminder.status_reason && ` (${reminder.status_reason.replaceAll("_", " ")})`}
        </li>
      ))}
    </ul>
  );
}
