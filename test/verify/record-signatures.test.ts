/** The signatures that records carry: which attack is found by what, and what is not claimed. */
import { constants, sign } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { signerFromSeed } from '../../src/ledger/keys.ts'
import { checkRecordSignature } from '../../src/ledger/signature-check.ts'
import type { VerifierOptions } from '../../src/verify/verifier-options.ts'
import { KeyLog } from '../../src/verify/key-log.ts'
import { recordSignatureMessage } from '../../src/verify/record-signatures.ts'
import type { VerificationReport } from '../../src/verify/report.ts'
import { ORIGIN, verifyLines } from '../helpers/make-lines.ts'
import { added, retired, signBy, signedBytes, signedLedger, testKey } from '../helpers/signed-lines.ts'
import type { SignedInput, TestKey } from '../helpers/signed-lines.ts'

const OPTIONS: VerifierOptions = { ...nodeHashing, checkRecordSignature }
const one = testKey('ed25519')
const two = testKey('ed25519')
const rsa = testKey('rsa-pss-sha256')

const check = (lines: readonly string[]): VerificationReport => verifyLines(lines, OPTIONS)
const found = (report: VerificationReport): string[] => report.problems.map(({ seq, code }) => `${seq} ${code}`)
const problems = (inputs: readonly SignedInput[]): string[] => found(check(signedLedger(inputs)))

test('what is signed is 0x00, a name for it, origin and hash', () => {
  expect(Buffer.from(recordSignatureMessage('example.com/ä', 'ab'.repeat(32)))).toEqual(signedBytes('example.com/ä', 'ab'.repeat(32)))
})

describe('what passes', () => {
  test('records signed by keys that are right there: Ed25519, RSA-PSS, both', () => {
    const report = check(
      signedLedger([added(one), added(rsa), { by: [one] }, { by: [rsa] }, { by: [one, rsa] }, {}, { by: [one], withheld: false }]),
    )
    expect(report).toMatchObject({ ok: true, problems: [], checks: { signatures: { verdict: 'pass' } } })
    // The keys are the ledger's own word: that a signature is right proves nothing to an outsider.
    expect(report.verdicts).toMatchObject({ integrity: 'pass', authenticity: 'not checked' })
  })

  test('a withheld record keeps its signature', () => {
    const inputs = [added(one), { by: [one], withheld: true }, { stream: 'ledger', type: 'EntryErased', entry: { seq: 2 } }]
    expect(check(signedLedger(inputs))).toMatchObject({ ok: true, checks: { signatures: { verdict: 'pass' } } })
  })

  test('what was signed before a key was retired stays right', () => {
    expect(check(signedLedger([added(one), { by: [one] }, retired(one), {}]))).toMatchObject({
      ok: true,
      checks: { signatures: { verdict: 'pass' } },
    })
  })

  test("the ledger's own records may be signed, the addition of another key among them", () => {
    expect(problems([added(one), { ...added(two), by: [one] }, { by: [two] }, { ...retired(one), by: [two] }])).toEqual([])
  })
})

describe('what is not claimed', () => {
  test('without a check passed in nothing is judged, and the report says so', () => {
    const lines = signedLedger([added(one), { by: [one], forge: () => Buffer.alloc(64) }, { by: [two] }])
    const report = verifyLines(lines, nodeHashing)
    expect(report).toMatchObject({ ok: true, problems: [], checks: { signatures: { verdict: 'not checked' } } })
    expect(report.checks.signatures.missing).toMatch(/check of signatures/)
  })

  test('where nobody signed there is nothing to claim', () => {
    const report = check(signedLedger([added(one), {}, {}]))
    expect(report.checks.signatures).toEqual({ verdict: 'not checked', missing: 'records that are signed' })
    expect(report.verdicts.authenticity).toBe('not checked')
  })

  test('where records are missing, a key that they may have named is not called unknown', () => {
    const lines = signedLedger([{}, added(one), { by: [one] }, { by: [one] }])
    const report = check(lines.toSpliced(2, 1))
    expect(found(report)).toEqual(['2 missing_records'])
    expect(report.checks.signatures).toMatchObject({
      verdict: 'not checked',
      missing: expect.stringMatching(/missing or could not be read/),
    })
    expect(report.verdicts).toMatchObject({ integrity: 'fail', authenticity: 'not checked' })
  })

  test('nor where the record that named it has a changed entry', () => {
    const lines = signedLedger([{}, added(one), { by: [one] }])
    const changed = lines.with(2, lines[2]!.replace('"purpose":"record"', '"purpose":"recorD"'))
    expect(found(check(changed))).toEqual(['2 entry_mismatch'])
  })

  test('nor where record 0 is gone, so that the origin is not known', () => {
    const lines = signedLedger([added(one), { by: [one] }])
    const report = check(lines.slice(1))
    expect(found(report)).toEqual(['0 missing_records'])
    expect(report.checks.signatures.verdict).toBe('not checked')
  })
})

