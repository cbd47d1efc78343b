import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalize } from '../../src/verify/canonical.ts'
import { parseHeader } from '../../src/verify/header-scan.ts'
import { checkHeader, formatHeader, GENESIS, OUTCOMES } from '../../src/verify/header.ts'
import type { RecordHeader } from '../../src/verify/header.ts'
import { formatTime } from '../../src/verify/time.ts'
import { scale } from '../helpers/scale.ts'

// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/
const legalText = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 60 })
  .filter((text) => text.isWellFormed() && !CONTROL.test(text) && Buffer.byteLength(text) <= 512)
const text = fc.oneof(
  legalText,
  fc.constantFrom('a"b', 'a\\b', '\u2028', '\ufeff', '\ufffd', '\ud83d\ude00', ' ', 'x'.repeat(512), '"'.repeat(512), '\u00a0'),
)
const hash = fc.stringMatching(/^[0-9a-f]{64}$/)
const integer = fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 1, 9, 10, Number.MAX_SAFE_INTEGER))
const time = fc.integer({ min: -8_990_000_000_000_000, max: 8_990_000_000_000_000 }).map(formatTime)
const list = fc.uniqueArray(text, { minLength: 1, maxLength: 6 }).map((items) => items.sort())

const header: fc.Arbitrary<RecordHeader> = fc
  .record(
    {
      action: text,
      actor: text,
      causation_id: text,
      correlation_id: text,
      entry_hash: hash,
      outcome: fc.constantFrom(...OUTCOMES),
      previous_hash: hash,
      recorded_at: time,
      run_id: text,
      schema: fc.integer({ min: 1 }),
      seq: integer,
      signers: list,
      stream: text,
      stream_version: integer,
      tags: list,
      timestamp: time,
      type: text,
      v: fc.constant(1 as const),
      append_last_seq: fc.nat(),
    },
    {
      requiredKeys: [
        'action',
        'actor',
        'entry_hash',
        'outcome',
        'previous_hash',
        'recorded_at',
        'run_id',
        'schema',
        'seq',
        'stream',
        'stream_version',
        'timestamp',
        'type',
        'v',
      ],
    },
  )
  .map(({ append_last_seq, ...fields }) => ({
    ...fields,
    previous_hash: fields.seq === 0 ? GENESIS : fields.previous_hash,
    ...(append_last_seq === undefined ? {} : { append_last_seq: Math.min(fields.seq + append_last_seq, Number.MAX_SAFE_INTEGER) }),
  }))

const parse = (bytes: Uint8Array | string): ReturnType<typeof parseHeader> => parseHeader(Buffer.from(bytes as string))

describe('formatHeader, checkHeader and parseHeader', { timeout: scale(120_000, 1_800_000) }, () => {
  test('undo each other, and the bytes are canonical JSON', () => {
    fc.assert(
      fc.property(header, (value) => {
        expect(checkHeader(value)).toBe(null)
        const formatted = formatHeader(value)
        expect(formatted).toBe(canonicalize(value))
        expect(parse(formatted)).toEqual(value)
      }),
      { numRuns: scale(1000, 20_000) },
    )
  })

  test('what parses is canonical, whatever bytes are changed', () => {
    fc.assert(
      fc.property(header, fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.nat(2)), { minLength: 1, maxLength: 3 }), (value, edits) => {
        let bytes: Buffer = Buffer.from(formatHeader(value))
        for (const [at, byte, removed] of edits) {
          const i = at % bytes.length
          bytes = Buffer.concat([bytes.subarray(0, i), Buffer.of(byte), bytes.subarray(i + removed)])
        }
        const parsed = parse(bytes)
        if (!('v' in parsed)) expect(parsed.fault).not.toBe('')
        else expect(Buffer.from(canonicalize(parsed))).toEqual(bytes)
      }),
      { numRuns: scale(2000, 50_000) },
    )
  })
})

