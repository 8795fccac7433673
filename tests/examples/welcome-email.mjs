// Runs examples/welcome-email beside clerk-sync, RabbitMQ and PostgreSQL, kills it in the middle, and counts the e-mails.
//
// scripts/check-examples calls it with the folder where the example and its packages are. The e-mail provider is a server here. It
// treats idempotency keys as Resend does: the same answer for the same key and body, 409 for another body or while one is in progress.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [FOLDER] = process.argv.slice(2);
const require = createRequire(join(FOLDER, "package.json"));
const pg = require("pg");
const amqp = require("amqplib");

const SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const KEY = "re_an_example";
const USERS = 120;
const DEADLINE_MS = 60_000;

async function until(what, holds) {
  const end = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited ${DEADLINE_MS / 1000} s in vain: ${what}`);
    await sleep(20);
  }
}

// The e-mail provider.
class Provider {
  // By idempotency key: the body of the e-mail that went out, and how often it was asked for.
  sent = new Map();
  requests = new Map();
  // Keys whose e-mail goes out while the answer is kept back; resolved by `release`.
  held = new Set();
  holdsAfter = Infinity;
  failures = 0;
  #answers = [];

  async start() {
    this.server = createServer(async (request, response) => {
      let text = "";
      for await (const part of request) text += part;
      const answer = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      if (request.headers.authorization !== `Bearer ${KEY}`) return answer(401, { name: "missing_api_key" });
      const key = request.headers["idempotency-key"];
      this.requests.set(key, (this.requests.get(key) ?? 0) + 1);
      if (this.failures > 0) {
        this.failures -= 1;
        return answer(500, { name: "application_error" });
      }
      if (this.held.has(key)) return answer(409, { name: "concurrent_idempotent_requests" });
      const before = this.sent.get(key);
      if (before !== undefined) return before === text ? answer(200, { id: key }) : answer(409, { name: "invalid_idempotent_request" });
      if (JSON.parse(text).to[0].startsWith("refused")) return answer(422, { name: "validation_error" });
      this.sent.set(key, text);
      if (this.sent.size <= this.holdsAfter) return answer(200, { id: key });
      this.held.add(key);
      this.#answers.push(() => {
        this.held.delete(key);
        answer(200, { id: key });
      });
    });
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${this.server.address().port}/emails`;
  }

  // From so many e-mails on, it sends them and keeps its answers back.
  holdAfter(emails) {
    this.holdsAfter = emails;
  }

  release() {
    this.holdsAfter = Infinity;
    for (const answer of this.#answers.splice(0)) answer();
  }
}

// A process whose lines are kept.
function start(name, program, words, env) {
  const child = spawn(program, words, { cwd: FOLDER, env, stdio: ["ignore", "pipe", "pipe"] });
  const lines = [];
  for (const from of [child.stdout, child.stderr]) createInterface({ input: from }).on("line", (line) => lines.push(line));
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
  const says = (what) => until(`${name} says "${what}"; it said:\n${lines.slice(-20).join("\n")}`, () => lines.some((line) => line.includes(what)));
  const stop = async (signal) => {
    child.kill(signal);
    return ended;
  };
  return { lines, says, stop, ended };
}

const server = new URL(process.env.TEST_DATABASE_URL ?? "postgres://postgres@127.0.0.1:5432/postgres");
const broker = process.env.TEST_AMQP_URL ?? "amqp://guest:guest@127.0.0.1:5672";
const id = randomBytes(6).toString("hex");
const [database, namespace] = [`clerk_sync_example_${id}`, `clerk-sync-example-${id}`];
const own = new URL(server);
own.pathname = `/${database}`;
const admin = new pg.Client({ connectionString: server.href });
await admin.connect();
await admin.query(`create database ${database}`);
const directory = mkdtempSync(join(tmpdir(), "clerk-sync-example-"));
const env = { PATH: process.env.PATH, DATABASE_URL: own.href, AMQP_URL: broker, AMQP_NAMESPACE: namespace };
const ofClerkSync = { ...env, DATA_DIR: directory, PORT: "0", LOG_FORMAT: "json", CHANGE_FEED: "on", CLERK_WEBHOOK_SIGNING_SECRET: SECRET };
const provider = new Provider();
const client = new pg.Client({ connectionString: own.href });
// The database is dropped below, while connections may be open.
client.on("error", () => {});
const connection = await amqp.connect(broker);
const running = [];

