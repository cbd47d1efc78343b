/** The ledger's end and appending to it, on one connection. */
import { LedgerError } from '../../ledger/errors.ts'
import type { Head, SealedRecord, StateRequest, StoreState } from '../../ledger/store.ts'
import { textArray, textArrayLiteral, int8Array, timeArray } from './arrays.ts'
import type { Session } from './session.ts'
import { timeMicros } from '../../ledger/micros.ts'

/** Which row of `ledgers`, and how it is called in messages. */
export interface LedgerPlace {
  readonly id: number
  readonly display: string
  /** This role may see headers only: lines come without salt and entry. Absent: it sees all. */
  readonly headersOnly?: boolean
}

const APPEND = {
  name: 'cortex_append',
  text: `SELECT appended, size, hash, now_us FROM append_records($1, $2, $3, $4, $5, ${Array.from({ length: 19 }, (_, i) => `$${i + 6}`).join(', ')})`,
}
const STATE_COLUMNS = 'kind, key, number, line'
const READ_STATE = { name: 'cortex_state', text: `SELECT ${STATE_COLUMNS} FROM read_state($1, $2, $3)` }
const LOCK_STATE = { name: 'cortex_lock', text: `SELECT ${STATE_COLUMNS} FROM lock_state($1, $2, $3)` }
const HASH_AT = {
  name: 'cortex_hash_at',
  text: 'SELECT hash FROM audit_log WHERE ledger_id = $1 AND seq = $2 ORDER BY recorded_at LIMIT 1',
}

/** The hash of the record at a position; null where there is none. */
export async function hashAt(session: Session, { id }: LedgerPlace, seq: number): Promise<string | null> {
  const [row] = await session.query(HASH_AT, [id, seq])
  return row?.[0] ?? null
}

/** A text that no record can hold can't be a parameter either: PostgreSQL has no NUL, and UTF-8 no unpaired surrogate. */
export function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed()
}

/** A name of an entry as its column has it: what no column can hold must not keep the record out. */
export function storedName(name: string | null): string | null {
  return name !== null && isStorable(name) ? name : null
}

/**
 * One view of the ledger's end. `locked`: nobody else appends until the transaction ends that this is in.
 * @throws LedgerError `damaged` where the head row is gone
 */
export async function readState(session: Session, place: LedgerPlace, request: StateRequest, isLocked = false): Promise<StoreState> {
  const wanted = [request.streams, request.run_ids].map((texts) => textArray(texts.filter(isStorable)))
  const rows = await session.query(isLocked ? LOCK_STATE : READ_STATE, [place.id, ...wanted])
  let head: Head | null = null
  let now: number | null = null
  const streams = new Map<string, number>()
  const runs = new Map<string, Uint8Array>()
  for (const [kind, key, number, line] of rows as [string, string, string | null, string | null][]) {
    if (kind === 'head') head = { size: Number(number), hash: key, recorded_at: line }
    else if (kind === 'now') now = Number(number)
    else if (kind === 'stream') streams.set(key, Number(number))
    else if (line !== null) runs.set(key, Buffer.from(line))
  }
  if (head === null)
    throw new LedgerError('damaged', `the head of ${place.display} is gone from the table heads, so nothing can be chained: run verify`)
  if (now !== null) session.clock.heard(now)
  return { head, streams, runs, now }
}

/** What `append_records` takes, column by column: a row's values lie side by side in the arrays. */
function parameters(records: readonly SealedRecord[]): Buffer[] {
  const text = (pick: (record: SealedRecord) => string | null | undefined): Buffer =>
    textArray(records.map((record) => pick(record) ?? null))
  return [
    timeArray(records.map(({ header }) => timeMicros(header.recorded_at))),
    timeArray(records.map(({ header }) => timeMicros(header.timestamp))),
    int8Array(records.map(({ header }) => header.stream_version)),
    text(({ header }) => header.run_id),
    text(({ header }) => header.stream),
    text(({ header }) => header.type),
    text(({ header }) => header.actor),
    text(({ header }) => header.action),
    text(({ header }) => header.outcome),
    text(({ header }) => header.correlation_id),
    text(({ header }) => header.causation_id),
    text(({ provider }) => storedName(provider)),
    text(({ model }) => storedName(model)),
    text(({ header }) => textArrayLiteral(header.tags)),
    text(({ hash }) => hash),
    text(({ header_text }) => header_text),
    text(({ signatures_text }) => signatures_text),
    text(({ salt }) => salt),
    text(({ entry_text }) => entry_text),
  ]
}

/** The last columns: hash, header, signatures, salt, entry. */
const TEXTS_OF_RECORD = 5

/**
 * Appends to the end that the records were sealed for, in one statement and one transaction of its own (or in the one
 * that is open on the session).
 * @throws LedgerError `head_moved` where another writer came first, and of the storage
 */
export async function appendRecords(session: Session, place: LedgerPlace, records: readonly SealedRecord[], expected: Head): Promise<void> {
  const last = records.at(-1)
  if (last === undefined) return
  const columns = parameters(records)
  // What a record is, and not what finds it.
  const bytes = columns.slice(-TEXTS_OF_RECORD).reduce((sum, { length }) => sum + length, 0)
  const values = [place.id, expected.size, expected.hash, last.header.recorded_at, bytes, ...columns]
  const [row] = await session.query(APPEND, values)
  const [appended, size, hash, now_us] = row as [string, string | null, string | null, string]
  session.clock.heard(Number(now_us))
  if (appended === 't') return
  throw new LedgerError('head_moved', `another process appended to ${place.display} first: read the state and seal the records anew`, {
    expected: { size: expected.size, hash: expected.hash },
    found: size === null ? null : { size: Number(size), hash },
  })
}
