/** Any bytes as a ledger: always a report, never a throw, in bounded time and memory; and never a false pass. */
import { closeSync, cpSync, ftruncateSync, mkdirSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { AuditLedger, LedgerError, verifyLedger, type VerificationReport } from '../../src/index.ts'
import { seededRandom } from '../../src/testing/index.ts'
import { fuzzedSegment, mutated } from '../helpers/fuzzing.ts'
import { makeHonestLedger } from '../helpers/honest-ledger.ts'
import { scale } from '../helpers/scale.ts'
import { linesIn } from '../helpers/tampering.ts'
import { tempDir } from '../helpers/temp.ts'

const FILES = scale(300, 10_000)
const SEED = 7
const FIRST = '00000000000000000000.jsonl'

/** It has the form of a report, whatever it says. */
function assertReport(report: VerificationReport, what: string): void {
  expect(typeof report.ok, what).toBe('boolean')
  expect(report.ok, what).toBe(report.verdicts.integrity !== 'fail' && report.verdicts.authenticity !== 'fail')
  expect(report.problems_total, what).toBeGreaterThanOrEqual(report.problems.length)
  expect(report.problems_total > 0, what).toBe(report.verdicts.integrity === 'fail')
  expect(report.problems.length, what).toBeLessThanOrEqual(10_000)
  expect(report.missing.completeness, what).toBeTruthy()
  // It goes to other programs as JSON.
  expect(JSON.parse(JSON.stringify(report)), what).toMatchObject({ size: report.size, ok: report.ok })
}

/** Opening for writing either works or says why; it never throws anything else. */
async function assertOpensOrSaysWhy(location: string, what: string): Promise<void> {
  try {
    const ledger = await AuditLedger.open(location, { signer: null, onWarning: () => {} })
    await ledger.record({ agent_name: 'a', method_name: 'm' }).catch((error: unknown) => expect(error, what).toBeInstanceOf(LedgerError))
    await ledger.close()
  } catch (error) {
    expect(error, what).toBeInstanceOf(LedgerError)
  }
}

describe('JSONL', () => {
  async function honest(): Promise<Buffer> {
    const location = join(tempDir(), 'honest')
    await makeHonestLedger(location, 12, 1, { index: 'off' })
    return readFileSync(join(location, 'segments', FIRST))
  }

  test(
    `${FILES} fuzzed segments (seed ${SEED})`,
    async () => {
      const segment = await honest()
      const lines = linesIn(segment)
      const beginnings = new Set(['', ...lines.map((_, i) => Buffer.concat(lines.slice(0, i + 1)).toString('latin1'))])
      const random = seededRandom(SEED)
      const location = join(tempDir(), 'ledger')
      mkdirSync(join(location, 'segments'), { recursive: true })
      for (let i = 0; i < FILES; i++) {
        const { name, bytes } = fuzzedSegment(segment, random)
        const what = `file ${i}: ${name}`
        writeFileSync(join(location, 'segments', FIRST), bytes)
        const report = await verifyLedger(location, { canonicalEntries: i % 2 === 0 })
        assertReport(report, what)
        // Only an honest beginning passes: nothing that was drawn by chance has a hash that fits.
        expect(report.ok, what).toBe(beginnings.has(bytes.toString('latin1')))
        expect(readFileSync(join(location, 'segments', FIRST)).equals(bytes), `${what}: verification changes nothing`).toBe(true)
        if (i % 10 > 0) continue
        const copy = join(tempDir(), 'copy')
        cpSync(location, copy, { recursive: true })
        await assertOpensOrSaysWhy(copy, what)
      }
    },
    scale(120_000, 3_600_000),
  )

  test('an exported file of its own verifies the same way', async () => {
    const segment = await honest()
    const random = seededRandom(SEED + 1)
    const path = join(tempDir(), 'export.jsonl')
    writeFileSync(path, segment)
    expect(await verifyLedger(path)).toMatchObject({ ok: true, size: 12 })
    for (let i = 0; i < scale(20, 500); i++) {
      writeFileSync(path, fuzzedSegment(segment, random).bytes)
      assertReport(await verifyLedger(path), `file ${i}`)
    }
  })

  test('what is no segment where segments should be', async () => {
    const segment = await honest()
    const shapes: [string, (location: string) => void][] = [
      ['an empty folder', (location) => mkdirSync(location)],
      ['an empty segments folder', (location) => mkdirSync(join(location, 'segments'), { recursive: true })],
      ['a folder named as a segment', (location) => mkdirSync(join(location, 'segments', FIRST), { recursive: true })],
      [
        'foreign names',
        (location) =>
          ['x.jsonl', '1.jsonl', '.hidden', `${FIRST}.bak`, '99999999999999999999.jsonl'].forEach((name) => put(location, name, segment)),
      ],
      [
        'a symbolic link that leads to itself',
        (location) => (put(location, 'x', segment), symlinkSync(FIRST, join(location, 'segments', FIRST))),
      ],
      [
        'a symbolic link that leads nowhere',
        (location) => (put(location, 'x', segment), symlinkSync('nowhere', join(location, 'segments', FIRST))),
      ],
      ['a file where the folder should be', (location) => (mkdirSync(location), writeFileSync(join(location, 'segments'), 'x'))],
    ]
    const put = (location: string, name: string, bytes: Buffer): void => {
      mkdirSync(join(location, 'segments'), { recursive: true })
      writeFileSync(join(location, 'segments', name), bytes)
    }
    for (const [name, make] of shapes) {
      const location = join(tempDir(), 'ledger')
      make(location)
      try {
        assertReport(await verifyLedger(location), name)
      } catch (error) {
        // Nothing to look at is no finding, but a clear error.
        if (!(error instanceof LedgerError)) throw error
        expect(['not_found', 'not_a_ledger', 'io_error'], name).toContain(error.code)
      }
      await assertOpensOrSaysWhy(location, name)
    }
  })

  test('a line without end takes bounded memory', async () => {
    const location = join(tempDir(), 'ledger')
    mkdirSync(join(location, 'segments'), { recursive: true })
    const file = openSync(join(location, 'segments', FIRST), 'w')
    writeSync(file, (await honest()).subarray(0, -10))
    // Zeros that take no room on the disk.
    ftruncateSync(file, scale(300_000_000, 3_000_000_000))
    closeSync(file)
    let peak = 0
    const before = process.memoryUsage()
    const watch = setInterval(() => {
      const now = process.memoryUsage()
      peak = Math.max(peak, now.heapUsed - before.heapUsed + now.arrayBuffers - before.arrayBuffers)
    }, 5)
    const report = await verifyLedger(location)
    clearInterval(watch)
    assertReport(report, 'zeros')
    expect(report.ok).toBe(false)
    expect(peak).toBeLessThan(150_000_000)
  })
})

describe('SQLite', () => {
  async function honest(): Promise<{ bytes: Buffer; lines: string[] }> {
    const location = join(tempDir(), 'honest.db')
    await makeHonestLedger(location, 12)
    const ledger = await AuditLedger.open(location, { readOnly: true })
    const lines: string[] = []
    for await (const { line } of ledger.read()) lines.push(line)
    await ledger.close()
    return { bytes: readFileSync(location), lines }
  }

  /** All that can be read of it; null where reading fails. */
  async function linesOf(location: string): Promise<string[] | null> {
    try {
      const ledger = await AuditLedger.open(location, { readOnly: true })
      const lines: string[] = []
      try {
        for await (const { line } of ledger.read()) lines.push(line)
      } finally {
        await ledger.close()
      }
      return lines
    } catch (error) {
      expect(error).toBeInstanceOf(Error)
      return null
    }
  }

  test(
    `${FILES} fuzzed databases (seed ${SEED})`,
    async () => {
      const { bytes: whole, lines } = await honest()
      const random = seededRandom(SEED)
      const folder = tempDir()
      for (let i = 0; i < FILES; i++) {
        const location = join(folder, `${i}.db`)
        const bytes = random.chance(0.9) ? mutated(whole, random) : Buffer.from(random.bytes(random.below(20_000)))
        writeFileSync(location, bytes)
        if (random.chance(0.1)) writeFileSync(`${location}-wal`, random.bytes(random.below(10_000)))
        const what = `file ${i}`
        const report = await verifyLedger(location)
        assertReport(report, what)
        // What passes is the honest beginning, whatever else the file holds.
        if (report.ok && report.size > 0) expect(await linesOf(location), what).toEqual(lines.slice(0, report.size))
        if (i % 10 === 0) await assertOpensOrSaysWhy(location, what)
        for (const end of ['', '-wal', '-shm', '-journal']) rmSync(location + end, { force: true })
      }
    },
    scale(120_000, 3_600_000),
  )

  test('databases of others', async () => {
    const schemas = [
      'create table t (x)',
      'create table records (seq integer primary key)',
      'create table records (seq, hash, header, salt, entry); insert into records values (null, null, null, null, null)',
      "create table records (seq integer primary key, hash blob); insert into records values (0, x'00')",
      'create view records as select 1 as seq',
      'pragma user_version = 999; create table records (seq integer primary key)',
      '',
    ]
    for (const schema of schemas) {
      const location = join(tempDir(), 'other.db')
      const db = new DatabaseSync(location)
      db.exec(schema)
      db.close()
      try {
        const report = await verifyLedger(location)
        assertReport(report, schema)
        expect(report.ok && report.size > 0, schema).toBe(false)
      } catch (error) {
        // A newer format can't be judged by this version, and no ledger is none.
        expect(error, schema).toBeInstanceOf(LedgerError)
        expect(['newer_format', 'not_found', 'not_a_ledger'], schema).toContain((error as LedgerError).code)
      }
      await assertOpensOrSaysWhy(location, schema)
    }
  })
})
