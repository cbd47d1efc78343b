/** Data keys of entries that are under legal hold: to destroy one would erase them, wherever they lie. */
import { keyIdOf } from '../encryption/sealed-entry.ts'
import type { Store } from '../store.ts'
import { readSense } from '../../verify/record.ts'
import { heldError } from './holds.ts'
import type { ActiveHold, LegalHold } from './holds.ts'
import { recordsAt } from './scan.ts'
import type { KeptRecord } from './scan.ts'
import { isTiered } from './tiered-store.ts'
import type { TieredStore } from './tiered-store.ts'

/** The key that the record's entry is under; null where it is in clear, or gone. */
async function keyOf({ tiers }: TieredStore, { seq, line, isWithheld }: KeptRecord): Promise<string | null> {
  const owner = isWithheld && tiers.catalogue.erasedBy(seq) === null ? tiers.catalogue.ownerOf(seq) : null
  if (isWithheld && owner?.kind !== 'file') return null
  const { entry_text } = readSense(owner?.kind === 'file' ? await tiers.whole(owner, seq, line) : line)
  return entry_text === null ? null : keyIdOf(entry_text)
}

/**
 * What a hold may fit, by headers: what an encrypted entry names can't be told, so that it is taken to fit. A hold that
 * comes after this has looked is too late, since a key goes without a record.
 * @throws LedgerError `held`; and as reading a file where such an entry lies in one, since nobody can tell then
 */
export async function refuseHeldKeys(store: Store, ids: readonly string[]): Promise<void> {
  if (!isTiered(store) || ids.length === 0) return
  const { catalogue } = store.tiers
  await catalogue.refresh(store.below)
  const held = new Map<number, readonly ActiveHold[]>()
  for (const { filter } of catalogue.activeHolds) {
    const { provider: _provider, model: _model, ...byHeader } = filter
    for await (const record of recordsAt(store.below, [{ first: 0, last: catalogue.size - 1 }], { filter: byHeader })) {
      if (held.has(record.seq)) continue
      const over = catalogue.holdsOver(record.header, null)
      const key = over.length === 0 ? null : await keyOf(store, record)
      if (key !== null && ids.includes(key)) held.set(record.seq, over)
    }
  }
  const holds = new Set<LegalHold>([...held.values()].flat())
  if (holds.size > 0) throw heldError([...holds], held.size)
}
