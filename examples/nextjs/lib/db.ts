import { Pool, type QueryResultRow } from "pg";

export type Person = { id: string; email: string; full_name: string; time_zone: string; locale: string };
export type Session = {
  id: string;
  title: string;
  speaker: string | null;
  starts_at: Date;
  time_zone: string;
  join_url: string | null;
  status: "scheduled" | "cancelled";
  revision: number;
  told: number;
};
export type Enrollment = {
  session_id: string;
  user_id: string;
  status: "confirmed" | "cancelled";
  revision: number;
  told: number;
};

const pool = new Pool({ connectionString: process.env.PLATFORM_DATABASE_URL });
const locks = new Pool({ connectionString: process.env.PLATFORM_DATABASE_URL, max: 1 });

export async function query<Row extends QueryResultRow>(sql: string, ...values: unknown[]): Promise<Row[]> {
  return (await pool.query<Row>(sql, values)).rows;
}

/** Runs what nobody else is to do at the same time, in this or in another process. */
export async function alone(work: () => Promise<void>): Promise<void> {
  const client = await locks.connect();
  try {
    await client.query("select pg_advisory_lock(hashtext('tell'))");
    await work();
  } finally {
    client.release(true); // closed, and so the lock is gone
  }
}

export const people = () =>
  query<Person>("select * from auth.users join profiles using (id) order by full_name");

export const sessions = () => query<Session>("select * from sessions order by starts_at");
