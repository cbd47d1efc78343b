/** What is a ledger, what is none, and what is never written into. */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openJsonlStore } from '../../../src/stores/jsonl/index.ts'
import { linesOf } from '../../../src/testing/checks.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import { makeLedger, plain, segmentNames, segmentPath, withStore } from '../../helpers/jsonl-ledger.ts'
import { problemsOf } from '../../helpers/jsonl-model.ts'
import { tempDir } from '../../helpers/temp.ts'

test('nothing there: not_found, unless it is to be made, folders above it too', async () => {
  const dir = join(tempDir(), 'a', 'b', 'ledger')
  for (const options of [{ readOnly: true }, { create: false }, { readOnly: true, create: true }]) {
    await expect(openJsonlStore(dir, options)).rejects.toMatchObject({ code: 'not_found' })
  }
  expect(readdirSync(join(dir, '../../..'))).toEqual([])
  await withStore(dir, {}, async (store) => {
    expect(store).toMatchObject({ kind: 'jsonl', location: dir, readOnly: false, segmentFull: false, segment: null, recovered: null })
  })
  await withStore(dir, { create: false }, async (store) => expect(await linesOf(store)).toEqual([]))
  await withStore(dir, { readOnly: true }, async (store) => expect(await linesOf(store)).toEqual([]))
})

test('an empty folder is no ledger, and can become one', async () => {
  const dir = tempDir()
  await expect(openJsonlStore(dir, { readOnly: true })).rejects.toMatchObject({ code: 'not_found' })
  await expect(openJsonlStore(dir, { create: false })).rejects.toMatchObject({ code: 'not_found' })
  await makeLedger(dir, [plain(2)])
})

test.each([
  ['a file', (dir: string) => writeFileSync(join(dir, 'notes.txt'), 'mine')],
  ['a folder', (dir: string) => mkdirSync(join(dir, 'src'))],
  [
    'segments of something else',
    (dir: string) => (mkdirSync(join(dir, 'segments')), writeFileSync(join(dir, 'segments', 'a.jsonl'), '{}\n')),
  ],
  [
    'a marker of something else',
    (dir: string) => (writeFileSync(join(dir, 'ledger.json'), '{"format":"beancount"}'), writeFileSync(join(dir, 'x'), '')),
  ],
])('a folder with %s is not a ledger, and is left alone', async (_, fill) => {
  const dir = tempDir()
  fill(dir)
  const before = readdirSync(dir, { recursive: true })
  for (const options of [{}, { readOnly: true }, { create: false }]) {
    await expect(openJsonlStore(dir, options)).rejects.toMatchObject({ code: 'not_a_ledger' })
  }
  expect(readdirSync(dir, { recursive: true })).toEqual(before)
})

test('a ledger of a newer format is refused by name', async () => {
  const dir = tempDir()
  await makeLedger(dir, [])
  writeFileSync(join(dir, 'ledger.json'), '{"format":"cortex-ledger/v2"}')
  for (const readOnly of [true, false]) await expect(openJsonlStore(dir, { readOnly })).rejects.toMatchObject({ code: 'newer_format' })
})

test('a creation that was cut short is begun again, whatever is there of it', async () => {
  for (const names of [['segments'], ['writer.lock'], ['ledger.json'], ['segments', 'ledger.json', 'writer.lock', 'writer.json']]) {
    const dir = tempDir()
    for (const name of names) {
      if (name === 'segments') mkdirSync(join(dir, name))
      else writeFileSync(join(dir, name), '')
    }
    await expect(openJsonlStore(dir, { create: false })).rejects.toMatchObject({ code: 'not_found' })
    await makeLedger(dir, [plain(2)])
  }
})

test('the segments alone suffice', async () => {
  const dir = tempDir()
  const chain = await makeLedger(dir, [plain(70), { ...plain(3), newSegment: true }])
  for (const name of readdirSync(dir)) if (name !== 'segments') rmSync(join(dir, name), { recursive: true })
  await withStore(dir, { readOnly: true }, async (store) => {
    expect(await linesOf(store)).toEqual(chain.lines)
    expect(await store.count({ run_id: ['run-70'] })).toBe(1)
  })
  await withStore(dir, {}, async (store) => {
    await chain.append(store, [{}])
    expect(await linesOf(store)).toEqual(chain.lines)
  })
})

test('a ledger that was moved and copied is the same ledger', async () => {
  const folder = tempDir()
  const chain = await makeLedger(join(folder, 'one'), [plain(5)])
  renameSync(join(folder, 'one'), join(folder, 'two'))
  await withStore(join(folder, 'two'), { create: false }, async (store) => {
    await chain.append(store, [{}])
    expect(await linesOf(store, { filter: { outcome: ['success'] } })).toEqual(chain.lines)
  })
})

