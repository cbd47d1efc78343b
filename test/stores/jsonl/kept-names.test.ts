/** What entries named is still searched by when they are archived and the index is made anew, and gone when they are erased. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { RecordFilter, Store } from '../../../src/ledger/store.ts'
import { openJsonlStore } from '../../../src/stores/jsonl/index.ts'
import { linesOf } from '../../../src/testing/checks.ts'
import { linesWithout, restore, withhold } from '../../../src/testing/contract/upkeep-bench.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import { readSense } from '../../../src/verify/record.ts'
import { tempDir } from '../../helpers/temp.ts'

const NAMES = [
  { provider_name: 'north', model_name: 'large' },
  { provider_name: 'south', model_name: 'small' },
  { model_name: 'tiny "4\'' },
  { provider_name: '', model_name: 'large' },
  {},
]
const nameOf = (seq: number): { provider_name?: string; model_name?: string } => (seq === 0 ? {} : NAMES[seq % NAMES.length]!)
const GROUPS: readonly [RecordFilter, (seq: number) => boolean][] = [
  [{ model: ['large'] }, (seq) => nameOf(seq).model_name === 'large'],
  [{ provider: ['north', 'south'] }, (seq) => ['north', 'south'].includes(nameOf(seq).provider_name ?? '')],
  [{ model: ['tiny "4\''] }, (seq) => nameOf(seq).model_name === 'tiny "4\''],
  [{ model: ['large'], provider: ['north'] }, (seq) => nameOf(seq).provider_name === 'north'],
]
const SIZE = 81

async function made(dir: string): Promise<{ store: Store; chain: SampleChain }> {
  const store = await openJsonlStore(dir)
  const chain = new SampleChain()
  await chain.append(store, [LEDGER_CREATED])
  for (let first = 1; first < SIZE; first += 20) {
    const samples = Array.from({ length: 20 }, (_, i) => ({ entry: { i, ...nameOf(first + i) } }))
    await chain.append(store, samples, { newSegment: first > 1 })
  }
  await chain.append(store, [{}], { newSegment: true })
  await store.flush()
  return { store, chain }
}

/** Searched with the index that is there, with one that is made anew, and with none. */
async function expectFound(dir: string, isErased: (seq: number) => boolean = () => false): Promise<void> {
  for (const how of ['as it is', 'anew', 'off'] as const) {
    if (how === 'anew') for (const name of readdirSync(dir)) if (name.startsWith('index.db')) rmSync(join(dir, name))
    const store = await openJsonlStore(dir, { readOnly: how === 'off', ...(how === 'off' ? { index: 'off' } : {}) })
    for (const [filter, fits] of GROUPS) {
      const wanted = Array.from({ length: SIZE }, (_, seq) => seq).filter((seq) => fits(seq) && !isErased(seq))
      for (const reverse of [false, true]) {
        const found = (await linesOf(store, { filter, reverse })).map((line) => readSense(Buffer.from(line)).header.seq)
        expect(found, `${how}: ${JSON.stringify(filter)}`).toEqual(reverse ? wanted.toReversed() : wanted)
      }
      expect(await store.count(filter)).toBe(wanted.length)
    }
    const large = Array.from({ length: SIZE }, (_, seq) => seq).filter((seq) => nameOf(seq).model_name === 'large' && !isErased(seq))
    expect((await store.tally('model', {})).get('large') ?? 0, how).toBe(large.length)
    await store.close()
  }
}

const filesOf = (dir: string): string[] => (existsSync(join(dir, 'names')) ? readdirSync(join(dir, 'names')).sort() : [])

test('archived, archived more, brought back, erased', async () => {
  const dir = join(tempDir(), 'audit')
  const { store, chain } = await made(dir)
  await withhold(store, [
    { first: 3, last: 9 },
    { first: 15, last: 33 },
  ])
  await store.close()
  expect(filesOf(dir).length).toBe(2)
  await expectFound(dir)
  const again = await openJsonlStore(dir)
  await withhold(again, [{ first: 1, last: 60 }])
  await restore(again, chain.records.slice(10, 20))
  expect(await linesOf(again)).toEqual(
    linesWithout(chain, [
      { first: 1, last: 9 },
      { first: 20, last: 60 },
    ]),
  )
  await again.close()
  expect(filesOf(dir).length).toBe(3)
  await expectFound(dir)
  const erasing = await openJsonlStore(dir)
  // Some that are archived, some that are there, some that were brought back.
  await withhold(
    erasing,
    [
      { first: 5, last: 12 },
      { first: 21, last: 70 },
    ],
    { erase: true },
  )
  await erasing.upkeep!.reclaim()
  await erasing.close()
  await expectFound(dir, (seq) => (seq >= 5 && seq <= 12) || (seq >= 21 && seq <= 70))
  const last = await openJsonlStore(dir)
  await withhold(last, [{ first: 1, last: 80 }], { erase: true })
  await last.close()
  expect(filesOf(dir)).toEqual([])
  await expectFound(dir, () => true)
})

test('half a file from a crash is cleared away, and one that is no such file says nothing', async () => {
  const dir = join(tempDir(), 'audit')
  const { store } = await made(dir)
  await withhold(store, [{ first: 1, last: 20 }])
  await store.close()
  const [name] = filesOf(dir)
  const path = join(dir, 'names', name!)
  writeFileSync(`${path}.next`, readFileSync(path).subarray(0, 20))
  for (const text of ['', '{"names":{}}', '{"names":[{"model":"large","ranges":[[1]]}]}', '[]', '\0\0']) {
    writeFileSync(path, text)
    for (const index of readdirSync(dir)) if (index.startsWith('index.db')) rmSync(join(dir, index))
    const writing = await openJsonlStore(dir)
    expect(filesOf(dir)).toEqual([name])
    expect(await writing.count({ model: ['large'] })).toBe(
      Array.from({ length: 60 }, (_, i) => i + 21).filter((seq) => nameOf(seq).model_name === 'large').length,
    )
    await writing.close()
  }
})

test('a segment without names has no such file', async () => {
  const dir = join(tempDir(), 'audit')
  mkdirSync(dir)
  const store = await openJsonlStore(dir)
  const chain = new SampleChain()
  await chain.append(store, [LEDGER_CREATED, { entry: { i: 1 } }, { entry: { i: 2 } }])
  await chain.append(store, [{}], { newSegment: true })
  await withhold(store, [{ first: 1, last: 2 }])
  await store.close()
  expect(filesOf(dir)).toEqual([])
})
