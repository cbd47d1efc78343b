/** Compressed files are verified as they are: whole ledgers as ledgers, some records of one as what they are. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { auditPacked } from '../../src/ledger/packed-audit.ts'
import type { AuditOptions } from '../../src/ledger/audit.ts'
import { openArchive } from '../../src/open-archive.ts'
import { verifyLedger } from '../../src/open-verify.ts'
import type { VerificationReport } from '../../src/verify/report.ts'
import { run } from '../cli/cli.ts'
import { makeLedger, ORIGIN } from '../helpers/make-lines.ts'
import type { MadeRecord } from '../helpers/make-lines.ts'
import { packed, sourceOf } from '../helpers/packed.ts'
import { S3_BUCKET, S3_KEYS, S3_REGION, startS3 } from '../helpers/s3-server.ts'
import { tempDir } from '../helpers/temp.ts'

const COUNT = 300
const long = 'word '.repeat(600)
const recordsOf = (text: (seq: number) => string): MadeRecord[] =>
  makeLedger(Array.from({ length: COUNT - 1 }, (_, i) => ({ entry: { raw_output: text(i + 1) } })))
const all = recordsOf((seq) => `${seq} ${long}${seq * 7919}`).map(({ line }) => Buffer.from(line))
const joined = (lines: readonly Uint8Array[]): Buffer => Buffer.concat(lines.flatMap((each) => [each, Buffer.from('\n')]))
const part = [...all.slice(20, 120), ...all.slice(150, 151), ...all.slice(160, 290)]

async function audited(lines: readonly Uint8Array[], options: AuditOptions = {}): Promise<VerificationReport> {
  return auditPacked(sourceOf((await packed(lines)).file), 'cold/some.jsonl.zst', { remembered: false, ...options })
}

const codes = ({ problems }: VerificationReport): (readonly [string, number | null])[] => problems.map(({ code, seq }) => [code, seq])

describe('a whole ledger', () => {
  const expected = { ok: true, size: COUNT, origin: ORIGIN, checks: { columns: { verdict: 'pass' }, run_ids_unique: { verdict: 'pass' } } }

  test('is verified as one', async () => {
    const report = await audited(all, { origin: ORIGIN, canonicalEntries: true })
    expect(report).toMatchObject(expected)
    expect(report.excerpt).toBe(undefined)
    expect(report.checks.entries_canonical.verdict).toBe('pass')
    expect(codes(await audited(all, { origin: 'example.com/another' }))).toEqual([['wrong_origin', 0]])
  })

  test('also as another program compressed it', async () => {
    for (const [file, name] of [
      [zstdCompressSync(joined(all)), 'a.jsonl.zst'],
      [gzipSync(joined(all)), 'a.jsonl.gz'],
    ] as const) {
      const report = await auditPacked(sourceOf(file), name, { remembered: false })
      expect(report).toMatchObject({ ok: true, size: COUNT, checks: { columns: { verdict: 'not checked' } } })
      const cut = await auditPacked(sourceOf(file.subarray(0, file.length / 2)), name, { remembered: false })
      expect(cut.ok).toBe(false)
      expect(cut.problems.at(-1)?.code).toBe('unreadable')
    }
    const torn = await auditPacked(sourceOf(gzipSync(joined(all).subarray(0, -5))), 'a.jsonl.gz', { remembered: false })
    expect(codes(torn)).toEqual([['unended_segment', COUNT - 1]])
  })

  test.each([
    ['zstd', zstdCompressSync],
    ['gzip', gzipSync],
  ] as const)('%s: all parts count, of files that were put behind each other', async (codec, compress) => {
    const parts = [all.slice(0, 100), all.slice(100, 101), all.slice(101)].map((lines) => compress(joined(lines)))
    const name = codec === 'zstd' ? 'a.jsonl.zst' : 'a.jsonl.gz'
    expect(await auditPacked(sourceOf(Buffer.concat(parts)), name, { remembered: false })).toMatchObject({ ok: true, size: COUNT })
    const garbled = Buffer.concat([...parts.slice(0, 2), Buffer.from('and nothing'), ...parts.slice(2)])
    const report = await auditPacked(sourceOf(garbled), name, { remembered: false })
    expect(codes(report).map(([code]) => code)).toEqual(['unreadable'])
  })

  test('of which records were taken out is no whole one', async () => {
    const file = zstdCompressSync(joined([...all.slice(0, 100), ...all.slice(110)]))
    expect(codes(await auditPacked(sourceOf(file), 'a.jsonl.zst', { remembered: false }))).toEqual([['missing_records', 100]])
  })

  test('an empty file holds nothing', async () => {
    expect(await audited([])).toMatchObject({ ok: true, size: 0 })
  })
})

describe('some records of a ledger', () => {
  test('pass, and it is said how many, and what is not checked', async () => {
    const report = await audited(part)
    expect(report).toMatchObject({
      ok: true,
      from: 20,
      size: 290,
      excerpt: { records: 231, runs: 3, withheld: 0 },
      verdicts: { integrity: 'pass', authenticity: 'not checked', completeness: 'not checked', time: 'not checked' },
      checks: { columns: { verdict: 'pass' }, run_ids_unique: { verdict: 'not checked' } },
    })
    expect(report.notes.map(({ code }) => code)).toEqual(['excerpt'])
    expect(codes(await audited(part, { origin: ORIGIN }))).toEqual([['wrong_origin', 0]])
    expect(await audited([...all.slice(0, 5), ...all.slice(50, 60)], { origin: ORIGIN })).toMatchObject({ ok: true, origin: ORIGIN })
  })

  test('as another program compressed them', async () => {
    const report = await auditPacked(sourceOf(gzipSync(joined(part))), 'a.jsonl.gz', { remembered: false })
    expect(report).toMatchObject({ ok: true, excerpt: { records: 231, runs: 3 } })
  })

  const edited = (index: number, from: string, to: string): Buffer[] =>
    part.map((line, i) => (i === index ? Buffer.from(line.toString().replace(from, to)) : line))

  test.each([
    ['a header', edited(50, '"outcome":"success"', '"outcome":"failure"'), [['hash_mismatch', null]]],
    ['an entry', edited(50, '"raw_output":"70 ', '"raw_output":"71 '), [['entry_mismatch', 70]]],
    ['a form', edited(100, '"entry":{', '"entry": {'), [['malformed_record', 150]]],
    ['what is no record', edited(50, '{"hash"', '{"hush"'), [['malformed_record', null]]],
  ] as const)('%s that was changed is found', async (_, lines, expected) => {
    const report = await audited(lines)
    expect(report.verdicts.integrity).toBe('fail')
    expect(codes(report)).toEqual(expected)
  })

  test('a neighbour of another history is found', async () => {
    const other = recordsOf((seq) => `other ${seq}`).map(({ line }) => Buffer.from(line))
    expect(codes(await audited([...all.slice(20, 60), ...other.slice(60, 61), ...all.slice(61, 80)]))).toEqual([
      ['chain_broken', 60],
      ['chain_broken', 61],
    ])
  })

  test('records that do not ascend are found, where another program packed them', async () => {
    const lines = [...all.slice(20, 30), ...all.slice(25, 27), ...all.slice(30, 40)]
    expect(codes(await auditPacked(sourceOf(zstdCompressSync(joined(lines))), 'a.jsonl.zst', { remembered: false }))).toEqual([
      ['unexpected_record', 25],
      ['unexpected_record', 26],
    ])
  })

  test('entries that are withheld are counted, and no finding', async () => {
    const bare = part.map((line, i) => (i === 3 ? Buffer.from(line.toString().replace(/,"salt".*$/, ',"entry":null}')) : line))
    const report = await audited(bare)
    expect(report).toMatchObject({ ok: true, excerpt: { withheld: 1 } })
  })
})

describe('damage of the file', () => {
  test('a frame that can not be read costs its records, no others', async () => {
    const { file, table } = await packed(part)
    expect(table.frames.length).toBe(4)
    const frame = table.frames[1]!
    file.fill(0, frame.offset + 100, frame.offset + 140)
    const report = await auditPacked(sourceOf(file), 'some.jsonl.zst', { remembered: false })
    expect(codes(report)).toEqual([['unreadable', frame.first_seq]])
    expect(report.problems[0]?.where).toEqual({ file: 'some.jsonl.zst', byte: frame.position })
    expect(report.excerpt?.records).toBeGreaterThan(100)
    // The whole ledger tells how many are missing.
    const whole = await packed(all)
    const second = whole.table.frames[1]!
    whole.file.fill(0, second.offset + 100, second.offset + 140)
    const told = await auditPacked(sourceOf(whole.file), 'some.jsonl.zst', { remembered: false })
    expect(codes(told).map(([code]) => code)).toEqual(['unreadable', 'missing_records'])
  })

  test('a table that says something else than the lines', async () => {
    const { file, table } = await packed(part)
    const head = file.length - 9 - 8 * (table.frames.length + 1) - 8 - 8 * table.frames.length - 24
    const changed = async (at: number, value: bigint): Promise<readonly (readonly [string, number | null])[]> => {
      const copy = Buffer.from(file)
      copy.writeBigUInt64LE(value, head + at)
      return codes(await auditPacked(sourceOf(copy), 'some.jsonl.zst', { remembered: false }))
    }
    expect(await changed(8, 230n)).toEqual([['column_mismatch', null]])
    expect(await changed(16, 500n)).toEqual([['column_mismatch', null]])
    expect(await changed(24, 19n)).toEqual([['column_mismatch', 20]])
    // One that can't be: the lines are verified all the same.
    expect(await changed(24, 2n ** 60n)).toEqual([['column_mismatch', null]])
  })
})

test('verify takes such a file by its name, and one of an archive by its URL', async () => {
  const folder = tempDir()
  const path = join(folder, 'cold', 'some.jsonl.zst')
  mkdirSync(join(folder, 'cold'))
  const { file } = await packed(part)
  writeFileSync(path, file)
  expect(await verifyLedger(path, { remembered: false })).toMatchObject({ ok: true, excerpt: { records: 231 } })
  const shown = await run(['verify', path])
  expect(shown.code).toBe(0)
  expect(shown.stdout).toContain('231 records of a ledger')
  writeFileSync(
    path,
    (await packed(part.map((line, i) => (i === 9 ? Buffer.from(line.toString().replace('success', 'failure')) : line)))).file,
  )
  expect((await run(['verify', path, '--json'])).code).toBe(1)

  const server = await startS3()
  const environment = { AWS_ACCESS_KEY_ID: S3_KEYS.accessKeyId, AWS_SECRET_ACCESS_KEY: S3_KEYS.secretAccessKey }
  const query = `?endpoint=${server.endpoint}&region=${S3_REGION}`
  const archive = await openArchive(`s3://${S3_BUCKET}/cold${query}`, { environment })
  await archive.write('2026/some.jsonl.zst', file)
  const remote = await run(['verify', `s3://${S3_BUCKET}/cold/2026/some.jsonl.zst${query}`, '--json'], { env: environment })
  expect(JSON.parse(remote.stdout)).toMatchObject({ ok: true, excerpt: { records: 231, runs: 3 } })
  const wrong = await run(['verify', `s3://${S3_BUCKET}/cold/none.jsonl.zst${query}`], { env: environment })
  expect([wrong.code, wrong.stderr]).toEqual([expect.any(Number), expect.stringContaining('has no file none.jsonl.zst')])
})
