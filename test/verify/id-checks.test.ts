/** Ids outside memory: the report is the one that it would be with all of them inside. */
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { TemporaryFile } from '../../src/ledger/temporary-file.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'
import { Memory } from '../../src/verify/bytes.ts'
import { IdLog } from '../../src/verify/id-log.ts'
import type { IdEntry, TemporarySpace } from '../../src/verify/id-log.ts'
import type { VerifierOptions } from '../../src/verify/verifier-options.ts'
import { fileOf, makeLedger, verifyFile } from '../helpers/make-lines.ts'
import type { RecordInput } from '../helpers/make-lines.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

function spaces(folder: string): { make: () => TemporarySpace; close: () => void } {
  const files: TemporaryFile[] = []
  return {
    make: () => {
      const file = new TemporaryFile(folder)
      files.push(file)
      return file
    },
    close: () => files.splice(0).forEach((file) => file.close()),
  }
}

const input: fc.Arbitrary<RecordInput> = fc.record(
  {
    run_id: fc.oneof(
      fc.nat(12).map((n) => `run-${n}`),
      fc.constantFrom('a"b', 'ü', 'x\\'),
    ),
    stream: fc.constantFrom('a', 'b', 'ü"', 'd', 'e'),
    stream_version: fc.nat(3),
    actor: fc.constantFrom('x', 'y'),
    recorded_at: fc.constantFrom('2026-01-01T00:00:00.000000Z', '2027-01-01T00:00:00.000000Z'),
    append_last_seq: fc.nat(20),
    withheld: fc.boolean(),
  },
  { requiredKeys: [] },
)

describe('problems of ids', { timeout: scale(120_000, 1_800_000) }, () => {
  test('are the same, in the same order, wherever the ids are kept', () => {
    const { make, close } = spaces(tempDir())
    let found = 0
    fc.assert(
      fc.property(
        fc.array(input, { minLength: 1, maxLength: 40 }),
        fc.array(fc.nat(), { maxLength: 3 }),
        fc.nat(12),
        fc.constantFrom(1, 2, 3, 5, 1000),
        (inputs, removed, ids_max, problems_max) => {
          const lines = makeLedger(inputs)
          for (const at of removed) lines.splice(at % lines.length, 1)
          const bytes = fileOf(lines)
          const options: VerifierOptions = { problems_max }
          const inside = verifyFile(bytes, options)
          found += inside.problems.filter(({ code }) => code === 'duplicate_run_id' || code === 'stream_version_gap').length
          expect(verifyFile(bytes, { ...options, ids_max, temporary_space: make })).toEqual(inside)
          close()
        },
      ),
      { numRuns: scale(400, 20_000) },
    )
    expect(found).toBeGreaterThan(scale(150, 5_000))
  })

  test('of thousands of ids and streams, long ones too', () => {
    const { make, close } = spaces(tempDir())
    const random = seededRandom(7)
    const inputs = Array.from({ length: 6000 }, (_, i) => ({ stream: `s"${i % 1700}\u20ac`, run_id: `r\\${i}-${'y'.repeat(i % 400)}` }))
    for (let i = 0; i < 40; i++) inputs[3000 + random.below(3000)]!.run_id = inputs[random.below(3000)]!.run_id
    const bytes = fileOf(makeLedger(inputs))
    const inside = verifyFile(bytes)
    expect(inside.problems_total).toBeGreaterThan(30)
    for (const ids_max of [0, 1, 1000, 5000]) expect(verifyFile(bytes, { ids_max, temporary_space: make })).toEqual(inside)
    close()
  })
})

