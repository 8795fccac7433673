// The real program in a place of its own: a database and a broker's namespace, or files alone. Everything goes at the end.

import { spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import pg from "pg";
import { event, people } from "./people.mjs";

const ROOT = new URL("../..", import.meta.url).pathname;
const PROGRAM = process.env.CLERK_SYNC ?? join(ROOT, "target/debug/clerk-sync");
const SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
export const TOKEN = "correct-horse-battery-staple";

// Longest wait for anything that should happen: far above what a loaded machine needs.
export const DEADLINE_MS = 30_000;

// Waits for a condition, asking again and again.
export async function until(what, holds, wait_ms = DEADLINE_MS) {
  const end = Date.now() + wait_ms;
  for (;;) {
    const value = await holds();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${wait_ms / 1000} s in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

async function database() {
  const url = new URL(process.env.TEST_DATABASE_URL ?? "postgres://postgres@127.0.0.1:5432/postgres");
  const name = `clerk_sync_browser_${randomBytes(6).toString("hex")}`;
  const admin = new pg.Client({ connectionString: url.href });
  await admin.connect();
  await admin.query(`create database ${name}`);
  const own = new URL(url);
  own.pathname = `/${name}`;
  const client = new pg.Client({ connectionString: own.href });
  await client.connect();
  const drop = async () => {
    await client.end();
    await admin.query(`drop database ${name} with (force)`);
    await admin.end();
  };
  return { url: own.href, client, drop };
}

export class Place {
  // With servers, PostgreSQL and RabbitMQ as TEST_DATABASE_URL and TEST_AMQP_URL say, and a queue that takes events: an old
  // RabbitMQ now and then loses a quorum queue as it is declared, and then another name must do.
  static async started() {
    for (let tries = 1; ; tries++) {
      const place = await (await Place.withServers()).start();
      try {
        await place.deliver("msg_probe", event("user.created", people[0], Date.now()), 5_000);
        await until("the probe is applied", async () => (await place.sql("delete from clerk.events returning 1")).length === 1);
        await place.sql("delete from clerk.users");
        return place;
      } catch (error) {
        await place.stop();
        if (tries === 3) throw error;
      }
    }
  }

  static async withServers() {
    const namespace = `clerk-sync-browser-${randomBytes(6).toString("hex")}`;
    const data = await database();
    const amqp = process.env.TEST_AMQP_URL ?? "amqp://guest:guest@127.0.0.1:5672/%2f";
    return new Place({ DATABASE_URL: data.url, AMQP_URL: amqp, AMQP_NAMESPACE: namespace }, data, namespace);
  }

  static embedded() {
    return new Place({}, null, null);
  }

  constructor(variables, data, namespace) {
    this.directory = mkdtempSync(join(tmpdir(), "clerk-sync-browser-"));
    this.variables = { PATH: process.env.PATH, DATA_DIR: this.directory, HOST: "127.0.0.1", PORT: "0", LOG_FORMAT: "json", ...variables };
    this.data = data;
    this.namespace = namespace;
    this.log = [];
    this.printed = [];
  }

  // Starts a role, with arguments if it is a list, and waits until it is ready.
  async start(role = "serve", more = {}) {
    const env = { ...this.variables, CLERK_WEBHOOK_SIGNING_SECRET: SECRET, ADMIN_TOKEN: TOKEN, ...more };
    this.child = spawn(PROGRAM, [role].flat(), { env, cwd: this.directory, stdio: ["ignore", "pipe", "pipe"] });
    createInterface({ input: this.child.stdout }).on("line", (line) => this.printed.push(line));
    this.ended = new Promise((resolve) => this.child.once("exit", resolve));
    const address = new Promise((resolve, reject) => {
      this.child.once("error", reject);
      this.child.once("exit", () => reject(new Error(`it ended: ${this.log.slice(-5).join("\n")}`)));
      createInterface({ input: this.child.stderr }).on("line", (line) => {
        this.log.push(line);
        const found = line.match(/"address":"([^"]+)"/);
        if (found) resolve(found[1]);
      });
    });
    this.url = `http://${await address}`;
    await until("it is ready", async () => (await fetch(`${this.url}/readyz`)).ok);
    return this;
  }

  async stop() {
    this.child?.kill("SIGTERM");
    await this.ended;
    if (this.namespace) {
      await deleteQueues(this.variables.AMQP_NAMESPACE);
    }
    await this.data?.drop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  // Delivers a body as Svix would.
  async deliver(id, body, wait_ms) {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const seconds = Math.floor(Date.now() / 1000).toString();
    const key = Buffer.from(SECRET.slice("whsec_".length), "base64");
    const signature = createHmac("sha256", key).update(`${id}.${seconds}.${text}`).digest("base64");
    const headers = { "svix-id": id, "svix-timestamp": seconds, "svix-signature": `v1,${signature}` };
    const send = () => fetch(`${this.url}/api/webhooks/clerk`, { method: "POST", headers, body: text });
    // A busy broker now and then refuses an event; Svix would send it again.
    await until(`${id} is taken`, async () => {
      const answer = await send();
      if (!answer.ok && answer.status !== 503) throw new Error(`${id}: ${await answer.text()}`);
      return answer.ok;
    }, wait_ms);
  }

  async api(path) {
    const response = await fetch(this.url + path, { headers: { authorization: `Bearer ${TOKEN}` } });
    return { status: response.status, body: await response.json() };
  }

  // Waits until an event has a line with this status.
  async settled(id, status) {
    return until(`${id} is ${status}`, async () => {
      const { body } = await this.api(`/api/events/${id}`);
      return body.status === status && body;
    });
  }

  async sql(text, values) {
    return (await this.data.client.query(text, values)).rows;
  }
}

// The queues of a namespace stay after its program; rabbitmqctl takes them away.
async function deleteQueues(namespace) {
  const [command, ...first] = (process.env.TEST_RABBITMQCTL ?? "rabbitmqctl").split(" ");
  for (const queue of ["events", "dead", "unrouted", "rescued"]) {
    const child = spawn(command, [...first, "--quiet", "delete_queue", `${namespace}.${queue}`], { stdio: "ignore" });
    await new Promise((resolve) => child.once("exit", resolve).once("error", resolve));
  }
}
