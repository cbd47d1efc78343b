/** What verification is given of a ledger in any state: every byte, in place, and nothing is changed. */
import { appendFileSync, chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LedgerError } from '../../../src/ledger/errors.ts'
import type { AuditSink, Store } from '../../../src/ledger/store.ts'
import { nodeFiles, openJsonlStore } from '../../../src/stores/jsonl/index.ts'
import type { FilePort } from '../../../src/stores/jsonl/index.ts'
import { LINE_BYTES_MAX } from '../../../src/stores/jsonl/layout.ts'
import { linesOf } from '../../../src/testing/checks.ts'
import { damage, lineStarts, makeLedger, plain, segmentNames, segmentPath, withStore } from '../../helpers/jsonl-ledger.ts'
import { problemsOf } from '../../helpers/jsonl-model.ts'
import { startChild } from '../../helpers/jsonl-process.ts'
import { tempDir } from '../../helpers/temp.ts'

interface Heard {
  readonly files: [string | null, number | null][]
  readonly lines: [file: number, position: number, length: number][]
  readonly unended: [position: number, length: number, state: string][]
  readonly problems: object[]
}

async function heardOf(store: Store): Promise<Heard> {
  const heard: Heard = { files: [], lines: [], unended: [], problems: [] }
  const sink: AuditSink = {
    file: (name, first_seq) => void heard.files.push([name, first_seq]),
    line: (_, start, end, position) => void heard.lines.push([heard.files.length - 1, position, end - start]),
    unended: (position, length, state) => void heard.unended.push([position, length, state]),
    problem: (problem) => void heard.problems.push(problem),
    columnsChecked: () => {},
  }
  await store.audit(sink)
  return heard
}

const READ = { readOnly: true, index: 'off' } as const

/** Everything in a folder: names, modes, sizes, times. */
function snapshot(dir: string): unknown {
  return readdirSync(dir, { recursive: true }).map((name) => {
    const { mode, size, mtimeMs } = statSync(join(dir, String(name)))
    return [name, mode, size, mtimeMs]
  })
}

test('files by name, lines at their bytes', async () => {
  const dir = tempDir()
  const chain = await makeLedger(dir, [plain(3), { ...plain(2), newSegment: true }])
  const before = snapshot(dir)
  const heard = await withStore(dir, READ, heardOf)
  expect(heard.files).toEqual(segmentNames(dir).map((name) => [`segments/${name}`, Number.parseInt(name, 10)]))
  expect(heard.lines.map(([, , length]) => length)).toEqual(chain.lines.map((line) => Buffer.byteLength(line)))
  expect(heard.lines.filter(([, position]) => position === 0).length).toBe(2)
  expect([heard.unended, heard.problems]).toEqual([[], []])
  expect(snapshot(dir)).toEqual(before)
})

test('an unended last line: a torn tail, a live one, or a broken seal', async () => {
  const dir = tempDir()
  await makeLedger(dir, [plain(3), { ...plain(2), newSegment: true }])
  const sizes = [statSync(segmentPath(dir, 1)).size, statSync(segmentPath(dir)).size]
  damage(dir, (bytes) => Buffer.concat([bytes, Buffer.from('sealed')]), 1)
  damage(dir, (bytes) => Buffer.concat([bytes, Buffer.from('live')]))
  expect((await withStore(dir, READ, heardOf)).unended).toEqual([
    [sizes[0], 6, 'sealed'],
    [sizes[1], 4, 'tail'],
  ])
  damage(dir, (bytes) => bytes.subarray(0, -6), 1)
  // A writer at work, with half a batch on its way.
  damage(dir, (bytes) => bytes.subarray(0, -4))
  const writer = startChild('hold', dir)
  expect(await writer.next()).toBe('open')
  appendFileSync(segmentPath(dir), 'live')
  expect((await withStore(dir, READ, heardOf)).unended).toEqual([[sizes[1], 4, 'live']])
  expect(await withStore(dir, READ, problemsOf)).toEqual([])
})

test('half an append at the live end of a writer at work is left out, without one it is a problem', async () => {
  const dir = tempDir()
  const chain = await makeLedger(dir, [plain(3), { ...plain(4), whole: true }])
  const whole = readFileSync(segmentPath(dir))
  const cut = whole.lastIndexOf(0x0a, whole.length - 2) + 1
  damage(dir, (bytes) => bytes.subarray(0, cut))
  expect((await withStore(dir, READ, problemsOf)).map((problem) => problem.split(' ')[0])).toEqual(['incomplete_append'])
  damage(dir, () => whole.subarray(0, chain.lines.slice(0, 4).join('\n').length + 1))
  const writer = startChild('hold', dir)
  expect(await writer.next()).toBe('open')
  damage(dir, () => whole.subarray(0, cut))
  expect(await withStore(dir, READ, problemsOf)).toEqual([])
  expect((await withStore(dir, READ, heardOf)).lines.length).toBe(4)
})

test('a line of any length is one line, and is not held', async () => {
  const dir = tempDir()
  await makeLedger(dir, [plain(2)])
  damage(dir, (bytes) => Buffer.concat([bytes, Buffer.alloc(LINE_BYTES_MAX + 5_000_000, 0x20), Buffer.from('\n{}\n')]))
  const { lines } = await withStore(dir, READ, heardOf)
  expect(lines.slice(3).map(([, , length]) => length)).toEqual([LINE_BYTES_MAX + 1, 2])
  expect(lines[4]![1] - lines[3]![1]).toBe(LINE_BYTES_MAX + 5_000_001)
})

