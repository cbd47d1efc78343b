/** A filter applied to one record: what an index answers, said plainly. Stores that scan use it, tests hold indexes against it. */
import type { RecordHeader } from '../verify/header.ts'
import type { RecordFilter } from './store.ts'

function within(value: string | undefined | null, wanted: readonly string[] | undefined): boolean {
  return wanted === undefined || (value !== undefined && value !== null && wanted.includes(value))
}

/** True when the record with this header, and these names from its entry, fits every part of the filter. */
export function fitsFilter(filter: RecordFilter, header: RecordHeader, provider: string | null, model: string | null): boolean {
  return (
    (filter.seq === undefined || filter.seq.has(header.seq)) &&
    within(header.run_id, filter.run_id) &&
    within(header.correlation_id, filter.correlation_id) &&
    within(header.causation_id, filter.causation_id) &&
    within(header.actor, filter.actor) &&
    within(header.action, filter.action) &&
    within(header.outcome, filter.outcome) &&
    within(header.type, filter.type) &&
    within(header.stream, filter.stream) &&
    within(provider, filter.provider) &&
    within(model, filter.model) &&
    (filter.tags === undefined || filter.tags.every((tag) => header.tags?.includes(tag) === true)) &&
    // Times are fixed-width UTC, so text order is time order.
    (filter.since === undefined || header.timestamp >= filter.since) &&
    (filter.until === undefined || header.timestamp < filter.until) &&
    (filter.recorded_since === undefined || header.recorded_at >= filter.recorded_since) &&
    (filter.recorded_until === undefined || header.recorded_at < filter.recorded_until)
  )
}

/** True when every record fits. */
export function isEmptyFilter(filter: RecordFilter): boolean {
  return Object.values(filter).every((wanted) => wanted === undefined)
}

/** `provider_name` and `model_name` of an entry as the index has them: a non-empty string, or null. */
export function indexedName(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

/** What an entry names, as the index has it. */
export interface EntryNames {
  readonly provider: string | null
  readonly model: string | null
}

export const NO_NAMES: EntryNames = { provider: null, model: null }

/** Both of them, of an entry's text; null where it is withheld, or no JSON. */
export function indexedNames(entry_text: string | null): EntryNames {
  // An entry that names neither, which is cheap to see, needs no parse.
  if (entry_text === null || !(entry_text.includes('"provider_name":') || entry_text.includes('"model_name":'))) return NO_NAMES
  try {
    const { provider_name, model_name } = JSON.parse(entry_text) as { provider_name?: unknown; model_name?: unknown }
    return { provider: indexedName(provider_name), model: indexedName(model_name) }
  } catch {
    return NO_NAMES
  }
}
