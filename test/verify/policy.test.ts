import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { signerFromSeed } from '../../src/ledger/keys.ts'
import { ED25519_COSIGNATURE } from '../../src/verify/note.ts'
import type { VerifierKey } from '../../src/verify/note.ts'
import { logKeysOf, parsePolicy, quorumMet, quorumTime, witnessKeysOf } from '../../src/verify/policy.ts'
import type { Policy, PolicyGroup, PolicyWitness } from '../../src/verify/policy.ts'
import { keyOf } from '../helpers/test-log.ts'

const { sha256 } = nodeHashing
const seed = (number: number): Uint8Array => Buffer.alloc(32, number)
const LOG = signerFromSeed('example.com/log', seed(1)).verifierKey
const witnessKey = (number: number, name = `witness.example/w${number}`): string =>
  signerFromSeed(name, seed(number), ED25519_COSIGNATURE).verifierKey
const [W1, W2, W3, W4, W5, W6] = [1, 2, 3, 4, 5, 6].map((number) => witnessKey(number)) as [string, string, string, string, string, string]
const parse = (text: string): Policy | string => parsePolicy(sha256, Buffer.from(text))

function policyOf(text: string): Policy {
  const policy = parse(text)
  if (typeof policy === 'string') throw new Error(policy)
  return policy
}

/** The example of C2SP tlog-policy. */
const EXAMPLE = `
log ${LOG}

witness X1 ${W1}
witness X2 ${W2}
witness X3 ${W3}
group X-witnesses 2 X1 X2 X3

witness Y1 ${W4}
witness Y2 ${W5}
witness Y3 ${W6}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`

describe("the specification's example", () => {
  const policy = policyOf(EXAMPLE)

  test('has its log, its witnesses and its groups', () => {
    expect(policy.logs.map(({ key }) => key)).toEqual([keyOf(LOG)])
    expect(policy.witnesses.map(({ name }) => name)).toEqual(['X1', 'X2', 'X3', 'Y1', 'Y2', 'Y3'])
    expect(policy.groups.map(({ name, threshold }) => [name, threshold])).toEqual([
      ['X-witnesses', 2],
      ['Y-witnesses', 1],
      ['X-and-Y', 2],
    ])
    expect(policy.quorum?.name).toBe('X-and-Y')
    expect(logKeysOf(policy, 'example.com/log')).toEqual([keyOf(LOG)])
    expect(logKeysOf(policy, 'example.com/other')).toEqual([])
    expect(witnessKeysOf(policy)).toEqual([W1, W2, W3, W4, W5, W6].map(keyOf))
  })

  test.each([
    ['nobody', [], false],
    ['two of X', [W1, W3], false],
    ['two of X and one of Y', [W1, W3, W5], true],
    ['one of X and all of Y', [W2, W4, W5, W6], false],
    ['one of X twice and one of Y', [W1, W1, W4], false],
    ['everybody', [W1, W2, W3, W4, W5, W6], true],
    ['a log beside one of X and one of Y', [LOG, W1, W4], false],
    ['strangers', [witnessKey(7), witnessKey(8), witnessKey(9)], false],
    ['a key of the policy under another name', [witnessKey(1, 'other'), W2, W4], false],
  ])('%s', (_, keys, met) => {
    expect(quorumMet(policy, keys.map(keyOf))).toBe(met)
  })

  test('the time of the quorum is that of whoever completed it', () => {
    const at = (key: string, time: bigint): { key: VerifierKey; time: bigint } => ({ key: keyOf(key), time })
    expect(quorumTime(policy, [at(W1, 50n), at(W2, 20n), at(W3, 30n), at(W4, 10n), at(W5, 40n)])).toBe(30n)
    expect(quorumTime(policy, [at(W1, 50n), at(W2, 20n), at(W4, 100n)])).toBe(100n)
    expect(quorumTime(policy, [at(W1, 50n), at(W2, 20n)])).toBe(null)
    expect(quorumTime(policy, [])).toBe(null)
    // Without a time it is the cosignature of something else.
    expect(quorumTime(policy, [at(W1, 0n), at(W2, 20n), at(W4, 10n)])).toBe(null)
    expect(quorumTime(policy, [at(W1, 2n ** 63n - 1n), at(W2, 20n), at(W4, 10n)])).toBe(2n ** 63n - 1n)
  })
})

