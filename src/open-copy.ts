/** Copying a ledger by its location, and making one of a copy. Above the stores, beside src/open.ts (docs/decisions/0006). */
import { sep } from 'node:path'
import { copyLedger as copyStore, promoteReplica } from './ledger/copy.ts'
import type { CopyOptions, CopyReport, PromoteOptions, PromoteReport } from './ledger/copy.ts'
import { tieredStore } from './ledger/retention/tiered-store.ts'
import { locate, openStore, shownLocation } from './open-store.ts'
import { forgetText } from './open-text.ts'
import type { StoreOptions } from './open-store.ts'

export interface CopyLedgerOptions extends CopyOptions, Pick<StoreOptions, 'driver'> {}

export interface PromoteLedgerOptions extends PromoteOptions, Pick<StoreOptions, 'driver'> {}

/** @throws RangeError */
function refuseSamePlace(from: string | URL, to: string | URL): void {
  const [source, target] = [locate(from), locate(to)]
  if (source.kind === 'memory' || target.kind === 'memory')
    throw new RangeError('a ledger in memory is gone with its process: copy from a path or URL to another one')
  const [outer, inner] = [source, target].map((place) => (place.kind === 'postgres' ? shownLocation(place.url) : place.path)) as [
    string,
    string,
  ]
  if (inner === outer || inner.startsWith(outer + sep) || outer.startsWith(inner + sep))
    throw new RangeError(`${inner} and ${outer} are the same, or in one another: copy to a place of its own`)
}

/**
 * Brings the ledger at `to` to where the one at `from` is: a new copy, or the rest of one. All of it is verified at the
 * end. The copy can be read like any ledger; it is recorded in only after `promoteLedger`.
 * @throws LedgerError `already_exists` where there is a ledger at `to` that is no replica; `behind_checkpoint` where the
 *   source has fewer records than its replica; `forked` where it has other ones; `damaged` where the source or the copy
 *   is; `not_found`, `locked`, `disk_full`, `read_only`, `io_error`
 * @throws RangeError where the two are in one another, or one is in memory
 */
export async function copyLedger(from: string | URL, to: string | URL, options: CopyLedgerOptions = {}): Promise<CopyReport> {
  const { driver, ...copying } = options
  refuseSamePlace(from, to)
  // Archive files in the ledger are no records, and are not copied: their entries are copied where they belong.
  const below = await openStore(from, { readOnly: true, index: 'off', driver })
  const source = tieredStore(below, { cold: null, readThrough: false })
  try {
    const target = await openStore(to, { driver })
    try {
      const report = await copyStore(source, target, copying)
      if (report.erased > 0) forgetText(to)
      return report
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}

/**
 * From now on the replica is a ledger of its own, and nobody may write to its source: two that go on from the same
 * records are forked for good.
 * @throws LedgerError `already_exists` where it is no replica; `not_verified` where the last copy did not come to its
 *   end; `not_found`, `locked`, `read_only`, `io_error`
 */
export async function promoteLedger(location: string | URL, options: PromoteLedgerOptions = {}): Promise<PromoteReport> {
  const { driver, ...promoting } = options
  const store = await openStore(location, { create: false, driver })
  try {
    return await promoteReplica(store, promoting)
  } finally {
    await store.close()
  }
}
