import createClient from "openapi-fetch";
import type { paths } from "./api";
import { alone, people, query, type Enrollment, type Session } from "./db";

/** The API of session-reminders; paths, bodies and answers are typed by its own description. */
const api = createClient<paths>({
  baseUrl: process.env.REMINDERS_URL ?? "http://127.0.0.1:8000",
  headers: { Authorization: `Bearer ${process.env.REMINDERS_API_KEY ?? ""}` },
  fetch: (request) => fetch(request, { cache: "no-store", signal: AbortSignal.timeout(10_000) }),
});

/**
 * Says what has changed and was not confirmed yet.
 *
 * Called after each change has been committed, and by `/api/tell` for those whose call was lost. Every call is
 * safe to repeat, but the last one counts: so one caller at a time, and each row as it is just before its call.
 */
export const tell = () =>
  alone(async () => {
    for (const { id } of await query<Session>("select id from sessions where told < revision")) {
      const [session] = await query<Session>("select * from sessions where id = $1", id);
      if (session && (await isTold(putSession(session))))
        await query("update sessions set told = $2 where id = $1", id, session.revision);
    }
    for (const of of await query<Enrollment>("select * from enrollments where told < revision")) {
      const theirs = "where session_id = $1 and user_id = $2";
      const [seat] = await query<Enrollment>(`select * from enrollments ${theirs}`, of.session_id, of.user_id);
      if (seat && (await isTold(putEnrollment(seat))))
        await query(`update enrollments set told = $3 ${theirs}`, of.session_id, of.user_id, seat.revision);
    }
  });

function putSession(session: Session) {
  return api.PUT("/v1/sessions/{session_id}", {
    params: { path: { session_id: session.id } },
    body: {
      title: session.title,
      speaker_name: session.speaker,
      start_time: session.starts_at.toISOString(),
      time_zone: session.time_zone,
      join_url: session.join_url,
      status: session.status,
    },
  });
}

async function putEnrollment({ session_id, user_id, status }: Enrollment) {
  if (status === "cancelled") {
    const left = await api.DELETE("/v1/enrollments/{session_id}/{user_id}", {
      params: { path: { session_id, user_id } },
    });
    return left.response.status === 404 ? { error: undefined } : left; // it never got there
  }
  const person = (await people()).find((person) => person.id === user_id)!;
  const { email, full_name, time_zone, locale } = person;
  const known = await api.PUT("/v1/users/{user_id}", {
    params: { path: { user_id } },
    body: { email, full_name, time_zone, locale },
  });
  return known.error ? known : api.POST("/v1/enrollments", { body: { session_id, user_id } });
}

async function isTold(call: Promise<{ error?: unknown }>): Promise<boolean> {
  try {
    const { error } = await call;
    if (error) console.error("session-reminders refused:", error);
    return !error;
  } catch (error) {
    console.error("session-reminders did not answer:", error);
    return false;
  }
}

/** A person's reminders of a session, each with its status; null while they are not known. */
export async function remindersOf(session_id: string, user_id: string) {
  try {
    const { data } = await api.GET("/v1/enrollments/{session_id}/{user_id}", {
      params: { path: { session_id, user_id } },
    });
    return data?.reminders ?? null;
  } catch {
    return null;
  }
}
