/** The driver `pg`: a peer that a user may install. Only types of its own are imported. */
import type { Client, ClientConfig } from 'pg'
import { LedgerError } from '../../ledger/errors.ts'

export type { Client, ClientConfig, Query, QueryConfig } from 'pg'

type ClientConstructor = new (config: ClientConfig) => Client

// The name is kept from the type checker and from bundlers: the package is optional.
const PG: string = 'pg'

function missing(name: string, cause: unknown): LedgerError {
  return new LedgerError(
    'unsupported',
    `the driver ${name} can't be loaded: for PostgreSQL install it beside cortex-ledger with "npm install pg@8"`,
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
