/** The worked example of docs/format.md, every byte of it recomputed twice: with our code, and with an RFC 8785 implementation that is not ours. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import reference from 'canonicalize'
import { expect, test } from 'vitest'
import { formatKeyFile, signerFromSeed } from '../../src/ledger/keys.ts'
import { LedgerVerifier } from '../../src/verify/chain.ts'
import { canonicalize } from '../../src/verify/canonical.ts'
import { formatHeader, HEADER_LIMITS, OUTCOMES, RESERVED_TYPES } from '../../src/verify/header.ts'
import type { RecordHeader } from '../../src/verify/header.ts'
import { formatLine } from '../../src/verify/record.ts'
import { PROBLEM_CODES } from '../../src/verify/report.ts'

const format = readFileSync(join(import.meta.dirname, '../../docs/format.md'), 'utf8')
const example = format.slice(format.indexOf('\n## Worked example\n'), format.indexOf('\n## Advice for implementers\n'))

interface Given {
  readonly salt_hex: string
  readonly header: Omit<RecordHeader, 'seq' | 'previous_hash' | 'entry_hash'>
  readonly entry: object
}

/** The fenced blocks of the example in their order: inputs, commitment and its hash, header and its hash, line; three times. */
const blocks = [...example.matchAll(/```(json|text)\n([\s\S]*?)\n```/g)].map(([, language, text]) => ({ language, text: text as string }))
const sha256 = (...parts: (string | Uint8Array)[]): string =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex')

test('the example has three records of four blocks each', () => {
  expect(blocks.map(({ language }) => language)).toEqual(Array.from({ length: 3 }, () => ['json', 'text', 'text', 'text']).flat())
})

test.each([
  ['with our canonical JSON', canonicalize],
  ['with a foreign canonical JSON', (value: unknown) => reference(value) as string],
])('every byte of the example, %s', (_, spell) => {
  let previous_hash = 'GENESIS'
  const lines: string[] = []
  for (let seq = 0; seq < 3; seq++) {
    const [inputs, commitment, header, line] = blocks.slice(seq * 4, seq * 4 + 4).map(({ text }) => text) as [
      string,
      string,
      string,
      string,
    ]
    const given = JSON.parse(inputs) as Given
    const salt = Buffer.from(given.salt_hex, 'hex').toString('base64url')
    const entry_text = spell(given.entry)
    const committed = `"salt":"${salt}","entry":${entry_text}`
    const entry_hash = sha256(committed)
    expect(commitment).toBe(`${committed}\n${entry_hash}`)
    const whole = { ...given.header, seq, previous_hash, entry_hash } as RecordHeader
    const header_text = spell(whole)
    expect(formatHeader(whole)).toBe(header_text)
    const hash = sha256(Uint8Array.of(0), header_text)
    expect(header).toBe(`${header_text}\n${hash}`)
    expect(line).toBe(formatLine({ hash, header_text, signatures_text: null, salt, entry_text }))
    expect(line).toBe(`{"hash":"${hash}","header":${header_text},${committed}}`)
    expect(line.indexOf(header_text)).toBe(84)
    previous_hash = hash
    lines.push(`${line}\n`)
  }
  const file = lines.join('')
  expect(example.replaceAll(/\s+/g, ' ')).toContain(
    `the head \`${previous_hash}\`. As a file, each line ended by 0x0A, it has ${Buffer.byteLength(file)} bytes and the SHA-256 \`${sha256(file)}\``,
  )
})

test('the key of the example', () => {
  const seed = Uint8Array.from({ length: 32 }, (_, i) => i)
  const origin = 'example.com/agents/demo'
  const { verifierKey } = signerFromSeed(origin, seed)
  const tagged = Buffer.from(verifierKey.split('+').slice(2).join('+'), 'base64')
  expect(tagged[0]).toBe(1)
  const id = sha256(`${origin}\n`, tagged).slice(0, 8)
  expect(verifierKey).toBe(`${origin}+${id}+${tagged.toString('base64')}`)
  const table = example.replaceAll(/ +/g, ' ')
  const publicKey = tagged.subarray(1).toString('hex')
  expect(table).toContain(`| public key | \`${publicKey}\` |\n| key id | \`${id}\` |\n| verifier key | \`${verifierKey}\` |`)
  expect(table).toContain(`| key file | \`${formatKeyFile(origin, seed).trimEnd()}\` |`)
})

test('the example verifies', () => {
  const verifier = new LedgerVerifier({ canonical_entries: true, origin: 'example.com/agents/demo' })
  verifier.file('example.jsonl', null)
  for (const seq of [0, 1, 2]) {
    const bytes = new TextEncoder().encode((blocks[seq * 4 + 3] as { text: string }).text)
    verifier.line(bytes, 0, bytes.length, 0)
  }
  const report = verifier.finish()
  expect(report.problems).toEqual([])
  expect(report).toMatchObject({ ok: true, size: 3, checks: { entries_canonical: { verdict: 'pass' } } })
})

test('every problem code, outcome, reserved type and header key is explained', () => {
  const codes = [
    ...format.slice(format.indexOf('### Problem codes'), format.indexOf('### The report')).matchAll(/^\| `([a-z_]+)` +\|/gm),
  ].map(([, code]) => code)
  expect(codes.toSorted()).toEqual([...PROBLEM_CODES].toSorted())
  for (const word of [...OUTCOMES, ...RESERVED_TYPES]) expect(format).toContain(`\`${word}\``)
  const table = format.slice(format.indexOf('## The header'), format.indexOf('## The salt'))
  const keys = [...table.matchAll(/^\| `([a-z_]+)` +\|/gm)].map(([, key]) => key)
  const header = { append_last_seq: 0, causation_id: '', correlation_id: '', signers: [], tags: [] }
  const all = Object.keys(JSON.parse(formatHeader(header as unknown as RecordHeader).replaceAll('undefined', '0')) as object)
  expect(keys).toEqual(all)
  expect(format).toContain(`at most ${String(HEADER_LIMITS.header_bytes_max).replace(/(?=(\d{3})+$)/, ' ')} bytes`)
})
