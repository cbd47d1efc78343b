/** What upkeep leaves in real files: no byte of what was erased, an index that is right, and nothing in others' way. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { auditStore } from '../../../src/ledger/audit.ts'
import type { Store } from '../../../src/ledger/store.ts'
import { auditLocation } from '../../../src/open-audit.ts'
import { openJsonlStore } from '../../../src/stores/jsonl/index.ts'
import type { JsonlOptions } from '../../../src/stores/jsonl/index.ts'
import { linesOf } from '../../../src/testing/checks.ts'
import { isWithin, linesWithout, naming, restore, upkeepOf, withhold } from '../../../src/testing/contract/upkeep-bench.ts'
import { LEDGER_CREATED, SAMPLE_ORIGIN, SampleChain } from '../../../src/testing/sample-chain.ts'
import { seededRandom } from '../../../src/testing/seeded-random.ts'
import type { Range } from '../../../src/verify/ranges.ts'
import { problemsOf } from '../../helpers/jsonl-model.ts'
import { segmentNames } from '../../helpers/jsonl-ledger.ts'
import { startChild } from '../../helpers/jsonl-process.ts'
import { scale } from '../../helpers/scale.ts'
import { tempDir } from '../../helpers/temp.ts'

/** 60 records in three segments behind record 0, and a live one on top. */
async function made(dir: string, options: JsonlOptions = {}): Promise<{ store: Store; chain: SampleChain }> {
  const store = await openJsonlStore(dir, options)
  const chain = new SampleChain()
  await chain.append(store, [LEDGER_CREATED])
  for (let part = 0; part < 3; part++) {
    const samples = Array.from({ length: 20 }, (_, i) => ({
      tags: [`t${i % 4}`],
      entry: { i, part, text: 'x'.repeat(i * 50), provider_name: `provider-${i % 3}`, model_name: `model-${i % 5}` },
    }))
    await chain.append(store, samples, { newSegment: part > 0 })
  }
  await chain.append(store, [{ actor: 'live' }], { newSegment: true })
  await store.flush()
  return { store, chain }
}

function allFiles(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== 'writer.lock')
    .map((entry) => join(entry.parentPath, entry.name))
}

/** Which of the markers are in which file. */
function found(dir: string, markers: readonly string[]): string[] {
  return allFiles(dir).flatMap((path) => {
    const bytes = readFileSync(path)
    return markers.filter((marker) => bytes.includes(marker)).map((marker) => `${path}: ${marker}`)
  })
}

/** Searches in every way, and compares with a plain reading of the chain. */
async function answersRight(store: Store, chain: SampleChain, gone: readonly Range[], hasNames = true): Promise<void> {
  const lines = linesWithout(chain, gone)
  expect(await linesOf(store)).toEqual(lines)
  const byActor = lines.filter((_, i) => chain.records[i]!.header.actor === 'actor-1')
  expect(await linesOf(store, { filter: { actor: ['actor-1'] } })).toEqual(byActor)
  expect(await linesOf(store, { filter: { tags: ['t2'] }, reverse: true, limit: 9 })).toEqual(
    lines
      .filter((_, i) => chain.records[i]!.header.tags?.includes('t2') === true)
      .toReversed()
      .slice(0, 9),
  )
  const byProvider = lines.filter((_, i) => chain.records[i]!.provider === 'provider-1' && (hasNames || !isWithin(gone, i)))
  expect(await linesOf(store, { filter: { provider: ['provider-1'] } })).toEqual(byProvider)
  expect(await store.count({ provider: ['provider-1'] })).toBe(byProvider.length)
  const run_ids = chain.records.map(({ header }) => header.run_id)
  const { runs } = await store.state({ streams: [], run_ids })
  expect(run_ids.map((run_id) => Buffer.from(runs.get(run_id) ?? []).toString())).toEqual(lines)
}

const GONE = [
  { first: 3, last: 15 },
  { first: 30, last: 34 },
]