test('one exported file is read, searched and verified, and never written', async () => {
  const dir = tempDir()
  const chain = await makeLedger(join(dir, 'ledger'), [plain(300)])
  const path = join(dir, 'export.jsonl')
  copyFileSync(segmentPath(join(dir, 'ledger')), path)
  await expect(openJsonlStore(path)).rejects.toMatchObject({ code: 'not_a_ledger' })
  await withStore(path, { readOnly: true }, async (store) => {
    expect(store).toMatchObject({ kind: 'jsonl', readOnly: true, location: path })
    expect(await linesOf(store)).toEqual(chain.lines)
    expect(await linesOf(store, { filter: { run_id: ['run-200'] } })).toEqual([chain.lines[200]])
    expect(await linesOf(store, { from: 250, reverse: true })).toEqual(chain.lines.slice(250).toReversed())
    const { head, streams, runs } = await store.state({ streams: ['stream-2'], run_ids: ['run-7', 'x'] })
    expect([head, streams.get('stream-2'), runs.size]).toEqual([chain.head, chain.lastVersion('stream-2'), 1])
    expect(await problemsOf(store)).toEqual([])
    expect((await store.describe()).segments).toBe(1)
    await expect(store.append([], head)).rejects.toMatchObject({ code: 'read_only' })
  })
  writeFileSync(path, readFileSync(path).subarray(0, -5))
  await withStore(path, { readOnly: true }, async (store) => expect((await problemsOf(store))[0]).toMatch(/^torn_tail/))
  expect(readdirSync(dir).toSorted()).toEqual(['export.jsonl', 'ledger'])
})

test('an export of a part is read by its positions', async () => {
  const dir = tempDir()
  const chain = await makeLedger(join(dir, 'ledger'), [plain(100)])
  const path = join(dir, 'part.jsonl')
  const part = [...chain.lines.slice(20, 40), ...chain.lines.slice(60, 70)]
  writeFileSync(path, `${part.join('\n')}\n`)
  await withStore(path, { readOnly: true }, async (store) => {
    expect(await linesOf(store)).toEqual(part)
    expect(await linesOf(store, { from: 30, before: 65 })).toEqual([...chain.lines.slice(30, 40), ...chain.lines.slice(60, 65)])
    expect(await linesOf(store, { from: 30, before: 65, reverse: true, limit: 6 })).toEqual([
      ...chain.lines.slice(60, 65).toReversed(),
      chain.lines[39],
    ])
  })
})

test('other files among the segments are left alone', async () => {
  const dir = tempDir()
  const chain = await makeLedger(dir, [plain(3)])
  for (const name of ['notes.txt', '1.jsonl', `${'4'.padStart(20, '0')}.jsonl.gz`, '.DS_Store'])
    writeFileSync(join(dir, 'segments', name), 'x')
  await withStore(dir, {}, async (store) => {
    await chain.append(store, [{}], { newSegment: true })
    expect(await linesOf(store)).toEqual(chain.lines)
    expect(await problemsOf(store)).toEqual([])
  })
  expect(segmentNames(dir).length).toBe(6)
})

test('a size of segments that makes no sense is misuse', async () => {
  await expect(openJsonlStore(tempDir(), { segmentBytes: 0 })).rejects.toThrow(RangeError)
  await expect(openJsonlStore(tempDir(), { segmentBytes: Number.NaN })).rejects.toThrow(RangeError)
})

test('a record that does not stand where it says is misuse, and is not written', async () => {
  await withStore(tempDir(), {}, async (store) => {
    const chain = new SampleChain()
    await chain.append(store, [LEDGER_CREATED])
    const [, second] = chain.seal([{}, {}])
    await expect(store.append([second!], chain.head)).rejects.toThrow(RangeError)
    await chain.append(store, [{}])
    expect(await problemsOf(store)).toEqual([])
  })
})

test('figures tell bytes, segments, what the index has and what was moved aside', async () => {
  const dir = tempDir()
  const chain = await makeLedger(dir, [plain(10), { ...plain(5), newSegment: true }])
  writeFileSync(segmentPath(dir), readFileSync(segmentPath(dir)).subarray(0, -9))
  await withStore(dir, {}, async (store) => {
    await store.flush()
    const bytes = chain.lines.slice(0, -1).join('\n').length + 1
    expect(await store.describe()).toEqual({ kind: 'jsonl', bytes, segments: 2, index_records: 15, index_lag_records: 0, torn_files: 1 })
  })
})
