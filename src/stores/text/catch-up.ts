/**
 * Brings a text index up to the ledger's end, read through the store's port. Any number of processes may do it at once:
 * what was read is put in only where the index still stands where the reading began.
 */
import type { RecordText } from '../../ledger/record-text.ts'
import { recordText } from '../../ledger/record-text.ts'
import { LedgerRecord } from '../../ledger/record.ts'
import { LedgerError } from '../../ledger/errors.ts'
import type { EntryOpening, Head, Store } from '../../ledger/store.ts'
import type { Database } from '../sql/driver.ts'
import { inTransaction } from '../sql/transaction.ts'
import { INSERT_TEXT, readPosition, rowOf, textMismatch, writePosition } from './text-db.ts'
import type { TextPosition } from './text-db.ts'

/** What one transaction takes: it ends with the record that reaches one of these. */
export interface StepSize {
  readonly records: number
  readonly characters: number
}

/** On a thread of its own. */
export const LARGE_STEP: StepSize = { records: 2000, characters: 2 * 1024 * 1024 }
/** Where the rest of the program waits meanwhile: about 10 ms. */
export const SMALL_STEP: StepSize = { records: 64, characters: 100_000 }

/** A record that can be read; null for a line that is none, which `verify` reports. */
export function readRecord(line: Uint8Array, opening?: EntryOpening): LedgerRecord | null {
  try {
    return new LedgerRecord(line, opening)
  } catch (error) {
    if (error instanceof LedgerError) return null
    throw error
  }
}

export async function headOf(store: Store): Promise<Head> {
  return (await store.state({ streams: [], run_ids: [] })).head
}

/** How far one call goes, and whether it may go on: asked between two steps, when others have their turn as well. */
export interface Pace {
  readonly step: StepSize
  /** Infinity: to the end. */
  readonly stepsMax: number
  readonly isOver: () => boolean
}

/**
 * True where all records that were there at the call are in the index, false where there were more than the pace allows.
 * @throws LedgerError `isBrokenDatabase` where the index is not one of this ledger, `closed` where it is over
 */
export async function catchUp(database: Database, store: Store, pace: Pace): Promise<boolean> {
  for (;;) {
    // In this order: a ledger only grows, so its end is not before that of an index which was made from it.
    const position = readPosition(database)
    const head = await headOf(store)
    if (position.size > head.size || (position.size === head.size && position.hash !== head.hash)) throw textMismatch('its last record')
    if (position.size === head.size) return true
    const ended = await readOn(database, store, position, head, pace)
    if (ended !== 'moved') return ended === 'done'
  }
}

/** `moved`: another process has brought the index on meanwhile. */
async function readOn(
  database: Database,
  store: Store,
  start: TextPosition,
  head: Head,
  { step: size, stepsMax, isOver }: Pace,
): Promise<'done' | 'enough' | 'moved'> {
  let step = new Step(start)
  let steps = 0
  for await (const chunk of store.read({ filter: {}, from: start.size, before: head.size, reverse: false, limit: Infinity })) {
    const opening = await store.entries?.opening(chunk)
    for (const line of chunk) {
      const record = readRecord(line, opening)
      if (record === null || record.seq < step.end.size) continue
      // Each record names the hash of the one before it: that one is the last that the index has, or it is of another ledger.
      if (record.seq === start.size && record.header.previous_hash !== start.hash) throw textMismatch('what follows its last record')
      step.add(record)
      if (!step.isFull(size)) continue
      if (!step.commit(database)) return 'moved'
      if (++steps >= stepsMax) return 'enough'
      step = new Step(step.end)
      await new Promise((resolve) => setImmediate(resolve))
      if (isOver())
        throw new LedgerError('closed', 'the ledger was closed while its full-text index was brought up; the next query goes on with it')
    }
  }
  return step.commit(database) ? 'done' : 'moved'
}

class Step {
  readonly #start: TextPosition
  readonly #rows: [seq: number, text: RecordText][] = []
  #records = 0
  #characters = 0
  end: TextPosition

  constructor(start: TextPosition) {
    this.#start = start
    this.end = start
  }

  add(record: LedgerRecord): void {
    const { seq, hash } = record
    const text = recordText(record)
    if (text !== null) {
      this.#rows.push([seq, text])
      this.#characters += text.prompt.length + text.output.length + text.tools.length + text.data.length
    }
    this.#records++
    this.end = { size: seq + 1, hash, last: text === null ? this.end.last : seq }
  }

  isFull({ records, characters }: StepSize): boolean {
    return this.#records >= records || this.#characters >= characters
  }

  /** False where the index does not stand where this step begins any more. */
  commit(database: Database): boolean {
    if (this.#records === 0) return true
    return inTransaction(database, () => {
      const { size, hash } = readPosition(database)
      if (size !== this.#start.size || hash !== this.#start.hash) return false
      const insert = database.cached(INSERT_TEXT)
      for (const [seq, text] of this.#rows) insert.run(...rowOf(seq, text))
      writePosition(database, this.end)
      return true
    })
  }
}