test('no byte of what was erased is left in the folder, whatever it was in', async () => {
  const dir = join(tempDir(), 'ledger')
  const { store, chain } = await made(dir)
  const random = seededRandom(Date.now() % 1e9)
  const markers = Array.from({ length: 10 }, () => `marker-${Buffer.from(random.bytes(12)).toString('hex')}`)
  await chain.append(
    store,
    markers.map((marker) => ({ entry: { text: `before ${marker} after`, provider_name: `p-${marker}`, model_name: `m-${marker}` } })),
  )
  await chain.append(store, [{}], { newSegment: true })
  await store.flush()
  const range = { first: 62, last: 71 }
  // As an archived entry lay there once, and what a crash left.
  await withhold(store, [range])
  await restore(store, chain.records.slice(62, 72))
  mkdirSync(join(dir, 'torn'))
  writeFileSync(join(dir, 'torn', '00000000000000000050-0.bin'), `half a line ${markers[0]}`)
  writeFileSync(join(dir, 'segments', '00000000000000000000.jsonl.next'), `half a segment ${markers[1]}`)
  await upkeepOf(store).archive.write('kept', Buffer.from('stays'))
  writeFileSync(join(dir, 'entries', '.half.0123456789abcdef.part'), `half an archive ${markers[2]}`)
  expect(found(dir, markers).length).toBeGreaterThan(20)
  expect((await withhold(store, [range], { erase: true })).records).toBe(10)
  const { bytes_before, bytes_after, left } = await upkeepOf(store).reclaim()
  expect(left).toEqual([])
  expect(bytes_after).toBeLessThan(bytes_before)
  expect(found(dir, markers)).toEqual([])
  await answersRight(store, chain, [range], false)
  await store.close()
  expect(found(dir, markers)).toEqual([])
  expect(readdirSync(join(dir, 'entries'))).toEqual(['kept'])
  expect(readdirSync(join(dir, 'segments')).filter((name) => !name.endsWith('.jsonl'))).toEqual([])
})

test('also where no index is used, and one from before lies there', async () => {
  const dir = join(tempDir(), 'ledger')
  const { store, chain } = await made(dir)
  await store.close()
  expect(found(dir, ['provider-1']).some((path) => path.includes('index.db'))).toBe(true)
  const again = await openJsonlStore(dir, { index: 'off' })
  await chain.append(again, [{}], { newSegment: true })
  const all = { first: 1, last: 61 }
  await withhold(again, [all], { erase: true })
  await upkeepOf(again).reclaim()
  expect(found(dir, ['provider-', 'model-']).filter((path) => !path.includes('00000000000000000062'))).toEqual([])
  await again.close()
})

test('opening for writing removes what a rewriting left', async () => {
  const dir = join(tempDir(), 'ledger')
  const { store, chain } = await made(dir)
  await store.close()
  writeFileSync(join(dir, 'segments', '00000000000000000021.jsonl.next'), 'half')
  mkdirSync(join(dir, 'entries'))
  writeFileSync(join(dir, 'entries', '.half.0123456789abcdef.part'), 'half')
  const reader = await openJsonlStore(dir, { readOnly: true })
  await answersRight(reader, chain, [])
  expect(await problemsOf(reader)).toEqual([])
  await reader.close()
  expect(existsSync(join(dir, 'segments', '00000000000000000021.jsonl.next'))).toBe(true)
  await (await openJsonlStore(dir)).close()
  expect(segmentNames(dir).filter((name) => !name.endsWith('.jsonl'))).toEqual([])
  expect(readdirSync(join(dir, 'entries'))).toEqual([])
})

test('files keep their modes: what was sealed stays read-only', async () => {
  const dir = join(tempDir(), 'ledger')
  const { store } = await made(dir)
  await withhold(store, GONE)
  for (const name of segmentNames(dir).slice(0, 2)) expect(statSync(join(dir, 'segments', name)).mode & 0o777).toBe(0o444)
  await store.close()
})

/** The index as it was before, and the segments as they are after: whoever rewrote them came no further. */
async function withStaleIndex(dir: string): Promise<SampleChain> {
  const { store, chain } = await made(dir)
  await store.close()
  const index = readFileSync(join(dir, 'index.db'))
  const again = await openJsonlStore(dir)
  await withhold(again, GONE)
  await again.close()
  writeFileSync(join(dir, 'index.db'), index)
  return chain
}