const clerkSync = (...words) => {
  const done = spawnSync(process.env.CLERK_SYNC, words, { env: ofClerkSync, cwd: directory, encoding: "utf8" });
  assert.equal(done.status, 0, `clerk-sync ${words.join(" ")}: ${done.stdout}${done.stderr}`);
};
const query = async (text, ...values) => (await client.query(text, values)).rows;

try {
  await provider.start();
  clerkSync("migrate");
  const serve = start("clerk-sync", process.env.CLERK_SYNC, ["serve"], ofClerkSync);
  running.push(serve);
  await serve.says('"address"');
  const url = `http://${serve.lines.join("\n").match(/"address":"([^"]+)"/)[1]}/api/webhooks/clerk`;
  const send = (...words) => clerkSync("send", ...words, "--url", url, "--yes", "--wait");
  await client.connect();
  await client.query(readFileSync(join(FOLDER, "schema.sql"), "utf8"));

  const ofExample = { ...env, EMAIL_API_URL: provider.url, EMAIL_API_KEY: KEY, EMAIL_FROM: "Example <hello@example.com>" };
  // The sample users signed up within the last years.
  const startExample = async (more = { NEW_FOR: "20 years" }) => {
    const example = start("the example", process.execPath, ["welcome-email.mjs"], { ...ofExample, ...more });
    running.push(example);
    await example.says("waiting for new users");
    return example;
  };
  const killed = async (example) => assert.equal(await example.stop("SIGKILL"), "SIGKILL");

  // Its queue is there from now on. What comes while it is dead waits.
  await until("the exchange is there", async () => {
    const channel = await connection.createChannel();
    channel.on("error", () => {});
    return channel.checkExchange(`${namespace}.changes`).then(() => channel.close().then(() => true), () => false);
  });
  let example = await startExample();
  await killed(example);
  send("user.created", "--count", String(USERS), "--users", String(USERS), "--duplicate", "--shuffle");
  // One is gone before the e-mail, one has no address any more.
  const [gone, bare, moved] = await query("select clerk_id, email from clerk.users where email is not null order by clerk_id limit 3");
  send("user.deleted", "--user", gone.clerk_id);
  await query("update clerk.users set email = null where clerk_id = $1", bare.clerk_id);
  const wanted = await query("select clerk_id from clerk.users where email is not null and deleted_at is null");
  assert.ok(wanted.length > USERS / 2, `${wanted.length} users have an address`);

  // Killed three times, each time when e-mails are out and nothing says so yet.
  for (const emails of [0, 30, 60]) {
    provider.holdAfter(emails);
    example = await startExample();
    await until("e-mails are out without an answer", () => provider.held.size === 5);
    await killed(example);
    provider.release();
  }
  const repeated = [...provider.sent.keys()].at(-1).replace("welcome/", "");
  // Meanwhile the user of such an e-mail has got another name.
  await query("update clerk.users set first_name = 'Another' where clerk_id = $1", repeated);
  // A provider that fails, and two copies at once.
  provider.failures = 3;
  const copies = [await startExample(), await startExample()];
  const undone = "select count(*)::int from clerk.users u left join welcome_emails w using (clerk_id) where w.clerk_id is null";
  await until("every user is done", async () => (await query(undone))[0].count === 0);

  // clerk-sync may publish a change again.
  const channel = await connection.createConfirmChannel();
  const again = { table_name: "users", change: "created", clerk_id: moved.clerk_id, fields: [] };
  for (const copy of [1, 2, 3]) channel.publish(`${namespace}.changes`, "users.created", Buffer.from(JSON.stringify({ ...again, id: copy })));
  await channel.waitForConfirms();
  const queue = `${namespace}-welcome-email`;
  const outcomes = (what) => copies.flatMap((copy) => copy.lines).filter((line) => line.endsWith(what)).length;
  await until("the repeated changes are done", () => outcomes(": done before") >= 3);

  const keys = [...provider.sent.keys()].sort();
  assert.deepEqual(keys, wanted.map((user) => `welcome/${user.clerk_id}`).sort(), "each new user has one e-mail, and no other user");
  const twice = [...provider.requests].filter(([, requests]) => requests > 1).length;
  assert.ok(twice >= 15, `${twice} e-mails were asked for again after a kill: the test has killed too late`);
  const counts = await query("select outcome, count(*)::int from welcome_emails group by 1 order by 1");
  assert.deepEqual(counts, [{ outcome: "sent", count: wanted.length }, { outcome: "skipped", count: USERS - wanted.length }]);
  for (const copy of copies) await copy.stop("SIGTERM");

  // A user whom a backfill brings is no new one, and an address that the provider refuses is no reason to stop.
  const before = provider.sent.size;
  const made = (clerkId, email, age) =>
    query("insert into clerk.users (clerk_id, email, created_at, updated_at, synced_at) values ($1, $2, now() - $3::interval, now(), now())", clerkId, email, age);
  await made("user_old", "old@example.com", "2 days");
  await made("user_refused", "refused@example.com", "1 minute");
  example = await startExample({});
  for (const user of ["user_old", "user_refused"]) {
    channel.publish(`${namespace}.changes`, "users.created", Buffer.from(JSON.stringify({ ...again, clerk_id: user })));
  }
  await until("both are done", async () => (await query(undone))[0].count === 0);
  const [old, refused] = await query("select outcome from welcome_emails where clerk_id in ('user_old', 'user_refused') order by clerk_id");
  assert.deepEqual([old.outcome, refused.outcome, provider.sent.size], ["skipped", "refused", before]);
  await until("the queue is empty", async () => (await channel.checkQueue(queue)).messageCount === 0);

  // The exchange is deleted, with its bindings, and is there again: the queue is bound again.
  await Promise.all([channel.deleteExchange(`${namespace}.changes`), channel.assertExchange(`${namespace}.changes`, "topic")]);
  const unbound = [];
  channel.on("return", (message) => unbound.push(message));
  const repeat = Buffer.from(JSON.stringify({ ...again, id: 4 }));
  const doneBefore = () => example.lines.filter((line) => line.endsWith(": done before")).length;
  const asBefore = doneBefore();
  await until("the queue is bound again", async () => {
    channel.publish(`${namespace}.changes`, "users.created", repeat, { mandatory: true });
    await channel.waitForConfirms();
    return doneBefore() > asBefore;
  });
  assert.ok(unbound.length > 0, "the exchange had lost its bindings");
  await until("the queue is empty again", async () => (await channel.checkQueue(queue)).messageCount === 0);

  // The provider of "Try it" prints the e-mail.
  const printing = start("the printing provider", process.execPath, ["print-emails.mjs"], env);
  running.push(printing);
  await printing.says("printing e-mails at");
  const address = printing.lines.join("\n").match(/http:\S+/)[0];
  const asked = await fetch(address, { method: "POST", headers: { "idempotency-key": "welcome/user_tried" }, body: "an e-mail" });
  assert.equal(asked.status, 200);
  await printing.says("welcome/user_tried an e-mail");

  // Without its queue it ends, and says why.
  await channel.deleteQueue(queue);
  assert.equal(await example.ended, 1);
  assert.match(example.lines.at(-1), /the queue .* was deleted/);
  console.log(`welcome-email: ${keys.length} e-mails for ${keys.length} new users, after 4 kills; ${twice} were asked for more than once`);
} catch (error) {
  for (const process of running) console.error(process.lines.slice(-20).join("\n"));
  throw error;
} finally {
  for (const process of running) await process.stop("SIGKILL");
  const channel = await connection.createChannel();
  for (const queue of ["-welcome-email", ".events", ".dead", ".unrouted"]) await channel.deleteQueue(namespace + queue);
  for (const exchange of [".changes", ".events", ".dead", ".unrouted"]) await channel.deleteExchange(namespace + exchange);
  await connection.close();
  await client.end();
  await admin.query(`drop database ${database} with (force)`);
  await admin.end();
  provider.server?.close();
  rmSync(directory, { recursive: true, force: true });
}
