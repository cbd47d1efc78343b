import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AuditLedger, DEFAULT_MASK_PATTERNS, MASK_PATTERNS, maskRules } from '../../../src/index.ts'
import type { JsonObject, MaskOptions } from '../../../src/index.ts'
import { canonicalize } from '../../../src/verify/canonical.ts'
import { scale } from '../../helpers/scale.ts'

const EVENT = { type: 'Noted', stream: 'notes' }
const CALL = { type: 'AgentCallCompleted', stream: 'task' }
const TOKEN = `ghp_${'16C7e42F292c6912E7710c838347Ae178B4a'}`

function masked(data: JsonObject, options: MaskOptions = {}, about = EVENT): JsonObject {
  return maskRules(options)(data, about) as JsonObject
}

describe('misuse', () => {
  test.each([
    [{ patterns: ['emial'] }, RangeError, /"emial" is none; known are token/],
    [{ patterns: ['toString'] }, RangeError, /is none/],
    [{ patterns: 'email' }, TypeError, /patterns must be an array/],
    [{ pointers: ['customer'] }, RangeError, /no JSON pointer/],
    [{ pointers: [''] }, RangeError, /no JSON pointer/],
    [{ pointers: ['/a~2'] }, RangeError, /no JSON pointer/],
    [{ members: [7] }, TypeError, /members must be an array of strings/],
    [{ own: { email: /x/ } }, RangeError, /can't name a rule/],
    [{ own: { 'no]name': /x/ } }, RangeError, /can't name a rule/],
    [{ own: { x: 'x' } }, TypeError, /must be a RegExp or a function/],
    [{ keys: 'yes' }, TypeError, /keys/],
    [{ countMember: '$masked' }, RangeError, /countMember/],
    [{ pattern: [] }, TypeError, /unknown option "pattern"/],
  ])('%o', (options, kind, message) => {
    expect(() => maskRules(options as MaskOptions)).toThrow(kind)
    expect(() => maskRules(options as MaskOptions)).toThrow(message)
  })

  test.each([
    [[[0, 0]]],
    [[[0, 99]]],
    [
      [
        [3, 5],
        [1, 2],
      ],
    ],
    [[[0.5, 2]]],
  ])('a function that finds %o is refused', (spans) => {
    const mask = maskRules({ own: { mine: () => spans as [number, number][] } })
    expect(() => mask({ text: 'some text' }, EVENT)).toThrow(RangeError)
  })
})

describe('what is recorded', () => {
  test('of a call: marks, a count in input_metadata, and no byte of the secret in the ledger; a retry is the same record', async () => {
    await using ledger = await AuditLedger.open('memory:', { mask: maskRules() })
    const call = {
      run_id: 'r1',
      agent_name: 'ann@example.org',
      method_name: 'mail',
      prompt: [{ role: 'user', content: `Use ${TOKEN} for bob@example.org and carol@example.org` }],
      raw_output: JSON.stringify({ to: 'bob@example.org', id: 12345678901234567890n.toString() }),
      input_metadata: { temperature: 0.2 },
    }
    const first = await ledger.record(call)
    expect(await ledger.record(call)).toEqual(first)
    const record = await ledger.get('r1')
    expect(record?.line).not.toMatch(/bob@|carol@|ghp_/)
    expect(record?.entry).toMatchObject({
      prompt: [{ role: 'user', content: 'Use [masked:token] for [masked:email] and [masked:email]' }],
      input_metadata: { temperature: 0.2, masked: { email: 3, token: 1 } },
      // It is in the header, so hiding it here would only look as if it were hidden.
      agent_name: 'ann@example.org',
    })
    expect((await ledger.verifyIntegrity()).ok).toBe(true)
  })

  test('of an event: a count beside its data', async () => {
    await using ledger = await AuditLedger.open('memory:', { actor: 'test', mask: maskRules() })
    await ledger.append('orders', { type: 'OrderPlaced', run_id: 'o1', data: { mail: 'a@b.org', n: 1 } })
    expect((await ledger.get('o1'))?.entry).toEqual({ mail: '[masked:email]', n: 1, masked: { email: 1 } })
    await ledger.append('orders', { type: 'OrderPlaced', run_id: 'o2', data: { n: 1 } })
    expect((await ledger.get('o2'))?.entry).toEqual({ n: 1 })
  })

  test('a rule that throws keeps its record out, and no other', async () => {
    const own = {
      mine: (text: string): [number, number][] => {
        if (text === 'bad') throw new Error('the rule is torn')
        return []
      },
    }
    await using ledger = await AuditLedger.open('memory:', { mask: maskRules({ own }) })
    await expect(ledger.record({ agent_name: 'a', method_name: 'b', prompt: 'bad' })).rejects.toThrow(/the rule is torn/)
    await ledger.record({ agent_name: 'a', method_name: 'b', prompt: 'good' })
    expect(await ledger.count({ actor: 'a' })).toBe(1)
  })
})

describe('the count', () => {
  test('never takes the place of what a caller has there', () => {
    expect(masked({ masked: 'mine', masked_2: 'too', mail: 'a@b.org' })).toEqual({
      masked: 'mine',
      masked_2: 'too',
      mail: '[masked:email]',
      masked_3: { email: 1 },
    })
    expect(masked({ prompt: 'a@b.org', input_metadata: { masked: 7 } }, {}, CALL)).toEqual({
      prompt: '[masked:email]',
      input_metadata: { masked: 7, masked_2: { email: 1 } },
    })
  })

  test('has the name that was asked for; of a call it is in input_metadata, where that is an object', () => {
    expect(masked({ mail: 'a@b.org' }, { countMember: 'hidden' })).toEqual({ mail: '[masked:email]', hidden: { email: 1 } })
    expect(masked({ prompt: 'a@b.org' }, { countMember: 'hidden' }, CALL)).toEqual({ prompt: '[masked:email]', masked: { email: 1 } })
  })

  test('is masked by no rule, also of a mask that is applied to what was masked', () => {
    const once = masked({ prompt: 'a@b.org', input_metadata: { user: 'x' } }, {}, CALL)
    const again = masked(once, { members: ['masked'], pointers: ['/input_metadata/*'] }, CALL)
    expect(again['input_metadata']).toEqual({ user: '[masked:pointer]', masked: { email: 1 }, masked_2: { pointer: 1 } })
  })
})

describe('a text that is JSON', () => {
  test('is masked inside: escapes are understood, and what is not masked keeps its spelling', () => {
    const text = String.raw` {"to" : "ann\u0040example.org", "n": 1.0, "big": 12345678901234567890, "twice": 1, "twice": 2, "q": "a\"b" }`
    expect(masked({ text })['text']).toBe(
      String.raw` {"to" : "[masked:email]", "n": 1.0, "big": 12345678901234567890, "twice": 1, "twice": 2, "q": "a\"b" }`,
    )
    expect(masked({ text: '[4242424242424242, 4242424242424243]' })['text']).toBe('["[masked:card]", 4242424242424243]')
  })

  test('also within one another, and below a pointer', () => {
    const args = JSON.stringify({ to: 'a@b.org', body: JSON.stringify(['c@d.org', { password: 'x', note: null }]) })
    const out = masked({ calls: [{ arguments: args }] }, { pointers: ['/calls/*/arguments/body/1/*'] })
    const { arguments: text } = (out['calls'] as { arguments: string }[])[0]!
    const { to, body } = JSON.parse(text) as { to: string; body: string }
    expect(to).toBe('[masked:email]')
    expect(JSON.parse(body)).toEqual(['[masked:email]', { password: '[masked:pointer]', note: null }])
    expect(out['masked']).toEqual({ email: 2, pointer: 1 })
  })

  test('a key in a text of several lines', () => {
    const text = JSON.stringify({ key: `-----BEGIN PRIVATE KEY-----\n${'A'.repeat(64)}\n-----END PRIVATE KEY-----` })
    expect(masked({ text })['text']).toBe('{"key":"[masked:private_key]"}')
  })
})

describe('places', () => {
  const data = { customer: { name: 'Ann', tags: ['a', 1, null, true] }, list: [{ id: 7 }, { id: 8 }], 'a/b~c': 'x' }

  test.each([
    ['/customer', { customer: { masked: '[masked:pointer]' } }, 1],
    ['/customer/tags', { customer: { name: 'Ann', tags: ['[masked:pointer]'] } }, 1],
    ['/customer/tags/*', { customer: { name: 'Ann', tags: ['[masked:pointer]', '[masked:pointer]', null, '[masked:pointer]'] } }, 3],
    ['/list/1/id', { list: [{ id: 7 }, { id: '[masked:pointer]' }] }, 1],
    ['/*/*/id', { list: [{ id: '[masked:pointer]' }, { id: '[masked:pointer]' }] }, 2],
    ['/a~1b~0c', { 'a/b~c': '[masked:pointer]' }, 1],
    ['/nothing/there', {}, 0],
  ])('%s', (pointer, changed, times) => {
    const count = times === 0 ? {} : { masked: { pointer: times } }
    expect(masked(data, { pointers: [pointer] })).toEqual({ ...data, ...changed, ...count })
    const text = masked({ text: JSON.stringify(data) }, { pointers: [`/text${pointer}`] })
    expect(JSON.parse(text['text'] as string)).toEqual({ ...data, ...changed })
    expect(text['masked']).toEqual(times === 0 ? undefined : { pointer: times })
  })

  test('members by name, wherever they are and whatever their case', () => {
    const given = { Password: 'x', deep: [{ PASSWORD: { a: 1 } }], text: '{"password": 12}', passwords: 1 }
    expect(masked(given, { members: ['password'] })).toEqual({
      Password: '[masked:member]',
      deep: [{ PASSWORD: { masked: '[masked:member]' } }],
      text: '{"password": "[masked:member]"}',
      passwords: 1,
      masked: { member: 3 },
    })
  })
})

describe('keys', () => {
  const given = { by: { 'a@b.org': 1, 'c@d.org': 2, '[masked:email]': 3 } }

  test('stay as they are unless asked for', () => expect(masked(given)).toEqual(given))

  test('no member is lost where two become the same', () => {
    const by = { '[masked:email]': 1, '[masked:email] 2': 2, '[masked:email] 3': 3 }
    expect(masked(given, { keys: true })).toEqual({ by, masked: { email: 2 } })
    expect(masked({ text: JSON.stringify(given.by) }, { keys: true })['text']).toBe(JSON.stringify(by))
  })

  test('__proto__ is a key like any other', () => {
    const data = JSON.parse('{"__proto__":{"mail":"a@b.org"},"x":{"__proto__":"c@d.org"}}') as JsonObject
    const text = '{"__proto__":{"mail":"[masked:email]"},"masked":{"email":2},"x":{"__proto__":"[masked:email]"}}'
    for (const keys of [true, false]) expect(canonicalize(masked(data, { keys }))).toBe(text)
  })
})

describe("rules of one's own", () => {
  test('come first, whatever their flags; an empty match is none', () => {
    const own = { employee: /\bE-\d+/y, empty: /x*/, at: (text: string): [number, number][] => (text.includes('@') ? [[0, 1]] : []) }
    expect(masked({ text: 'ask E-17 and E-18' }, { own })).toEqual({
      text: 'ask [masked:employee] and [masked:employee]',
      masked: { employee: 2 },
    })
  })

  test('one that matches marks, or everything, leaves one mark for each text', () => {
    expect(masked({ text: 'a b' }, { own: { all: /.+/ } })).toEqual({ text: '[masked:all]', masked: { all: 1 } })
    expect(masked({ text: 'masked: a@b.org' }, { own: { word: /masked/ } })['text']).toBe('[masked:word]: [masked:email]')
  })

  test('one that uncovers ever more comes to an end, and hides the text whole', () => {
    // After each round there is a last letter again.
    const own = { last: (text: string): [number, number][] => (text.length > 1 ? [[text.length - 1, text.length]] : []) }
    expect(masked({ text: 'x'.repeat(100) }, { own })).toEqual({ text: '[masked:text]', masked: { last: 16, text: 1 } })
  })
})

/** Pieces from which what is found, what looks like it, and what is around it are made. */
const PIECES = [
  'ann@example.org',
  TOKEN,
  '4242 4242 4242 4242',
  '4242424242424242',
  '378282246310005',
  'DE89 3704 0044 0532 0130 00',
  '078-05-1120',
  '+442071838750',
  'postgres://u:p@h',
  '?token=abc',
  'Bearer abc123defg',
  'eyJhbGciOiJub25lIn0.eyJhIjoxfQ.x',
  '-----BEGIN PRIVATE KEY-----',
  '-----END PRIVATE KEY-----',
  '[masked:email]',
  '[masked:',
  ']',
  '"',
  '\\',
  '\\n',
  '\\u0040',
  '{"a":',
  '}',
  '[',
  ',',
  ' ',
  '-',
  '.',
  '/',
  ':',
  '@',
  '%40',
  '0',
  '12',
  'a',
  'É',
  '東',
  '\n',
  '[masked:own]',
]
const text = fc.array(fc.constantFrom(...PIECES), { maxLength: 12 }).map((pieces) => pieces.join(''))
const key = fc.oneof(fc.constantFrom('a', 'masked', 'password', '__proto__', '10', '9'), text)
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    text,
    fc.constantFrom<unknown>(null, true, 1, 4242424242424242, 0.5),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.array(fc.tuple(key, tie('value')), { maxLength: 3 }).map((members) => Object.fromEntries(members)),
    tie('value').map((inner) => JSON.stringify(inner)),
  ),
}))
const data = fc
  .array(fc.tuple(fc.oneof(key, fc.constantFrom('prompt', 'input_metadata')), value), { maxLength: 4 })
  .map((members) => Object.fromEntries(members) as JsonObject)
