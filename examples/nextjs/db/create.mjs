// `npm run db`: makes the platform's database, with three people and three sessions in it.
import { readFile } from "node:fs/promises";
import pg from "pg";

const url = process.env.PLATFORM_DATABASE_URL;
if (!url) throw new Error("set PLATFORM_DATABASE_URL to where the platform's database is to be");
const { database, ...server } = new pg.Client(url).connectionParameters;

async function run(database, sql) {
  const client = new pg.Client({ ...server, database });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

await run("postgres", `create database ${pg.escapeIdentifier(database)}`);
await run(database, await readFile(new URL("schema.sql", import.meta.url), "utf8"));
console.log(`made the database ${database}`);
