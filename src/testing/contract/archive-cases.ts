/** Archive files in the ledger itself. */
import assert from 'node:assert/strict'
import type { ArchiveStore } from '../../ledger/archive.ts'
import { assertMisuse, assertRefused } from '../checks.ts'
import type { Scenario } from './bench.ts'
import { able, ableAndPersistent, upkeepOf } from './upkeep-bench.ts'

async function contentOf(archive: ArchiveStore, name: string, range?: { start: number; end: number }): Promise<Buffer> {
  const blocks: Uint8Array[] = []
  for await (const block of archive.read(name, range)) blocks.push(block)
  return Buffer.concat(blocks)
}

async function namesIn(archive: ArchiveStore, prefix: string): Promise<(readonly [name: string, bytes: number])[]> {
  const found: [string, number][] = []
  for await (const { name, bytes } of archive.list(prefix)) found.push([name, bytes])
  return found.toSorted()
}

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** Bad ones first: they must not become a path. */
const NO_NAMES = ['', '.', '..', '../x', 'a/../b', 'a//b', '/a', 'a/', 'a\\b', '.hidden', 'a/.b', 'a b', 'a\0', 'é', 'x'.repeat(129)]

export const archiveCases: readonly Scenario[] = [
  {
    name: 'a file comes back as it was written, whole and in part, and is gone when it is removed',
    needs: able,
    async run(bench) {
      const { archive } = upkeepOf(await bench.open())
      const content = Buffer.from(bench.seed % 2 === 0 ? 'x'.repeat(1_000_003) : Uint8Array.from({ length: 1_000_003 }, (_, i) => i * 7))
      for (const [name, given] of [
        ['entries-1.jsonl.zst', content],
        ['entries-2.jsonl.zst', inPieces(content, 70_001)],
      ] as const) {
        assert.equal(await archive.stat(name), null)
        const written = await archive.write(name, given)
        assert.equal(written.bytes, content.length)
        assert.match(written.sha256, /^[0-9a-f]{64}$/)
        assert.ok((await contentOf(archive, name)).equals(content))
        for (const [start, end] of [
          [0, 0],
          [0, 1],
          [262_143, 262_145],
          [500_000, 900_000],
          [content.length, content.length],
        ] as const)
          assert.ok((await contentOf(archive, name, { start, end })).equals(content.subarray(start, end)), `${start} to ${end}`)
        assert.deepEqual(await archive.stat(name), { name, bytes: content.length })
      }
      await archive.write('empty', new Uint8Array())
      assert.equal((await contentOf(archive, 'empty')).length, 0)
      assert.deepEqual(
        (await namesIn(archive, 'entries-')).map(([name]) => name),
        ['entries-1.jsonl.zst', 'entries-2.jsonl.zst'],
      )
      assert.equal((await namesIn(archive, '')).length, 3)
      await archive.write('2026/11/entries-3', content)
      assert.ok((await contentOf(archive, '2026/11/entries-3')).equals(content))
      assert.deepEqual(await namesIn(archive, '2026/1'), [['2026/11/entries-3', content.length]])
      await archive.remove('2026/11/entries-3')
      assert.deepEqual(await namesIn(archive, '2026'), [])
      await archive.remove('entries-1.jsonl.zst')
      await archive.remove('entries-1.jsonl.zst')
      assert.equal(await archive.stat('entries-1.jsonl.zst'), null)
      await assertRefused(contentOf(archive, 'entries-1.jsonl.zst'), 'not_found', 'reading a file that is gone')
      assert.ok((await contentOf(archive, 'entries-2.jsonl.zst')).equals(content))
    },
  },
  {
    name: 'nothing is ever written over, and what fails half-way leaves nothing',
    needs: able,
    async run(bench) {
      const { archive } = upkeepOf(await bench.open())
      const [one, other] = [Buffer.from('one'), Buffer.from('other')]
      const written = await archive.write('a', one)
      assert.deepEqual(await archive.write('a', one), written)
      await assertRefused(archive.write('a', other), 'already_exists', 'other bytes under a name that is taken')
      assert.ok((await contentOf(archive, 'a')).equals(one))
      const failing = async function* (): AsyncGenerator<Uint8Array> {
        yield one
        throw new Error('the source failed')
      }
      await assert.rejects(archive.write('b', failing()), /the source failed/)
      await assertMisuse(() => archive.write('c', one, 4), RangeError)
      assert.deepEqual(await archive.write('d', [one, other], 8), await archive.write('d', Buffer.from('oneother')))
      await archive.remove('d')
      assert.deepEqual(await namesIn(archive, ''), [['a', 3]])
      await assertRefused(contentOf(archive, 'a', { start: 0, end: 4 }), 'damaged', 'reading behind the end')
    },
  },
  {
    name: 'a name that is none is refused wherever it is given',
    needs: able,
    async run(bench) {
      const { archive } = upkeepOf(await bench.open())
      for (const name of NO_NAMES) {
        await assertMisuse(() => archive.write(name, new Uint8Array(1)), RangeError)
        await assertMisuse(() => contentOf(archive, name), RangeError)
        await assertMisuse(() => archive.stat(name), RangeError)
        await assertMisuse(() => archive.remove(name), RangeError)
      }
      await archive.write('x'.repeat(128), new Uint8Array(1))
      for (const [start, end] of [
        [-1, 1],
        [1, 0],
        [0.5, 1],
        [0, Infinity],
      ] as const)
        await assertMisuse(() => contentOf(archive, 'x'.repeat(128), { start, end }), RangeError)
    },
  },
  {
    name: 'files are there after opening again; who only reads can read them and no more',
    needs: ableAndPersistent,
    async run(bench) {
      const { store } = await bench.started()
      await upkeepOf(store).archive.write('kept', Buffer.from('content'))
      await store.close()
      const { archive } = upkeepOf(await bench.reopen(store, { readOnly: true }))
      assert.deepEqual(await namesIn(archive, ''), [['kept', 7]])
      assert.equal((await contentOf(archive, 'kept')).toString(), 'content')
      await assertRefused(archive.write('more', new Uint8Array(1)), 'read_only', 'writing by a reader')
      await assertRefused(archive.remove('kept'), 'read_only', 'removing by a reader')
      assert.deepEqual(await namesIn(archive, ''), [['kept', 7]])
    },
  },
]
