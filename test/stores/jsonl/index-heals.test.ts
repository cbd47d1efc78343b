/** The index is derived: whatever becomes of it, answers stay right, and it comes back by itself. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, test } from 'vitest'
import { fitsFilter, indexedName } from '../../../src/ledger/filter.ts'
import type { RecordFilter, Store } from '../../../src/ledger/store.ts'
import { openJsonlStore } from '../../../src/stores/jsonl/index.ts'
import { LedgerIndex } from '../../../src/stores/jsonl/ledger-index.ts'
import { linesOf, textOf } from '../../../src/testing/checks.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import type { Sample } from '../../../src/testing/sample-chain.ts'
import { seededRandom } from '../../../src/testing/seeded-random.ts'
import { formatLine } from '../../../src/verify/record.ts'
import { damage, makeLedger, plain, withStore } from '../../helpers/jsonl-ledger.ts'
import { problemsOf } from '../../helpers/jsonl-model.ts'
import { scale } from '../../helpers/scale.ts'
import { tempDir } from '../../helpers/temp.ts'

function variety(count: number, seed: number): Sample[] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, () => ({
    stream: `stream-${random.below(30)}`,
    outcome: random.pick(['success', 'failure', 'denied'] as const),
    ...(random.chance(0.5) ? { correlation_id: `task-${random.below(20)}` } : {}),
    ...(random.chance(0.3) ? { tags: ['a', 'b', 'c'].slice(random.below(3)) } : {}),
    timestamp: `2026-0${1 + random.below(9)}-11T10:00:00.000000Z`,
    entry: { provider_name: random.pick(['p1', 'p2', '']), model_name: `m${random.below(4)}`, text: 'x'.repeat(random.below(300)) },
  }))
}

const FILTERS: readonly RecordFilter[] = [
  { actor: ['actor-1'] },
  { outcome: ['failure', 'denied'], stream: ['stream-3', 'stream-4'] },
  { correlation_id: ['task-7'] },
  { tags: ['b', 'c'] },
  { provider: ['p1'], model: ['m2'] },
  { since: '2026-03-01T00:00:00.000000Z', until: '2026-06-01T00:00:00.000000Z' },
  { run_id: ['run-17', 'run-18', 'nobody'] },
  { type: ['LedgerCreated'] },
]

/** What a plain reading of the chain finds: position and line. */
function expected(chain: SampleChain, filters: readonly RecordFilter[]): [seq: number, line: string][][] {
  const found: [number, string][][] = filters.map(() => [])
  for (const [seq, line] of chain.lines.entries()) {
    const { header, entry_text } = chain.records[seq]!
    const { provider_name, model_name } = JSON.parse(entry_text!) as { provider_name?: unknown; model_name?: unknown }
    for (const [i, filter] of filters.entries()) {
      if (fitsFilter(filter, header, indexedName(provider_name), indexedName(model_name))) found[i]!.push([seq, line])
    }
  }
  return found
}

const linesAlone = (found: readonly [number, string][]): string[] => found.map(([, line]) => line)

/** Queries, counts and look-ups against a plain reading of the chain. */
async function answersRight(store: Store, chain: SampleChain): Promise<void> {
  for (const [i, found] of expected(chain, FILTERS).entries()) {
    const filter = FILTERS[i]!
    expect(await linesOf(store, { filter }), JSON.stringify(filter)).toEqual(linesAlone(found))
    expect(await linesOf(store, { filter, reverse: true, limit: 7 })).toEqual(linesAlone(found).toReversed().slice(0, 7))
    const window = found.filter(([seq]) => seq >= 40 && seq < 160)
    expect(await linesOf(store, { filter, from: 40, before: 160 })).toEqual(linesAlone(window))
    expect(await store.count(filter)).toBe(found.length)
  }
  const { lines } = chain
  const { head, runs, streams } = await store.state({ streams: ['stream-3', 'ledger', 'none'], run_ids: ['run-0', 'run-150', 'none'] })
  expect(head).toEqual(chain.head)
  expect(new Map([...runs].map(([run_id, line]) => [run_id, textOf(line)]))).toEqual(
    new Map([
      ['run-0', lines[0]],
      ['run-150', lines[150]],
    ]),
  )
  expect([...streams.keys()].toSorted()).toEqual(['ledger', 'stream-3'])
  expect(streams.get('stream-3')).toBe(chain.lastVersion('stream-3'))
  const tally = await store.tally('outcome', {})
  expect([...tally.values()].reduce((sum, n) => sum + n, 0)).toBe(chain.head.size)
}