function placesIn(dir: string): unknown[] {
  const database = new DatabaseSync(join(dir, 'index.db'), { readOnly: true })
  try {
    return database.prepare('SELECT seq, segment, byte, length, provider, model FROM records ORDER BY seq').all()
  } finally {
    database.close()
  }
}

test.each([true, false])(
  'an index that was not told yet is healed by who asks it (readOnly: %s), and remembers the names',
  async (readOnly) => {
    const dir = join(tempDir(), 'ledger')
    const chain = await withStaleIndex(dir)
    const before = placesIn(dir)
    const store = await openJsonlStore(dir, { readOnly })
    // A process that exits asks with blocking calls.
    const run_ids = chain.records.map(({ header }) => header.run_id)
    const now = store.atExit?.state({ streams: ['stream-1'], run_ids })
    if (now !== undefined) {
      expect(run_ids.map((run_id) => Buffer.from(now.runs.get(run_id) ?? []).toString())).toEqual(linesWithout(chain, GONE))
    }
    await answersRight(store, chain, GONE)
    await answersRight(store, chain, GONE)
    await store.flush()
    await store.close()
    const after = placesIn(dir) as { byte: number; length: number }[]
    expect(after).not.toEqual(before)
    const lines = linesWithout(chain, GONE)
    expect(after.map(({ length }) => length)).toEqual(lines.map((line) => Buffer.byteLength(line)))
    const names = (rows: readonly unknown[]): unknown[] =>
      rows.map((row) => [(row as { provider: unknown }).provider, (row as { model: unknown }).model])
    expect(names(after)).toEqual(names(before))
  },
)

test('also where the record that it ends with lies elsewhere now', async () => {
  const dir = join(tempDir(), 'ledger')
  const { store, chain } = await made(dir)
  await store.close()
  // As if the last segment had not been indexed.
  const database = new DatabaseSync(join(dir, 'index.db'))
  database.exec(`DELETE FROM records WHERE seq = 61; DELETE FROM tags WHERE seq = 61;
    UPDATE meta SET value = (SELECT json_set(value, '$.seq', 60, '$.segment', segment, '$.byte', byte, '$.length', length,
      '$.hash', '${chain.records[60]!.hash}') FROM records WHERE seq = 60) WHERE key = 'position'`)
  database.close()
  const index = readFileSync(join(dir, 'index.db'))
  const again = await openJsonlStore(dir)
  await withhold(again, GONE)
  await withhold(again, [{ first: 45, last: 50 }])
  await again.close()
  writeFileSync(join(dir, 'index.db'), index)
  const ranges = [...GONE, { first: 45, last: 50 }]
  for (const readOnly of [true, false]) {
    const one = await openJsonlStore(dir, { readOnly })
    await answersRight(one, chain, ranges)
    await one.flush()
    await answersRight(one, chain, ranges)
    await one.close()
  }
})

test('an index that is made anew knows provider and model of what is withheld, too', async () => {
  const dir = join(tempDir(), 'ledger')
  const { store, chain } = await made(dir)
  await withhold(store, GONE)
  await answersRight(store, chain, GONE)
  await store.close()
  renameSync(join(dir, 'index.db'), join(dir, '..', 'index.db'))
  const again = await openJsonlStore(dir)
  await again.flush()
  await answersRight(again, chain, GONE)
  await restore(again, chain.records.slice(1, 61))
  await again.close()
})

test('the other verifier reads it, and so do two threads', async () => {
  const dir = join(tempDir(), 'ledger')
  const { store, chain } = await made(dir)
  await chain.append(
    store,
    GONE.map((range) => naming('EntriesArchived', range)),
  )
  await withhold(store, GONE)
  await upkeepOf(store).archive.write('entries-1.jsonl.zst', Buffer.from('no segment'))
  await store.close()
  writeFileSync(join(dir, 'segments', '00000000000000000021.jsonl.next'), 'half')
  const said = execFileSync('python3', [join(import.meta.dirname, '../../../docs/verify.py'), dir], { encoding: 'utf8' })
  expect(said).toContain(`${chain.records.length}`)
  const reader = await openJsonlStore(dir, { readOnly: true })
  const report = await auditLocation(dir, reader, { threads: 2, origin: SAMPLE_ORIGIN })
  expect([report.problems, report.size, report.head]).toEqual([[], chain.head.size, chain.head.hash])
  await reader.close()
})

