// Sends each new user one welcome e-mail. It consumes the changes that clerk-sync publishes; README.md says how it works.

import { setTimeout as sleep } from "node:timers/promises";
import amqp from "amqplib";
import pg from "pg";

const { AMQP_URL, AMQP_NAMESPACE = "clerk-sync", DATABASE_URL, EMAIL_API_URL = "https://api.resend.com/emails", EMAIL_API_KEY, EMAIL_FROM } = process.env;
const EXCHANGE = `${AMQP_NAMESPACE}.changes`;
const QUEUE = `${AMQP_NAMESPACE}-welcome-email`;
// Who signed up before is no new user: a backfill brings them all.
const { NEW_FOR = "1 day" } = process.env;
// Users handled at once.
const AT_ONCE = 5;
const BIND_EVERY_MS = 10_000;

const pool = new pg.Pool({ connectionString: DATABASE_URL, max: AT_ONCE });
// A connection that breaks while it is idle: the next query takes another one.
pool.on("error", (error) => console.error(`database: ${error.message}`));

// Returns whether there was an e-mail to send. Throws if it may work later.
async function send(id, { email, first_name: name }) {
  const response = await fetch(EMAIL_API_URL, {
    method: "POST",
    headers: {
      authorization: `Bearer ${EMAIL_API_KEY}`,
      "content-type": "application/json",
      // With the same key the provider sends nothing again.
      "idempotency-key": `welcome/${id}`,
    },
    body: JSON.stringify({ from: EMAIL_FROM, to: [email], subject: "Welcome", text: `Hello ${name ?? "there"},\n\nwelcome aboard.\n` }),
    signal: AbortSignal.timeout(10_000),
  });
  if (response.ok) return "sent";
  const { name: problem } = await response.json().catch(() => ({}));
  // The key was used, and the user has another name or address since: the e-mail is out.
  if (response.status === 409 && problem === "invalid_idempotent_request") return "sent";
  if (response.status === 422) return "refused";
  throw new Error(`the e-mail provider answers ${response.status}`);
}

// Does all of it for one user, once: the row and the e-mail, or neither.
async function welcome(id) {
  const client = await pool.connect();
  let broken;
  try {
    await client.query("begin");
    // Another copy of this program with the same user waits here until this one commits.
    const { rowCount: isNew } = await client.query("insert into welcome_emails (clerk_id) values ($1) on conflict do nothing", [id]);
    let outcome = "done before";
    if (isNew) {
      const { rows } = await client.query(
        `select email, first_name from clerk.users
          where clerk_id = $1 and deleted_at is null and email is not null and created_at > now() - $2::interval`,
        [id, NEW_FOR],
      );
      outcome = rows.length > 0 ? await send(id, rows[0]) : "skipped";
      await client.query("update welcome_emails set outcome = $2 where clerk_id = $1", [id, outcome]);
    }
    await client.query("commit");
    return outcome;
  } catch (error) {
    broken = await client.query("rollback").then(() => undefined, (error) => error);
    throw error;
  } finally {
    client.release(broken);
  }
}

const connection = await amqp.connect(AMQP_URL);
const channel = await connection.createChannel();
// Without the broker there is nothing to do: whatever runs this program starts it again.
const stop = (why) => {
  console.error(`stopped: ${why}`);
  process.exit(1);
};
connection.on("error", () => {});
connection.on("close", (error) => stop(error?.message ?? "the connection to RabbitMQ is closed"));
channel.on("error", (error) => stop(error.message));

async function handle(message) {
  if (message === null) return stop(`the queue ${QUEUE} was deleted`);
  const { clerk_id: id } = JSON.parse(message.content.toString());
  for (let wait = 500; ; wait = Math.min(wait * 2, 60_000)) {
    try {
      console.log(`${id}: ${await welcome(id)}`);
      break;
    } catch (error) {
      console.error(`${id}: ${error.message}; trying again`);
      await sleep(wait);
    }
  }
  // Only now: if this process dies before, RabbitMQ gives the message to the next one.
  channel.ack(message);
}

// clerk-sync declares the exchange, with CHANGE_FEED=on.
async function bind() {
  await channel.checkExchange(EXCHANGE);
  await channel.bindQueue(QUEUE, EXCHANGE, "users.created");
}

// A process that is killed costs a delivery: RabbitMQ 4 would drop the message after 20.
await channel.assertQueue(QUEUE, { durable: true, arguments: { "x-queue-type": "quorum", "x-delivery-limit": 1_000_000 } });
await bind();
// An exchange that was deleted and declared again has no bindings, and RabbitMQ does not say so.
setInterval(() => bind().catch((error) => stop(error.message)), BIND_EVERY_MS);
await channel.prefetch(AT_ONCE);
await channel.consume(QUEUE, handle);
console.log("waiting for new users");
