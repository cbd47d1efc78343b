/** Whatever is changed in a JSONL ledger is reported, at the right record, in at most three problems. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, LedgerError, verifyLedger, type VerificationReport } from '../../src/index.ts'
import { seededRandom } from '../../src/testing/index.ts'
import { HONEST_ORIGIN, makeHonestLedger } from '../helpers/honest-ledger.ts'
import { scale, soaking } from '../helpers/scale.ts'
import { changedBytes, linesIn, movedLines, spelledOtherwise, type Tampered } from '../helpers/tampering.ts'
import { tempDir } from '../helpers/temp.ts'

const RECORDS = 50
const SEED = 50

/** The one segment of an honest ledger. */
async function honestSegment(seed = 1): Promise<Buffer> {
  const location = join(tempDir(), 'ledger')
  await makeHonestLedger(location, RECORDS, seed, { index: 'off' })
  return readFileSync(join(location, 'segments', '00000000000000000000.jsonl'))
}

/** A place whose only segment can be written anew for each variant. */
function ledgerPlace(): { location: string; put: (segment: Buffer) => void } {
  const location = join(tempDir(), 'tampered')
  mkdirSync(join(location, 'segments'), { recursive: true })
  return { location, put: (segment) => writeFileSync(join(location, 'segments', '00000000000000000000.jsonl'), segment) }
}

/** What is wrong with the report of a variant, or null. */
function whyNotFound({ name, seq }: Tampered, report: VerificationReport): string | null {
  const told = report.problems.map((problem) => `${problem.code} at ${problem.seq}`).join(', ')
  if (report.ok || report.verdicts.integrity !== 'fail' || report.problems.length === 0) return `${name}: not found`
  if (report.problems[0]?.seq !== seq) return `${name}: reported at another record than ${seq}: ${told}`
  if (report.problems_total > 3) return `${name}: ${report.problems_total} problems: ${told}`
  // What is named nowhere is looked for in the whole ledger: where the record lies is not kept.
  if (report.problems.some((problem) => problem.where === null && problem.code !== 'withheld_unnamed'))
    return `${name}: a problem without a place: ${told}`
  return null
}

async function assertAllFound(variants: Iterable<Tampered>): Promise<number> {
  const { location, put } = ledgerPlace()
  const missed: string[] = []
  let count = 0
  for (const variant of variants) {
    put(variant.bytes)
    const why = whyNotFound(variant, await verifyLedger(location))
    if (why !== null) missed.push(why)
    count++
  }
  expect(missed.slice(0, 40), `${missed.length} of ${count} variants`).toEqual([])
  return count
}