test('an entry that is put back while it is verified is no finding', async () => {
  const dir = join(tempDir(), 'ledger')
  const { store, chain } = await made(dir)
  const reader = await openJsonlStore(dir, { readOnly: true })
  for (let round = 0; round < scale(8, 100); round++) {
    await chain.append(store, [naming('EntriesArchived', GONE[0]!)])
    await withhold(store, [GONE[0]!])
    const verifying = auditStore(reader, {})
    await restore(store, chain.records.slice(3, 16))
    await chain.append(store, [naming('EntriesRestored', GONE[0]!)])
    expect((await verifying).problems).toEqual([])
  }
  await reader.close()
  await store.close()
})

test('who removes an entry by hand is found, also where entries come and go', async () => {
  const dir = join(tempDir(), 'ledger')
  const { store, chain } = await made(dir)
  await chain.append(store, [naming('EntriesArchived', { first: 3, last: 3 }), naming('EntriesRestored', { first: 3, last: 3 })])
  await withhold(store, [{ first: 3, last: 3 }])
  const report = await auditStore(store, {})
  expect(report.problems.map(({ code, seq }) => [code, seq])).toEqual([['withheld_unnamed', 3]])
  await store.close()
})

test('closing waits for the segment that is being written, and the rest is refused', async () => {
  const dir = join(tempDir(), 'ledger')
  const { store, chain } = await made(dir)
  const steps = upkeepOf(store)
    .withhold([{ first: 1, last: 60 }])
    [Symbol.asyncIterator]()
  expect(await steps.next()).toMatchObject({ value: { records: 20 } })
  const second = steps.next().then(
    ({ value }) => (value as { records: number }).records,
    (error: unknown) => (expect(error).toMatchObject({ code: 'closed' }), 0),
  )
  await store.close()
  const done = 20 + (await second)
  const again = await openJsonlStore(dir)
  const lines = await linesOf(again)
  const gone = lines.filter((line) => line.endsWith('"entry":null}')).length
  expect(gone).toBe(done)
  await withhold(again, [{ first: 1, last: 60 }])
  await answersRight(again, chain, [{ first: 1, last: 60 }])
  await again.close()
})

test('killed again and again while entries come and go: each line is whole, and all is found', async () => {
  const dir = join(tempDir(), 'ledger')
  mkdirSync(dir)
  const random = seededRandom(20261123)
  let archived: readonly { seq: number; entry_text: string }[] = []
  for (let round = 0; round < scale(3, 100); round++) {
    const child = startChild('upkeep', dir)
    expect(await child.next()).toBe('open')
    await new Promise((resolve) => setTimeout(resolve, random.below(scale(250, 400))))
    child.process.kill('SIGKILL')
    await child.ended
    const said = child.said.filter((line) => /^(gone|back) /.test(line)).at(-1)
    archived = JSON.parse(readFileSync(join(dir, 'entries', 'all.json'), 'utf8')) as typeof archived
    for (const readOnly of [true, false]) {
      const store = await openJsonlStore(dir, { readOnly, segmentBytes: 60_000 })
      const lines = await linesOf(store)
      expect((await problemsOf(store)).filter((problem) => !problem.startsWith('withheld_unnamed'))).toEqual([])
      for (const { seq, entry_text } of archived) {
        const line = lines[seq] as string
        expect(line.endsWith(',"entry":null}') || line.endsWith(`,"entry":${entry_text}}`), `line ${seq}`).toBe(true)
      }
      for (const provider of ['provider-0', 'provider-1', 'provider-2']) {
        const count = archived.filter(({ entry_text }) => entry_text.includes(`"${provider}"`)).length
        const named = { filter: { provider: [provider] }, before: archived.length }
        expect((await linesOf(store, named)).length, `${provider} after "${said}"`).toBe(count)
      }
      const run_ids = archived.map(({ seq }) => JSON.parse(lines[seq] as string).header.run_id as string)
      expect((await store.state({ streams: [], run_ids })).runs.size).toBe(archived.length)
      await store.close()
    }
  }
})
