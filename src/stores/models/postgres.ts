/** Read models in tables of a PostgreSQL schema: the ledger's, or another one. */
import { LedgerError } from '../../ledger/errors.ts'
import type { ModelConnection, ModelRow, ModelSql, ModelStore, ModelValue } from '../../ledger/read-model.ts'
import { connect } from '../postgres/connect.ts'
import { quoted } from '../postgres/migrate.ts'
import { ServerClock, Session } from '../postgres/session.ts'
import { parseTarget } from '../postgres/target.ts'
import type { PostgresTarget } from '../postgres/target.ts'

const PATIENCE_MS = 5000
const TIMEOUT_MS = 60_000

class PostgresModels implements ModelConnection {
  readonly #session: Session
  readonly #schema: string

  constructor(session: Session, schema: string) {
    this.#session = session
    this.#schema = schema
  }

  get isLost(): boolean {
    return this.#session.isLost
  }

  sql(text: string, params: readonly ModelValue[] = []): Promise<readonly ModelRow[]> {
    return this.#session.rows(text, params)
  }

  transaction<T>(work: (sql: ModelSql) => Promise<T>): Promise<T> {
    return this.#session.transaction(() => work(this))
  }

  /** Of the session: it is gone when the connection is, and what runs under it goes over this connection. */
  async lock(name: string, message: string): Promise<void> {
    const key = `cortex-ledger read model ${this.#schema} ${name}`
    const [row] = await this.#session.query({ text: 'SELECT pg_try_advisory_lock(hashtextextended($1, 0))' }, [key])
    if (row?.[0] !== 't') throw new LedgerError('locked', message, { lock: name })
  }

  close(): Promise<void> {
    return this.#session.end()
  }
}

/** The right to make the schema is needed only where it is not there. */
async function makeSchema(session: Session, { schema }: PostgresTarget): Promise<void> {
  const [there] = await session.query({ text: 'SELECT FROM pg_namespace WHERE nspname = $1' }, [schema])
  if (there === undefined) await session.query({ text: `CREATE SCHEMA IF NOT EXISTS ${quoted(schema)}` })
}

/** @throws TypeError for a URL that is none */
export function modelsInPostgres(url: string): ModelStore {
  const target = parseTarget(url)
  return {
    location: target.display,
    async connect() {
      const connection = await connect(target, { need: 'primary', patience_ms: PATIENCE_MS, pipeline: false })
      const session = new Session(connection, { display: target.display, clock: new ServerClock(), timeout_ms: TIMEOUT_MS })
      try {
        await makeSchema(session, target)
      } catch (error) {
        await session.end()
        throw error
      }
      return new PostgresModels(session, target.schema)
    },
  }
}
