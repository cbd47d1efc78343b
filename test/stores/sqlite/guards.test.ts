/** What the database itself refuses, whoever asks. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openDatabase } from '../../../src/stores/sql/driver.ts'
import { openSqliteStore } from '../../../src/stores/sqlite/index.ts'
import { tempDir } from '../../helpers/temp.ts'
import { DRIVERS, linesOf, makeLedger } from './helpers.ts'

const COPY =
  'stream, stream_version, type, actor, action, outcome, correlation_id, causation_id, timestamp_us, recorded_us, provider, model, hash, header, signatures, salt, entry'

const REFUSED: readonly (readonly [string, string])[] = [
  ['a change', "UPDATE records SET actor = 'somebody else' WHERE seq = 2"],
  ['a change of the position', 'UPDATE records SET seq = 99 WHERE seq = 4'],
  ['an emptied entry', 'UPDATE records SET salt = NULL, entry = NULL'],
  ['a change that replaces', 'UPDATE OR REPLACE records SET seq = 3 WHERE seq = 4'],
  ['a removal', 'DELETE FROM records WHERE seq = 4'],
  ['the removal of all', 'DELETE FROM records'],
  [
    'a row that replaces another',
    `INSERT OR REPLACE INTO records (seq, run_id, ${COPY}) SELECT 2, 'other', ${COPY} FROM records WHERE seq = 3`,
  ],
  [
    'a row that replaces by its run_id',
    `INSERT OR REPLACE INTO records (seq, run_id, ${COPY}) SELECT 5, 'run-2', ${COPY} FROM records WHERE seq = 3`,
  ],
  ['REPLACE', `REPLACE INTO records (seq, run_id, ${COPY}) SELECT 4, 'run-4', ${COPY} FROM records WHERE seq = 3`],
  [
    'an upsert',
    `INSERT INTO records (seq, run_id, ${COPY}) SELECT 4, 'run-4', ${COPY} FROM records WHERE seq = 3 ON CONFLICT (seq) DO UPDATE SET actor = 'x'`,
  ],
  [
    'a row that is ignored where it does not fit',
    `INSERT OR IGNORE INTO records (seq, run_id, ${COPY}) SELECT 7, 'new', ${COPY} FROM records WHERE seq = 3`,
  ],
  ['a gap', `INSERT INTO records (seq, run_id, ${COPY}) SELECT 6, 'new', ${COPY} FROM records WHERE seq = 3`],
  ['a row before the first', `INSERT INTO records (seq, run_id, ${COPY}) SELECT -1, 'new', ${COPY} FROM records WHERE seq = 3`],
  ['a second record of a run', `INSERT INTO records (seq, run_id, ${COPY}) SELECT 5, 'run-2', ${COPY} FROM records WHERE seq = 3`],
  ['a NULL where a value must be', `INSERT INTO records (seq, run_id, stream) VALUES (5, 'new', 'task')`],
  ['a tag of an older record', "INSERT INTO tags VALUES ('c', 2)"],
  ['a tag of no record', "INSERT INTO tags VALUES ('c', 5)"],
  ['a changed tag', "UPDATE tags SET tag = 'c'"],
  ['a removed tag', 'DELETE FROM tags'],
]

describe.each(DRIVERS)('%s', (driver) => {
  test.each(REFUSED)('%s', async (_, sql) => {
    const path = join(tempDir(), 'ledger.db')
    const chain = await makeLedger(path, 5, () => ({ tags: ['a', 'b'] }))
    const database = await openDatabase(path, { driver })
    const tags = database.prepare('SELECT * FROM tags').all()
    expect(() => database.exec(sql)).toThrow(/append-only|only grows|NOT NULL/)
    expect(database.inTransaction).toBe(false)
    expect(database.prepare('SELECT * FROM tags').all()).toEqual(tags)
    database.close()
    const store = await openSqliteStore(path, { driver })
    expect(await linesOf(store)).toEqual(chain.lines)
    // The store itself goes on.
    await chain.append(store, [{ tags: ['a'] }])
    expect(await linesOf(store)).toEqual(chain.lines)
    await store.close()
  })
})
