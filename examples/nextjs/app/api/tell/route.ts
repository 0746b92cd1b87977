import { query } from "@/lib/db";
import { tell } from "@/lib/reminders";

/** For a cron job, every minute: repeats the calls that were lost. */
export async function POST() {
  await tell();
  const [left] = await query<{ count: number }>(
    `select (select count(*) from sessions where told < revision)::int
          + (select count(*) from enrollments where told < revision)::int as count`,
  );
  return Response.json({ left: left?.count }, { status: left?.count ? 503 : 200 });
}
