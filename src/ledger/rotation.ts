import { draftOwnRecord, OWN_ACTOR } from './draft.ts'
import type { Draft, DraftContext } from './draft.ts'
import { LedgerRecord } from './record.ts'
import type { Head, Selection, Store } from './store.ts'
import { Writer } from './writer.ts'
import type { WriterOptions } from './writer.ts'

/** What a writer may gather and hold, and who hears of it. */
export type WriterSettings = Pick<WriterOptions, 'queue' | 'batch' | 'signing' | 'answered' | 'inclusion'> & {
  /** Makes it; a plain `Writer` unless said. */
  readonly make?: ((store: Store, options: WriterOptions) => Writer) | undefined
}

/** The writer of a ledger, with the records that it puts in by itself: one for all who write, so that none is left out. */
export function writerOver(store: Store, drafting: DraftContext, { make, ...settings }: WriterSettings = {}): Writer {
  const options: WriterOptions = {
    now: () => drafting.now(),
    noteClock: (from, to) => draftOwnRecord('ClockMovedBack', 'note_clock', OWN_ACTOR, { from, to }, drafting),
    sealSegment: (head) => sealingDraft(store, drafting, head),
    ...settings,
  }
  return make === undefined ? new Writer(store, options) : make(store, options)
}

/** The record that seals the live segment, or null where it holds nothing but the seal of the one before. */
async function sealingDraft(store: Store, drafting: DraftContext, head: Head): Promise<Draft | null> {
  const first_seq = store.segment?.first_seq ?? (await behindLastSeal(store, head))
  const last_seq = head.size - 1
  // An empty segment file needs its seal in front, so a full store is always obeyed; on demand only what holds something is sealed.
  if (!store.segmentFull && last_seq - first_seq < (first_seq === 0 ? 0 : 1)) return null
  const data = { first_seq, last_seq, last_hash: head.hash, ...(store.segment === null ? {} : { segment: store.segment.name }) }
  return draftOwnRecord('SegmentSealed', 'seal_segment', OWN_ACTOR, data, drafting)
}

/** Where segments are logical only: the position behind what was sealed last. */
async function behindLastSeal(store: Store, head: Head): Promise<number> {
  const last: Selection = { filter: { type: ['SegmentSealed'] }, from: 0, before: head.size, reverse: true, limit: 1 }
  for await (const [line] of store.read(last)) {
    if (line !== undefined) return Number(new LedgerRecord(line).entry?.['last_seq'] ?? -1) + 1
  }
  return 0
}