async function indexed(store: Store): Promise<{ index_records: unknown; index_lag_records: unknown }> {
  const { index_records, index_lag_records } = await store.describe()
  return { index_records, index_lag_records }
}

/** A ledger of three segments with its index, closed. */
async function made(): Promise<{ dir: string; chain: SampleChain; path: string }> {
  const dir = tempDir()
  const chain = await makeLedger(dir, [
    { samples: variety(100, 1) },
    { samples: variety(60, 2), newSegment: true },
    { samples: variety(30, 3), newSegment: true },
  ])
  return { dir, chain, path: join(dir, 'index.db') }
}

function sql(path: string, ...statements: string[]): void {
  const database = new DatabaseSync(path)
  for (const statement of statements) database.exec(statement)
  database.close()
}

const HARM: Readonly<Record<string, (path: string) => void>> = {
  'nothing at all': () => {},
  'it is deleted': (path) => rmSync(path),
  'it is empty': (path) => truncateSync(path, 0),
  'it is cut in half': (path) => truncateSync(path, Math.floor(statSync(path).size / 2)),
  'it is cut in the middle of a page': (path) => truncateSync(path, 5000),
  'it is garbage': (path) => writeFileSync(path, Buffer.from(seededRandom(1).bytes(50_000))),
  'its first page is garbage': (path) => writeFileSync(path, Buffer.from(readFileSync(path)).fill(0x5a, 0, 4096)),
  'its pages are garbage': (path) => writeFileSync(path, Buffer.from(readFileSync(path)).fill(0x5a, 4096)),
  'it is a database of something else': (path) => {
    rmSync(path)
    sql(path, 'CREATE TABLE records (a)', 'INSERT INTO records VALUES (1)')
  },
  'it is of another version': (path) => sql(path, "UPDATE meta SET value = 'jsonl-index/0' WHERE key = 'schema'"),
  'a table is gone': (path) => sql(path, 'DROP TABLE tags'),
  'its notes are gone': (path) => sql(path, 'DELETE FROM meta'),
  'its position makes no sense': (path) => sql(path, 'UPDATE meta SET value = \'{"seq":"x"}\' WHERE key = \'position\''),
  'its position is ahead of the ledger': (path) =>
    sql(path, "UPDATE meta SET value = json_set(value, '$.seq', 100000) WHERE key = 'position'"),
  'its position is an earlier one': (path) =>
    sql(path, "UPDATE meta SET value = json_set(value, '$.seq', 3, '$.segment', 0, '$.byte', 0, '$.length', 100) WHERE key = 'position'"),
  'its last row is gone': (path) => sql(path, 'DELETE FROM records WHERE seq = (SELECT max(seq) FROM records)'),
  'a row names another place': (path) => sql(path, 'UPDATE records SET byte = byte + 3 WHERE seq = 150'),
  'a row names a place beyond the end': (path) => sql(path, 'UPDATE records SET byte = 99999999 WHERE seq = 150'),
  'a row names a segment that is not there': (path) => sql(path, 'UPDATE records SET segment = 77 WHERE seq = 150'),
  'a row names an absurd length': (path) => sql(path, 'UPDATE records SET length = 9000000000000000 WHERE seq = 150'),
  'rows are swapped': (path) =>
    sql(
      path,
      'UPDATE records SET byte = (SELECT byte FROM records WHERE seq = 149), length = (SELECT length FROM records WHERE seq = 149) WHERE seq = 150',
    ),
  'all actors are one': (path) => sql(path, "UPDATE records SET actor = 'actor-1'"),
  'all columns lie': (path) =>
    sql(
      path,
      "UPDATE records SET outcome = 'failure', stream = 'stream-3', correlation_id = 'task-7', provider = 'p1', model = 'm2', timestamp_us = 1772323200000000",
    ),
  'run_ids lie': (path) =>
    sql(path, "UPDATE records SET run_id = 'run-150' WHERE seq = 10", "UPDATE records SET run_id = 'run-0' WHERE seq = 11"),
  'stream versions lie': (path) => sql(path, 'UPDATE records SET stream_version = stream_version + 5'),
  'rows stand behind its end': (path) =>
    sql(
      path,
      'INSERT INTO records SELECT seq + 1000, segment, byte, length, run_id, stream, stream_version, type, actor, action, outcome, correlation_id, causation_id, timestamp_us, recorded_us, provider, model FROM records',
    ),
}

