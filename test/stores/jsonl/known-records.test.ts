/** Memory and index together: bounded where the index follows, complete where it can't. */
import { mkdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { onTestFinished, expect, test } from 'vitest'
import type { LedgerEnd } from '../../../src/stores/jsonl/end.ts'
import { nodeFiles } from '../../../src/stores/jsonl/index.ts'
import { IndexThread } from '../../../src/stores/jsonl/index-thread.ts'
import { KnownRecords } from '../../../src/stores/jsonl/known-records.ts'
import { segmentAt } from '../../../src/stores/jsonl/layout.ts'
import { LedgerIndex } from '../../../src/stores/jsonl/ledger-index.ts'
import { textOf } from '../../../src/testing/checks.ts'
import type { SampleChain } from '../../../src/testing/sample-chain.ts'
import { makeLedger, plain, segmentPath } from '../../helpers/jsonl-ledger.ts'
import { tempDir } from '../../helpers/temp.ts'

/** A ledger of one segment without an index, and its end. */
async function made(records: number): Promise<{ dir: string; chain: SampleChain; end: () => LedgerEnd }> {
  const dir = tempDir()
  const chain = await makeLedger(dir, [plain(records - 1)], { index: 'off' })
  const byte = statSync(segmentPath(dir)).size
  const end = { segments: [segmentAt(dir, 0)], byte, head: chain.head, damage: null }
  return { dir, chain, end: () => end }
}

async function indexOf(dir: string, thread?: IndexThread): Promise<LedgerIndex> {
  const index = await LedgerIndex.open(dir, 'owner', thread)
  onTestFinished(() => index.close(null))
  return index
}

async function findsAll(known: KnownRecords, chain: SampleChain): Promise<void> {
  const { lines } = chain
  const { runs, streams } = await known.find({
    run_ids: ['run-0', 'run-7', `run-${lines.length - 1}`, 'none'],
    streams: ['stream-2', 'none'],
  })
  expect([...runs].map(([run_id, line]) => [run_id, textOf(line)]).toSorted()).toEqual(
    [
      ['run-0', lines[0]],
      ['run-7', lines[7]],
      [`run-${lines.length - 1}`, lines.at(-1)],
    ].toSorted(),
  )
  expect([...streams]).toEqual([['stream-2', chain.lastVersion('stream-2')]])
  expect(known.findNow({ run_ids: ['run-9', 'none'], streams: ['stream-1'] })).toEqual({
    runs: new Map([['run-9', Buffer.from(lines[9] as string)]]),
    streams: new Map([['stream-1', chain.lastVersion('stream-1')]]),
  })
}

test('memory is crowded until the index has followed', async () => {
  const { dir, chain, end } = await made(700)
  const index = await indexOf(dir)
  const known = new KnownRecords({ files: nodeFiles, dir, index, indexed: 0, overlay: null, end, lagRecordsMax: 100 })
  expect([known.isCrowded(100), known.isCrowded(101)]).toEqual([false, true])
  await known.makeRoom()
  expect((await index.position())?.seq).toBe(699)
  expect([known.isCrowded(800), known.isCrowded(801)]).toEqual([false, true])
  await findsAll(known, chain)
})

test('an index that can not be made crowds nobody out, and everything is found', async () => {
  const { dir, chain, end } = await made(700)
  mkdirSync(join(dir, 'index.db'))
  const known = new KnownRecords({ files: nodeFiles, dir, index: await indexOf(dir), indexed: 0, overlay: null, end, lagRecordsMax: 100 })
  expect(known.isCrowded(700)).toBe(true)
  await known.makeRoom()
  // It is not asked again for each append.
  expect([known.isCrowded(725), known.isCrowded(726)]).toEqual([false, true])
  await findsAll(known, chain)
})

test('a gap between index and memory is closed: read at once where it is small, waited for where it is large', async () => {
  const { dir, chain, end } = await made(700)
  for (const lagRecordsMax of [100, 10_000]) {
    rmSync(join(dir, 'index.db'), { force: true })
    const index = await indexOf(dir)
    const known = new KnownRecords({ files: nodeFiles, dir, index, indexed: 0, overlay: null, end, lagRecordsMax })
    await findsAll(known, chain)
    expect((await index.position())?.seq ?? null).toBe(lagRecordsMax === 100 ? 699 : null)
    await known.flush()
    expect((await index.position())?.seq).toBe(699)
    await index.close(null)
  }
})

test('a process that exits closes the gap by itself', async () => {
  const { dir, chain, end } = await made(300)
  const known = new KnownRecords({ files: nodeFiles, dir, index: await indexOf(dir), indexed: 0, overlay: null, end })
  expect(known.findNow({ run_ids: ['run-250'], streams: [] }).runs.get('run-250')?.length).toBe(
    Buffer.byteLength(chain.lines[250] as string),
  )
})

test('the thread does the work', async () => {
  const { dir, end } = await made(600)
  const thread = new IndexThread(dir)
  const index = await indexOf(dir, thread)
  const known = new KnownRecords({ files: nodeFiles, dir, index, indexed: 0, overlay: null, end })
  await known.flush()
  expect([thread.isRunning, thread.isBroken]).toEqual([true, false])
  expect((await index.position())?.seq).toBe(599)
})

test('where the thread can not be started, as in a bundle without its file, the work is done here', async () => {
  const { dir, chain, end } = await made(600)
  const thread = new IndexThread(dir, pathToFileURL(join(dir, 'no-such-file.js')))
  const index = await indexOf(dir, thread)
  const known = new KnownRecords({ files: nodeFiles, dir, index, indexed: 0, overlay: null, end })
  await known.flush()
  expect(thread.isBroken).toBe(true)
  expect((await index.position())?.seq).toBe(599)
  await findsAll(known, chain)
  known.follow()
})
