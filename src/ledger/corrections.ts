/** What later records say of earlier ones: corrections, annotations, and that a call has ended. */
import { EntryAnnotated, EntryCorrected } from './built-in-events.ts'
import { isObject } from './entry.ts'
import type { JsonObject, JsonValue } from './entry.ts'
import { LedgerError } from './errors.ts'
import { LedgerRecord } from './record.ts'
import { readRecords } from './record-reading.ts'
import type { RecordFilter, Store } from './store.ts'

/** A record as it was recorded, and as it reads with what was said of it later. */
export interface CorrectedRecord {
  /** The first record: it stays as it is. */
  readonly record: LedgerRecord
  /** Its entry with the corrections; null where it is withheld. */
  readonly entry: JsonObject | null
  /** `EntryCorrected` records that went into it, in the order of position. */
  readonly corrections: readonly LedgerRecord[]
  readonly annotations: readonly LedgerRecord[]
  /** The entry's `training_labels` with the labels of the annotations; of two of one name the later one. */
  readonly labels: JsonObject
  /** What names this run_id, but counts for nothing: it has another hash, another form, or is withheld itself. */
  readonly unapplied: readonly LedgerRecord[]
}

/** `target` with the changes: members are put in its place, null takes one away. Source: RFC 7396, section 2. */
export function mergePatch(target: JsonValue | undefined, patch: JsonValue): JsonValue {
  if (!isObject(patch)) return patch
  const merged = new Map<string, JsonValue>(Object.entries(isObject(target) ? target : {}))
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name)
    else merged.set(name, mergePatch(merged.get(name), value))
  }
  // Not by assignment: `__proto__` is a name like any other.
  return Object.fromEntries(merged)
}

type Said = { readonly about: { readonly run_id: string; readonly hash: string } }

/** The data where they are about this record, as the definition wants them; null else. */
function saidOf<Data extends Said>(read: (record: LedgerRecord) => Data, later: LedgerRecord, about: LedgerRecord): Data | null {
  try {
    const data = read(later)
    return data.about.run_id === about.run_id && data.about.hash === about.hash ? data : null
  } catch (error) {
    if (error instanceof LedgerError || error instanceof TypeError) return null
    throw error
  }
}

/** @param bounds which corrections count @throws LedgerError `not_found` */
export async function correctedRecord(
  store: Store,
  about: string | LedgerRecord,
  get: (run_id: string) => Promise<LedgerRecord | undefined>,
  bounds: RecordFilter,
): Promise<CorrectedRecord> {
  const record = typeof about === 'string' ? await get(about) : about
  if (!(record instanceof LedgerRecord))
    throw new LedgerError('not_found', `no record has the run_id ${JSON.stringify(about)}: check it, and the times that were asked for`)
  const corrections: LedgerRecord[] = []
  const annotations: LedgerRecord[] = []
  const unapplied: LedgerRecord[] = []
  let entry = record.entry
  let labels = isObject(entry?.['training_labels']) ? entry['training_labels'] : {}
  const filter = { ...bounds, type: [EntryAnnotated.type, EntryCorrected.type], causation_id: [record.run_id] }
  for await (const later of readRecords(store, { filter, from: record.seq + 1, before: Infinity, reverse: false, limit: Infinity })) {
    const correction = EntryCorrected.is(later) ? saidOf(EntryCorrected.read, later, record) : null
    const annotation = EntryAnnotated.is(later) ? saidOf(EntryAnnotated.read, later, record) : null
    if (correction !== null && isObject(correction.changes as JsonValue)) {
      if (entry !== null) entry = mergePatch(entry, correction.changes) as JsonObject
      if (isObject(correction.changes['training_labels'])) labels = mergePatch(labels, correction.changes['training_labels']) as JsonObject
      corrections.push(later)
    } else if (annotation !== null) {
      labels = { ...labels, ...(isObject(annotation.labels as JsonValue) ? annotation.labels : {}) }
      annotations.push(later)
    } else unapplied.push(later)
  }
  return { record, entry, corrections, annotations, labels, unapplied }
}

/** Calls whose end is looked for at once. */
const CALLS_AT_ONCE = 256

/** @param bounded restricts a filter to what is looked at */
export async function* openCallsIn(
  store: Store,
  bounded: (filter: RecordFilter) => RecordFilter,
): AsyncGenerator<LedgerRecord, void, undefined> {
  let started: LedgerRecord[] = []
  // The end is taken first: a call that starts meanwhile is not looked for.
  const { size: before } = (await store.state({ streams: [], run_ids: [] })).head
  const range = { from: 0, before, reverse: false, limit: Infinity }
  for await (const record of readRecords(store, { ...range, filter: bounded({ type: ['AgentCallStarted'] }) })) {
    started.push(record)
    if (started.length < CALLS_AT_ONCE) continue
    yield* withoutEnd(store, started, bounded)
    started = []
  }
  yield* withoutEnd(store, started, bounded)
}

async function* withoutEnd(
  store: Store,
  started: readonly LedgerRecord[],
  bounded: (filter: RecordFilter) => RecordFilter,
): AsyncGenerator<LedgerRecord, void, undefined> {
  const [first] = started
  if (first === undefined) return
  const filter = bounded({ type: ['AgentCallCompleted'], causation_id: started.map(({ run_id }) => run_id) })
  const ended = new Set<string | undefined>()
  for await (const { header } of readRecords(store, { filter, from: first.seq + 1, before: Infinity, reverse: false, limit: Infinity }))
    ended.add(header.causation_id)
  yield* started.filter(({ run_id }) => !ended.has(run_id))
}