describe.each(Object.entries(HARM))('%s', (_, harm) => {
  test('answers are right, in a writer and in a reader, and the index is whole again', async () => {
    const { dir, chain, path } = await made()
    for (const readOnly of [true, false]) {
      harm(path)
      await withStore(dir, { readOnly }, async (store) => {
        await answersRight(store, chain)
        if (!readOnly) {
          await chain.append(store, variety(3, 9))
          await answersRight(store, chain)
        }
        await store.flush()
        expect(await indexed(store)).toEqual({ index_records: chain.head.size, index_lag_records: 0 })
      })
    }
  })
})

test('what the index got meanwhile is not counted a second time', async () => {
  const { dir, chain } = await made()
  const index = await LedgerIndex.open(dir, 'guest')
  try {
    // Whoever counts has asked for the records before here, and scans the others; the index went on since.
    for (const before of [1, 100, chain.head.size]) {
      for (const [i, found] of expected(chain, FILTERS).entries()) {
        const fitting = found.filter(([seq]) => seq < before)
        expect(await index.count(FILTERS[i]!, before), JSON.stringify(FILTERS[i])).toBe(fitting.length)
        const tally = await index.tally('outcome', FILTERS[i]!, before)
        expect([...tally.values()].reduce((sum, n) => sum + n, 0)).toBe(fitting.length)
      }
    }
  } finally {
    await index.close(null)
  }
})

test('who looks for records changes nothing, not even the index', async () => {
  const { dir, chain, path } = await made()
  const before = [readdirSync(dir, { recursive: true }).toSorted(), readFileSync(path), statSync(path).mtimeMs]
  await withStore(dir, { readOnly: true }, (store) => answersRight(store, chain))
  expect([readdirSync(dir, { recursive: true }).toSorted(), readFileSync(path), statSync(path).mtimeMs]).toEqual(before)
})

test('an index of another ledger is not believed', async () => {
  const [one, other] = [await made(), await makeLedger(join(tempDir(), 'other'), [plain(400)])]
  const otherDir = tempDir()
  await makeLedger(otherDir, [plain(500)])
  copyFileSync(join(otherDir, 'index.db'), one.path)
  expect(other.head.size).toBe(401)
  await withStore(one.dir, {}, (store) => answersRight(store, one.chain))
})

test('an index of this ledger as it once was is caught up', async () => {
  const { dir, chain, path } = await made()
  const old = readFileSync(path)
  await withStore(dir, {}, (store) => chain.append(store, variety(1500, 4), { newSegment: true }))
  writeFileSync(path, old)
  await withStore(dir, { readOnly: true }, (store) => answersRight(store, chain))
  writeFileSync(path, old)
  await withStore(dir, {}, (store) => answersRight(store, chain))
})

test('an index that is ahead of the segments is made anew', async () => {
  const { dir, chain } = await made()
  // The last append never came to be.
  damage(dir, (bytes) => bytes.subarray(0, bytes.lastIndexOf(0x0a, bytes.length - 2) - 10))
  chain.records.splice(chain.records.length - 2)
  await withStore(dir, {}, async (store) => {
    expect(store.recovered).not.toBe(null)
    expect(await store.count({ outcome: ['success', 'failure', 'denied'] })).toBe(chain.head.size)
    expect(await linesOf(store)).toEqual(chain.lines)
    await store.append(chain.seal([{ stream: 'after' }]), chain.head)
    expect(await store.count({ stream: ['after'] })).toBe(1)
  })
})

test('it is deleted, broken and replaced while the store is open', async () => {
  const { dir, chain, path } = await made()
  await withStore(dir, {}, async (store) => {
    await answersRight(store, chain)
    rmSync(path)
    await answersRight(store, chain)
    rmSync(`${path}-wal`, { force: true })
    rmSync(path)
    writeFileSync(path, 'garbage')
    await chain.append(store, variety(700, 5))
    await answersRight(store, chain)
    await store.flush()
    expect(await indexed(store)).toEqual({ index_records: chain.head.size, index_lag_records: 0 })
  })
})