describe('a wrong signature is found', () => {
  const cases: [name: string, input: SignedInput][] = [
    ['zeros', { by: [one], forge: () => Buffer.alloc(64) }],
    ['of another record', { by: [one], forge: (key) => signBy(key, signedBytes(ORIGIN, 'ab'.repeat(32))) }],
    ['of another ledger', { by: [one], forge: (key, hash) => signBy(key, signedBytes('example.com/other', hash)) }],
    ['by another key', { by: [one], forge: (_, hash) => signBy(two, signedBytes(ORIGIN, hash)) }],
    ['over the bare hash', { by: [one], forge: (key, hash) => signBy(key, Buffer.from(hash)) }],
    ['of RSA, zeros', { by: [rsa], forge: () => Buffer.alloc(256) }],
    ['of RSA, of another record', { by: [rsa], forge: (key) => signBy(key, signedBytes(ORIGIN, 'cd'.repeat(32))) }],
    [
      'the second of two',
      { by: [one, rsa], forge: (key, hash) => (key === rsa ? Buffer.alloc(256) : signBy(key, signedBytes(ORIGIN, hash))) },
    ],
  ]
  test.each(cases)('%s', (_, input) => {
    const report = check(signedLedger([added(one), added(rsa), {}, input, {}]))
    expect(found(report)).toEqual(['4 signature_invalid'])
    expect(report).toMatchObject({
      ok: false,
      verdicts: { integrity: 'pass', authenticity: 'fail' },
      checks: { signatures: { verdict: 'fail' } },
    })
    expect(report.missing).not.toHaveProperty('authenticity')
  })

  test('each bit of it that is changed', () => {
    for (const key of [one, rsa]) {
      const size = key === one ? 64 : 256
      for (let byte = 0; byte < size; byte += key === one ? 1 : 16) {
        const forge = (of: TestKey, hash: string): Uint8Array => {
          const signature = signBy(of, signedBytes(ORIGIN, hash))
          signature[byte]! ^= 1 << (byte % 8)
          return signature
        }
        expect(problems([added(key), { by: [key], forge }])).toEqual(['2 signature_invalid'])
      }
    }
  })

  test('each byte of a signed line that is changed, whatever it becomes', () => {
    const lines = signedLedger([added(one), added(rsa), { by: [one, rsa] }, {}])
    const line = lines[3]!
    for (let at = 0; at < line.length; at++) {
      for (const other of ['0', '"', '}', 'A']) {
        if (line[at] === other) continue
        const report = check(lines.with(3, line.slice(0, at) + other + line.slice(at + 1)))
        expect(report.ok, `${other} at ${at}: ${line.slice(at - 20, at + 20)}`).toBe(false)
      }
    }
  })

  test('one that was stripped: the header names who signed', () => {
    const lines = signedLedger([added(one), { by: [one] }, {}])
    const stripped = lines.with(2, lines[2]!.replace(/,"signatures":\[.*?\]/, ''))
    expect(stripped[2]).not.toBe(lines[2])
    expect(found(check(stripped))).toEqual(['2 malformed_record'])
  })

  test('also where the line has another fault, or does not stand where it should', () => {
    const lines = signedLedger([
      added(one),
      { by: [one], forge: () => Buffer.alloc(64) },
      {},
      { by: [one], forge: () => Buffer.alloc(64) },
      {},
    ])
    const broken = lines.with(2, lines[2]!.replace('question 2', 'question 3')).toSpliced(3, 1)
    expect(found(check(broken))).toEqual(['2 entry_mismatch', '2 signature_invalid', '3 missing_records', '4 signature_invalid'])
  })

  test('where the check that was passed in throws', () => {
    const lines = signedLedger([added(one), { by: [one] }])
    const throwing = (): boolean => {
      throw new Error('no such algorithm')
    }
    expect(found(verifyLines(lines, { ...nodeHashing, checkRecordSignature: throwing }))).toEqual(['2 signature_invalid'])
  })
})

