/**
 * Ledgers whose hashes all hold and whose content is at the edge of a rule or past it, so that only the rule itself
 * can tell: what a writer with a fault, or with intent, would seal. Used to hold two verifiers against each other.
 */
import { createHash } from 'node:crypto'
import { canonicalize } from '../../src/verify/canonical.ts'

export interface Crafted {
  readonly name: string
  readonly bytes: Buffer
}

const ORIGIN = 'example.com/crafted'
const sha256 = (...parts: (string | Uint8Array)[]): string =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex')
const ZERO = Uint8Array.of(0)

interface Draft {
  /** Header members that differ from the plain ones; undefined leaves one out. */
  readonly header?: { readonly [key: string]: unknown }
  /** The header's text is changed by this before it is hashed. */
  readonly spell?: (header: string) => string | Buffer
  readonly entry?: object
  readonly entryText?: string | Buffer
  readonly salt?: string
  /** Between header and salt, or header and the withheld entry. */
  readonly signatures?: string
  readonly withheld?: boolean
}

/** Sealed one behind the other, each pointing to the one before, whatever that is. */
function sealed(drafts: readonly Draft[]): Buffer {
  let previous_hash = 'GENESIS'
  const versions = new Map<unknown, number>()
  return Buffer.concat(
    drafts.map((draft, seq) => {
      const salt = draft.salt ?? createHash('md5').update(String(seq)).digest('base64url')
      const entry = draft.entryText ?? canonicalize(draft.entry ?? { n: seq, text: 'é\u2028' })
      const committed = Buffer.concat([Buffer.from(`"salt":"${salt}","entry":`), Buffer.from(entry as string)])
      const stream = draft.header?.['stream'] ?? (seq === 0 ? 'ledger' : 'task-1')
      const stream_version = (versions.get(stream) ?? -1) + 1
      versions.set(stream, stream_version)
      const at = `2026-11-22T20:15:${String(seq % 60).padStart(2, '0')}.000000Z`
      const plain = {
        action: seq === 0 ? 'create' : 'work',
        actor: seq === 0 ? ORIGIN : 'agent',
        entry_hash: sha256(committed),
        outcome: 'success',
        previous_hash,
        recorded_at: at,
        run_id: `run-${seq}`,
        schema: 1,
        seq,
        stream,
        stream_version,
        timestamp: at,
        type: seq === 0 ? 'LedgerCreated' : 'WorkDone',
        v: 1,
        ...draft.header,
      }
      const text = canonicalize(plain)
      const header = draft.spell === undefined ? Buffer.from(text) : Buffer.from(draft.spell(text) as string)
      previous_hash = sha256(ZERO, header)
      const signatures = draft.signatures === undefined ? '' : `,"signatures":${draft.signatures}`
      const rest =
        draft.withheld === true
          ? Buffer.from(`${signatures},"entry":null}\n`)
          : Buffer.concat([Buffer.from(`${signatures},`), committed, Buffer.from('}\n')])
      return Buffer.concat([Buffer.from(`{"hash":"${previous_hash}","header":`), header, rest])
    }),
  )
}

const long = (length: number): string => 'x'.repeat(length)
const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `tag-${String(i).padStart(3, '0')}`)

