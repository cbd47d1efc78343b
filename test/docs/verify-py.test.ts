/**
 * docs/verify.py, written from docs/format.md alone, and ours: on every honest and every tampered ledger they say the
 * same of every line. Where there is no python3 these tests are skipped.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { describe, expect, test } from 'vitest'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { verifyLedger } from '../../src/open-verify.ts'
import { seededRandom } from '../../src/testing/index.ts'
import { LedgerVerifier } from '../../src/verify/chain.ts'
import { LineSplitter } from '../../src/verify/lines.ts'
import { craftedLedgers } from '../helpers/crafted.ts'
import { fuzzedSegment } from '../helpers/fuzzing.ts'
import { HONEST_ORIGIN, makeHonestLedger } from '../helpers/honest-ledger.ts'
import { scale } from '../helpers/scale.ts'
import { changedBytes, linesIn, movedLines, spelledOtherwise } from '../helpers/tampering.ts'
import { tempDir } from '../helpers/temp.ts'

const script = join(import.meta.dirname, '../../docs/verify.py')
const python = spawnSync('python3', ['--version'])
if (python.status !== 0) console.log('skipped, since python3 is not there')

interface Saying {
  readonly ok: boolean
  readonly size: number
  readonly head: string | null
  /** `<byte offset> <position> <code>`, ascending. */
  readonly problems: readonly string[]
}

function ours(bytes: Buffer): Saying {
  const verifier = new LedgerVerifier({ ...nodeHashing, canonical_entries: true, problems_max: 1_000_000 })
  const splitter = new LineSplitter()
  verifier.file('lines.jsonl', null)
  splitter.push(bytes, (chunk, start, end, position) => verifier.line(chunk, start, end, position))
  const rest = splitter.rest()
  if (rest !== null) verifier.unended(rest.position, rest.length, 'tail')
  const { ok, size, head, problems } = verifier.finish()
  const said = problems.map(({ code, seq, where }) => `${where !== null && 'byte' in where ? where.byte : '-'} ${seq} ${code}`)
  return { ok, size, head, problems: said.toSorted() }
}

/** What verify.py says of each file, all in one process. */
function theirs(files: readonly Buffer[]): Saying[] {
  const input = Buffer.concat(
    files.flatMap((file) => {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(file.length)
      return [length, file]
    }),
  )
  const ran = spawnSync('python3', [join(import.meta.dirname, 'verify_batch.py')], { input, maxBuffer: 1 << 30 })
  expect(ran.stderr.toString(), 'verify.py must not throw').toBe('')
  const said = ran.stdout.toString().trimEnd().split('\n')
  return said.map((line) => {
    const { ok, size, head, problems } = JSON.parse(line) as Omit<Saying, 'problems'> & {
      problems: [number | null, number | null, string][]
    }
    return { ok, size, head, problems: problems.map(([byte, seq, code]) => `${byte ?? '-'} ${seq} ${code}`).toSorted() }
  })
}

interface Variant {
  readonly name: string
  readonly bytes: Buffer
}

/** Both verifiers on all of them, in batches of bounded size. @returns how many were not ok */
function compare(variants: Iterable<Variant>): number {
  let broken = 0
  const different: { name: string; ours: Saying; theirs: Saying | undefined }[] = []
  let batch: Variant[] = []
  let size = 0
  const settle = (): void => {
    const said = theirs(batch.map(({ bytes }) => bytes))
    expect(said.length).toBe(batch.length)
    for (const [i, { name, bytes }] of batch.entries()) {
      const mine = ours(bytes)
      if (!isDeepStrictEqual(said[i], mine)) different.push({ name, ours: mine, theirs: said[i] })
      if (!mine.ok) broken++
    }
    batch = []
    size = 0
  }
  for (const variant of variants) {
    batch.push(variant)
    size += variant.bytes.length
    if (size > 64_000_000) settle()
  }
  if (batch.length > 0) settle()
  expect(different.slice(0, 20), `${different.length} differ`).toEqual([])
  return broken
}

async function honestSegment(size: number, seed: number): Promise<Buffer> {
  const folder = join(tempDir(), 'ledger')
  await makeHonestLedger(folder, size, seed)
  return readFileSync(join(folder, 'segments', '00000000000000000000.jsonl'))
}