describe('a key that was not right there', () => {
  const checkpointKey = signerFromSeed(ORIGIN, Buffer.alloc(32, 7)).verifierKey
  const checkpoint = { key: checkpointKey.split('+')[1]!, purpose: 'checkpoint', alg: 'ed25519', verifier_key: checkpointKey }
  const asRecordKey: TestKey = { ...one, id: checkpoint.key }
  const cases: [name: string, inputs: SignedInput[], wanted: string[]][] = [
    ['nobody added it', [{ by: [one] }], ['1 key_misused']],
    ['it was added later', [{ by: [one] }, added(one), { by: [one] }], ['1 key_misused']],
    ['it signs its own addition', [{ ...added(one), by: [one] }], ['1 key_misused']],
    ['it was retired', [added(one), { by: [one] }, retired(one), { by: [one] }, {}], ['4 key_misused']],
    ['it signs its own retirement', [added(one), { ...retired(one), by: [one] }], ['2 key_misused']],
    ['another one of two is right', [added(one), { by: [one, two] }], ['2 key_misused']],
    ['it is a checkpoint key', [{ ...added(one), entry: checkpoint }, { by: [asRecordKey] }], ['2 key_misused']],
  ]
  test.each(cases)('%s', (_, inputs, wanted) => {
    const report = check(signedLedger(inputs))
    expect(found(report)).toEqual(wanted)
    expect(report.verdicts).toMatchObject({ integrity: 'pass', authenticity: 'fail' })
  })

  test('it signs by another algorithm than it was added for', () => {
    const inputs = [added(rsa), { by: [{ ...rsa, alg: 'ed25519' as const }], forge: () => Buffer.alloc(64) }]
    expect(problems(inputs)).toEqual(['2 signature_invalid'])
  })

  const wrongly: [name: string, input: SignedInput][] = [
    ['with another id', added(one, { key: '00000000' })],
    ['without a key', added(one, { public_key: undefined })],
    ['with a key that is no base64', added(one, { public_key: '?' })],
    ['with a key of another algorithm', added(rsa, { alg: 'ed25519' })],
    ['with an algorithm that is none', added(one, { alg: 'ed448' })],
    ['with a purpose that is none', added(one, { purpose: 'all' })],
    ['as a checkpoint key', added(one, { purpose: 'checkpoint' })],
    ['with spare bits', added(one, { public_key: one.spki.toString('base64').replace(/.=*$/, '!') })],
  ]
  test.each(wrongly)('a key that is added %s is none', (_, input) => {
    expect(problems([input, { by: [one] }])).toEqual(['1 key_misused', '2 key_misused'])
  })

  test('a key is added once, and retired once, for good', () => {
    expect(problems([added(one), added(one), { by: [one] }])).toEqual(['2 key_misused'])
    expect(problems([added(one), retired(one), added(one), { by: [one] }])).toEqual(['3 key_misused', '4 key_misused'])
    expect(problems([added(one), retired(one), retired(one)])).toEqual(['3 key_misused'])
    expect(problems([retired(one)])).toEqual(['1 key_misused'])
    expect(problems([added(one), retired(one, { purpose: 'checkpoint' }), { by: [one] }])).toEqual(['2 key_misused'])
    expect(problems([added(one), retired({ id: 5 as never })])).toEqual(['2 key_misused'])
  })

  test('the key of checkpoints is no record key, whatever it is called', () => {
    const seed = Buffer.alloc(32, 7)
    const { verifierKey } = signerFromSeed(ORIGIN, seed)
    const log = new KeyLog(nodeHashing.sha256)
    expect(log.take('LedgerCreated', { keys: [verifierKey, 'junk', 5] }, 0, ORIGIN)).toBe(null)
    const raw = Buffer.from(verifierKey.split('+').slice(2).join('+'), 'base64').subarray(1)
    const spki = Buffer.concat([one.spki.subarray(0, 12), raw])
    const id = nodeHashing.sha256(Buffer.concat([Buffer.from('ed25519\n'), spki])).slice(0, 8)
    const entry = { key: id, purpose: 'record', alg: 'ed25519', public_key: spki.toString('base64') }
    expect(log.take('KeyAdded', entry, 1, ORIGIN)).toMatch(/another purpose/)
    expect(log.list().map(({ key }) => key)).toEqual([verifierKey.split('+')[1]])
  })
})

