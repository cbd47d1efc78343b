import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openDatabase } from '../../../src/stores/sql/driver.ts'
import { openSqliteStore } from '../../../src/stores/sqlite/index.ts'
import { LINE_SQL } from '../../../src/stores/sqlite/line-sql.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import { tempDir } from '../../helpers/temp.ts'
import { DRIVERS, everything, linesOf, makeLedger, tamper } from './helpers.ts'

describe.each(DRIVERS)('%s', (driver) => {
  test('in chunks of 64 records or about a MiB', async () => {
    const path = join(tempDir(), 'ledger.db')
    const chain = await makeLedger(path, 700, (seq) => (seq < 600 ? {} : { entry: { text: 'x'.repeat(100_000) } }))
    const store = await openSqliteStore(path, { driver, readOnly: true })
    const sizes: number[] = []
    for await (const chunk of store.read(everything())) {
      sizes.push(chunk.length)
      expect(chunk.slice(0, -1).reduce((sum, line) => sum + line.length, 0)).toBeLessThan(1024 * 1024)
    }
    expect(sizes.slice(0, 2)).toEqual([64, 64])
    expect(sizes.length).toBeGreaterThan(10)
    expect(sizes.reduce((sum, size) => sum + size)).toBe(700)
    expect(await linesOf(store)).toEqual(chain.lines)
    expect(await linesOf(store, everything({}, { reverse: true }))).toEqual(chain.lines.toReversed())
    await store.close()
  })

  test('what is appended while reading is not in it; from a given position on it is there at once', async () => {
    const path = join(tempDir(), 'ledger.db')
    const store = await openSqliteStore(path, { driver })
    const chain = new SampleChain()
    await chain.append(store, [LEDGER_CREATED, ...Array.from({ length: 599 }, () => ({ actor: 'a' }))])
    const before = [...chain.lines]
    for (const selection of [
      everything(),
      everything({}, { reverse: true }),
      everything({ actor: ['a', 'b'] }),
      everything({ actor: ['a', 'b'] }, { reverse: true }),
    ]) {
      const lines: string[] = []
      const size = chain.head.size
      for await (const chunk of store.read({ ...selection, before: selection.before })) {
        for (const line of chunk) lines.push(Buffer.from(line).toString())
        await chain.append(store, [{ actor: 'a' }, { actor: 'b' }])
      }
      const expected = chain.lines.slice(selection.filter.actor === undefined ? 0 : 1, size)
      expect(lines).toEqual(selection.reverse ? expected.toReversed() : expected)
      const [next] = await linesOf(store, everything({}, { from: size }))
      expect(next).toBe(chain.lines[size])
    }
    expect(chain.lines.slice(0, 600)).toEqual(before)
    await store.close()
  })

  test('a slow reader holds nothing: the log is emptied while it waits between two chunks', async () => {
    const path = join(tempDir(), 'ledger.db')
    const chain = await makeLedger(path, 600)
    const store = await openSqliteStore(path, { driver })
    const reader = await openSqliteStore(path, { driver, readOnly: true })
    const chunks = reader.read(everything())[Symbol.asyncIterator]()
    await chunks.next()
    await chain.append(store, [{}])
    const other = await openDatabase(path, { driver })
    expect(other.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()).toEqual(expect.objectContaining({ busy: 0, log: 0, checkpointed: 0 }))
    other.close()
    let rest = 64
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) rest += next.value.length
    expect(rest).toBe(600)
    await reader.close()
    await store.close()
  })

  test('the event loop has its turn between chunks', async () => {
    const path = join(tempDir(), 'ledger.db')
    await makeLedger(path, 600)
    const store = await openSqliteStore(path, { driver, readOnly: true })
    let turns = 0
    const turn = (): void => {
      turns++
      if (turns < 100) setImmediate(turn)
    }
    setImmediate(turn)
    await linesOf(store)
    expect(turns).toBeGreaterThanOrEqual(2)
    await store.close()
  })

  test('bytes come back as they are stored, not as they would be decoded', async () => {
    const path = join(tempDir(), 'ledger.db')
    const chain = await makeLedger(path, 4)
    await tamper(
      path,
      `UPDATE records SET entry = CAST(x'7b2261223a2200ff227d' AS TEXT) WHERE seq = 1;
      UPDATE records SET header = CAST(CAST(header AS BLOB) || x'00' AS TEXT) WHERE seq = 2;
      UPDATE records SET salt = NULL, entry = NULL WHERE seq = 3`,
    )
    const store = await openSqliteStore(path, { driver, readOnly: true })
    const lines: Buffer[] = []
    for await (const chunk of store.read(everything({}, { before: 4 }))) lines.push(...chunk.map((line) => Buffer.from(line)))
    expect(lines[0]!.toString()).toBe(chain.lines[0])
    expect(lines[1]!.subarray(-11).toString('hex')).toBe('7b2261223a2200ff227d7d')
    expect(lines[2]!.includes('}\0,"salt":"')).toBe(true)
    expect(lines[3]!.toString()).toMatch(/\},"entry":null\}$/)
    await store.close()
  })

  test('blocks of lines are the lines of the rows, whatever stands in these', async () => {
    const path = join(tempDir(), 'ledger.db')
    // Long ones in some blocks, at the limit of what goes into one, and twice as many records as are read by themselves after one.
    await makeLedger(path, 1500, (seq) => ({
      actor: `a${seq % 2}`,
      entry: { text: 'é'.repeat(seq % 190 === 0 ? 8160 + (seq % 40) : seq % 7) },
    }))
    await tamper(
      path,
      `UPDATE records SET entry = '{"a":"' || char(10) || '"}' WHERE seq IN (3, 700);
      UPDATE records SET header = '' WHERE seq = 80;
      UPDATE records SET header = header || char(10, 10) WHERE seq = 900;
      UPDATE records SET hash = CAST(x'ff000a' AS TEXT) WHERE seq = 1030;
      DELETE FROM records WHERE seq IN (64, 65, 1200)`,
    )
    const database = await openDatabase(path, { driver, readOnly: true })
    const rows = (where: string, order: string): string[] =>
      database
        .prepare(`SELECT ${LINE_SQL} AS line FROM records WHERE ${where} ORDER BY seq ${order}`)
        .all()
        .map(({ line }) => Buffer.from(line as Uint8Array).toString('hex'))
    const store = await openSqliteStore(path, { driver, readOnly: true })
    const read = async (selection: ReturnType<typeof everything>): Promise<string[]> => {
      const lines: string[] = []
      for await (const chunk of store.read(selection)) for (const line of chunk) lines.push(Buffer.from(line).toString('hex'))
      return lines
    }
    for (const reverse of [false, true]) {
      const order = reverse ? 'DESC' : 'ASC'
      expect(await read(everything({}, { reverse }))).toEqual(rows('true', order))
      expect(await read(everything({ actor: ['a1'] }, { reverse }))).toEqual(rows("actor = 'a1'", order))
      expect(await read(everything({ actor: ['a0', 'a1'] }, { reverse }))).toEqual(rows('seq > 0', order))
      expect(await read(everything({}, { reverse, from: 60, before: 1201 }))).toEqual(rows('seq >= 60 AND seq < 1201', order))
      for (const limit of [1, 7, 8, 63, 64, 65, 200])
        expect(await read(everything({}, { reverse, limit }))).toEqual(rows('true', order).slice(0, limit))
    }
    database.close()
    await store.close()
  })

  test('counts and tallies', async () => {
    const path = join(tempDir(), 'ledger.db')
    await makeLedger(path, 31)
    const store = await openSqliteStore(path, { driver, readOnly: true })
    expect(await store.count({})).toBe(31)
    expect(await store.count({ actor: ['actor-1'] })).toBe(10)
    expect(await store.tally('actor', { outcome: ['success'] })).toEqual(
      new Map([
        ['actor-0', 10],
        ['actor-1', 10],
        ['actor-2', 10],
        ['example.com/contract', 1],
      ]),
    )
    expect(await store.tally('provider', {})).toEqual(
      new Map([
        ['provider-0', 10],
        ['provider-1', 10],
        ['provider-2', 10],
      ]),
    )
    await store.close()
  })
})