const options = fc.record(
  {
    patterns: fc.subarray([...MASK_PATTERNS]),
    pointers: fc.subarray(['/a', '/*/a', '/prompt/*', '/input_metadata', '/*']),
    members: fc.subarray(['password', 'masked']),
    keys: fc.boolean(),
    own: fc.constantFrom({}, { own: /[a-z]2|own/ }),
  },
  { requiredKeys: [] },
)
const about = fc.constantFrom(EVENT, CALL)
const numRuns = scale(400, 20_000)

/** With every JSON text replaced by what it says, as deep as it goes. */
function understood(given: unknown): unknown {
  if (typeof given === 'string') {
    if (!/^\s*["{[]/.test(given)) return given
    try {
      return understood(JSON.parse(given))
    } catch {
      return given
    }
  }
  if (typeof given !== 'object' || given === null) return given
  return Array.isArray(given) ? given.map(understood) : Object.values(given).map(understood)
}

describe('whatever the data and the rules', () => {
  test('masking what is masked changes nothing, and the data given stay as they are', () => {
    fc.assert(
      fc.property(data, options, about, (given, rules, what) => {
        const before = canonicalize(given)
        const once = masked(given, rules, what)
        expect(canonicalize(given)).toBe(before)
        expect(canonicalize(masked(once, rules, what))).toBe(canonicalize(once))
      }),
      { numRuns },
    )
  })

  test('a text that is JSON is JSON afterwards', () => {
    fc.assert(
      fc.property(value, options, (given, rules) => {
        const out = masked({ text: JSON.stringify([given]) }, rules)
        if (typeof out['text'] === 'string' && out['text'] !== '[masked:pointer]' && out['text'] !== '[masked:text]')
          JSON.parse(out['text'])
      }),
      { numRuns },
    )
  })

  test('an address between spaces is nowhere in what is recorded, however deep it is in how many JSON texts', () => {
    fc.assert(
      fc.property(value, text, fc.array(fc.constantFrom('list', 'object', 'text'), { maxLength: 6 }), (other, around, shells) => {
        let inner: unknown = `${around} needle@hay.example `
        for (const shell of shells)
          inner = shell === 'list' ? [other, inner] : shell === 'object' ? { a: inner, b: other } : JSON.stringify(inner)
        const out = masked({ inner: inner as string }, { patterns: DEFAULT_MASK_PATTERNS })
        expect(JSON.stringify(understood(out['inner']))).not.toContain('needle')
      }),
      { numRuns },
    )
  })
})
