/** The drivers `pg` and `pg-copy-streams`: peers that a user may install. Only types of theirs are imported. */
import type { Client, ClientConfig } from 'pg'
import { LedgerError } from '../../ledger/errors.ts'

export type { Client, ClientConfig, Query, QueryConfig } from 'pg'

type ClientConstructor = new (config: ClientConfig) => Client

// The names are kept from the type checker and from bundlers: the packages are optional.
const PG: string = 'pg'
const COPY_STREAMS: string = 'pg-copy-streams'

function missing(name: string, cause: unknown): LedgerError {
  return new LedgerError(
    'unsupported',
    `the driver ${name} can't be loaded: for PostgreSQL install pg and pg-copy-streams beside cortex-ledger with "npm install pg@8 pg-copy-streams@7"`,
    { driver: name, cause },
  )
}

/** @throws LedgerError `unsupported` */
export async function loadPg(): Promise<ClientConstructor> {
  try {
    const { default: pg } = (await import(PG)) as { default: { Client: ClientConstructor } }
    return pg.Client
  } catch (error) {
    throw missing(PG, error)
  }
}

/** @throws LedgerError `unsupported` */
export async function loadCopyStreams(): Promise<typeof import('pg-copy-streams')> {
  try {
    const loaded = (await import(COPY_STREAMS)) as { default?: typeof import('pg-copy-streams') } & typeof import('pg-copy-streams')
    return loaded.default ?? loaded
  } catch (error) {
    throw missing(COPY_STREAMS, error)
  }
}