test('where no witness is asked for, the quorum is met and nobody says when', () => {
  const policy = policyOf(`log ${LOG}\nwitness a ${W1}\nquorum none\n`)
  expect(policy.quorum).toBe(null)
  expect(quorumMet(policy, [])).toBe(true)
  expect(quorumTime(policy, [{ key: keyOf(W1), time: 5n }])).toBe(null)
})

test('one witness can be the quorum; blanks, tabs, comments and URLs are taken', () => {
  const policy = policyOf(
    `# who we trust\n\t # and why\n \t\nlog\t${LOG}  https://log.example/x#y \n  witness  a ${W1} https://w.example/\t\nquorum a\n# end\n`,
  )
  expect(policy.logs[0]?.url).toBe('https://log.example/x#y')
  expect(policy.witnesses[0]?.url).toBe('https://w.example/')
  expect(quorumMet(policy, [keyOf(W1)])).toBe(true)
  expect(quorumMet(policy, [])).toBe(false)
})

test('a log may have two keys, and a key may be that of a log and of a witness', () => {
  const second = signerFromSeed('example.com/log', seed(2)).verifierKey
  expect(logKeysOf(policyOf(`log ${LOG}\nlog ${second}\nwitness a ${W1}\nquorum a\n`), 'example.com/log')).toEqual([LOG, second].map(keyOf))
})

test('names are octets: a Kelvin sign is no K, and what is no UTF-8 is a name too', () => {
  const policy = policyOf(`witness K ${W1}\nwitness \u212a ${W2}\ngroup g all K \u212a\nquorum g\n`)
  expect(policy.witnesses.map(({ name }) => name)).toEqual(['K', '\u212a'])
  // The octet e9 and the UTF-8 of é look the same in a message, and are two names.
  const octets = Buffer.concat([
    Buffer.from('witness '),
    Buffer.of(0xe9),
    Buffer.from(` ${W1}\nwitness é ${W2}\ngroup g 2 é `),
    Buffer.of(0xe9),
    Buffer.from('\nquorum g\n'),
  ])
  const parsed = parsePolicy(sha256, octets) as Policy
  expect(quorumMet(parsed, [keyOf(W1)])).toBe(false)
  expect(quorumMet(parsed, [W1, W2].map(keyOf))).toBe(true)
})

const WITNESSES = `witness a ${W1}\nwitness b ${W2}\n`
test.each([
  ['nothing', '', 'quorum'],
  ['no quorum', `log ${LOG}\n`, 'quorum'],
  ['two quorums', `${WITNESSES}quorum a\nquorum a\n`, 'line 4: there is a quorum already'],
  ['a quorum of two', `${WITNESSES}quorum a b\n`, 'line 3'],
  ['a quorum that nobody named', `${WITNESSES}quorum c\n`, 'line 3: no line above names "c"'],
  ['a quorum before its name', `quorum a\n${WITNESSES}`, 'line 1'],
  ['a quorum without a name', 'quorum\n', 'line 1'],
  ['a member before its name', `witness a ${W1}\ngroup g any b\nwitness b ${W2}\nquorum g\n`, 'line 2: no line above names "b"'],
  ['a group of itself', `${WITNESSES}group g any g\nquorum g\n`, 'line 3'],
  ['a member twice in a group', `${WITNESSES}group g 2 a a\nquorum g\n`, 'a member already'],
  ['a member of two groups', `${WITNESSES}group g any a\ngroup h any a\nquorum h\n`, 'line 4: "a" is a member already'],
  ['none as a member', `${WITNESSES}group g any none\nquorum g\n`, 'no line above'],
  ['none as a name', `witness none ${W1}\nquorum none\n`, 'line 1'],
  ['none as a group', `${WITNESSES}group none any a\nquorum none\n`, 'line 3'],
  ['a name twice', `witness a ${W1}\nwitness a ${W2}\nquorum a\n`, 'line 2: there is a witness or group "a" already'],
  ['a group named as a witness', `${WITNESSES}group a any b\nquorum a\n`, 'line 3'],
  ['a witness twice', `witness a ${W1}\nwitness b ${W1}\nquorum a\n`, 'line 2: there is a witness with this key'],
  [
    'a witness twice, its key under another name',
    `witness a ${W1}\nwitness b ${witnessKey(1, 'x')}\nquorum a\n`,
    'line 2: there is a witness',
  ],
  ['a log twice', `log ${LOG}\nlog ${signerFromSeed('x', seed(1)).verifierKey}\nquorum none\n`, 'line 2: there is a log with this key'],
  ['a group of nobody', `${WITNESSES}group g any\nquorum g\n`, 'line 3'],
  ['a threshold of 0', `${WITNESSES}group g 0 a\nquorum g\n`, 'from 1 to 1'],
  ['a threshold above the members', `${WITNESSES}group g 3 a b\nquorum g\n`, 'from 1 to 2'],
  ['a threshold with a leading zero', `${WITNESSES}group g 01 a\nquorum g\n`, 'from 1 to 1'],
  ['a threshold that is no number', `${WITNESSES}group g most a\nquorum g\n`, 'from 1 to 1'],
  ['a threshold in capitals', `${WITNESSES}group g ALL a\nquorum g\n`, 'from 1 to 1'],
  ['another keyword', `${WITNESSES}Quorum a\n`, 'line 3'],
  ['a comment behind something', `${WITNESSES}quorum a # all\n`, 'line 3'],
  ['a log without a key', 'log\nquorum none\n', 'line 1'],
  ['a log with more', `log ${LOG} https://x y\nquorum none\n`, 'line 1'],
  ['a witness without a key', 'witness a\nquorum none\n', 'line 1'],
  ['a key of another kind', `witness a ${LOG}\nquorum a\n`, 'of kind 4'],
  ['a witness as a log', `log ${W1}\nquorum none\n`, 'of kind 1'],
  ['a key whose id is wrong', `log ${LOG.replace(/\+[0-9a-f]{8}/, '+00000000')}\nquorum none\n`, 'key id'],
  ['a carriage return', `${WITNESSES}quorum a\r\n`, 'control'],
  ['a DEL', `# \u007f\nquorum none\n`, 'control'],
  ['a last line that is cut off', `${WITNESSES}quorum a`, 'line feed'],
  [
    'more than 256 witnesses',
    `${Array.from({ length: 257 }, (_, i) => `witness w${i} ${signerFromSeed('w', Buffer.alloc(32, `${i}.`), ED25519_COSIGNATURE).verifierKey}\n`).join('')}quorum none\n`,
    'line 257',
  ],
  ['more than it can be', `#${' '.repeat(300_000)}\nquorum none\n`, 'bytes'],
])('no policy: %s', (_, text, why) => {
  expect(parse(text)).toContain(why)
})

