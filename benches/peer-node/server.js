// The usual handler of Clerk's webhooks in Node, as MODE says:
//
//   inline    verify, upsert, answer
//   receiver  verify, publish, answer once the broker has confirmed
//   queued    the same, and a consumer in the same process that upserts row by row
//
// It keeps no record of events, and its table has fewer columns and indexes than clerk-sync's.
import amqp from 'amqplib'
import Fastify from 'fastify'
import pg from 'pg'
import { Webhook } from 'svix'

const { MODE, PORT, QUEUE, AMQP_URL, DATABASE_URL, CLERK_WEBHOOK_SIGNING_SECRET } = process.env
const PREFETCH = 50

const webhook = new Webhook(CLERK_WEBHOOK_SIGNING_SECRET)
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10 })

const TABLE = `
  create table if not exists public.users (
    clerk_id text primary key,
    email text,
    username text,
    first_name text,
    last_name text,
    image_url text,
    public_metadata jsonb,
    created_at timestamptz,
    updated_at timestamptz,
    deleted_at timestamptz,
    data jsonb
  );
  create index if not exists users_email on public.users (email)`

// A named statement is prepared once a connection.
const UPSERT = {
  name: 'upsert',
  text: `
    insert into public.users as u (clerk_id, email, username, first_name, last_name, image_url, public_metadata, created_at, updated_at, data)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    on conflict (clerk_id) do update set
      email = excluded.email, username = excluded.username, first_name = excluded.first_name,
      last_name = excluded.last_name, image_url = excluded.image_url, public_metadata = excluded.public_metadata,
      created_at = excluded.created_at, updated_at = excluded.updated_at, data = excluded.data
    where u.updated_at is null or u.updated_at < excluded.updated_at`,
}

const DELETE = {
  name: 'delete',
  text: `
    insert into public.users (clerk_id, deleted_at) values ($1, $2)
    on conflict (clerk_id) do update set deleted_at = excluded.deleted_at`,
}

function apply({ type, data, timestamp }) {
  if (type === 'user.deleted') {
    return pool.query({ ...DELETE, values: [data.id, new Date(timestamp)] })
  }
  const email = data.email_addresses.find((address) => address.id === data.primary_email_address_id)
  return pool.query({
    ...UPSERT,
    values: [
      data.id,
      email?.email_address ?? null,
      data.username,
      data.first_name,
      data.last_name,
      data.image_url,
      data.public_metadata,
      new Date(data.created_at),
      new Date(data.updated_at),
      data,
    ],
  })
}

async function connect() {
  const connection = await amqp.connect(AMQP_URL)
  const channel = await connection.createConfirmChannel()
  await channel.assertQueue(QUEUE, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
  return { connection, channel }
}

function publisher(channel) {
  return (id, body) =>
    new Promise((resolve, reject) => {
      const options = { persistent: true, mandatory: true, messageId: id, contentType: 'application/json' }
      channel.publish('', QUEUE, body, options, (error) => (error ? reject(error) : resolve()))
    })
}

async function consume(connection) {
  const channel = await connection.createChannel()
  await channel.prefetch(PREFETCH)
  await channel.consume(QUEUE, async (message) => {
    if (message === null) return
    try {
      await apply(JSON.parse(message.content))
      channel.ack(message)
    } catch (error) {
      console.error(error)
      channel.nack(message)
    }
  })
}

const handled = new Set(['user.created', 'user.updated', 'user.deleted'])
const fastify = Fastify({ logger: false, bodyLimit: 1048576 })
// The signature is over the raw bytes.
fastify.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => done(null, body))

await pool.query(TABLE)
let publish
const isQueued = MODE === 'receiver' || MODE === 'queued'
if (isQueued) {
  const { connection, channel } = await connect()
  publish = publisher(channel)
  if (MODE === 'queued') await consume(connection)
}

fastify.post('/webhooks', async (request, reply) => {
  let event
  try {
    event = webhook.verify(request.body, request.headers)
  } catch {
    return reply.code(400).send({ error: 'invalid signature' })
  }
  if (!handled.has(event.type)) return { status: 'ignored' }
  if (isQueued) {
    await publish(request.headers['svix-id'], request.body)
    return { status: 'queued' }
  }
  await apply(event)
  return { status: 'ok' }
})
fastify.get('/healthz', async () => ({ status: 'ok' }))

const address = await fastify.listen({ host: '127.0.0.1', port: Number(PORT) })
console.error(JSON.stringify({ address: new URL(address).host }))

process.on('SIGTERM', () => process.exit(0))
