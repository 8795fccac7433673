// Runs the functions of the pages that read rows, on rows that clerk-sync has written.

import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
export const USER = "user_2abcSnippet";
export const ORGANIZATION = "org_2abcSnippet";

// Each takes a Clerk ID and returns the row, or nothing.
const READERS = {
  "README.md": [["query.ts", "user"]],
  "docs/quickstart-nextjs.md": [
    ["lib/users.ts", "userById"],
    ["db/queries.ts", "activeUser"],
    ["lib/prisma.ts", "clerkUser"],
  ],
  "docs/sign-up.md": [
    ["lib/clerk-sync.ts", "waitForUser"],
    ["lib/clerk-sync.ts", "refreshUser"],
  ],
};

// What clerk-sync is sent: the user, their organization and their membership.
const SENT = [
  ["user.created", "--user", USER],
  ["organization.created", "--organization", ORGANIZATION],
  ["organizationMembership.created", "--organization", ORGANIZATION, "--user", USER],
];

// The tokens of the server, as the pages name them.
const TOKENS = { ADMIN_TOKEN: "an-admin-token-of-the-pages", READ_TOKEN: "a-read-token-of-the-pages" };

// Clerk's API: this user alone is there, as old as can be, so that the row stays as the event has made it.
async function startClerk() {
  const clerk = createServer((request, response) => {
    const isKnown = request.url === `/v1/users/${USER}`;
    const body = isKnown ? { object: "user", id: USER, created_at: 1, updated_at: 1 } : { errors: [{ code: "resource_not_found" }] };
    response.writeHead(isKnown ? 200 : 404, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise((resolve) => clerk.listen(0, "127.0.0.1", resolve));
  return clerk;
}

// Makes a database, has clerk-sync write rows to it, calls `use` with its URL and the user's address, and drops it.
export async function withRows(pg, use) {
  const server = new URL(process.env.TEST_DATABASE_URL ?? "postgres://postgres@127.0.0.1:5432/postgres");
  const name = `clerk_sync_snippets_${randomBytes(6).toString("hex")}`;
  const own = new URL(server);
  own.pathname = `/${name}`;
  const admin = new pg.Client({ connectionString: server.href });
  await admin.connect();
  await admin.query(`create database ${name}`);
  const directory = mkdtempSync(join(tmpdir(), "clerk-sync-snippets-"));
  const clerk = await startClerk();
  const ofClerk = { CLERK_SECRET_KEY: "sk_test_of_the_pages", CLERK_API_URL: `http://127.0.0.1:${clerk.address().port}/v1` };
  const place = { DATA_DIR: directory, PORT: "0", LOG_FORMAT: "json", DATABASE_URL: own.href, CLERK_WEBHOOK_SIGNING_SECRET: SECRET };
  const env = { PATH: process.env.PATH, ...place, ...ofClerk, ...TOKENS };
  const clerkSync = (...words) => {
    const done = spawnSync(process.env.CLERK_SYNC, words, { env, cwd: directory, encoding: "utf8" });
    if (done.status !== 0) throw new Error(`clerk-sync ${words.join(" ")}: ${done.stdout}${done.stderr}`);
  };
  let serving, ended;
  const client = new pg.Client({ connectionString: own.href });
  try {
    clerkSync("migrate");
    serving = spawn(process.env.CLERK_SYNC, ["serve"], { env, cwd: directory, stdio: ["ignore", "ignore", "pipe"] });
    ended = new Promise((resolve) => serving.once("exit", resolve));
    const url = await new Promise((resolve, reject) => {
      ended.then(() => reject(new Error("clerk-sync serve ended")));
      createInterface({ input: serving.stderr }).on("line", (line) => {
        const found = line.match(/"address":"([^"]+)"/);
        if (found) resolve(`http://${found[1]}/api/webhooks/clerk`);
      });
    });
    // Each returns when a worker has recorded the event.
    for (const words of SENT) clerkSync("send", ...words, "--url", url, "--yes", "--wait");
    await client.connect();
    const { rows } = await client.query("select email from clerk.users where clerk_id = $1", [USER]);
    await use(own.href, rows[0].email, new URL(url).origin);
  } finally {
    serving?.kill("SIGTERM");
    await ended;
    clerk.close();
    await client.end();
    await admin.query(`drop database ${name} with (force)`);
    await admin.end();
    rmSync(directory, { recursive: true, force: true });
  }
}

// Runs the readers of the projects: each finds the user, and finds nothing for an ID that is not there.
export async function readAll(pg, projects) {
  await withRows(pg, async (url, email, clerkSync) => {
    process.env.DATABASE_URL = url;
    process.env.CLERK_SYNC_URL = clerkSync;
    for (const [name, token] of Object.entries(TOKENS)) process.env[`CLERK_SYNC_${name}`] = token;
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
}