describe('a JSONL ledger of 50 records', () => {
  test('is honest before it is touched, to the byte each time it is made', async () => {
    const segment = await honestSegment()
    expect(linesIn(segment).length).toBe(RECORDS)
    expect((await honestSegment()).equals(segment)).toBe(true)
    const { location, put } = ledgerPlace()
    put(segment)
    const report = await verifyLedger(location, { origin: HONEST_ORIGIN, canonicalEntries: true })
    expect(report).toMatchObject({ ok: true, size: RECORDS, problems: [], origin: HONEST_ORIGIN })
    expect(report.verdicts).toMatchObject({
      integrity: 'pass',
      authenticity: 'not checked',
      completeness: 'not checked',
      time: 'not checked',
    })
  })

  test(
    `every byte changed three ways is found${soaking ? '' : ` (a sample, seed ${SEED})`}`,
    async () => {
      const segment = await honestSegment()
      const random = seededRandom(SEED)
      const sample = Array.from({ length: 60 }, () => random.below(segment.length))
      const count = await assertAllFound(changedBytes(segment, soaking ? segment.keys() : sample))
      expect(count).toBe(3 * (soaking ? segment.length : sample.length))
    },
    scale(120_000, 3_600_000),
  )

  test('every byte of one record, and of the line feeds around it, changed three ways is found', async () => {
    const segment = await honestSegment()
    const lines = linesIn(segment)
    const start = lines.slice(0, 3).reduce((sum, line) => sum + line.length, 0)
    // Every seventh one, but in the soak.
    const step = scale(7, 1)
    const positions = Array.from({ length: Math.ceil((lines[3]!.length + 1) / step) }, (_, i) => start - 1 + i * step)
    await assertAllFound(changedBytes(segment, positions))
  })

  test('records removed, swapped, doubled, inserted, cut are found', async () => {
    const variants = [...movedLines(await honestSegment(), linesIn(await honestSegment(2)))]
    expect(variants.length).toBeGreaterThan(700)
    await assertAllFound(variants.filter((_, i) => i % scale(5, 1) === 0))
  })

  test('members slipped in, other spellings, spare bits of salts are found', async () => {
    const variants = [...spelledOtherwise(await honestSegment())]
    expect(variants.length).toBeGreaterThan(1400)
    await assertAllFound(variants.filter((_, i) => i % scale(9, 1) === 0))
  })

  test('another origin than the one asked for is found', async () => {
    const { location, put } = ledgerPlace()
    put(await honestSegment())
    const report = await verifyLedger(location, { origin: 'example.com/another' })
    expect(report.ok).toBe(false)
    expect(report.problems.map(({ code, seq }) => [code, seq])).toEqual([['wrong_origin', 0]])
  })

  test('a cut tail is not found by the chain, and the report says what would be needed', async () => {
    const lines = linesIn(await honestSegment())
    const { location, put } = ledgerPlace()
    for (const size of [1, 10, RECORDS - 1]) {
      put(Buffer.concat(lines.slice(0, size)))
      const report = await verifyLedger(location)
      // A cut in the middle of an append of several records is found: it says how long it is.
      if (report.problems.length > 0) expect(report.problems.map(({ code }) => code)).toEqual(['incomplete_append'])
      else expect(report).toMatchObject({ ok: true, size, verdicts: { integrity: 'pass', completeness: 'not checked' } })
      expect(report.missing.completeness).toMatch(/checkpoint/)
    }
  })

  test('an append of several records of which the last are cut off is found', async () => {
    const lines = linesIn(await honestSegment())
    const { location, put } = ledgerPlace()
    const first = lines.findIndex((line) => line.includes('"append_last_seq":'))
    put(Buffer.concat(lines.slice(0, first + 1)))
    const report = await verifyLedger(location)
    expect(report.problems.map(({ code, seq }) => [code, seq])).toEqual([['incomplete_append', first]])
  })

  test('a whole ledger written anew verifies: only a checkpoint, a key or an origin tells', async () => {
    const { location, put } = ledgerPlace()
    put(await honestSegment(2))
    expect(await verifyLedger(location)).toMatchObject({ ok: true, verdicts: { completeness: 'not checked', authenticity: 'not checked' } })
  })
})