/** Header members of one record in the middle. */
const HEADERS: readonly { readonly [key: string]: unknown }[] = [
  {},
  ...[
    long(512),
    long(513),
    'é'.repeat(256),
    `${'é'.repeat(256)}x`,
    '"'.repeat(512),
    '\\',
    '\u00a0',
    '\ufeff',
    '\u2028',
    '🦊',
    '\ud7ff\ue000',
    ' ',
    '',
    '\n',
    '\u0000',
    '\u001f',
    '\u007f',
    '\u0080',
    '\u009f',
    7,
    null,
    true,
    [],
    ['a'],
    {},
  ].map((actor) => ({ actor })),
  ...['causation_id', 'correlation_id'].flatMap((key) => [{ [key]: 'x' }, { [key]: '' }, { [key]: 1 }]),
  ...[
    '2024-02-29',
    '2026-02-29',
    '2026-02-30',
    '2026-04-31',
    '2000-02-29',
    '1900-02-29',
    '0000-02-29',
    '0000-01-01',
    '9999-12-31',
    '2026-00-01',
    '2026-13-01',
    '2026-01-00',
    '2026-01-32',
  ].map((day) => ({ timestamp: `${day}T00:00:00.000000Z` })),
  ...['24:00:00.000000', '23:59:60.000000', '23:59:59.999999', '00:60:00.000000', '12:00:00', '12:00:00.000', '12:00:00.0000000'].map(
    (time) => ({ timestamp: `2026-01-01T${time}Z` }),
  ),
  { timestamp: '2026-01-01t00:00:00.000000z' },
  { timestamp: '2026-01-01T00:00:00.000000+00:00' },
  { timestamp: '٢٠٢٦-01-01T00:00:00.000000Z' },
  { timestamp: '2026-01-01T00:00:00.000000Z\u2028' },
  ...['failure', 'denied', 'cancelled', 'timeout', 'unknown', 'Success', 'ok', ''].map((outcome) => ({ outcome })),
  ...[0, 2, Number.MAX_SAFE_INTEGER, 1.5, -1, '1'].map((schema) => ({ schema })),
  ...[
    ['a'],
    ['a', 'b'],
    ['b', 'a'],
    ['a', 'a'],
    [],
    numbered(64),
    numbered(65),
    ['\uff5e', '🦊'],
    ['🦊', '\uff5e'],
    ['a', 1],
    [['a']],
    'a',
    ['a', ''],
    [long(512)],
    [long(513)],
    ['a\u007f'],
    ['"', '\\'],
  ].map((tags) => ({ tags })),
  { a: 'x' },
  { zz: 1, zzz: ['a'] },
  { zz: {} },
  { zz: null },
  { zz: true },
  { zz: 1.5 },
  { zz: ['b', 'a'] },
  { Zz: 'x' },
  { _a: 'x' },
  { [`z${long(600)}`]: 'x' },
  { 'z-z': 'x' },
  { zé: 'x' },
  { '': 'x' },
  { run_id: undefined },
  { type: undefined },
  { stream_version: '1' },
  { entry_hash: long(64) },
  { entry_hash: '0'.repeat(63) },
  { previous_hash: 'GENESIS' },
  { previous_hash: 'genesis' },
  { previous_hash: 'z'.repeat(64) },
  { seq: '2' },
  { seq: 9_007_199_254_740_991 },
  { v: 0 },
  { v: '1' },
  { v: 2 },
  { v: 2, outcome: 'new', nested: { a: [1] } },
  { v: 2, seq: -1 },
  { v: 2, seq: '2' },
  { v: 2, previous_hash: 'x' },
  { v: undefined },
  { signers: ['00000000'] },
  ...Array.from({ length: 40 }, (_, i) => ({ [`z${i}`]: long(420 + i) })).slice(0, 1),
  Object.fromEntries(Array.from({ length: 31 }, (_, i) => [`z${i}`, long(500)])),
  Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`z${i}`, long(500)])),
]

/** Other spellings of one header. */
const SPELLINGS: readonly ((header: string) => string | Buffer)[] = [
  (header) => header.replace('"work"', '"wor\\u006b"'),
  (header) => header.replace('"work"', '"work\\/"'),
  (header) => header.replace('"work"', '"a\\"b\\\\c"'),
  (header) => header.replace('"work"', '"a\\nb"'),
  (header) => header.replace('"schema":1', '"schema":1.0'),
  (header) => header.replace('"schema":1', '"schema":01'),
  (header) => header.replace('"schema":1', '"schema":1e0'),
  (header) => header.replace('"schema":1', '"schema":+1'),
  (header) => header.replace('"schema":1', '"schema":9007199254740992'),
  (header) => header.replace('"schema":1', '"schema": 1'),
  (header) => header.replace('"action"', ' "action"'),
  (header) => header.replace('"action":"work",', ''),
  (header) => header.replace('"action":"work","actor":"agent"', '"actor":"agent","action":"work"'),
  (header) => header.replace('"action":"work"', '"action":"work","action":"work"'),
  (header) => header.replace('"v":1', '"v":1,'),
  (header) => header.replace('"v":1', '"v":1,"v":1'),
  (header) => header.replace('"v":1', '"v":1,"w":[]'),
  (header) => header.replace('"v":1', '"v":1,"w":["a",]'),
  (header) => header.replace('"v":1', '"v":1,"w":-1'),
  (header) => header.replace('"v":1', '"v":1,"w":""'),
  (header) => header.replace('"agent"', '"},\\"salt"'),
  (header) => Buffer.from(header.replace('agent', '\u0001'), 'latin1').map((byte) => (byte === 1 ? 0xff : byte)) as Buffer,
  (header) =>
    Buffer.from(header.replace('agent', '\u0001\u0002'), 'latin1').map((byte) => (byte === 1 ? 0xc0 : byte === 2 ? 0xaf : byte)) as Buffer,
  (header) =>
    Buffer.from(header.replace('agent', '\u0001\u0002\u0003'), 'latin1').map((byte) =>
      byte === 1 ? 0xed : byte === 2 ? 0xa0 : byte === 3 ? 0x80 : byte,
    ) as Buffer,
]

