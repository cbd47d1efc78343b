/** Emmett's SQLite event store: as its documentation opens it (a connection for each call), or with one connection kept. */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { answer, measure, payload, task } from './task.mjs'

const from = createRequire(join(process.cwd(), 'package.json'))
const { getSQLiteEventStore, sqliteConnection, SQLiteConnectionPool } = await import(
  pathToFileURL(from.resolve('@event-driven-io/emmett-sqlite')).href
)
const fileName = join(task.folder, 'emmett.db')
const look = sqliteConnection({ fileName })
// It asks for this itself, but does not wait for the answer; a file that has it once keeps it.
await look.command('PRAGMA journal_mode = WAL')
const store = getSQLiteEventStore(
  task.variant === 'kept connection'
    ? { fileName, pool: SQLiteConnectionPool({ fileName, connectionOptions: { singleton: true, connection: look } }) }
    : { fileName },
)

const eventOf = ({ call, event }) => ({ type: event?.type ?? 'AgentCallCompleted', data: call ?? event })
const seconds = await measure({
  single: (i) => store.appendToStream(payload(i).stream, [eventOf(payload(i))]),
  batch: (first, end) =>
    store.appendToStream(
      `run-${first}`,
      Array.from({ length: end - first }, (_, i) => eventOf(payload(first + i))),
    ),
  read: async () => (await store.readStream('run-0')).events.filter(({ data }) => data !== null).length,
})
const { kept } = await look.querySingle('SELECT count(*) AS kept FROM emt_messages')
const { journal_mode } = await look.querySingle('PRAGMA journal_mode')
const { synchronous } = await look.querySingle('PRAGMA synchronous')
look.close()
answer({ seconds, kept, settings: `journal_mode ${journal_mode}, synchronous ${synchronous}` })
