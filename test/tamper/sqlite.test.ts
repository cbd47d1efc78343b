/** Whatever is changed in an SQLite ledger by SQL is reported, at the right record, in at most three problems. */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { AuditLedger, verifyLedger, type VerificationReport } from '../../src/index.ts'
import { HONEST_ORIGIN, makeHonestLedger } from '../helpers/honest-ledger.ts'
import { scale, soaking } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const RECORDS = 50

async function honestDatabase(seed = 1): Promise<string> {
  const location = join(tempDir(), 'honest.db')
  await makeHonestLedger(location, RECORDS, seed)
  return location
}

/** The guards dropped: what anybody who can write the file can do. */
function unguarded(path: string): DatabaseSync {
  const db = new DatabaseSync(path)
  for (const { name } of db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all()) db.exec(`DROP TRIGGER ${String(name)}`)
  return db
}

async function afterSql(honest: string, change: string | ((db: DatabaseSync) => void)): Promise<VerificationReport> {
  const copy = join(tempDir(), 'copy.db')
  copyFileSync(honest, copy)
  const db = unguarded(copy)
  if (typeof change === 'string') db.exec(change)
  else change(db)
  db.close()
  return verifyLedger(copy)
}

/** What is wrong with the report, or null. */
function whyNotFound(what: string, seq: number, report: VerificationReport, changed = 1): string | null {
  const told = report.problems.map((problem) => `${problem.code} at ${problem.seq}`).join(', ')
  if (report.ok || report.problems.length === 0) return `${what}: not found`
  if (report.problems[0]?.seq !== seq) return `${what}: reported at another record than ${seq}: ${told}`
  if (report.problems_total > 3 * changed) return `${what}: ${report.problems_total} problems: ${told}`
  // What is named nowhere is looked for in the whole ledger: its row is not kept.
  if (report.problems.some(({ code, where }) => code !== 'withheld_unnamed' && (where === null || !('row' in where))))
    return `${what}: a problem without its row: ${told}`
  return null
}

/** @param changes what is done, where it must be reported, and how many records it changes (1 if absent) */
async function assertAllFound(honest: string, changes: Iterable<readonly [sql: string, seq: number, changed?: number]>): Promise<void> {
  const missed: string[] = []
  let count = 0
  for (const [sql, seq, changed] of changes) {
    const why = whyNotFound(sql, seq, await afterSql(honest, sql), changed)
    if (why !== null) missed.push(why)
    count++
  }
  expect(count).toBeGreaterThan(0)
  expect(missed.slice(0, 40), `${missed.length} of ${count} changes`).toEqual([])
}

interface Column {
  readonly name: string
  readonly type: string
  readonly notnull: boolean
}

function columnsOf(path: string): Column[] {
  const db = new DatabaseSync(path, { readOnly: true })
  const columns = db.prepare('SELECT name, type, "notnull" FROM pragma_table_info(\'records\')').all()
  db.close()
  return columns.map((column) => ({ name: String(column['name']), type: String(column['type']), notnull: column['notnull'] === 1 }))
}

/** Assignments that change the column of any row. */
function changesOf({ name, type, notnull }: Column): string[] {
  const others = notnull ? [] : [`${name} = CASE WHEN ${name} IS NULL THEN 'x' ELSE NULL END`]
  if (type === 'INTEGER') return [...others, `${name} = ${name} + 1`, `${name} = ${name} - 1`]
  const text = `coalesce(${name}, '')`
  return [
    ...others,
    `${name} = ${text} || 'x'`,
    `${name} = ${text} || char(0)`,
    `${name} = ${text} || CAST(x'ff' AS TEXT)`,
    `${name} = ''`.replace("''", `CASE ${text} WHEN '' THEN 'y' ELSE '' END`),
    `${name} = upper(${text}) || lower(${text})`,
  ]
}