test('whatever stands in the entries of key records, the verifier goes on', () => {
  const texts = fc.oneof(fc.string(), fc.constantFrom('record', 'checkpoint', 'ed25519', one.id, one.spki.toString('base64')))
  const value = fc.oneof(texts, fc.array(texts), fc.dictionary(fc.string(), texts), fc.constantFrom(null, true, 0, 1.5))
  const entry = fc.dictionary(fc.constantFrom('key', 'purpose', 'alg', 'public_key', 'verifier_key', 'keys', 'other'), value)
  fc.assert(
    fc.property(fc.constantFrom('KeyAdded', 'KeyRetired'), entry, (type, made) => {
      const report = check(signedLedger([{ ...added(one), type, entry: made }, added(two), { by: [two] }]))
      expect(report.problems.filter(({ code, seq }) => code !== 'key_misused' || seq !== 1)).toEqual([])
    }),
    { numRuns: 200 },
  )
})

describe('the check in Node', () => {
  const message = signedBytes(ORIGIN, 'ab'.repeat(32))

  test('takes keys and signatures that are what they should be, only', () => {
    for (const key of [one, rsa]) {
      const signature = signBy(key, message)
      const other = key === one ? 'rsa-pss-sha256' : 'ed25519'
      expect(checkRecordSignature(key.alg, key.spki, message, signature)).toBe(true)
      expect(checkRecordSignature(other, key.spki, message, signature)).toBe(false)
      expect(checkRecordSignature(key.alg, key.spki.subarray(1), message, signature)).toBe(false)
      expect(checkRecordSignature(key.alg, Buffer.concat([key.spki, Buffer.of(0)]), message, signature)).toBe(false)
      expect(checkRecordSignature(key.alg, key.spki, message, signature.subarray(1))).toBe(false)
      expect(checkRecordSignature(key.alg, key.spki, message, Buffer.concat([signature, Buffer.of(0)]))).toBe(false)
      expect(checkRecordSignature(key.alg, Buffer.alloc(0), message, signature)).toBe(false)
    }
  })

  test('a short RSA key signs nothing, nor one with another salt', () => {
    const short = testKey('rsa-pss-sha256', 1024)
    expect(checkRecordSignature('rsa-pss-sha256', short.spki, message, signBy(short, message))).toBe(false)
    for (const options of [{ padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 20 }, { padding: constants.RSA_PKCS1_PADDING }]) {
      const signature = sign('sha256', message, { key: rsa.privateKey, ...options })
      expect(checkRecordSignature('rsa-pss-sha256', rsa.spki, message, signature)).toBe(false)
    }
  })

  test('an Ed25519 key of small order fits no message', () => {
    const small = Buffer.concat([one.spki.subarray(0, 12), Buffer.from('01'.padEnd(64, '0'), 'hex')])
    const signature = Buffer.concat([Buffer.from('01'.padEnd(64, '0'), 'hex'), Buffer.alloc(32)])
    expect(checkRecordSignature('ed25519', small, message, signature)).toBe(false)
  })
})