describe.skipIf(python.status !== 0)('docs/verify.py', { timeout: scale(120_000, 3_600_000) }, () => {
  test('takes an honest ledger, of one segment or of several', async () => {
    const folder = join(tempDir(), 'ledger')
    await makeHonestLedger(folder, 60, 5, { segmentBytes: 8_000 })
    expect(readdirSync(join(folder, 'segments')).length).toBeGreaterThan(2)
    const ran = spawnSync('python3', [script, folder, '--canonical', '--json', '--origin', HONEST_ORIGIN], { encoding: 'utf8' })
    const report = await verifyLedger(folder, { canonicalEntries: true, origin: HONEST_ORIGIN })
    expect(report.ok).toBe(true)
    expect(JSON.parse(ran.stdout)).toEqual({ ok: true, size: report.size, head: report.head, problems: [] })
    expect(ran.status).toBe(0)
    expect(spawnSync('python3', [script, folder, '--origin', 'example.com/other']).status).toBe(1)
  })

  test('agrees on segments that are cut, missing, swapped or misnamed', async () => {
    const folder = join(tempDir(), 'ledger')
    await makeHonestLedger(folder, 60, 6, { segmentBytes: 8_000 })
    const names = readdirSync(join(folder, 'segments')).toSorted()
    const read = (name: string): Buffer => readFileSync(join(folder, 'segments', name))
    const [first, second, third] = names as [string, string, string]
    const edits: Record<string, (file: (name: string) => Buffer) => Record<string, Buffer>> = {
      'a sealed segment is cut': (file) => ({ [second]: file(second).subarray(0, -40) }),
      'a sealed segment is empty': () => ({ [second]: Buffer.alloc(0) }),
      'two segments are swapped': (file) => ({ [second]: file(third), [third]: file(second) }),
      'a segment is there twice': (file) => ({ [third]: file(second) }),
      'the last segment is cut': (file) => ({ [names.at(-1) as string]: file(names.at(-1) as string).subarray(0, -40) }),
      'the first line of a segment is damaged': (file) => ({ [second]: Buffer.concat([Buffer.from('x'), file(second)]) }),
      'the first segment begins later': (file) => ({ [first]: file(first).subarray(file(first).indexOf(0x0a) + 1) }),
    }
    for (const [what, edit] of Object.entries(edits)) {
      const copy = join(tempDir(), 'ledger')
      mkdirSync(join(copy, 'segments'), { recursive: true })
      for (const name of names) copyFileSync(join(folder, 'segments', name), join(copy, 'segments', name))
      for (const [name, bytes] of Object.entries(edit(read))) {
        const path = join(copy, 'segments', name)
        spawnSync('chmod', ['u+w', path])
        writeFileSync(path, bytes)
      }
      const ran = spawnSync('python3', [script, copy, '--json'], { encoding: 'utf8' })
      const report = await verifyLedger(copy)
      const said = JSON.parse(ran.stdout) as { ok: boolean; problems: { code: string; seq: number | null; where: unknown }[] }
      expect(report.ok, what).toBe(false)
      expect({ ok: said.ok, problems: said.problems.map(({ code, seq, where }) => ({ code, seq, where })) }, what).toEqual({
        ok: report.ok,
        problems: report.problems.map(({ code, seq, where }) => ({ code, seq, where })),
      })
      expect(ran.status, what).toBe(1)
    }
  })

  test('agrees on changed bytes', async () => {
    const small = await honestSegment(7, 11)
    const step = scale(19, 1)
    const positions = Array.from({ length: Math.ceil(small.length / step) }, (_, i) => i * step)
    expect(compare(changedBytes(small, positions))).toBe(positions.length * 3)
  })

  test('agrees on lines that are removed, moved, doubled, inserted or cut', async () => {
    const segment = await honestSegment(scale(9, 50), 12)
    const strangers = linesIn(await honestSegment(scale(9, 50), 13))
    expect(compare(movedLines(segment, strangers))).toBeGreaterThan(100)
  })

  test('agrees on what is slipped in and on what is spelled otherwise', async () => {
    expect(compare(spelledOtherwise(await honestSegment(scale(9, 50), 14)))).toBeGreaterThan(100)
  })

  test('agrees on headers and entries at the edge of the rules, resealed', () => {
    const variants = [...craftedLedgers()]
    const broken = compare(variants)
    expect(broken).toBeGreaterThan(60)
    expect(broken).toBeLessThan(variants.length)
  })

  test('agrees on fuzzed files', async () => {
    const seed = 15
    console.log(`seed ${seed}`)
    const honest = await honestSegment(30, seed)
    const random = seededRandom(seed)
    const variants = Array.from({ length: scale(60, 10_000) }, () => fuzzedSegment(honest, random))
    expect(compare(variants.map(({ name, bytes }, i) => ({ name: `${i}: ${name}`, bytes })))).toBeGreaterThan(variants.length / 2)
  })
})