const HASH = 'ab'.repeat(32)
const LEGAL: RecordHeader = {
  action: 'summarise',
  actor: 'analyst',
  entry_hash: HASH,
  outcome: 'success',
  previous_hash: HASH,
  recorded_at: '2026-11-22T20:15:33.123456Z',
  run_id: 'r-1',
  schema: 1,
  seq: 7,
  stream: 'task-1',
  stream_version: 3,
  timestamp: '2026-11-22T20:15:33.123456Z',
  type: 'AgentCallCompleted',
  v: 1,
}

const ascending = (count: number): string[] => Array.from({ length: count }, (_, i) => `t${String(i).padStart(3, '0')}`)

/** Values that break a rule: the writer refuses them, and so does who reads the bytes. */
const ILLEGAL: readonly [key: string, value: unknown][] = [
  ['action', ''],
  ['action', 'x'.repeat(513)],
  ['actor', '\u20ac'.repeat(171)],
  ['actor', 'a\nb'],
  ['actor', 'a\u007fb'],
  ['actor', 'a\u0080b'],
  ['actor', 'a\u009fb'],
  ['actor', '\ud800'],
  ['actor', 7],
  ['actor', null],
  ['append_last_seq', 6],
  ['append_last_seq', -1],
  ['causation_id', ''],
  ['correlation_id', true],
  ['entry_hash', HASH.toUpperCase()],
  ['entry_hash', HASH.slice(1)],
  ['entry_hash', 'GENESIS'],
  ['outcome', 'ok'],
  ['outcome', 'Success'],
  ['previous_hash', 'GENESIS'],
  ['previous_hash', `${HASH.slice(1)}g`],
  ['recorded_at', '2026-02-30T00:00:00.000000Z'],
  ['recorded_at', '2026-11-22T20:15:33.123Z'],
  ['run_id', ''],
  ['schema', 0],
  ['schema', 1.5],
  ['schema', '1'],
  ['seq', 0],
  ['seq', -7],
  ['seq', 2 ** 53],
  ['signers', []],
  ['stream', ''],
  ['stream_version', 1e300],
  ['tags', []],
  ['tags', ['b', 'a']],
  ['tags', ['a', 'a']],
  ['tags', ['\uffee', '\ud83d\ude00']],
  ['tags', ['a', 7]],
  ['tags', ['a', '']],
  ['tags', 'a'],
  ['tags', ascending(65)],
  ['timestamp', '2026-11-22T24:00:00.000000Z'],
  ['type', ''],
  ['v', 0],
  ['v', 2],
]

describe('the rules for each value', () => {
  test.each(ILLEGAL)('%s may not be %j', (key, value) => {
    const illegal = { ...LEGAL, [key]: value } as unknown as RecordHeader
    expect(checkHeader(illegal)).toMatch(new RegExp(`^(${key}|previous_hash) `))
    const bytes = Buffer.from(JSON.stringify(Object.fromEntries(Object.entries(illegal).sort(([a], [b]) => (a < b ? -1 : 1)))))
    expect(parse(bytes)).toEqual({ fault: expect.stringMatching(new RegExp(key)) })
  })

  test.each(Object.keys(LEGAL))('%s must be there', (key) => {
    const { [key as 'actor']: _, ...without } = LEGAL
    expect(checkHeader(without as RecordHeader)).toBe(`${key} is missing`)
    expect(parse(formatHeaderOf(without))).toEqual({ fault: `${key} is missing` })
  })

  test('takes the limits themselves', () => {
    for (const legal of [
      { actor: '"'.repeat(512) },
      { actor: '\u20ac'.repeat(170) + 'xx' },
      { tags: ascending(64) },
      { tags: ['\ud83d\ude00', '\uffee'] },
      { seq: 0, previous_hash: GENESIS },
      { append_last_seq: 7 },
    ]) {
      const value = { ...LEGAL, ...legal }
      expect(checkHeader(value)).toBe(null)
      expect(parse(formatHeader(value))).toEqual(value)
    }
  })

  test('a header has at most 16 KiB', () => {
    const tags = Array.from({ length: 32 }, (_, i) => `${String(i).padStart(3, '0')}${'x'.repeat(509)}`)
    expect(checkHeader({ ...LEGAL, tags })).toContain('16384 bytes')
    expect(parse(formatHeader({ ...LEGAL, tags }))).toEqual({ fault: expect.stringContaining('16384 bytes') })
    const fewer = { ...LEGAL, tags: tags.slice(0, 30) }
    expect(checkHeader(fewer)).toBe(null)
    expect(parse(formatHeader(fewer))).toEqual(fewer)
  })

  test('the writer refuses keys that it would not write', () => {
    expect(checkHeader({ ...LEGAL, note: 'x' } as RecordHeader)).toContain('note')
    expect(checkHeader({ ...LEGAL, tags: undefined } as unknown as RecordHeader)).toBe(null)
  })
})

