/** Verification that begins with a trusted checkpoint: what it reads, what it finds, and what it says it did not look at. */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { verifyLedger } from '../../src/index.ts'
import type { VerificationReport, VerifyOptions } from '../../src/index.ts'
import { checkpointText, linesOfLedger, makeKeyedLedger, putLines, signedBy, signerOf } from '../helpers/checkpoints.ts'
import { tempDir } from '../helpers/temp.ts'

const ORIGIN = 'example.com/only-new'
const SIGNER = signerOf(ORIGIN, 3)
const KEYS = [SIGNER.verifierKey]
const verify = (location: string, options: VerifyOptions): Promise<VerificationReport> =>
  verifyLedger(location, { remembered: false, onlySince: true, ...options })
const codes = ({ problems }: VerificationReport): string[] => problems.map(({ code, seq }) => `${code} ${seq}`)

/** A ledger that had `before` records when the checkpoint was kept, and has `records` now. */
async function grown(before: number, records: number, name = 'audit'): Promise<{ location: string; since: string }> {
  const location = join(tempDir(), name)
  const since = await makeKeyedLedger(location, { origin: ORIGIN, signer: SIGNER, records: before })
  if (records > before) await makeKeyedLedger(location, { origin: ORIGIN, signer: SIGNER, records })
  return { location, since }
}

describe.each(['audit', 'audit.db'])('%s', (name) => {
  test.each([
    [1, 2],
    [2, 2],
    [7, 8],
    [300, 321],
  ])('of %i records before and %i now: only the new ones are read, and all that is not known is said', async (before, records) => {
    const { location, since } = await grown(before, records, name)
    const whole = await verifyLedger(location, { remembered: false, since: [since], keys: KEYS })
    const report = await verify(location, { since: [since], keys: KEYS })
    const unread = { verdict: 'not checked', missing: expect.stringContaining(`${before} records before`) }
    expect(report).toMatchObject({
      from: before,
      checks: { run_ids_unique: unread, stream_versions: unread },
      verdicts: { integrity: 'pass', authenticity: 'pass', completeness: 'pass', time: 'not checked' },
      claims: { authentic: records, complete: before },
    })
    const { ok, size, head, root, origin, recorded, claims, checkpoint, problems } = whole
    expect(report).toMatchObject({ ok, size, head, root, origin, recorded, claims, checkpoint, problems })
    expect(report.notes.map(({ code, seq }) => [code, seq])).toEqual([['only_new_records', before]])
  })

  test('without a tree beside it, or with one that somebody changed, it is the same', async () => {
    const { location, since } = await grown(700, 710, name)
    const tree = name === 'audit' ? join(location, 'tree') : `${location}-tree`
    const files = readdirSync(tree).filter((file) => file !== 'checkpoint')
    expect(files.length).toBeGreaterThan(0)
    for (const file of files) {
      const path = join(tree, file)
      const bytes = readFileSync(path)
      for (const at of [0, bytes.length >> 1, bytes.length - 1]) {
        const changed = Buffer.from(bytes)
        changed[at]! ^= 1
        writeFileSync(path, changed)
        expect(await verify(location, { since: [since] }), `${file} at ${at}`).toMatchObject({ ok: true, size: 710 })
      }
      writeFileSync(path, bytes)
    }
    for (const file of files) rmSync(join(tree, file))
    expect(await verify(location, { since: [since] })).toMatchObject({ ok: true, from: 700, size: 710 })
  })
})

test('a new record that was altered is found, and an old one is not looked at', async () => {
  const { location, since } = await grown(20, 30)
  const honest = linesOfLedger(location)
  for (const seq of [20, 25, 29]) {
    putLines(
      location,
      honest.map((line, i) => (i === seq ? line.replace('said', 'laid') : line)),
    )
    expect(codes(await verify(location, { since: [since] }))).toEqual([`entry_mismatch ${seq}`])
  }
  putLines(
    location,
    honest.map((line, i) => (i === 5 ? line.replace('said', 'laid') : line)),
  )
  expect(await verify(location, { since: [since] })).toMatchObject({ ok: true, from: 20 })
  // The last one before is what the new ones are chained to.
  putLines(
    location,
    honest.map((line, i) => (i === 19 ? line.replace('said', 'laid') : line)),
  )
  expect(await verify(location, { since: [since] })).toMatchObject({ ok: false, from: 0 })
})

test('whatever is not as the checkpoint says is told by going through all', async () => {
  const { location, since } = await grown(20, 30)
  const cut = join(tempDir(), 'audit')
  cpSync(location, cut, { recursive: true })
  putLines(cut, linesOfLedger(cut).slice(0, 19))
  const found = await verify(cut, { since: [since] })
  expect(found.from).toBe(0)
  expect(found.problems.map(({ code }) => code)).toContain('behind_checkpoint')
  const fork = join(tempDir(), 'audit')
  await makeKeyedLedger(fork, { origin: ORIGIN, signer: SIGNER, records: 30, text: 'never said' })
  const forked = await verify(fork, { since: [since] })
  expect(codes(forked)).toEqual(['forked null'])
  expect(forked).toMatchObject({ from: 0, ok: false, verdicts: { integrity: 'pass', completeness: 'fail' } })
})

test('of several checkpoints it begins with the largest, and holds the others against its tree', async () => {
  const { location, since } = await grown(20, 30)
  const lines = linesOfLedger(location)
  const [small, larger] = [
    await signedBy(checkpointText(ORIGIN, lines, 7), SIGNER),
    await signedBy(checkpointText(ORIGIN, lines, 25), SIGNER),
  ]
  expect(await verify(location, { since: [since, larger, small] })).toMatchObject({ ok: true, from: 25, claims: { complete: 25 } })
  const other = await signedBy(checkpointText(ORIGIN, lines.toReversed(), 7), SIGNER)
  expect(codes(await verify(location, { since: [since, other] }))).toEqual(['forked null'])
})

test('a key that did not sign where it begins is not known to be right behind there', async () => {
  const { location } = await grown(20, 30)
  const unsigned = await signedBy(checkpointText(ORIGIN, linesOfLedger(location), 20), signerOf(ORIGIN, 99))
  const report = await verify(location, { since: [unsigned], keys: KEYS })
  expect(report).toMatchObject({ ok: true, from: 20, verdicts: { authenticity: 'not checked' } })
  expect(report.missing.authenticity).toMatch(/retired/)
})