describe('the log of ids', () => {
  test(
    'hands back every entry, all of an id in one part and in their order, however small the parts',
    () => {
      const { make, close } = spaces(tempDir())
      onTestFinished(close)
      const log = new IdLog(make(), 20_000)
      const memory = new Memory()
      const written = new Map<string, number[]>()
      for (let i = 0; i < 30_000; i++) {
        const id = i % 3 === 0 ? 'often' : `id ${i % 7000} ${'x'.repeat(i % 300)}`
        const bytes = new Uint8Array(Buffer.from(id))
        memory.view(bytes)
        log.add({
          memory,
          start: 0,
          end: bytes.length,
          seq: i,
          place: { file: `f${i % 2}`, position: i * 3 },
          version: i + 1,
          disturbances: i % 5,
        })
        written.set(id, [...(written.get(id) ?? []), i])
      }
      const seen = new Map<string, number[]>()
      const partOf = new Map<string, number>()
      let parts = 0
      const take = ({ memory: { bytes }, start, end, seq, place, version, disturbances }: IdEntry): void => {
        const id = Buffer.from(bytes.subarray(start, end)).toString()
        expect(partOf.get(id) ?? parts).toBe(parts)
        partOf.set(id, parts)
        const all = seen.get(id) ?? []
        all.push(seq)
        seen.set(id, all)
        expect([place, version, disturbances]).toEqual([{ file: `f${seq % 2}`, position: seq * 3 }, seq + 1, seq % 5])
      }
      for (const piece of log.replay(() => parts++, take)) void piece
      expect(log.failure).toBeNull()
      expect(parts).toBeGreaterThan(256)
      expect(seen.size).toBe(written.size)
      for (const [id, all] of written) expect(seen.get(id)).toEqual(all)
    },
    scale(60_000, 120_000),
  )
})

describe('where there is no room', () => {
  const inputs = Array.from({ length: 3000 }, (_, i) => ({ stream: `s${i}`, run_id: `r${i}-${'y'.repeat(400)}` }))
  const bytes = fileOf(makeLedger(inputs))

  test.each([
    ['nothing can be made', (): TemporarySpace => new TemporaryFile(join(tempDir(), 'not there')), 'ENOENT'],
    [
      'the folder is a file',
      (): TemporarySpace => {
        const file = join(tempDir(), 'file')
        writeFileSync(file, '')
        return new TemporaryFile(file)
      },
      'ENOTDIR',
    ],
    [
      'nothing can be written',
      (): TemporarySpace => ({
        write: () => {
          throw new Error('ENOSPC: no space left on device, write')
        },
        read: () => {},
      }),
      'ENOSPC',
    ],
    [
      'nothing can be read',
      (): TemporarySpace => ({
        write: () => {},
        read: () => {
          throw new Error('EIO: i/o error, read')
        },
      }),
      'EIO',
    ],
  ])('%s: not checked, and the report says why', (_, temporary_space, reason) => {
    const report = verifyFile(bytes, { ids_max: 100, temporary_space })
    const missing = expect.stringMatching(new RegExp(`^room for temporary files: .*${reason}`))
    expect(report).toMatchObject({ ok: true, size: 3001, problems: [] })
    expect(report.checks.run_ids_unique).toEqual({ verdict: 'not checked', missing })
    expect(report.checks.stream_versions).toEqual({ verdict: 'not checked', missing })
  })

  test('what was found before is still said', () => {
    const twice = fileOf(makeLedger([{ run_id: 'a' }, { run_id: 'a' }, ...inputs]))
    const report = verifyFile(twice, { ids_max: 100, temporary_space: () => new TemporaryFile('/not/there') })
    expect(report).toMatchObject({
      ok: false,
      problems_total: 1,
      checks: { run_ids_unique: { verdict: 'fail' }, stream_versions: { verdict: 'not checked' } },
    })
  })

  test('the file is gone when it is closed, and on POSIX before that', () => {
    const folder = tempDir()
    const file = new TemporaryFile(folder)
    if (process.platform !== 'win32') expect(readdirSync(folder)).toEqual([])
    file.write(Buffer.from('abc'))
    file.write(Buffer.from('defg'))
    const into = new Uint8Array(4)
    file.read(2, into)
    expect(Buffer.from(into).toString()).toBe('cdef')
    expect(() => file.read(5, into)).toThrow('ends at 7')
    file.close()
    expect(readdirSync(folder)).toEqual([])
  })
})
