/** What the tests of the SQLite store share. */
import { expect } from 'vitest'
import { LedgerError } from '../../../src/ledger/errors.ts'
import type { AuditSink, RecordFilter, Selection, Store } from '../../../src/ledger/store.ts'
import type { Database, DriverName } from '../../../src/stores/sql/driver.ts'
import { openDatabase } from '../../../src/stores/sql/driver.ts'
import { openSqliteStore } from '../../../src/stores/sqlite/index.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import type { Sample } from '../../../src/testing/sample-chain.ts'
import type { Problem } from '../../../src/verify/report.ts'

export const DRIVERS: readonly DriverName[] = ['node:sqlite', 'better-sqlite3']

export async function errorOf(work: () => unknown): Promise<LedgerError> {
  try {
    await work()
  } catch (error) {
    expect(error).toBeInstanceOf(LedgerError)
    return error as LedgerError
  }
  throw new Error('no error')
}

export function everything(filter: RecordFilter = {}, more: Partial<Selection> = {}): Selection {
  return { filter, from: 0, before: Infinity, reverse: false, limit: Infinity, ...more }
}

export async function linesOf(store: Store, selection: Selection = everything()): Promise<string[]> {
  const lines: string[] = []
  for await (const chunk of store.read(selection)) for (const line of chunk) lines.push(Buffer.from(line).toString())
  return lines
}

/** A ledger of `size` records in a closed file, and its chain. */
export async function makeLedger(path: string, size: number, sample: (seq: number) => Sample = () => ({})): Promise<SampleChain> {
  const store = await openSqliteStore(path)
  const chain = new SampleChain()
  await chain.append(store, [LEDGER_CREATED, ...Array.from({ length: size - 1 }, (_, i) => sample(i + 1))])
  await store.close()
  return chain
}

/** Runs SQL on the file with the guards dropped, as whoever owns the file can. */
export async function tamper(path: string, sql: string | ((database: Database) => void)): Promise<void> {
  const database = await openDatabase(path)
  for (const { name } of database.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all())
    database.exec(`DROP TRIGGER ${String(name)}`)
  if (typeof sql === 'string') database.exec(sql)
  else sql(database)
  database.pragma('PRAGMA wal_checkpoint(TRUNCATE)')
  database.close()
}

/** An audit sink that takes notes. */
export class NotingSink implements AuditSink {
  readonly lines: string[] = []
  readonly rows: number[] = []
  readonly problems: Problem[] = []
  readonly files: unknown[] = []
  readonly checked: (string | undefined)[] = []

  file(name: string | null, first_seq: number | null): void {
    this.files.push([name, first_seq])
  }
  line(bytes: Uint8Array, start: number, end: number, position: number): void {
    this.lines.push(Buffer.from(bytes.subarray(start, end)).toString())
    this.rows.push(position)
  }
  unended(): void {
    throw new Error('a table has no unended line')
  }
  problem(problem: Problem): void {
    this.problems.push(problem)
  }
  columnsChecked(missing?: string): void {
    this.checked.push(missing)
  }
}

export async function auditOf(path: string, driver: DriverName = 'node:sqlite'): Promise<NotingSink> {
  const store = await openSqliteStore(path, { readOnly: true, driver })
  const sink = new NotingSink()
  await store.audit(sink)
  await store.close()
  expect(sink.files).toEqual([[null, null]])
  expect(sink.checked).toEqual([undefined])
  return sink
}
