/** Archive files in a database: a file that was found once is not asked for again, and what has become of it is still seen. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { ArchiveStore } from '../../src/ledger/archive.ts'
import { PIECE_BYTES } from '../../src/ledger/archive-pieces.ts'
import { openSqliteStore } from '../../src/stores/sqlite/index.ts'
import { openDatabase } from '../../src/stores/sql/driver.ts'
import { SampleChain, LEDGER_CREATED } from '../../src/testing/index.ts'
import { tempDir } from '../helpers/temp.ts'

const NAME = 'entries-1.jsonl.zst'
/** More than are read at once, and an end that fills no piece. */
const CONTENT = Buffer.alloc(18 * PIECE_BYTES + 1234, 'what was said. ')

async function bytesOf(archive: ArchiveStore, range?: { start: number; end: number }): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of archive.read(NAME, range)) parts.push(part)
  return Buffer.concat(parts)
}

async function opened(): Promise<{
  archive: ArchiveStore
  other: ArchiveStore
  sql: (text: string) => Promise<void>
  close(): Promise<void>
}> {
  const path = join(tempDir(), 'ledger.db')
  const stores = [await openSqliteStore(path), await openSqliteStore(path)]
  await new SampleChain().append(stores[0]!, [LEDGER_CREATED])
  const [archive, other] = stores.map((store) => store.upkeep!.archive) as [ArchiveStore, ArchiveStore]
  await archive.write(NAME, CONTENT)
  return {
    archive,
    other,
    async sql(text) {
      const database = await openDatabase(path, {})
      database.exec(text)
      database.close()
    },
    close: async () => void (await Promise.all(stores.map((store) => store.close()))),
  }
}

test('any range, in pieces that are read together', async () => {
  const { archive, close } = await opened()
  expect(await bytesOf(archive)).toEqual(CONTENT)
  for (const at of [0, 1, PIECE_BYTES - 1, PIECE_BYTES, 16 * PIECE_BYTES, CONTENT.length - 1234, CONTENT.length - 1]) {
    for (const length of [1, 100, PIECE_BYTES, 17 * PIECE_BYTES]) {
      const range = { start: at, end: Math.min(at + length, CONTENT.length) }
      expect(await bytesOf(archive, range)).toEqual(CONTENT.subarray(range.start, range.end))
    }
  }
  await close()
})

test('removed and written again by another process: read on; removed: not found; with other bytes: those', async () => {
  const { archive, other, close } = await opened()
  const range = { start: 10, end: 30 }
  expect(await bytesOf(archive, range)).toEqual(CONTENT.subarray(10, 30))
  await other.remove(NAME)
  await other.write(NAME, CONTENT)
  expect(await bytesOf(archive, range)).toEqual(CONTENT.subarray(10, 30))
  await other.remove(NAME)
  await expect(bytesOf(archive, range)).rejects.toMatchObject({ code: 'not_found' })
  const changed = Buffer.alloc(CONTENT.length, 'something else ')
  await other.write(NAME, changed)
  expect(await bytesOf(archive, range)).toEqual(changed.subarray(10, 30))
  // In the middle of a reading they are no longer what was begun.
  const reading = archive.read(NAME)[Symbol.asyncIterator]()
  for (let piece = 0; piece < 16; piece++) await reading.next()
  await other.remove(NAME)
  await other.write(NAME, CONTENT)
  await expect(reading.next()).rejects.toMatchObject({ code: 'not_found' })
  expect(await bytesOf(archive)).toEqual(CONTENT)
  await close()
})

test.each([
  ['a piece that is gone', 'DELETE FROM entry_pieces WHERE piece = 3', 3],
  ['one that is shorter', `UPDATE entry_pieces SET content = x'00' WHERE piece = 5`, 5],
])('%s is damage, and what lies before it is read', async (_, text, piece) => {
  const { archive, sql, close } = await opened()
  await bytesOf(archive)
  await sql(text)
  await expect(bytesOf(archive)).rejects.toMatchObject({ code: 'damaged', details: { from: piece * PIECE_BYTES } })
  expect(await bytesOf(archive, { start: 0, end: piece * PIECE_BYTES })).toEqual(CONTENT.subarray(0, piece * PIECE_BYTES))
  await close()
})
