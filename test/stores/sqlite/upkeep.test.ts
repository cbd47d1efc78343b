/** Taking entries away from a file: what the guards let through, that no byte is left, and who else is at work meanwhile. */
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { fileSource, importChat, AuditLedger } from '../../../src/index.ts'
import { openDatabase } from '../../../src/stores/sql/driver.ts'
import { openSqliteStore } from '../../../src/stores/sqlite/index.ts'
import { SampleChain } from '../../../src/testing/sample-chain.ts'
import { seededRandom } from '../../../src/testing/seeded-random.ts'
import { formatLine } from '../../../src/verify/record.ts'
import { foundIn, newMarkers } from '../../helpers/markers.ts'
import { tempDir } from '../../helpers/temp.ts'
import { auditOf, DRIVERS, errorOf, everything, linesOf, makeLedger, NotingSink } from './helpers.ts'

const DATA = join(import.meta.dirname, '../../../../shared/data/tau-airline-gpt-4o.json.gz')
const missing = existsSync(DATA) ? null : `${DATA} is not there`
if (missing !== null) console.warn(`skipped, real calls are not archived: ${missing}`)

const text = (i: number, bytes: number): string => Buffer.from(seededRandom(i).bytes(bytes >> 1)).toString('hex')
const files = (path: string): string[] => ['', '-wal', '-shm', '-journal'].map((suffix) => path + suffix).filter((file) => existsSync(file))

async function withhold(store: Awaited<ReturnType<typeof openSqliteStore>>, first: number, last: number, erase = false): Promise<number> {
  let count = 0
  for await (const { records } of store.upkeep!.withhold([{ first, last }], { erase })) count += records
  return count
}

function withheldLines(chain: SampleChain, first: number, last: number): string[] {
  return chain.records.map((record) =>
    formatLine(record.header.seq < first || record.header.seq > last ? record : { ...record, salt: null, entry_text: null }),
  )
}

/** Each in a transaction that says it is upkeep, and still nothing but an entry may go or come. */
const REFUSED: readonly (readonly [string, string])[] = [
  ['an actor', "UPDATE records SET actor = 'x', salt = NULL, entry = NULL WHERE seq = 2"],
  ['a hash', "UPDATE records SET hash = 'x', salt = NULL, entry = NULL WHERE seq = 2"],
  ['a header', "UPDATE records SET header = '{}', salt = NULL, entry = NULL WHERE seq = 2"],
  ['signatures', "UPDATE records SET signatures = '[]', salt = NULL, entry = NULL WHERE seq = 2"],
  ['a position', 'UPDATE records SET seq = 99, salt = NULL, entry = NULL WHERE seq = 4'],
  ['a correlation that was none', "UPDATE records SET correlation_id = 'x', salt = NULL, entry = NULL WHERE seq = 2"],
  ['a salt alone', 'UPDATE records SET salt = NULL WHERE seq = 2'],
  ['an entry alone', 'UPDATE records SET entry = NULL WHERE seq = 2'],
  ['another entry', "UPDATE records SET entry = '{}' WHERE seq = 2"],
  ['the same entry', 'UPDATE records SET entry = entry WHERE seq = 2'],
  ['a provider that stays with its entry', 'UPDATE records SET provider = NULL WHERE seq = 2'],
  ['another provider', "UPDATE records SET provider = 'x', salt = NULL, entry = NULL WHERE seq = 2"],
  ['another provider where the entry is gone', "UPDATE records SET provider = 'x' WHERE seq = 3"],
  ['half an entry that comes back', "UPDATE records SET entry = '{}' WHERE seq = 3"],
  ['an entry that comes back with another model', "UPDATE records SET salt = 's', entry = '{}', model = 'x' WHERE seq = 3"],
  ['a removal', 'DELETE FROM records WHERE seq = 4'],
]

