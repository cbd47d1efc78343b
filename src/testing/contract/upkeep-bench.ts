/** What the cases about upkeep have in common. */
import assert from 'node:assert/strict'
import type { SealedRecord, Store } from '../../ledger/store.ts'
import type { EntryUpkeep, KeptEntry, UpkeepStep, WithholdOptions } from '../../ledger/upkeep.ts'
import { LedgerVerifier } from '../../verify/chain.ts'
import type { Range } from '../../verify/ranges.ts'
import { formatLine } from '../../verify/record.ts'
import type { VerificationReport } from '../../verify/report.ts'
import { assertFinds, assertLines, linesOf, textOf } from '../checks.ts'
import { SAMPLE_ORIGIN, type Sample, type SampleChain } from '../sample-chain.ts'
import { type Bench, persistent, type StoreCapabilities } from './bench.ts'

export const able = ({ upkeep }: StoreCapabilities): boolean => upkeep !== undefined
export const ableAndPersistent = (capabilities: StoreCapabilities): boolean => able(capabilities) && persistent(capabilities)
export const keepsNames = ({ upkeep }: StoreCapabilities): boolean => upkeep?.keepsNames === true

export function upkeepOf(store: Store): EntryUpkeep {
  return store.upkeep ?? assert.fail('the store should have upkeep')
}

/** All steps, taken. */
async function stepsOf(steps: AsyncIterable<UpkeepStep>): Promise<UpkeepStep> {
  let [records, bytes] = [0, 0]
  for await (const step of steps) {
    records += step.records
    bytes += step.bytes
  }
  return { records, bytes }
}

export const withhold = (store: Store, positions: readonly Range[], options?: WithholdOptions): Promise<UpkeepStep> =>
  stepsOf(upkeepOf(store).withhold(positions, options))

export const restore = (store: Store, records: readonly SealedRecord[]): Promise<UpkeepStep> =>
  stepsOf(upkeepOf(store).restore(entriesOf(records)))

export async function* entriesOf(records: readonly SealedRecord[]): AsyncGenerator<readonly KeptEntry[], void, undefined> {
  for (let i = 0; i < records.length; i += 7) {
    const chunk = records.slice(i, i + 7)
    yield chunk.map(({ header, salt, entry_text }) => ({ seq: header.seq, salt: salt ?? '', entry_text: entry_text ?? '' }))
  }
}

/** The line as it is without its entry. */
export function withheldLine(record: SealedRecord): string {
  return formatLine({ ...record, salt: null, entry_text: null })
}

export const isWithin = (ranges: readonly Range[], seq: number): boolean => ranges.some(({ first, last }) => first <= seq && seq <= last)

export function linesWithout(chain: SampleChain, ranges: readonly Range[]): string[] {
  return chain.records.map((record) => (isWithin(ranges, record.header.seq) ? withheldLine(record) : formatLine(record)))
}

export function bytesOf(records: readonly SealedRecord[]): number {
  return records.reduce((sum, { salt, entry_text }) => sum + (salt?.length ?? 0) + Buffer.byteLength(entry_text ?? ''), 0)
}

/** `count` records after record 0, and a new segment behind them, whose one record is on top. */
export async function sealed(
  bench: Bench,
  count: number,
  sample: (i: number) => Sample = () => ({}),
): Promise<{ store: Store; chain: SampleChain }> {
  const { store, chain } = await bench.started()
  const samples = Array.from({ length: count }, (_, i) => sample(i))
  // In several segments, where there are any.
  await chain.append(store, samples.slice(0, count >> 1))
  await chain.append(store, samples.slice(count >> 1), { newSegment: true })
  await chain.append(store, [{ actor: 'live' }], { newSegment: true })
  return { store, chain }
}

export async function assertWithheld(store: Store, chain: SampleChain, ranges: readonly Range[], what = 'lines'): Promise<void> {
  const lines = linesWithout(chain, ranges)
  assertLines(await linesOf(store), lines, what)
  assertLines(await linesOf(store, { reverse: true }), lines.toReversed(), `${what}, newest first`)
  await assertFinds(
    store,
    { actor: ['actor-1'] },
    lines.filter((_, i) => chain.records[i]!.header.actor === 'actor-1'),
    `${what} of one actor`,
  )
  const run_ids = chain.records.map(({ header }) => header.run_id)
  const { head, runs } = await store.state({ streams: [], run_ids })
  assert.deepEqual(head, chain.head)
  assertLines(
    run_ids.map((run_id) => textOf(runs.get(run_id) ?? new Uint8Array())),
    lines,
    `${what} by run_id`,
  )
}

export async function verified(store: Store): Promise<VerificationReport> {
  const verifier = new LedgerVerifier({ origin: SAMPLE_ORIGIN, canonical_entries: true })
  await store.audit(verifier)
  return verifier.finish()
}

export const naming = (type: string, { first, last }: Range): Sample => ({
  stream: 'ledger',
  type,
  actor: 'cortex-ledger',
  action: 'note',
  entry: { ranges: [{ first_seq: first, last_seq: last }] },
})
