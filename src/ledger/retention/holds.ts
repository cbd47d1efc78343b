/**
 * Legal holds: what fits one is neither erased nor moved, however that comes. Placed and released by records of the
 * ledger, so that it is proven when a hold was there. Source: docs/format.md, "The ledger records itself".
 */
import type { RecordHeader } from '../../verify/header.ts'
import type { JsonObject, JsonValue } from '../entry.ts'
import { LedgerError } from '../errors.ts'
import { fitsFilter } from '../filter.ts'
import type { EntryNames } from '../filter.ts'
import { asFilter } from '../query.ts'
import type { Criteria } from '../query.ts'
import type { LedgerRecord } from '../record.ts'
import type { RecordFilter } from '../store.ts'

export interface LegalHold {
  /** `run_id` of the record that placed it. */
  readonly id: string
  readonly criteria: Criteria
  readonly reason: string
  /** The case or matter that it is for. */
  readonly case: string
  readonly placed_at: string
  /** Position of the record that placed it. */
  readonly placed_seq: number
  /** Null while it holds. */
  readonly released_at: string | null
}

/** A hold as it is applied. */
export interface ActiveHold extends LegalHold {
  readonly filter: RecordFilter
}

/** `criteria` in one spelling, as a record has it. @throws TypeError | RangeError */
export function canonicalCriteria(criteria: Criteria): JsonObject {
  if (typeof criteria !== 'object' || criteria === null) throw new TypeError('what it is about is an object, such as { run_id }')
  if (criteria.text !== undefined)
    throw new TypeError('text finds words in entries: say what it is about by what headers have, such as run_id, actor or since')
  const { tags, seq: _, ...rest } = asFilter(criteria)
  const given: [string, JsonValue][] = Object.entries({ ...rest, ...(tags === undefined ? {} : { tag: tags }) }).map(([key, value]) => [
    key,
    Array.isArray(value) ? [...new Set(value as string[])].toSorted() : (value as string),
  ])
  const named = given.filter(([, value]) => !Array.isArray(value) || value.length > 0)
  if (named.length === 0 || named.length < given.length)
    throw new RangeError('say what it is about: a run_id, an actor, since and until, or other criteria; an empty list fits nothing')
  return Object.fromEntries(named)
}

/** The hold that a record places; null where it places none that can be read. */
export function readHold({ header, entry }: LedgerRecord): ActiveHold | null {
  const { criteria, reason, case: matter } = (entry ?? {}) as { readonly [member: string]: unknown }
  if (typeof criteria !== 'object' || criteria === null) return null
  try {
    return {
      id: header.run_id,
      criteria: criteria as Criteria,
      filter: asFilter(criteria as Criteria),
      reason: String(reason ?? ''),
      case: String(matter ?? ''),
      placed_at: header.recorded_at,
      placed_seq: header.seq,
      released_at: null,
    }
  } catch {
    return null
  }
}

function asksForNames({ provider, model }: RecordFilter): boolean {
  return provider !== undefined || model !== undefined
}

/**
 * Whether the hold fits the record. Where nobody can tell what the entry names (`names` null: it is withheld, and can't
 * be read from where it lies), a hold on a provider or a model is taken to fit: better one record too many.
 */
export function isHeldBy({ filter }: ActiveHold, header: RecordHeader, names: EntryNames | null): boolean {
  if (names !== null || !asksForNames(filter)) return fitsFilter(filter, header, names?.provider ?? null, names?.model ?? null)
  const { provider: _provider, model: _model, ...rest } = filter
  return fitsFilter(rest, header, null, null)
}

/** Refuses to erase what is held. */
export function heldError(holds: readonly LegalHold[], records: number): LedgerError {
  const named = holds.map((hold) => `${hold.id} (${hold.case})`).join(', ')
  return new LedgerError(
    'held',
    `${records} ${records === 1 ? 'record is' : 'records are'} under legal hold ${named}: release it first, if it may be. Nothing was erased`,
    { holds: holds.map(({ id }) => id), records },
  )
}