const deep = (depth: number): string => `${'{"a":'.repeat(depth - 1)}{}${'}'.repeat(depth - 1)}`
const wide = (depth: number): string => `{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`

/** The entry's text of one record. */
const ENTRIES: readonly (string | Buffer)[] = [
  '{}',
  ...[
    '0',
    '-0',
    '0.0',
    '-1',
    '1.0',
    '1e0',
    '1E2',
    '1e+2',
    '1e2',
    '100',
    '0.1',
    '0.10',
    '.5',
    '5.',
    '01',
    '+1',
    '-',
    '1e',
    '1.e1',
    '1e400',
    '-1e400',
    '1e-400',
    '5e-324',
    '1e21',
    '1e+21',
    '1e20',
    '100000000000000000000',
    '999999999999999900000',
    '9007199254740991',
    '9007199254740992',
    '-9007199254740991',
    '-9007199254740992',
    '9007199254740993',
    '1e+30',
    '1.7976931348623157e+308',
    '0.000001',
    '1e-6',
    '1e-7',
    '1e-07',
    '123456789012345680000',
    '1234567890123456800000',
    '1.2345678901234568e+21',
    '0.1234567890123456789',
    '4.35',
    '333333333.3333333',
    'NaN',
    'Infinity',
    '-Infinity',
    'nan',
    '٣',
    '1٣',
    '0x10',
    '1_000',
    long(0),
  ].map((number) => `{"n":${number}}`),
  `{"n":${'9'.repeat(5000)}}`,
  ...[
    'true',
    'false',
    'null',
    'True',
    'None',
    'nul',
    'undefined',
    '""',
    "''",
    '"\\u00e9"',
    '"\\u000A"',
    '"\\n"',
    '"\\/"',
    '"/"',
    '"\\b\\f\\r\\t"',
    '"\\u0008"',
    '"\\u001f"',
    '"\\u001F"',
    '"\\u007f"',
    '"\u007f"',
    '"\u0085"',
    '"\u2028"',
    '"\\ud83e\\udd8a"',
    '"🦊"',
    '"\\ud83e"',
    '"\\udd8a\\ud83e"',
    '"\\u12"',
    '"\\u 123"',
    '"\\x41"',
    '"\\"',
    '"a',
    '"\t"',
    '"\u0001"',
    '"\\u0000"',
    '[]',
    '[1,2]',
    '[1,]',
    '[,1]',
    '[1 2]',
    '{}',
    '{"b":1,"a":2}',
    '{"a":1,"a":1}',
    '{"a":1,"b":2}',
    '{"a":1,}',
    '{a:1}',
    '{"a" :1}',
    '{"a": 1}',
    '{"a":1 }',
    '{"10":1,"9":2}',
    '{"9":1,"10":2}',
    '{"🦊":1,"\uff5e":2}',
    '{"\uff5e":1,"🦊":2}',
    '{"":1}',
    '{"__proto__":1}',
    '{"\\ud800":1}',
  ].map((value) => `{"x":${value}}`),
  ...[
    ' {}',
    '{} ',
    '{}{}',
    '{},"x":{}',
    '[]',
    'null',
    '"x"',
    '1',
    '',
    '{',
    '}',
    '{"a":1}}',
    '{"a":1',
    '{"a"}',
    '{"a":}',
    '{:1}',
    '{,}',
    '\ufeff{}',
    '{\ufeff}',
    '{\u00a0}',
    '{\r}',
    '{\t}',
    '{\f}',
    '{/**/}',
    '{"a":1}//',
    '{"a":1},"header":{"outcome":"success"}',
  ],
  deep(64),
  deep(65),
  wide(64),
  wide(65),
  `{"a":"${'['.repeat(100)}"}`,
  `{"a":"\\"${'['.repeat(100)}"}`,
  Buffer.from('{"a":"\xff"}', 'latin1'),
  Buffer.from('{"a":"\xc0\xaf"}', 'latin1'),
  Buffer.from('{"a":"\xed\xa0\x80"}', 'latin1'),
  Buffer.from('{"a":"\xf4\x90\x80\x80"}', 'latin1'),
  Buffer.from('{"a":"\xf4\x8f\xbf\xbf"}', 'latin1'),
  Buffer.from('{"a":"\xe2\x80"}', 'latin1'),
]