describe('an SQLite ledger of 50 records', () => {
  test('is honest before it is touched, and without its guards', async () => {
    const honest = await honestDatabase()
    expect(await verifyLedger(honest, { origin: HONEST_ORIGIN })).toMatchObject({ ok: true, size: RECORDS, problems: [] })
    const report = await afterSql(honest, () => {})
    expect(report).toMatchObject({ ok: true, size: RECORDS, problems: [] })
    expect(report.checks.columns.verdict).toBe('pass')
  })

  test('its guards keep honest hands off', async () => {
    const honest = await honestDatabase()
    const db = new DatabaseSync(honest)
    for (const sql of [
      "UPDATE records SET actor = 'x' WHERE seq = 3",
      'UPDATE records SET entry = NULL, salt = NULL WHERE seq = 3',
      'DELETE FROM records WHERE seq = 49',
      'DELETE FROM records',
      "UPDATE tags SET tag = 'z'",
      'DELETE FROM tags',
      'INSERT OR REPLACE INTO records SELECT * FROM records WHERE seq = 3',
      'REPLACE INTO records SELECT * FROM records WHERE seq = 49',
    ]) {
      expect(() => db.exec(sql), sql).toThrow(/append-only|only grows/)
    }
    db.close()
    expect(await verifyLedger(honest)).toMatchObject({ ok: true, size: RECORDS })
  })

  test(
    'each column of a record changed by SQL is found',
    async () => {
      const honest = await honestDatabase()
      const columns = columnsOf(honest).filter(({ name }) => name !== 'seq')
      expect(columns.length).toBeGreaterThan(15)
      const rows = soaking ? Array.from({ length: RECORDS }, (_, seq) => seq) : [0, 31]
      const changes = columns.flatMap((column) =>
        changesOf(column).flatMap((assignment) => rows.map((seq) => [`UPDATE records SET ${assignment} WHERE seq = ${seq}`, seq] as const)),
      )
      await assertAllFound(honest, changes)
    },
    scale(120_000, 1_800_000),
  )

  test('every salt and entry withheld, swapped or emptied is found', async () => {
    const honest = await honestDatabase()
    await assertAllFound(
      honest,
      [0, 7, 49].flatMap((seq): [string, number][] => [
        [`UPDATE records SET salt = NULL, entry = NULL WHERE seq = ${seq}`, seq],
        [`UPDATE records SET entry = '{}' WHERE seq = ${seq}`, seq],
        [`UPDATE records SET entry = replace(entry, '{', '{ ') WHERE seq = ${seq}`, seq],
        [`UPDATE records SET salt = (SELECT salt FROM records WHERE seq = 20) WHERE seq = ${seq}`, seq],
        [`UPDATE records SET (salt, entry) = (SELECT salt, entry FROM records WHERE seq = 20) WHERE seq = ${seq}`, seq],
        [`UPDATE records SET signatures = '[]' WHERE seq = ${seq}`, seq],
        [`UPDATE records SET entry = entry || ',"note":"x"' WHERE seq = ${seq}`, seq],
        [`UPDATE records SET entry = entry || '}{' WHERE seq = ${seq}`, seq],
        [`UPDATE records SET header = replace(header, '"outcome":"', '"outcome":"failure","outcome":"') WHERE seq = ${seq}`, seq],
      ]),
    )
  })

  test('tags that do not fit their record are found', async () => {
    const honest = await honestDatabase()
    const db = new DatabaseSync(honest, { readOnly: true })
    const tagged = Number(db.prepare('SELECT max(seq) AS seq FROM tags').get()!['seq'])
    const untagged = Number(db.prepare('SELECT max(seq) AS seq FROM records WHERE seq NOT IN (SELECT seq FROM tags)').get()!['seq'])
    db.close()
    await assertAllFound(honest, [
      [`DELETE FROM tags WHERE seq = ${tagged}`, tagged],
      [`DELETE FROM tags WHERE seq = ${tagged} AND tag = (SELECT min(tag) FROM tags WHERE seq = ${tagged})`, tagged],
      [`UPDATE tags SET tag = tag || 'x' WHERE seq = ${tagged}`, tagged],
      [`INSERT INTO tags VALUES ('forged', ${tagged})`, tagged],
      [`INSERT INTO tags VALUES ('forged', ${untagged})`, untagged],
      [`UPDATE tags SET seq = ${untagged} WHERE seq = ${tagged}`, Math.min(tagged, untagged)],
    ])
  })

  test('tags of a record that is not there are found', async () => {
    const report = await afterSql(await honestDatabase(), "INSERT INTO tags VALUES ('forged', 1000)")
    expect(report.ok).toBe(false)
    expect(report.problems_total).toBe(1)
  })

  test('rows deleted, moved and swapped are found', async () => {
    const honest = await honestDatabase()
    const swap = (a: number, b: number): string =>
      [`seq = -1 WHERE seq = ${a}`, `seq = ${a} WHERE seq = ${b}`, `seq = ${b} WHERE seq = -1`]
        .map((set) => `UPDATE records SET ${set}`)
        .join(';') +
      `; UPDATE tags SET seq = -1 WHERE seq = ${a}; UPDATE tags SET seq = ${a} WHERE seq = ${b}; UPDATE tags SET seq = ${b} WHERE seq = -1`
    const gone = (seq: number): string => `DELETE FROM records WHERE seq = ${seq}; DELETE FROM tags WHERE seq = ${seq}`
    await assertAllFound(honest, [
      ...[0, 1, 25, 48].map((seq) => [gone(seq), seq] as const),
      ...[0, 1, 25, 48].map((seq) => [swap(seq, seq + 1), seq, 2] as const),
      [`DELETE FROM records WHERE seq BETWEEN 10 AND 20; DELETE FROM tags WHERE seq BETWEEN 10 AND 20`, 10],
      // The rows behind a hole moved up, so that no row is missing.
      ...[0, 1, 25, 47].map(
        (seq) =>
          [
            `${gone(seq)}; UPDATE records SET seq = seq - 1 WHERE seq > ${seq}; UPDATE tags SET seq = seq - 1 WHERE seq > ${seq}`,
            seq,
            50 - seq,
          ] as const,
      ),
      ...[0, 25, 48].map(
        (seq) => [`UPDATE records SET seq = 1000 WHERE seq = ${seq}; UPDATE tags SET seq = 1000 WHERE seq = ${seq}`, seq] as const,
      ),
    ])
  })

  test('a row before the beginning is found', async () => {
    const honest = await honestDatabase()
    for (const seq of [0, 25, 49]) {
      const report = await afterSql(honest, `UPDATE records SET seq = -7 WHERE seq = ${seq}; UPDATE tags SET seq = -7 WHERE seq = ${seq}`)
      expect(report.ok).toBe(false)
      expect(report.problems_total).toBeLessThanOrEqual(3)
    }
  })

  test('rows doubled and inserted are found', async () => {
    const honest = await honestDatabase()
    const stranger = await honestDatabase(2)
    const columns = columnsOf(honest)
      .map(({ name }) => name)
      .filter((name) => name !== 'seq')
    const copied = (from: string, seq: number, as: number): string =>
      `INSERT INTO records (seq, ${columns.join()}) SELECT ${as}, ${columns.join()} FROM ${from} WHERE seq = ${seq}`
    const found = async (sql: string, seq: number): Promise<void> => {
      const report = await afterSql(honest, (db) => {
        db.exec(`ATTACH '${stranger}' AS other`)
        db.exec(sql)
        db.exec('DETACH other')
      })
      expect(whyNotFound(sql, seq, report)).toBe(null)
    }
    await found(copied('records', 30, 50), 50)
    await found(copied('records', 49, 50), 50)
    await found(copied('other.records', 49, 50), 50)
    await found(`DELETE FROM records WHERE seq = 30; ${copied('other.records', 30, 30)}`, 30)
  })

  test('a cut tail is not found by the chain, and the report says what would be needed', async () => {
    const report = await afterSql(await honestDatabase(), 'DELETE FROM records WHERE seq > 9; DELETE FROM tags WHERE seq > 9')
    if (report.problems.length > 0) expect(report.problems.map(({ code }) => code)).toEqual(['incomplete_append'])
    else expect(report).toMatchObject({ ok: true, size: 10 })
    expect(report.missing.completeness).toMatch(/checkpoint/)
  })

  test('what was tampered with is opened for reading, and says so', async () => {
    const honest = await honestDatabase()
    const db = unguarded(honest)
    db.exec("UPDATE records SET actor = 'forged' WHERE seq = 7")
    db.close()
    const ledger = await AuditLedger.open(honest, { readOnly: true })
    const report = await ledger.verifyIntegrity()
    expect(report.problems.map(({ code, seq }) => [code, seq])).toEqual([['column_mismatch', 7]])
    expect(report.problems[0]).toMatchObject({ where: { row: 7 }, found: 'actor=forged' })
    await ledger.close()
  })
})
