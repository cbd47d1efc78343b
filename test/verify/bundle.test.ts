import { createPublicKey, verify } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { BUNDLE_FORMAT, BUNDLE_LIMITS, formatBundle, parseBundle } from '../../src/verify/bundle.ts'
import type { Bundle } from '../../src/verify/bundle.ts'
import { checkBundle } from '../../src/verify/bundle-check.ts'
import type { BundleCheckOptions } from '../../src/verify/bundle-check.ts'
import type { BundleReport } from '../../src/verify/bundle-report.ts'
import { isStrictEd25519Key } from '../../src/verify/ed25519.ts'
import { readLine } from '../../src/verify/record.ts'
import { badBundles, goodBundles, LOG, WITNESS } from '../helpers/bad-bundles.ts'
import { BUNDLE_ORIGIN, ledgerLines, resealed, signedNote, treeOver, withheld, witnessSigner } from '../helpers/bundle-maker.ts'
import { scale } from '../helpers/scale.ts'

const SPKI = Buffer.from('302a300506032b6570032100', 'hex')
const ed25519 = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean =>
  isStrictEd25519Key(publicKey) &&
  verify(null, message, createPublicKey({ key: Buffer.concat([SPKI, publicKey]), format: 'der', type: 'spki' }), signature)
const GIVEN: BundleCheckOptions = { ...nodeHashing, ed25519, keys: [LOG.key, WITNESS.key] }

const check = (bytes: Uint8Array | string, options: Partial<BundleCheckOptions> = {}): Promise<BundleReport> =>
  checkBundle(typeof bytes === 'string' ? Buffer.from(bytes) : bytes, { ...GIVEN, ...options })
const codes = ({ problems }: BundleReport): string[] => problems.map(({ code }) => code)

function made<T>(value: T | string): T {
  if (typeof value === 'string') throw new Error(value)
  return value
}

describe('a good bundle', () => {
  test('of one record says what is proven, and what is not', async () => {
    const { one, lines } = await goodBundles()
    const report = await check(one.bytes)
    const { hash, header, entry_text } = readLine(lines[17]!)
    expect(report).toMatchObject({
      ok: true,
      checkpoint: { origin: BUNDLE_ORIGIN, size: 40 },
      existed_by: '2026-01-01T00:06:40.000000Z',
      verdicts: { integrity: 'pass', authenticity: 'pass', completeness: 'not checked', time: 'pass' },
      missing: { completeness: expect.stringContaining('not that no others are') },
      problems: [],
      problems_total: 0,
      notes: [],
    })
    expect(report.records).toEqual([{ index: 17, hash, header, entry: 'disclosed', entry_text, problems: [] }])
    expect(report.signatures).toEqual([
      { name: BUNDLE_ORIGIN, id: LOG.key.id, verified: true, kind: 'signature', time: null },
      { name: 'witness.example', id: WITNESS.key.id, verified: true, kind: 'cosignature', time: '2026-01-01T00:06:40.000000Z' },
    ])
  })

  test('of several records, one of which withholds its entry', async () => {
    const { several, lines } = await goodBundles()
    const report = await check(several.bytes)
    expect([report.ok, report.problems]).toEqual([true, []])
    expect(report.records.map(({ index, entry }) => [index, entry])).toEqual([
      [5, 'withheld'],
      [6, 'disclosed'],
      [39, 'disclosed'],
    ])
    expect(report.records[0]).toMatchObject({ hash: readLine(lines[5]!).hash, entry_text: null })
    expect(Buffer.from(several.bytes).includes(readLine(lines[5]!).salt!), 'the salt goes with the entry').toBe(false)
  })

  test('says the same without anything native', async () => {
    const { several } = await goodBundles()
    expect(await checkBundle(several.bytes, { ed25519, keys: GIVEN.keys })).toEqual(await check(several.bytes))
  })

  test('claims nothing that the keys at hand do not show', async () => {
    const { one } = await goodBundles()
    const unknown = await check(one.bytes, { keys: [] })
    expect(unknown).toMatchObject({
      ok: true,
      verdicts: { integrity: 'pass', authenticity: 'not checked', time: 'not checked' },
      existed_by: null,
    })
    expect(unknown.missing.authenticity).toContain('verifier key')
    expect((await check(one.bytes, { keys: [LOG.key] })).verdicts).toMatchObject({ authenticity: 'pass', time: 'not checked' })
    expect((await check(one.bytes, { keys: [WITNESS.key] })).verdicts).toMatchObject({ authenticity: 'not checked', time: 'pass' })
  })

  test.each([
    ['none', null],
    ['one that does nothing but throw', () => Promise.reject(new Error('NotSupportedError'))],
  ])('where the platform has no Ed25519 (%s): not checked, and said so', async (_, none) => {
    const { one } = await goodBundles()
    const report = await check(one.bytes, { ed25519: none })
    expect(report.verdicts).toMatchObject({ integrity: 'pass', authenticity: 'not checked', time: 'not checked' })
    expect(report.missing).toMatchObject({ authenticity: expect.stringContaining('Ed25519'), time: expect.stringContaining('Ed25519') })
    expect(report.signatures.some(({ verified }) => verified)).toBe(false)
  })

  test('a key of a kind that is not known is misuse', async () => {
    const { one } = await goodBundles()
    await expect(check(one.bytes, { keys: [{ ...LOG.key, kind: 6 }] })).rejects.toThrow(RangeError)
  })
})

