/** What the tests of connecting share. */
import { expect } from 'vitest'
import { LedgerError } from '../../../src/ledger/errors.ts'
import { connect } from '../../../src/stores/postgres/connect.ts'
import type { ConnectOptions, PostgresConnection } from '../../../src/stores/postgres/connect.ts'
import { parseTarget } from '../../../src/stores/postgres/target.ts'
import type { Environment } from '../../../src/stores/postgres/target.ts'

/** Connects to a URL, once unless said, and closes after the work. */
export async function connected<T>(
  url: string,
  work: (connection: PostgresConnection) => Promise<T>,
  options: Partial<ConnectOptions> = {},
  env: Environment = {},
): Promise<T> {
  const connection = await connect(parseTarget(url, env), { need: 'primary', patience_ms: 0, ...options })
  try {
    return await work(connection)
  } finally {
    await connection.close()
  }
}

/** The LedgerError that this rejects with. */
export async function refusal(work: Promise<unknown>): Promise<LedgerError> {
  const error: unknown = await work.then(
    () => new Error('it was not refused'),
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(LedgerError)
  return error as LedgerError
}

/** As `refusal`, of connecting. */
export function notConnected(url: string, options: Partial<ConnectOptions> = {}, env: Environment = {}): Promise<LedgerError> {
  return refusal(connected(url, () => Promise.resolve(), options, env))
}

/** One statement's first column of its first row, as text. */
export async function ask(connection: PostgresConnection, text: string): Promise<string> {
  const { rows } = await connection.client.query<Record<string, string>>(text)
  return Object.values(rows[0] ?? {})[0] as string
}