describe.each(DRIVERS)('%s', (driver) => {
  test('in upkeep too, nothing but an entry with its salt goes or comes', async () => {
    const path = join(tempDir(), 'ledger.db')
    await makeLedger(path, 5)
    const store = await openSqliteStore(path, { driver })
    expect(await withhold(store, 3, 3)).toBe(1)
    const before = await linesOf(store)
    await store.close()
    const database = await openDatabase(path, { driver })
    for (const [what, sql] of REFUSED) {
      database.exec("BEGIN; INSERT INTO upkeep_now VALUES ('entries')")
      expect(() => database.exec(sql), what).toThrow(/append-only/)
      database.exec('ROLLBACK')
    }
    // What the guard is for: the same hand without saying so.
    expect(() => database.exec('UPDATE records SET salt = NULL, entry = NULL WHERE seq = 2')).toThrow(/append-only/)
    database.close()
    const after = await openSqliteStore(path, { driver })
    expect(await linesOf(after)).toEqual(before)
    await after.close()
  })

  test('no marker of an erased entry, its names, or a removed archive file is left in any file', async () => {
    const path = join(tempDir(), 'ledger.db')
    const store = await openSqliteStore(path, { driver })
    const chain = new SampleChain()
    const markers = newMarkers(10)
    const marked = (i: number): object => {
      const names = { provider_name: i % 3 === 0 ? markers[i]! : 'p', model_name: i % 3 === 1 ? markers[i]! : 'm' }
      return { ...names, text: text(i, [10, 3000, 20_000][i % 3]!), said: markers[i]! }
    }
    // Names in between that push the marked ones from page to page of the indexes.
    for (let batch = 0; batch < 10; batch++) {
      const others = Array.from({ length: 60 }, (_, i) => ({ entry: { provider_name: text(batch * 60 + i, 60), text: text(i, 400) } }))
      await chain.append(store, [...others.slice(0, 30), { entry: marked(batch) }, ...others.slice(30)])
    }
    const [inArchive] = newMarkers(1)
    await store.upkeep!.archive.write('entries-1', Buffer.from(`${text(1, 100_000)}${inArchive}${text(2, 300_000)}`))
    // What a write leaves that was cut short.
    const [leftOver] = newMarkers(1)
    const database = await openDatabase(path, { driver })
    database.exec(`INSERT INTO entry_files (name) VALUES (NULL);
      INSERT INTO entry_pieces (id, piece, content) VALUES (last_insert_rowid(), 0, CAST('${leftOver}' AS BLOB))`)
    database.close()
    const all = [...markers, inArchive!, leftOver!]
    expect(new Set(foundIn(all, files(path)).map((found) => found.slice(0, 23))).size).toBe(all.length)

    for (let batch = 0; batch < 10; batch++) expect(await withhold(store, batch * 61 + 30, batch * 61 + 30, true)).toBe(1)
    await store.upkeep!.archive.remove('entries-1')
    const { bytes_before, bytes_after, left } = await store.upkeep!.reclaim()
    expect(left).toEqual([])
    expect(foundIn(all, files(path))).toEqual([])
    expect(bytes_after).toBeLessThan(bytes_before)
    expect(bytes_after).toBe(statSync(path).size + statSync(`${path}-wal`).size)
    const gone = new Set(Array.from({ length: 10 }, (_, batch) => batch * 61 + 30))
    expect(await linesOf(store)).toEqual(
      chain.records.map((record) => formatLine(gone.has(record.header.seq) ? { ...record, salt: null, entry_text: null } : record)),
    )
    await store.close()
    expect(foundIn(all, files(path))).toEqual([])
    expect((await auditOf(path, driver)).problems).toEqual([])
  })

  test('who reads an older state is named as what keeps it, and the same call finishes when that has ended', async () => {
    const path = join(tempDir(), 'ledger.db')
    const [marker] = newMarkers(1)
    await makeLedger(path, 50, () => ({ entry: { said: marker } }))
    const store = await openSqliteStore(path, { driver, busyTimeoutMs: 200 })
    const reader = await openDatabase(path, { driver, readOnly: true })
    reader.exec('BEGIN')
    reader.prepare('SELECT count(*) FROM records').get()
    await withhold(store, 1, 49, true)
    expect((await store.upkeep!.reclaim()).left).toEqual([expect.stringMatching(/-wal.*still reads/)])
    expect(foundIn([marker!], files(path))).not.toEqual([])
    reader.exec('COMMIT')
    expect((await store.upkeep!.reclaim()).left).toEqual([])
    expect(foundIn([marker!], files(path))).toEqual([])
    reader.close()
    // Nothing is due: the file is not written anew.
    const { ino, mtimeMs } = statSync(path)
    expect((await store.upkeep!.reclaim()).left).toEqual([])
    expect(statSync(path)).toMatchObject({ ino, mtimeMs })
    await store.close()
  })

  test('appends of this process go on while entries go, come back and are reclaimed', async () => {
    const path = join(tempDir(), 'ledger.db')
    await makeLedger(path, 1)
    const store = await openSqliteStore(path, { driver, busyTimeoutMs: 50 })
    const chain = new SampleChain()
    const [first] = await linesOf(store)
    Object.defineProperty(chain, 'head', { value: (await store.state({ streams: [], run_ids: [] })).head })
    const many = chain.seal(Array.from({ length: 2500 }, (_, i) => ({ entry: { text: text(i, 600) } })))
    await store.append(many, chain.head)
    let isOver = false
    const upkeep = (async () => {
      expect(await withhold(store, 1, 2500)).toBe(2500)
      async function* half(): AsyncGenerator<readonly { seq: number; salt: string; entry_text: string }[]> {
        for (const { header, salt, entry_text } of many.slice(0, 1000)) yield [{ seq: header.seq, salt: salt!, entry_text: entry_text! }]
      }
      for await (const _ of store.upkeep!.restore(half()));
      await store.upkeep!.reclaim()
    })().finally(() => (isOver = true))
    let appended = 0
    while (!isOver) {
      const { head } = await store.state({ streams: [], run_ids: [] })
      const next = Object.defineProperty(new SampleChain(appended), 'head', { value: head }).seal([{ run_id: `more-${appended}` }])
      await store.append(next, head)
      appended++
      await turnOfTheLoop()
    }
    await upkeep
    const lines = await linesOf(store)
    expect(lines.length).toBe(1 + 2500 + appended)
    expect(lines.slice(0, 1001)).toEqual([first, ...many.slice(0, 1000).map(formatLine)])
    expect(lines.slice(1001, 2501).every((line) => line.endsWith(',"entry":null}'))).toBe(true)
    await store.close()
    expect((await auditOf(path, driver)).problems).toEqual([])
  })

  test('an audit that an erasure comes in between finds nothing wrong', async () => {
    const path = join(tempDir(), 'ledger.db')
    await makeLedger(path, 600)
    const store = await openSqliteStore(path, { driver })
    const reader = await openSqliteStore(path, { driver, readOnly: true })
    const sink = new NotingSink()
    let withholding: Promise<number> | null = null
    const line = sink.line.bind(sink)
    sink.line = (...given) => {
      if (sink.rows.length === 100) withholding = withhold(store, 1, 599, true)
      line(...given)
    }
    await reader.audit(sink)
    expect(await withholding).toBe(599)
    expect(sink.problems).toEqual([])
    const entries = sink.lines.map((text) => text.endsWith(',"entry":null}'))
    expect([entries[50], entries[599]], 'it did come in between').toEqual([false, true])
    await reader.close()
    await store.close()
  })

  test('a ledger of version 1 is read as it is, and brought up to date when it is opened for writing', async () => {
    const path = join(tempDir(), 'ledger.db')
    const chain = await makeLedger(path, 30, () => ({ tags: ['a'] }))
    const database = await openDatabase(path, { driver })
    for (const table of ['upkeep_now', 'upkeep_due', 'entry_files', 'entry_pieces']) database.exec(`DROP TABLE ${table}`)
    database.exec('DROP TRIGGER records_no_update')
    database.exec(`CREATE TRIGGER records_no_update BEFORE UPDATE ON records
  BEGIN SELECT RAISE(ABORT, 'a ledger is append-only: records are not changed'); END`)
    database.exec('PRAGMA user_version = 1')
    database.close()
    const reader = await openSqliteStore(path, { driver, readOnly: true })
    expect(await linesOf(reader)).toEqual(chain.lines)
    expect(await reader.upkeep!.archive.stat('entries-1')).toBe(null)
    const listed: unknown[] = []
    for await (const file of reader.upkeep!.archive.list('')) listed.push(file)
    expect(listed).toEqual([])
    expect((await errorOf(() => withhold(reader, 1, 2))).code).toBe('read_only')
    expect((await auditOf(path, driver)).problems).toEqual([])

    // The reader stays open, and sees what comes.
    const store = await openSqliteStore(path, { driver })
    expect(await linesOf(store)).toEqual(chain.lines)
    expect(await withhold(store, 1, 9)).toBe(9)
    await store.upkeep!.archive.write('entries-1', Buffer.from('x'))
    expect(await linesOf(reader)).toEqual(withheldLines(chain, 1, 9))
    expect(await reader.upkeep!.archive.stat('entries-1')).toEqual({ name: 'entries-1', bytes: 1 })
    await reader.close()
    await store.close()
  })

  test('a guard that lets everything through is put right at the next opening for writing', async () => {
    const path = join(tempDir(), 'ledger.db')
    await makeLedger(path, 3)
    const database = await openDatabase(path, { driver })
    database.exec('DROP TRIGGER records_no_update; CREATE TRIGGER records_no_update BEFORE UPDATE ON records WHEN 0 BEGIN SELECT 1; END')
    database.close()
    await (await openSqliteStore(path, { driver })).close()
    const again = await openDatabase(path, { driver })
    expect(() => again.exec('UPDATE records SET salt = NULL, entry = NULL')).toThrow(/append-only/)
    again.close()
  })
})