function formatHeaderOf(value: object): string {
  return canonicalize(value)
}

describe('parseHeader', () => {
  const legal = formatHeader(LEGAL)
  test.each<[name: string, text: string]>([
    ['a key twice', legal.replace('"actor":"analyst"', '"actor":"analyst","actor":"analyst"')],
    ['another order', legal.replace('"action":"summarise","actor":"analyst"', '"actor":"analyst","action":"summarise"')],
    ['white space', legal.replace(',', ', ')],
    ['white space behind a colon', legal.replace(':', ': ')],
    ['an escaped letter', legal.replace('analyst', '\\u0061nalyst')],
    ['an escaped slash', legal.replace('analyst', 'a\\/b')],
    ['an escaped control character', legal.replace('analyst', 'a\\nb')],
    ['an escaped letter in a key', legal.replace('"actor"', '"\\u0061ctor"')],
    ['another spelling of a number', legal.replace('"seq":7', '"seq":7.0')],
    ['a leading zero', legal.replace('"seq":7', '"seq":07')],
    ['an exponent', legal.replace('"seq":7', '"seq":7e0')],
    ['an object as a value', legal.replace('"analyst"', '{"a":1}')],
    ['an unknown key with a capital letter', legal.replace('{', '{"Aa":1,')],
    ['an unknown key with an object', legal.replace('{', '{"aa":{},')],
    ['an unknown key with a negative number', legal.replace('{', '{"aa":-1,')],
    ['an unknown key twice', legal.replace('{', '{"aa":1,"aa":1,')],
    ['an unknown key out of order', legal.replace('{', '{"ad":1,')],
    ['an empty key', legal.replace('{', '{"":1,')],
    ['a comma at the end', legal.replace(/}$/, ',}')],
    ['no end', legal.slice(0, -1)],
    ['something behind', `${legal} `],
    ['nothing', ''],
    ['an empty object', '{}'],
    ['a byte order mark', `\ufeff${legal}`],
  ])('refuses %s', (_, text) => expect(parse(text)).toEqual({ fault: expect.any(String) }))

  test('refuses what is not UTF-8', () => {
    for (const bad of ['\xc0\x80', '\xed\xa0\x80', '\xff', '\xe2\x82', '\xf4\x90\x80\x80']) {
      const bytes = Buffer.from(legal.replace('analyst', bad), 'latin1')
      expect(parse(bytes)).toEqual({ fault: 'the header is not UTF-8' })
    }
  })

  test('takes keys that this version does not know, wherever they stand', () => {
    const value = { ...LEGAL, aa: 1, fault: 'x', region: 'eu', w0_x: ['a', 'b'], zz: 9007199254740991 }
    expect(parse(canonicalize(value))).toEqual(value)
  })

  test('reads a slice of other bytes', () => {
    const bytes = Buffer.from(`xx${legal},"salt"`)
    expect(parseHeader(bytes, 2, 2 + legal.length)).toEqual(LEGAL)
    expect(parseHeader(bytes, 2, 1 + legal.length)).toEqual({ fault: expect.any(String) })
  })
})