describe('a JSONL ledger with a record that can not be read', () => {
  /** The entry of this record is no JSON any more, or its header. */
  async function damaged(seq: number, what: string, instead: string): Promise<string> {
    const { location, put } = ledgerPlace()
    const lines = linesIn(await honestSegment()).map((line) => line.toString('utf8'))
    put(Buffer.from(lines.map((line, i) => (i === seq ? line.replace(what, instead) : line)).join('')))
    return location
  }

  const ways: [string, string][] = [
    [',"entry":{', ',"entry":{{'],
    ['"timestamp":"2', '"timestamp":"x'],
    ['"header":{', '"header":{{'],
  ]

  test.each(ways)('record 0, %s to %s: not opened for writing, opened for reading, reported', async (what, instead) => {
    const location = await damaged(0, what, instead)
    const error = await AuditLedger.open(location, { signer: null }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(LedgerError)
    expect(error).toMatchObject({ code: 'damaged' })
    const reader = await AuditLedger.open(location, { readOnly: true })
    expect((await reader.verifyIntegrity()).problems.map(({ seq }) => seq)).toEqual([0])
    await reader.close()
  })

  test.each(ways)('record 7, %s to %s: reading says so with a code, and goes on where it is asked to', async (what, instead) => {
    const location = await damaged(7, what, instead)
    const reader = await AuditLedger.open(location, { readOnly: true })
    const failure = await (async () => {
      for await (const { entry } of reader.read()) void entry
    })().catch((reason: unknown) => reason)
    expect(failure).toBeInstanceOf(LedgerError)
    expect(failure).toMatchObject({ code: 'damaged' })
    const behind: number[] = []
    for await (const { seq } of reader.read({ from: 8 })) behind.push(seq)
    expect(behind).toHaveLength(RECORDS - 8)
    expect((await reader.verifyIntegrity()).problems.map(({ seq }) => seq)).toEqual([7])
    await reader.close()
  })
})

describe('a JSONL ledger of several segments', () => {
  async function segments(): Promise<{ location: string; names: string[]; contents: Buffer[] }> {
    const location = join(tempDir(), 'ledger')
    const ledger = await AuditLedger.open(location, { origin: HONEST_ORIGIN, signer: null, index: 'off' })
    for (let i = 0; i < 4; i++) {
      for (let n = 0; n < 5; n++) await ledger.record({ agent_name: 'a', method_name: 'm' })
      if (i < 3) await ledger.rotate()
    }
    await ledger.close()
    // 1 + 5 records, then three times a seal and 5 records.
    const names = [0, 6, 12, 18].map((seq) => `${String(seq).padStart(20, '0')}.jsonl`)
    return { location, names, contents: names.map((name) => readFileSync(join(location, 'segments', name))) }
  }

  async function tampered(
    change: (files: { name: string; bytes: Buffer }[]) => { name: string; bytes: Buffer }[],
  ): Promise<VerificationReport> {
    const { names, contents } = await segments()
    const location = join(tempDir(), 'tampered')
    mkdirSync(join(location, 'segments'), { recursive: true })
    const files = change(names.map((name, i) => ({ name, bytes: contents[i]! })))
    for (const { name, bytes } of files) writeFileSync(join(location, 'segments', name), bytes)
    return verifyLedger(location)
  }

  const codes = (report: VerificationReport): unknown[] => report.problems.map(({ code, seq }) => [code, seq])

  test('is honest before it is touched', async () => {
    const report = await tampered((files) => files)
    expect(report).toMatchObject({ ok: true, size: 24, problems: [] })
  })

  test('a segment removed is found', async () => {
    expect(codes(await tampered((files) => files.filter((_, i) => i !== 1)))).toContainEqual(['missing_records', 6])
    const first = await tampered((files) => files.slice(1))
    expect(first.ok).toBe(false)
    expect(first.problems[0]).toMatchObject({ code: 'missing_records', seq: 0 })
  })

  test('the last segment removed is a cut tail: not found, and the report says what would be needed', async () => {
    const report = await tampered((files) => files.slice(0, -1))
    expect(report).toMatchObject({ ok: true, size: 18 })
    expect(report.missing.completeness).toMatch(/checkpoint/)
  })

  test('the first records of a segment removed are found: the name tells what should be there', async () => {
    const report = await tampered((files) =>
      files.map(({ name, bytes }, i) => ({ name, bytes: i === 1 ? bytes.subarray(bytes.indexOf(0x0a) + 1) : bytes })),
    )
    expect(report.problems).toMatchObject([{ code: 'segment_misplaced', seq: 6, expected: '6', found: '7' }])
  })

  test('two segments swapped are found', async () => {
    const report = await tampered(([a, b, c, d]) => [a!, { name: b!.name, bytes: c!.bytes }, { name: c!.name, bytes: b!.bytes }, d!])
    expect(report.ok).toBe(false)
    expect(report.problems_total).toBeLessThanOrEqual(8)
    expect(codes(report)[0]).toEqual(['segment_misplaced', 6])
  })

  test('a segment under another name is found', async () => {
    const report = await tampered(([a, b, c, d]) => [a!, { name: '00000000000000000007.jsonl', bytes: b!.bytes }, c!, d!])
    expect(codes(report)).toEqual([['segment_misplaced', 6]])
  })

  test('a segment that is there twice is found', async () => {
    const report = await tampered(([a, b, c, d]) => [a!, b!, { name: '00000000000000000008.jsonl', bytes: b!.bytes }, c!, d!])
    expect(report.ok).toBe(false)
    expect(codes(report)[0]).toEqual(['segment_misplaced', 6])
  })

  test('a sealed segment whose last line feed is gone is found', async () => {
    const report = await tampered((files) => files.map(({ name, bytes }, i) => ({ name, bytes: i === 1 ? bytes.subarray(0, -1) : bytes })))
    expect(report.problems[0]).toMatchObject({ code: 'unended_segment', seq: 11 })
    expect(report.problems_total).toBeLessThanOrEqual(3)
  })

  test('an emptied segment is found', async () => {
    const report = await tampered((files) => files.map(({ name, bytes }, i) => ({ name, bytes: i === 2 ? Buffer.alloc(0) : bytes })))
    expect(codes(report)).toContainEqual(['missing_records', 12])
  })
})