test('many ask at once while it is removed, broken and made anew again and again', async () => {
  const { dir, chain, path } = await made()
  const random = seededRandom(11)
  for (const readOnly of [false, true]) {
    await withStore(dir, { readOnly }, async (store) => {
      for (let round = 0; round < scale(6, 60); round++) {
        const asking = Array.from({ length: 6 }, () => answersRight(store, chain))
        for (let i = 0; i < 5; i++) {
          await new Promise((resolve) => setTimeout(resolve, random.below(8)))
          const act = random.pick([
            () => rmSync(path, { force: true }),
            () => rmSync(`${path}-wal`, { force: true }),
            () => void store.flush(),
          ])
          act()
        }
        await Promise.all(asking)
      }
    })
  }
})

test('two processes bring it up at the same time', async () => {
  const { dir, chain, path } = await made()
  rmSync(path)
  const stores = await Promise.all([openJsonlStore(dir), openJsonlStore(dir, { readOnly: true }), openJsonlStore(dir, { readOnly: true })])
  await Promise.all(stores.map((store) => answersRight(store, chain)))
  await Promise.all(stores.map((store) => store.close()))
})

describe('where nothing can be written', () => {
  const closed: string[] = []
  afterEach(() => {
    for (const dir of closed.splice(0)) chmodSync(dir, 0o755)
  })

  test('an index that can not be made: everything works by scanning', async () => {
    const { dir, chain, path } = await made()
    rmSync(path)
    // Also for root: where the file should be there is a folder.
    mkdirSync(path)
    for (const readOnly of [true, false]) {
      await withStore(dir, { readOnly }, async (store) => {
        await answersRight(store, chain)
        if (!readOnly) await chain.append(store, variety(2, 7))
        await answersRight(store, chain)
        expect((await indexed(store)).index_records === 0 || (await indexed(store)).index_records === null).toBe(true)
      })
    }
  })

  test('a folder that may only be read is read, verified, and left as it was', async () => {
    const { dir, chain } = await made()
    const names = ['index.db', 'ledger.json', 'segments', 'writer.lock']
    closed.push(dir, join(dir, 'segments'))
    chmodSync(join(dir, 'segments'), 0o555)
    chmodSync(dir, 0o555)
    await withStore(dir, { readOnly: true }, async (store) => {
      await answersRight(store, chain)
      expect(await problemsOf(store)).toEqual([])
    })
    for (const name of names) expect(existsSync(join(dir, name))).toBe(true)
  })
})

test('without an index everything is found by scanning, and no index comes to be', async () => {
  const dir = tempDir()
  const chain = await makeLedger(dir, [{ samples: variety(160, 1) }, { samples: variety(100, 2), newSegment: true }], { index: 'off' })
  for (const readOnly of [true, false]) await withStore(dir, { index: 'off', readOnly }, (store) => answersRight(store, chain))
  expect(existsSync(join(dir, 'index.db'))).toBe(false)
})

test('many records, appended while the index follows: each is found at once', async () => {
  const dir = tempDir()
  await withStore(dir, { segmentBytes: 300_000 }, async (store) => {
    const chain = new SampleChain()
    await chain.append(store, [LEDGER_CREATED])
    const random = seededRandom(3)
    for (let batch = 0; batch < scale(40, 1000); batch++) {
      await chain.append(store, variety(1 + random.below(120), batch), { newSegment: store.segmentFull })
      const seq = random.below(chain.head.size)
      expect(await linesOf(store, { filter: { run_id: [`run-${seq}`] } })).toEqual([formatLine(chain.records[seq]!)])
      const last = chain.head.size - 1
      const { runs } = await store.state({ streams: [], run_ids: [`run-${last}`, `run-${seq}`, 'none'] })
      expect(runs.size).toBe(seq === last ? 1 : 2)
    }
    await store.flush()
    expect(await indexed(store)).toEqual({ index_records: chain.head.size, index_lag_records: 0 })
    await answersRight(store, chain)
  })
})