/** By recursion over the tree, as the specification has it in words. */
function witnessed(member: PolicyWitness | PolicyGroup, keys: ReadonlySet<VerifierKey>): boolean {
  if ('key' in member) return keys.has(member.key)
  return member.members.filter((one) => witnessed(one, keys)).length >= member.threshold
}

test('any policy of nested groups agrees with its definition, and more cosignatures never undo a quorum', () => {
  const shape = fc.array(fc.record({ take: fc.integer({ min: 1, max: 4 }), needed: fc.nat() }), { minLength: 1, maxLength: 7 })
  const all = Array.from({ length: 8 }, (_, i) => keyOf(witnessKey(20 + i)))
  fc.assert(
    fc.property(
      shape,
      fc.subarray(all),
      fc.array(fc.bigInt({ min: 1n, max: 9n }), { minLength: 8, maxLength: 8 }),
      (groups, signed, times) => {
        const free = all.map((_, i) => `w${i}`)
        const lines = all.map((_, i) => `witness w${i} ${witnessKey(20 + i)}`)
        let last = 'w0'
        for (const [i, { take, needed }] of groups.entries()) {
          const members = free.splice(0, Math.min(take, free.length))
          last = `g${i}`
          lines.push(`group ${last} ${1 + (needed % members.length)} ${members.join(' ')}`)
          free.push(last)
        }
        const policy = policyOf(`${lines.join('\n')}\nquorum ${last}\n`)
        const keys = new Set(policy.witnesses.map(({ key }) => key).filter(({ id }) => signed.some((one) => one.id === id)))
        const met = witnessed(policy.quorum!, keys)
        expect(quorumMet(policy, signed)).toBe(met)
        if (met) expect(quorumMet(policy, all)).toBe(true)
        // The quorum's time is the first at which those up to it are enough.
        const cosigned = signed.map((key, i) => ({ key, time: times[i]! }))
        const upTo = (time: bigint): boolean =>
          quorumMet(
            policy,
            cosigned.filter((one) => one.time <= time).map(({ key }) => key),
          )
        const first = [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 9n].find(upTo)
        expect(quorumTime(policy, cosigned)).toBe(first ?? null)
      },
    ),
  )
})