const SIG = `${'A'.repeat(86)}==`
const signature = (key: string, alg = 'ed25519', sig = SIG): string => `{"key":"${key}","alg":"${alg}","sig":"${sig}"}`
const rsa = (bytes: number): string => Buffer.alloc(bytes, 7).toString('base64')

const SIGNED: readonly [signers: readonly string[] | undefined, signatures: string | undefined][] = [
  [['0000000a'], `[${signature('0000000a')}]`],
  [['0000000a', '0000000b'], `[${signature('0000000a')},${signature('0000000b', 'rsa-pss-sha256', rsa(256))}]`],
  [['0000000a', '0000000b'], `[${signature('0000000b')},${signature('0000000a')}]`],
  [['0000000a', '0000000b'], `[${signature('0000000a')}]`],
  [['0000000a'], `[${signature('0000000a')},${signature('0000000b')}]`],
  [['0000000a'], `[${signature('0000000a')},${signature('0000000a')}]`],
  [['0000000a'], undefined],
  [['0000000a'], '[]'],
  [undefined, `[${signature('0000000a')}]`],
  [['0000000A'], `[${signature('0000000A')}]`],
  [['signer'], `[${signature('signer')}]`],
  ...['rsa-pss-sha256', 'ecdsa', ''].map((alg): [string[], string] => [['0000000a'], `[${signature('0000000a', alg)}]`]),
  ...[255, 256, 384, 512, 2048, 2049].map((bytes): [string[], string] => [
    ['0000000a'],
    `[${signature('0000000a', 'rsa-pss-sha256', rsa(bytes))}]`,
  ]),
  ...[`${'A'.repeat(86)}=`, `${'A'.repeat(85)}B==`, `${'A'.repeat(86)}-=`, 'A'.repeat(88), '', `${'A'.repeat(87)}=`].map(
    (sig): [string[], string] => [['0000000a'], `[${signature('0000000a', 'ed25519', sig)}]`],
  ),
  [['0000000a'], `[ ${signature('0000000a')}]`],
  [['0000000a'], `[${signature('0000000a')},]`],
  [['0000000a'], `[{"alg":"ed25519","key":"0000000a","sig":"${SIG}"}]`],
]

const ledger = (header: object = {}, more: Partial<Draft> = {}): Draft => ({
  header: { stream: 'ledger', type: 'SegmentSealed', ...header },
  ...more,
})
const last = (append_last_seq: number): Draft => ({ header: { append_last_seq } })
const at = (second: string, more: object = {}): Draft => ({ header: { recorded_at: `2026-11-22T20:15:${second}.000000Z`, ...more } })
const names = (type: string, entry: object): Draft => ledger({ type }, { entry })
const gone: Draft = { withheld: true }

