/** What later records say of calls: corrections and labels. A correction changes what is derived, never the record. */
import type { JsonObject, JsonValue } from '../ledger/entry.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { LedgerRecord } from '../ledger/record.ts'
import { isObject, recordsBefore, textOf } from './source.ts'

/** `target` with the changes: members are put in its place, null takes one away. Source: RFC 7396, section 2. */
function mergePatch(target: JsonValue | undefined, patch: JsonValue): JsonValue {
  if (!isObject(patch)) return patch
  const merged = new Map<string, JsonValue>(Object.entries(isObject(target) ? target : {}))
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name)
    else merged.set(name, mergePatch(merged.get(name), value))
  }
  // Not by assignment: `__proto__` is a name like any other.
  return Object.fromEntries(merged)
}

/** Of one record, in the order of the ledger. */
export interface Later {
  readonly corrections: readonly LedgerRecord[]
  readonly annotations: readonly LedgerRecord[]
}

const NOTHING: Later = { corrections: [], annotations: [] }
const LATER_TYPES = ['EntryCorrected', 'EntryAnnotated'] as const

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

  /** By `run_id`. What names another hash than the record's says nothing of it. */
  async of(records: readonly LedgerRecord[]): Promise<(record: LedgerRecord) => Later> {
    // Most ledgers have none, and asking for each example would cost more than the example.
    this.#anything ??= this.#ledger.count({ type: LATER_TYPES }).then((count) => count > 0)
    if (!(await this.#anything)) return () => NOTHING
    const found = new Map<string, { corrections: LedgerRecord[]; annotations: LedgerRecord[] }>()
    const hashes = new Map(records.map(({ run_id, hash }) => [run_id, hash]))
    for await (const later of recordsBefore(this.#ledger, { type: LATER_TYPES, causation_id: [...hashes.keys()] }, this.#size)) {
      const about = later.entry?.['about']
      if (!isObject(about)) continue
      const run_id = textOf(about['run_id']) ?? ''
      if (hashes.get(run_id) !== about['hash']) continue
      const said = found.get(run_id) ?? { corrections: [], annotations: [] }
      found.set(run_id, said)
      if (later.header.type === 'EntryCorrected') said.corrections.push(later)
      else said.annotations.push(later)
    }
    return ({ run_id }) => found.get(run_id) ?? NOTHING
  }
}

/** The entry with the corrections in their order. */
export function corrected(entry: JsonObject, corrections: readonly LedgerRecord[]): JsonObject {
  return corrections.reduce((changed, { entry: said }) => {
    const changes = said?.['changes']
    return isObject(changes) ? (mergePatch(changed, changes) as JsonObject) : changed
  }, entry)
}