describe('time', () => {
  const seconds = 1_767_226_000n
  const witnesses = [0n, 100n, 200n].map((later, i) => witnessSigner(`w${i}.example`, 10 + i, seconds + later))
  const atLeast = (count: number) => (cosigners: readonly unknown[]) => cosigners.length >= count
  const bundle = async (...signers: typeof witnesses): Promise<string> => {
    const tree = await treeOver(await ledgerLines(8))
    return formatBundle({ note: await signedNote(tree.checkpoint, [LOG, ...signers]), records: [await tree.record(3)] })
  }
  const keys = [LOG.key, ...witnesses.map(({ key }) => key)]

  test('is when as many as are asked for had seen it', async () => {
    const text = await bundle(...witnesses)
    for (const [count, time] of [
      [1, '00:06:40'],
      [2, '00:08:20'],
      [3, '00:10:00'],
    ] as const)
      expect((await check(text, { keys, quorum: atLeast(count) })).existed_by).toBe(`2026-01-01T${time}.000000Z`)
    expect((await check(text, { keys })).existed_by).toBe('2026-01-01T00:06:40.000000Z')
  })

  test('a quorum that is not met fails, and where none is asked for nobody says when', async () => {
    const text = await bundle(witnesses[0]!)
    const report = await check(text, { keys, quorum: atLeast(2) })
    expect([report.ok, codes(report), report.verdicts.time, report.existed_by]).toEqual([false, ['quorum_not_met'], 'fail', null])
    expect(report.problems[0]!.found).toContain('w0.example')
    expect((await check(await bundle(), { keys, quorum: atLeast(0) })).verdicts.time).toBe('not checked')
  })

  test.each([0n, 253_402_300_800n, 2n ** 63n])('%i seconds since 1970 are no time', async (time) => {
    const odd = witnessSigner('odd.example', 20, time)
    const report = await check(await bundle(odd), { keys: [LOG.key, odd.key] })
    expect(report).toMatchObject({ ok: true, existed_by: null, verdicts: { time: 'not checked' } })
    expect(report.signatures[1]).toMatchObject({ verified: true, time: null })
  })
})

describe('a bad bundle', async () => {
  const bad = await badBundles()

  test('there are many kinds of them', () => {
    expect(bad.length).toBeGreaterThanOrEqual(20)
    expect(new Set(bad.map(({ name }) => name)).size).toBe(bad.length)
  })

  test.each(bad.map((one) => [one.name, one] as const))('%s', async (_, { bytes, codes: expected }) => {
    const report = await check(bytes)
    expect(codes(report), JSON.stringify(report.problems)).toEqual(expected)
    expect(report.ok).toBe(false)
    expect(JSON.parse(JSON.stringify(report))).toEqual(report)
  })

  test('names the position, and what was expected and found', async () => {
    const altered = bad.find(({ name }) => name === 'the last entry of several is altered')!
    const { problems, records, verdicts } = await check(altered.bytes)
    expect(problems).toEqual([
      { code: 'entry_mismatch', seq: 39, expected: records[2]!.header!.entry_hash, found: expect.stringMatching(/^[0-9a-f]{64}$/) },
    ])
    expect(records[2]).toMatchObject({ entry: 'not checked', entry_text: null, problems })
    expect(records[1]!.problems).toEqual([])
    expect(verdicts).toMatchObject({ integrity: 'fail', authenticity: 'pass' })
  })
})

