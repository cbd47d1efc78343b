/** The ledger's end and appending to it, on one connection. */
import { LedgerError } from '../../ledger/errors.ts'
import type { Head, SealedRecord, StateRequest, StoreState, UnsealedHeader } from '../../ledger/store.ts'
import { textArray, textArrayLiteral } from './arrays.ts'
import type { BindMessage } from './bind-message.ts'
import type { Row } from './bound-query.ts'
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

/** What a record is found by, sealed or not. */
interface FoundBy {
  readonly header: Pick<UnsealedHeader, 'run_id' | 'stream' | 'type' | 'actor' | 'action' | 'outcome'> & {
    readonly correlation_id?: string | undefined
    readonly causation_id?: string | undefined
    readonly tags?: readonly string[] | undefined
  }
  readonly provider: string | null
  readonly model: string | null
}

/** The columns that queries look at, as both ways to append take them: from run_id to tags. */
export function bindFoundBy(message: BindMessage, records: readonly FoundBy[]): void {
  const text = (pick: (record: FoundBy) => string | null | undefined): number => message.textArray(records, pick)
  text(({ header }) => header.run_id)
  text(({ header }) => header.stream)
  text(({ header }) => header.type)
  text(({ header }) => header.actor)
  text(({ header }) => header.action)
  text(({ header }) => header.outcome)
  text(({ header }) => header.correlation_id)
  text(({ header }) => header.causation_id)
  text(({ provider }) => storedName(provider))
  text(({ model }) => storedName(model))
  text(({ header }) => textArrayLiteral(header.tags))
}

/** What `append_records` takes, column by column: a row's values lie side by side in the arrays. */
function bindAppend(message: BindMessage, place: LedgerPlace, records: readonly SealedRecord[], { size, hash }: Head): Buffer {
  message.begin(APPEND.name)
  message.int4(place.id)
  message.int8(size)
  message.text(hash)
  message.text(records.at(-1)?.header.recorded_at ?? '')
  const bytesAt = message.int8(0)
  const text = (pick: (record: SealedRecord) => string | null | undefined): number => message.textArray(records, pick)
  message.timeArray(records, ({ header }) => timeMicros(header.recorded_at))
  message.timeArray(records, ({ header }) => timeMicros(header.timestamp))
  message.int8Array(records, ({ header }) => header.stream_version)
  bindFoundBy(message, records)
  // What a record is, and not what finds it.
  let bytes = text((record) => record.hash)
  bytes += text(({ header_text }) => header_text)
  bytes += text(({ signatures_text }) => signatures_text)
  bytes += text(({ salt }) => salt)
  bytes += text(({ entry_text }) => entry_text)
  message.setInt8(bytesAt, bytes)
  return message.end()
}

/** More than these go over in several statements: the server works at some while the next are put into bytes. */
const STATEMENT_RECORDS = 250

const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/**
 * Appends to the end that the records were sealed for, all or nothing. `begun`: in the transaction that is open on the
 * session, which ends with it. `sent` is called when all of it is on its way.
 * @throws LedgerError `head_moved` where another writer came first, and of the storage
 */
export async function appendRecords(
  session: Session,
  place: LedgerPlace,
  records: readonly SealedRecord[],
  expected: Head,
  { begun = false, sent = () => {} }: { readonly begun?: boolean; readonly sent?: () => void } = {},
): Promise<void> {
  const isTransaction = begun || records.length > STATEMENT_RECORDS
  const answers: Promise<readonly Row[]>[] = []
  const send = (answer: Promise<readonly Row[]>): void => {
    // Told below, in the order of the statements.
    answer.catch(() => {})
    answers.push(answer)
  }
  if (isTransaction && !begun) send(session.query({ text: 'BEGIN' }))
  try {
    await sendParts(session, place, records, expected, send)
  } catch (error) {
    // A part that can't be put into bytes: those before it must not be committed.
    if (isTransaction) await session.query({ text: 'ROLLBACK' }).catch(() => session.destroy())
    throw error
  }
  // Where a part failed the commit rolls back; where the head has moved there is nothing to commit.
  if (isTransaction) send(session.query({ text: 'COMMIT' }))
  sent()
  for (const answer of answers) {
    const [row] = await answer
    if (row !== undefined) requireAppended(session, place, expected, row)
  }
}

async function sendParts(
  session: Session,
  place: LedgerPlace,
  records: readonly SealedRecord[],
  expected: Head,
  send: (answer: Promise<readonly Row[]>) => void,
): Promise<void> {
  let head = expected
  for (let from = 0; from < records.length; from += STATEMENT_RECORDS) {
    // What was written before goes out meanwhile.
    if (from > 0) await turnOfTheLoop()
    const part = records.slice(from, from + STATEMENT_RECORDS)
    send(session.bound(APPEND, (message) => bindAppend(message, place, part, head)))
    const { hash, header } = part.at(-1) as SealedRecord
    head = { size: head.size + part.length, hash, recorded_at: header.recorded_at }
  }
}

/** @throws LedgerError `head_moved` */
function requireAppended(session: Session, place: LedgerPlace, expected: Head, row: Row): void {
  const [appended, size, hash, now_us] = row as [string, string | null, string | null, string]
  session.clock.heard(Number(now_us))
  if (appended === 't') return
  throw new LedgerError('head_moved', `another process appended to ${place.display} first: read the state and seal the records anew`, {
    expected: { size: expected.size, hash: expected.hash },
    found: size === null ? null : { size: Number(size), hash },
  })
}
