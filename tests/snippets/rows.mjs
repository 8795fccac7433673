// Runs the functions of the pages that read rows, on rows that clerk-sync has written.

import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire, register } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const USER = "user_2abcSnippet";
const DEADLINE_MS = 30_000;

// Each takes a Clerk ID and returns the row, or nothing.
const READERS = {
  "README.md": [["query.ts", "user"]],
  "docs/quickstart-nextjs.md": [
    ["lib/users.ts", "userById"],
    ["db/queries.ts", "activeUser"],
    ["lib/prisma.ts", "clerkUser"],
    ["lib/wait.ts", "waitForUser"],
  ],
};

// Makes a database, has clerk-sync write a user to it, calls `use` with the client, and drops it.
async function withUser(pg, use) {
  const server = new URL(process.env.TEST_DATABASE_URL ?? "postgres://postgres@127.0.0.1:5432/postgres");
  const name = `clerk_sync_snippets_${randomBytes(6).toString("hex")}`;
  const own = new URL(server);
  own.pathname = `/${name}`;
  const admin = new pg.Client({ connectionString: server.href });
  await admin.connect();
  await admin.query(`create database ${name}`);
  const directory = mkdtempSync(join(tmpdir(), "clerk-sync-snippets-"));
  const env = { PATH: process.env.PATH, DATA_DIR: directory, PORT: "0", LOG_FORMAT: "json", DATABASE_URL: own.href, CLERK_WEBHOOK_SIGNING_SECRET: SECRET };
  const serving = spawn(process.env.CLERK_SYNC, ["serve"], { env, cwd: directory, stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((resolve) => serving.once("exit", resolve));
  const client = new pg.Client({ connectionString: own.href });
  try {
    const url = await new Promise((resolve, reject) => {
      ended.then(() => reject(new Error("clerk-sync serve ended")));
      createInterface({ input: serving.stderr }).on("line", (line) => {
        const found = line.match(/"address":"([^"]+)"/);
        if (found) resolve(`http://${found[1]}/api/webhooks/clerk`);
      });
    });
    const sent = spawnSync(process.env.CLERK_SYNC, ["send", "user.created", "--user", USER, "--url", url, "--yes"], { env, cwd: directory, encoding: "utf8" });
    if (sent.status !== 0) throw new Error(`clerk-sync send: ${sent.stderr}`);
    await client.connect();
    const end = Date.now() + DEADLINE_MS;
    for (;;) {
      const { rows } = await client.query("select email from clerk.users where clerk_id = $1", [USER]).catch(() => ({ rows: [] }));
      if (rows.length) {
        await use(own.href, rows[0].email);
        return;
      }
      if (Date.now() > end) throw new Error("waited in vain for the row");
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  } finally {
    serving.kill("SIGTERM");
    await ended;
    await client.end();
    await admin.query(`drop database ${name} with (force)`);
    await admin.end();
    rmSync(directory, { recursive: true, force: true });
  }
}

// Runs the readers of the projects: each finds the user, and finds nothing for an ID that is not there.
export async function runAll(folder, projects) {
  const pg = createRequire(join(folder, "package.json"))("pg");
  // Connections of the pages' pools end with their database.
  process.on("uncaughtException", (error) => {
    if (error.code !== "57P01") throw error;
  });
  register("./imports.mjs", import.meta.url);
  await withUser(pg, async (url, email) => {
    process.env.DATABASE_URL = url;
    for (const { page, folder: project } of projects) {
      for (const [file, name] of READERS[page] ?? []) {
        const module = await import(pathToFileURL(join(project, "out", file.replace(/\.ts$/, ".js"))));
        const [found, missing] = [await module[name](USER), await module[name]("user_unknown", 1)];
        if (found?.email !== email) throw new Error(`${page}: ${file}: ${name} found ${JSON.stringify(found)}`);
        if (missing) throw new Error(`${page}: ${file}: ${name} found a user who is not there`);
        console.log(`${page}: ${name} of ${file} reads the row`);
      }
    }
  });
  process.exit(0);
}