test('every byte of a bundle, changed, is found: or the record is withheld, or who signed is not known', async () => {
  const tree = await treeOver((await ledgerLines(6)).map((line) => withheld(line)))
  const note = await signedNote(tree.checkpoint, [LOG, WITNESS])
  const records = [await tree.record(2), await tree.record(3)]
  const everyBit = process.env['SOAK'] === '1'
  for (const bundle of [
    { note, records: [records[0]!] },
    { note, records },
  ]) {
    const bytes = Buffer.from(formatBundle(bundle))
    const good = await check(bytes)
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        if (!everyBit && bit !== at % 8) continue
        const harmed = Buffer.from(bytes)
        harmed[at]! ^= 1 << bit
        const report = await check(harmed)
        // Whose signature it is may be made unknown, and then it counts for nothing: the witness's is not asked for here.
        const isWitnessUnknown = report.ok && report.verdicts.time === 'not checked' && good.verdicts.time === 'pass'
        expect(!report.ok || isWitnessUnknown, `byte ${at}, bit ${bit}: ${harmed.subarray(at - 10, at + 10).toString()}`).toBe(true)
        if (report.ok) expect(report.records, 'never passes with other content').toEqual(good.records)
      }
    }
  }
})

test('random damage never passes with other content, and never throws', async () => {
  const { one, several } = await goodBundles()
  const good = [one, several].map(({ bytes }) => Buffer.from(bytes))
  const content = await Promise.all(good.map(async (bytes) => JSON.stringify((await check(bytes)).records)))
  const damage = fc.record({
    which: fc.nat(1),
    from: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.nat(40),
    insert: fc.oneof(
      fc.uint8Array({ maxLength: 20 }),
      fc.constantFrom('{', '}', '"', '\n', '\n\n', ',', 'A').map((letter) => Buffer.from(letter)),
    ),
  })
  await fc.assert(
    fc.asyncProperty(damage, async ({ which, from, length, insert }) => {
      const bytes = good[which]!
      const at = Math.floor(from * bytes.length)
      const harmed = Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + length)])
      const report = await check(harmed)
      if (report.ok) expect(JSON.stringify(report.records)).toBe(content[which])
    }),
    { numRuns: scale(600, 20_000) },
  )
})

