"use server";

import { revalidatePath } from "next/cache";
import { cookies } from "next/headers";
import { query } from "@/lib/db";
import { tell } from "@/lib/reminders";

/** Commits a change, and then says so: a call in the middle of a transaction might speak of what never happens. */
async function change(sql: string, ...values: unknown[]) {
  await query(sql, ...values);
  await tell();
  revalidatePath("/", "layout");
}

/** Who is asking. A real platform has this from its sign-in. */
export async function be(form: FormData) {
  (await cookies()).set("person", String(form.get("person")));
}

export async function enroll(session: string, person: string) {
  await change(
    `insert into enrollments (session_id, user_id) values ($1, $2)
     on conflict (session_id, user_id) do update set status = 'confirmed', revision = enrollments.revision + 1`,
    session,
    person,
  );
}

export async function leave(session: string, person: string) {
  await change(
    `update enrollments set status = 'cancelled', revision = revision + 1 where session_id = $1 and user_id = $2`,
    session,
    person,
  );
}

/** The form has the time of the session's own zone; PostgreSQL knows which instant that is. */
export async function move(session: string, form: FormData) {
  await change(
    `update sessions set starts_at = $2::timestamp at time zone time_zone, revision = revision + 1 where id = $1`,
    session,
    form.get("start"),
  );
}

export async function cancel(session: string) {
  await change(`update sessions set status = 'cancelled', revision = revision + 1 where id = $1`, session);
}

export async function restore(session: string) {
  await change(`update sessions set status = 'scheduled', revision = revision + 1 where id = $1`, session);
}
