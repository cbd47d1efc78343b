/** What later records say of calls: corrections and labels. A correction changes what is derived, never the record. */
import { EntryAnnotated, EntryCorrected } from '../ledger/built-in-events.ts'
import { mergePatch } from '../ledger/corrections.ts'
import { isObject } from '../ledger/entry.ts'
import type { JsonObject } from '../ledger/entry.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { LedgerRecord } from '../ledger/record.ts'
import { recordsBefore, textOf } from './source.ts'

const NOTHING: readonly LedgerRecord[] = []
const LATER_TYPES = [EntryCorrected.type, EntryAnnotated.type]

/** Reads what was said later of records, some at a time. */
export class LaterRecords {
  readonly #ledger: Ledger
  readonly #size: number
  #anything: Promise<boolean> | null = null

  /** @param size records from this position on are left out */
  constructor(ledger: Ledger, size: number) {
    this.#ledger = ledger
    this.#size = size
  }

  /** Corrections and annotations of each, in the order of the ledger. What names another hash than the record's says nothing of it. */
  async of(records: readonly LedgerRecord[]): Promise<(record: LedgerRecord) => readonly LedgerRecord[]> {
    // Most ledgers have none, and asking for each example would cost more than the example.
    this.#anything ??= this.#ledger.count({ type: LATER_TYPES }).then((count) => count > 0)
    if (!(await this.#anything)) return () => NOTHING
    const found = new Map<string, LedgerRecord[]>()
    const hashes = new Map(records.map(({ run_id, hash }) => [run_id, hash]))
    for await (const later of recordsBefore(this.#ledger, { type: LATER_TYPES, causation_id: [...hashes.keys()] }, this.#size)) {
      const about = later.entry?.['about']
      const run_id = isObject(about) ? textOf(about['run_id']) : null
      if (!isObject(about) || run_id === null || hashes.get(run_id) !== about['hash']) continue
      const said = found.get(run_id)
      if (said === undefined) found.set(run_id, [later])
      else said.push(later)
    }
    return ({ run_id }) => found.get(run_id) ?? NOTHING
  }
}

/** The entry, its `training_labels` among it, as these say it, one after the other. */
export function withLater(entry: JsonObject, later: readonly LedgerRecord[]): JsonObject {
  return later.reduce((said, record) => {
    if (EntryCorrected.is(record)) {
      const changes = record.entry?.['changes']
      return isObject(changes) ? (mergePatch(said, changes) as JsonObject) : said
    }
    const labels = record.entry?.['labels']
    if (!isObject(labels)) return said
    const before = isObject(said['training_labels']) ? said['training_labels'] : {}
    return { ...said, training_labels: { ...before, ...labels } }
  }, entry)
}