describe('format and parse', () => {
  const hash = fc.uint8Array({ minLength: 32, maxLength: 32 })
  const anyText = fc.string({ unit: 'binary', maxLength: 40 })
  const anyRecord = fc.record({
    index: fc.oneof(fc.nat(9), fc.maxSafeNat()),
    line: anyText.map((text) => new Uint8Array(Buffer.from(text))),
    path: fc.array(hash, { maxLength: 5 }),
  })
  const anyBundle = fc.record({
    note: anyText,
    records: fc
      .uniqueArray(anyRecord, { selector: ({ index }) => index, minLength: 1, maxLength: 4 })
      .map((records) => records.toSorted((a, b) => a.index - b.index)),
  })

  test('mirror each other, whatever the checkpoint and the lines are', () => {
    fc.assert(
      fc.property(anyBundle, (bundle: Bundle) => {
        expect(made(parseBundle(Buffer.from(formatBundle(bundle))))).toEqual(bundle)
      }),
    )
  })

  test('have one spelling: what is read is written so', () => {
    const bundle = formatBundle({ note: 'a\n', records: [0, 1].map((index) => ({ index, line: Buffer.from('é"\\'), path: [] })) })
    const near = fc.tuple(fc.nat(bundle.length), fc.nat(3), fc.string({ unit: fc.constantFrom(...'{}[]",:\\ 01aé'), maxLength: 3 }))
    fc.assert(
      fc.property(near, ([at, length, insert]) => {
        const text = bundle.slice(0, at) + insert + bundle.slice(at + length)
        const parsed = parseBundle(Buffer.from(text))
        if (typeof parsed !== 'string') expect(formatBundle(parsed)).toBe(text)
      }),
      { numRuns: scale(2000, 50_000) },
    )
  })

  test('refuse what is no bundle, each for its reason', () => {
    const line = Buffer.from('x')
    const record = { index: 1, line, path: [] }
    for (const [records, why] of [
      [[], 'at least one'],
      [[record, record], 'ascending'],
      [[{ ...record, index: 2 }, record], 'ascending'],
      [[{ ...record, index: 1.5 }], 'index'],
      [[{ ...record, index: -1 }], 'index'],
      [[{ ...record, path: [new Uint8Array(31)] }], '32 bytes'],
      [[{ ...record, path: Array.from({ length: 64 }, () => new Uint8Array(32)) }], '63 hashes'],
      [Array.from({ length: BUNDLE_LIMITS.records_max + 1 }, (_, index) => ({ index, line, path: [] })), 'at most 100000 records'],
    ] as const)
      expect(() => formatBundle({ note: '', records: [...records] })).toThrow(new RegExp(why))
    expect(() => formatBundle({ note: '', records: [record, { ...record, index: 2, line: Buffer.of(0xff) }] })).toThrow(TypeError)
    const one = { index: 1, line: 'x', path: [] }
    const json = (change: object): string =>
      `${JSON.stringify({ checkpoint: 'a', format: BUNDLE_FORMAT, records: [one, { ...one, index: 2 }], ...change })}\n`
    expect(typeof parseBundle(Buffer.from(json({})))).toBe('object')
    for (const [text, why] of [
      ['{', 'one JSON object'],
      ['{}', 'one JSON object'],
      [`${json({})} `, 'one JSON object'],
      [`${json({})}\n`, 'one JSON object'],
      [json({}).trimEnd(), 'one JSON object'],
      [`${'['.repeat(100_000)}`, 'an empty line'],
      [`{"a":${'['.repeat(100_000)}`, 'one JSON object'],
      ['{}\n', 'members'],
      [json({ more: 1 }), 'members'],
      [json({ checkpoint: 1 }), 'not a text'],
      [json({ checkpoint: '\ud800' }), 'not a text'],
      [json({ records: [one] }), 'two or more'],
      [json({ records: {} }), 'two or more'],
      [json({ records: [one, null] }), 'record 1'],
      [json({ records: [one, [2]] }), 'record 1'],
      [json({ records: [one, { ...one, index: '2' }] }), 'index'],
      [json({ records: [one, { ...one, index: 2 ** 53 }] }), 'index'],
      [json({ records: [one, { ...one, index: 2, path: ['AA=='] }] }), '32 bytes'],
      [json({ records: [one, { ...one, index: 2, path: [1] }] }), '32 bytes'],
      [json({ records: [one, { ...one, index: 2, line: 7 }] }), 'line'],
      [json({ records: [{ ...one, index: 2 }, one] }), 'ascending'],
      [json({}).replace('"index":1', '"index":-0'), 'canonical'],
      [json({}).replace('"index":1', '"index":1.0'), 'canonical'],
    ] as const)
      expect(parseBundle(Buffer.from(text)), text.slice(0, 200)).toContain(why)
    expect(parseBundle(new Uint8Array(BUNDLE_LIMITS.bytes_max + 1))).toContain('at most')
    expect(parseBundle(Buffer.from(`c2sp.org/tlog-proof@v1\nextra AA==\nindex ${2n ** 53n}\n\nnote`))).toContain('2^53-1')
  })
})

test('a record of a later version: its hash and place are checked, and nothing is said of its content', async () => {
  const lines = await ledgerLines(6)
  const tree = await treeOver(lines.with(3, resealed(lines[3]!, { v: 2, zeta: 'new' })))
  const note = await signedNote(tree.checkpoint, [LOG])
  const report = await check(formatBundle({ note, records: [await tree.record(3)] }))
  expect(report).toMatchObject({ ok: true, notes: [{ code: 'newer_format', seq: 3 }] })
  expect(report.records[0]).toMatchObject({ header: null, entry: 'not checked', entry_text: null, problems: [] })
  const misplaced = await check(formatBundle({ note, records: [{ ...(await tree.record(3)), index: 2 }] }))
  expect(codes(misplaced)).toEqual(['index_mismatch', 'not_included'])
  const split = await check(formatBundle({ note, records: [await tree.record(3, Buffer.concat([tree.lines[3]!, Buffer.from('\n')]))] }))
  expect(codes(split)).toEqual(['malformed_record'])
})

test("that a record's own signatures are not checked is said", async () => {
  const lines = await ledgerLines(4)
  const signature = Buffer.alloc(64, 1).toString('base64')
  const signed = Buffer.from(
    Buffer.from(resealed(lines[2]!, { signers: ['00000001'] }))
      .toString()
      .replace('},"salt"', `},"signatures":[{"key":"00000001","alg":"ed25519","sig":"${signature}"}],"salt"`),
  )
  const tree = await treeOver(lines.with(2, signed))
  const records = [await tree.record(2, withheld(signed))]
  const report = await check(formatBundle({ note: await signedNote(tree.checkpoint, [LOG]), records }))
  expect(report).toMatchObject({ ok: true, notes: [{ code: 'signatures_not_checked', seq: 2 }] })
  expect(Buffer.from(records[0]!.line).toString()).toContain(signature)
})
