/** The bundle of docs/format.md, every byte of it recomputed from the worked example; and its table of problems. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { checkProof } from '../../src/index.ts'
import { signerFromSeed } from '../../src/ledger/keys.ts'
import { BUNDLE_LIMITS } from '../../src/verify/bundle.ts'
import { BUNDLE_PROBLEMS } from '../../src/verify/bundle-report.ts'

const format = readFileSync(join(import.meta.dirname, '../../docs/format.md'), 'utf8')
const section = format.slice(format.indexOf('\n## Bundles\n'), format.indexOf('\n## Worked example\n'))
const example = `${section.match(/```text\n(c2sp\.org\/tlog-proof@v1\nextra [A-Za-z0-9+/=]+\n[\s\S]*?)\n```/)![1]!}\n`

/** The three lines of the worked example: in each record the last of four blocks. */
const worked = format.slice(format.indexOf('\n## Worked example\n'))
const lines = [...worked.matchAll(/```text\n(\{"hash":[\s\S]*?)\n```/g)].map(([, line]) => line!)
const ORIGIN = 'example.com/agents/demo'
const SEED = Uint8Array.from({ length: 32 }, (_, i) => i)
const SIGNER = signerFromSeed(ORIGIN, SEED)

test('the example, made once more as plainly as the text says it', async () => {
  expect(lines.length).toBe(3)
  const sha256 = (...parts: (string | Uint8Array)[]): Buffer => {
    const hash = createHash('sha256')
    for (const part of parts) hash.update(part)
    return hash.digest()
  }
  const leaves = lines.map((line) => sha256(Uint8Array.of(0), line.slice(84, line.search(/\},"s/) + 1)))
  const root = sha256(Uint8Array.of(1), sha256(Uint8Array.of(1), leaves[0]!, leaves[1]!), leaves[2]!)
  const text = `${ORIGIN}\n3\n${root.toString('base64')}\n`
  const id = Buffer.from(SIGNER.verifierKey.split('+')[1]!, 'hex')
  const signature = Buffer.concat([id, await SIGNER.sign(Buffer.from(text))]).toString('base64')
  const withheld = lines[1]!.replace(/,"salt":.*$/s, ',"entry":null}')
  const path = [leaves[0]!, leaves[2]!].map((hash) => hash.toString('base64'))
  const extra = `extra ${Buffer.from(withheld).toString('base64')}`
  expect(example).toBe(['c2sp.org/tlog-proof@v1', extra, 'index 1', ...path, '', `${text}\n\u2014 ${ORIGIN} ${signature}\n`].join('\n'))
})

test('the example checks', async () => {
  const report = await checkProof(Buffer.from(example), { keys: [SIGNER.verifierKey] })
  expect(report).toMatchObject({ ok: true, checkpoint: { origin: ORIGIN, size: 3 }, verdicts: { integrity: 'pass', authenticity: 'pass' } })
  expect(report.records).toMatchObject([{ index: 1, entry: 'withheld', problems: [] }])
})

test('every problem of a bundle is explained, with its verdict, and the limits are those of the code', () => {
  const rows = [...section.matchAll(/^\| `([a-z_]+)` +\| (integrity|authenticity|completeness|time) +\|/gm)]
  expect(rows.map(([, code, verdict]) => [code, verdict])).toEqual(
    Object.entries(BUNDLE_PROBLEMS).map(([code, { verdict }]) => [code, verdict]),
  )
  for (const limit of Object.values(BUNDLE_LIMITS)) expect(section).toContain(String(limit).replace(/\B(?=(\d{3})+$)/g, ' '))
})
