/** JSONL ledgers on real files, to be damaged by tests. */
import { readdirSync, readFileSync, writeFileSync, chmodSync } from 'node:fs'
import { join } from 'node:path'
import type { Store } from '../../src/ledger/store.ts'
import { openJsonlStore } from '../../src/stores/jsonl/index.ts'
import type { JsonlOptions } from '../../src/stores/jsonl/index.ts'
import { LEDGER_CREATED, SampleChain } from '../../src/testing/sample-chain.ts'
import type { Sample } from '../../src/testing/sample-chain.ts'

/** One append of a ledger to be made: its samples, whether they are one append, and whether they begin a segment. */
export interface Step {
  readonly samples: readonly Sample[]
  readonly whole?: boolean
  readonly newSegment?: boolean
}

export function plain(count: number): Step {
  return { samples: Array.from({ length: count }, () => ({})) }
}

/** Makes a ledger and closes it. Its chain goes with it. */
export async function makeLedger(dir: string, steps: readonly Step[], options: JsonlOptions = {}): Promise<SampleChain> {
  const chain = new SampleChain()
  const store = await openJsonlStore(dir, options)
  await chain.append(store, [LEDGER_CREATED])
  for (const { samples, whole = false, newSegment = false } of steps) await chain.append(store, samples, { whole, newSegment })
  await store.close()
  return chain
}

/** Names of the segment files, in order. */
export function segmentNames(dir: string): string[] {
  return readdirSync(join(dir, 'segments')).toSorted()
}

/** Path of the segment file, from the last one back. */
export function segmentPath(dir: string, back = 0): string {
  return join(dir, 'segments', segmentNames(dir).at(-1 - back) as string)
}

/** Changes the bytes of a segment, from the last one back. */
export function damage(dir: string, change: (bytes: Buffer) => Buffer, back = 0): void {
  const path = segmentPath(dir, back)
  chmodSync(path, 0o644)
  writeFileSync(path, change(readFileSync(path)))
}

/** Offsets at which the lines of a file begin, and its length at the end. */
export function lineStarts(bytes: Buffer): number[] {
  const starts = [0]
  for (let at = bytes.indexOf(0x0a); at !== -1; at = bytes.indexOf(0x0a, at + 1)) starts.push(at + 1)
  return starts
}

/** Opens, hands over, closes. */
export async function withStore<Result>(dir: string, options: JsonlOptions, act: (store: Store) => Promise<Result>): Promise<Result> {
  const store = await openJsonlStore(dir, options)
  try {
    return await act(store)
  } finally {
    await store.close()
  }
}