test('a selection is read whole while entries go', async () => {
  const path = join(tempDir(), 'ledger.db')
  const chain = await makeLedger(path, 500)
  const store = await openSqliteStore(path)
  const seen: string[] = []
  for await (const chunk of store.read(everything())) {
    if (seen.length === 0) await withhold(store, 1, 499)
    seen.push(...chunk.map((line) => Buffer.from(line).toString()))
  }
  const gone = withheldLines(chain, 1, 499)
  seen.forEach((line, seq) => expect([chain.lines[seq], gone[seq]]).toContain(line))
  expect(seen.length).toBe(500)
  await store.close()
})

test.skipIf(missing !== null)('the calls of real agents leave a file that is really smaller', async () => {
  const path = join(tempDir(), 'ledger.db')
  const ledger = await AuditLedger.open(path, { signer: null, checkpoints: false, fullText: 'off' })
  await importChat(ledger, fileSource(DATA))
  await ledger.close()
  const store = await openSqliteStore(path)
  const { size } = statSync(path)
  await withhold(store, 1, 3000)
  const { bytes_after, left } = await store.upkeep!.reclaim()
  expect([left, statSync(path).size]).toEqual([[], bytes_after])
  expect(bytes_after).toBeLessThan(0.6 * size)
  console.log(`${size} bytes, ${bytes_after} with 3,000 of 3,618 entries gone`)
  await store.close()
})
