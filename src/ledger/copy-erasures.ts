/** What the source has erased since it was copied goes from the copy as well: its record has come along. */
import { countOf, partition } from '../verify/ranges.ts'
import { asToldError, LedgerError } from './errors.ts'
import { Catalogue } from './retention/catalogue.ts'
import type { Store } from './store.ts'

export interface CopyErasures {
  /** Entries that were there and are gone now. */
  readonly erased: number
  /** What could not be done, and why; empty where all is. */
  readonly left: readonly string[]
}

/** May be cut at any point and run again. @throws LedgerError where the copy can't be read */
export async function eraseInCopy(target: Store): Promise<CopyErasures> {
  const catalogue = new Catalogue()
  await catalogue.refresh(target)
  if (catalogue.erased.length === 0) return { erased: 0, left: [] }
  const { upkeep, segment } = target
  if (upkeep === undefined) return { erased: 0, left: [`${target.location} can't take entries away`] }
  // A segment that is being written is not changed, and a copy seals one where its source does.
  const { inside: live, outside: ranges } = partition(catalogue.erased, [{ first: segment?.first_seq ?? Infinity, last: Infinity }])
  const left: string[] = []
  if (live.length > 0)
    left.push(`${countOf(live)} erased records lie in the live segment of ${target.location}: promote it and run retention apply there`)
  let erased = 0
  try {
    for await (const { records } of upkeep.withhold(ranges, { erase: true })) erased += records
    if (erased > 0) left.push(...(await upkeep.reclaim()).left)
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
    left.push(`what was erased is in ${target.location} still: ${asToldError(error).message}`)
  }
  return { erased, left }
}