test('segments that are gone, empty, garbage, folders, or can not be read: all else is still looked at', async () => {
  const dir = tempDir()
  await makeLedger(
    dir,
    Array.from({ length: 6 }, () => ({ ...plain(3), newSegment: true })),
  )
  const path = (i: number): string => join(dir, 'segments', segmentNames(dir)[i] as string)
  rmSync(path(1))
  damage(dir, () => Buffer.alloc(0), 3)
  damage(dir, () => Buffer.from('garbage\n\n\0\xff'), 2)
  const folder = path(3)
  chmodSync(folder, 0o644)
  rmSync(folder)
  mkdirSync(folder)
  const before = snapshot(dir)
  const heard = await withStore(dir, READ, heardOf)
  expect(heard.files.length).toBe(6)
  expect(heard.problems).toMatchObject([{ code: 'unreadable', where: { file: `segments/${segmentNames(dir)[3]}`, byte: 0 } }])
  expect(await withStore(dir, READ, problemsOf)).not.toEqual([])
  expect(snapshot(dir)).toEqual(before)
})

test('a disk that fails in the middle of a file is told with the place', async () => {
  const dir = tempDir()
  await makeLedger(dir, [{ samples: Array.from({ length: 30 }, () => ({ entry: { text: 'x'.repeat(100_000) } })) }])
  const files: FilePort = {
    ...nodeFiles,
    async open(path, mode) {
      const file = await nodeFiles.open(path, mode)
      const read: typeof file.read = (into, position) =>
        position > 2_000_000 ? Promise.reject(Object.assign(new Error('EIO: bad sector'), { code: 'EIO' })) : file.read(into, position)
      return {
        fd: file.fd,
        read,
        size: () => file.size(),
        close: () => file.close(),
        write: file.write,
        truncate: file.truncate,
        datasync: file.datasync,
        sync: file.sync,
      }
    },
  }
  const heard = await withStore(dir, { ...READ, files }, heardOf)
  expect(heard.problems).toMatchObject([{ code: 'unreadable', found: 'EIO: bad sector' }])
  const { byte } = (heard.problems[0] as { where: { byte: number } }).where
  expect(byte).toBe(heard.lines.at(-1)![1] + heard.lines.at(-1)![2] + 1)
  expect(byte).toBeGreaterThan(1_900_000)
  await withStore(dir, { ...READ, files }, async (store) => {
    await expect(linesOf(store, { limit: 1000 })).rejects.toMatchObject({ code: 'io_error' })
    await expect(store.count({ actor: ['nobody'] })).rejects.toMatchObject({ code: 'io_error' })
  })
})

test('a ledger without anything left', async () => {
  const dir = tempDir()
  await makeLedger(dir, [plain(3)])
  rmSync(join(dir, 'segments'), { recursive: true })
  expect(await withStore(dir, READ, heardOf)).toEqual({ files: [], lines: [], unended: [], problems: [] })
})

test('the writer itself is verified up to what it has acknowledged', async () => {
  const dir = tempDir()
  await makeLedger(dir, [plain(3)])
  await withStore(dir, {}, async (store) => {
    const size = statSync(segmentPath(dir)).size
    appendFileSync(segmentPath(dir), 'of a batch on its way')
    expect((await heardOf(store)).unended).toEqual([])
    writeFileSync(segmentPath(dir), readFileSync(segmentPath(dir)).subarray(0, size))
  })
})

test('it stops when it is told to', async () => {
  const dir = tempDir()
  await makeLedger(dir, [plain(300)])
  const store = await openJsonlStore(dir, READ)
  const stop = new AbortController()
  let lines = 0
  const sink: AuditSink = {
    file: () => stop.abort(),
    line: () => void lines++,
    unended: () => {},
    problem: () => {},
    columnsChecked: () => {},
  }
  const stopped: unknown = await store.audit(sink, stop.signal).catch((error: unknown) => error)
  expect(stopped).toBe(stop.signal.reason)
  expect(lines).toBe(0)
  await store.close()
  await expect(store.audit(sink)).rejects.toBeInstanceOf(LedgerError)
})

test('reading stops with an error at a line that is no record, behind all that is before it', async () => {
  const dir = tempDir()
  const chain = await makeLedger(dir, [plain(400)])
  const [, , third] = lineStarts(readFileSync(segmentPath(dir)))
  damage(dir, (bytes) => bytes.fill(0x20, third, third! + 20))
  await withStore(dir, READ, async (store) => {
    expect(await linesOf(store, { limit: 2 })).toEqual(chain.lines.slice(0, 2))
    expect(await linesOf(store, { reverse: true, limit: 100 })).toEqual(chain.lines.toReversed().slice(0, 100))
    expect(await linesOf(store, { from: 3 })).toEqual(chain.lines.slice(3))
    expect(await linesOf(store, { before: 2, reverse: true })).toEqual(chain.lines.slice(0, 2).toReversed())
    expect(await linesOf(store, { from: 3, reverse: true })).toEqual(chain.lines.slice(3).toReversed())
    for (const reverse of [false, true])
      await expect(linesOf(store, { reverse })).rejects.toMatchObject({ code: 'damaged', details: { byte: third } })
  })
})
