/** Emmett's PostgreSQL event store, as its documentation opens it: one pool of connections for all callers. */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { answer, measure, payload, task } from './task.mjs'

const from = createRequire(join(process.cwd(), 'package.json'))
const { getPostgreSQLEventStore } = from('@event-driven-io/emmett-postgresql')
const { Client } = from('pg')
const store = getPostgreSQLEventStore(task.url)
await store.schema.migrate()

const eventOf = ({ call, event }) => ({ type: event?.type ?? 'AgentCallCompleted', data: call ?? event })
const seconds = await measure({
  // Its streams are guarded by their version, and callers that meet on one fail: each event gets a stream of its own.
  single: (i) => store.appendToStream(`${payload(i).stream}-${i}`, [eventOf(payload(i))]),
  batch: (first, end) =>
    store.appendToStream(
      `run-${first}`,
      Array.from({ length: end - first }, (_, i) => eventOf(payload(first + i))),
    ),
  read: async () => (await store.readStream('run-0')).events.filter(({ data }) => data !== null).length,
})
await store.close()
const client = new Client({ connectionString: task.url })
await client.connect()
const { rows } = await client.query(`SELECT count(*)::integer AS kept, current_setting('fsync') AS fsync,
  current_setting('synchronous_commit') AS commit FROM emt_messages`)
await client.end()
const [{ kept, fsync, commit }] = rows
answer({ seconds, kept, settings: `a pool of 10 connections, fsync ${fsync}, synchronous_commit ${commit}` })