/** Records behind record 0. */
const STORIES: readonly (readonly Draft[])[] = [
  [last(2), last(2), {}],
  [last(2), last(2)],
  [last(3), last(3), {}],
  [last(3), last(3), last(4), last(4)],
  [last(3), last(4), last(3), {}],
  [last(1), {}],
  [{}, last(2), {}],
  [last(2), {}, {}],
  [last(9), last(9)],
  [last(0), {}],
  [at('10'), at('09'), at('10')],
  [at('10'), at('09', { type: 'ClockMovedBack', stream: 'ledger' }), at('10')],
  [at('10'), at('09', { type: 'ClockMovedBack' }), at('10')],
  [{ header: { stream: 'ledger' } }, {}],
  [{ header: { type: 'KeyAdded' } }, {}],
  [ledger(), {}],
  [ledger({ type: 'LedgerCreated' }), {}],
  [ledger({}, gone), {}],
  [{ header: { run_id: 'run-0' } }, {}],
  [{ header: { run_id: 'again' } }, { header: { run_id: 'again' } }, { header: { run_id: 'again' } }],
  [{ header: { stream_version: 5 } }, { header: { stream_version: 6 } }, { header: { stream_version: 6 } }],
  [{ header: { stream: 'b', stream_version: 1 } }, {}],
  [gone, {}],
  [gone, gone, {}, gone],
  [gone, names('EntryErased', { seq: 1 })],
  [gone, gone, names('EntryErased', { seq: 1 })],
  [gone, gone, names('EntryErased', { seqs: [1, 2] }), {}],
  [gone, gone, {}, names('EntriesArchived', { first_seq: 1, last_seq: 3 })],
  [gone, {}, names('EntriesArchived', { ranges: [{ first_seq: 1, last_seq: 2 }] }), names('EntriesRestored', { seq: 1 })],
  [gone, {}, names('EntriesArchived', { seq: 1 }), names('EntriesRestored', { seq: 1 }), names('EntriesArchived', { seq: 1 })],
  [gone, names('EntryErased', { records: [{ seq: 1, hash: 'x' }] })],
  [gone, names('EntryErased', { seq: '1' })],
  [gone, names('EntryErased', { seq: 1.5, seqs: 'x', records: { seq: 1 }, ranges: [null, 1, 'x', { first_seq: 3, last_seq: 1 }] })],
  [names('EntryErased', { seq: 2 }), gone, {}],
  [gone, { header: { type: 'EntryErased' }, entry: { seq: 1 } }],
  [gone, names('EntryErased', { seq: 1, first_seq: 0, last_seq: 9 })],
  [gone, { ...names('EntryErased', {}), entryText: '{"seq":1 }' }],
  [{ header: { v: 2 } }, gone, {}],
  [{ header: { v: 2 } }, { header: { stream_version: 7 } }, at('01')],
]

const FIRST: readonly Draft[] = [
  { header: { actor: long(255) } },
  { header: { actor: long(256) } },
  { header: { actor: 'é'.repeat(128) } },
  ...[
    'a b',
    'a\u00a0b',
    'a\u3000b',
    'a\ufeffb',
    'a\u180eb',
    'a\u200bb',
    'a+b',
    'cortex-ledger/x',
    'cortex-ledger',
    'Cortex-ledger/x',
    '-',
    '🦊',
  ].map((actor) => ({ header: { actor } })),
  { header: { type: 'KeyAdded' } },
  { header: { type: 'WorkDone', stream: 'task-1' } },
  { header: { stream: 'task-1' } },
  { withheld: true },
  { header: { append_last_seq: 1 } },
  { header: { previous_hash: '0'.repeat(64) } },
  { header: { seq: 1 } },
]

const SALTS = [
  'AAAAAAAAAAAAAAAAAAAAAA',
  'AAAAAAAAAAAAAAAAAAAAAB',
  'AAAAAAAAAAAAAAAAAAAAAQ',
  '-_-_-_-_-_-_-_-_-_-_-w',
  'AAAAAAAAAAAAAAAAAAAAA=',
  'AAAAAAAAAAAAAAAAAAAA+A',
  'AAAAAAAAAAAAAAAAAAAAA',
  'AAAAAAAAAAAAAAAAAAAAAAA',
  '',
]

export function* craftedLedgers(): Generator<Crafted> {
  const around = (draft: Draft): Buffer => sealed([{}, {}, draft, {}, {}])
  for (const header of HEADERS) {
    let bytes: Buffer
    try {
      bytes = around({ header })
    } catch {
      // What canonical JSON can't carry at all is no header either.
      continue
    }
    yield { name: `header ${JSON.stringify(header).slice(0, 100)}`, bytes }
  }
  for (const [i, spell] of SPELLINGS.entries()) yield { name: `spelling ${i}`, bytes: around({ spell }) }
  for (const entryText of ENTRIES) yield { name: `entry ${entryText.toString().slice(0, 100)}`, bytes: around({ entryText }) }
  for (const salt of SALTS) yield { name: `salt ${salt}`, bytes: around({ salt }) }
  for (const [signers, signatures] of SIGNED) {
    const draft = { ...(signers === undefined ? {} : { header: { signers } }), ...(signatures === undefined ? {} : { signatures }) }
    yield { name: `signers ${signers} signatures ${signatures?.slice(0, 60)}`, bytes: around(draft) }
    yield { name: `withheld, signers ${signers} signatures ${signatures?.slice(0, 60)}`, bytes: around({ ...draft, withheld: true }) }
  }
  for (const [i, story] of STORIES.entries()) yield { name: `story ${i}`, bytes: sealed([{}, ...story]) }
  for (const [i, first] of FIRST.entries())
    yield { name: `record 0, ${i}: ${JSON.stringify(first).slice(0, 60)}`, bytes: sealed([first, {}, {}]) }
}
