/** The client: against our own witness over real HTTP, and against servers that are down, slow, lying or hold another history. */
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { parseAddCheckpoint, SIZE_TYPE } from '../../src/ledger/add-checkpoint.ts'
import { ed25519Check } from '../../src/ledger/ed25519.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { signerFromSeed } from '../../src/ledger/keys.ts'
import { Witnesses } from '../../src/ledger/witnesses.ts'
import type { CosignResult, WitnessConflict, WitnessesOptions } from '../../src/ledger/witnesses.ts'
import { fixedClock } from '../../src/testing/index.ts'
import { checkForkEvidence, parseForkEvidence } from '../../src/verify/fork-evidence.ts'
import type { ForkEvidence } from '../../src/verify/fork-evidence.ts'
import {
  cosignatureTime,
  cosignedMessage,
  ED25519_COSIGNATURE,
  formatCosignature,
  formatSignatureLine,
  formatVerifierKey,
  openNote,
  parseNote,
} from '../../src/verify/note.ts'
import type { OpenedNote, SignedNote, VerifierKey } from '../../src/verify/note.ts'
import { parsePolicy } from '../../src/verify/policy.ts'
import type { Policy } from '../../src/verify/policy.ts'
import { serve } from '../helpers/http-server.ts'
import { tempDir } from '../helpers/temp.ts'
import { keyOf, TestLog } from '../helpers/test-log.ts'
import { serving, submit } from '../witness/serving.ts'

const { sha256 } = nodeHashing

interface Known {
  readonly key: VerifierKey
  readonly url: string
}

/** A policy of these witnesses, w0, w1 and so on, of which so many are enough. */
function policyOf(log: TestLog, witnesses: readonly Known[], needed: number | 'none'): Policy {
  const lines = witnesses.map(({ key, url }, i) => `witness w${i} ${formatVerifierKey(key)} ${url}`)
  const quorum = needed === 'none' ? 'quorum none' : `group g ${needed} ${witnesses.map((_, i) => `w${i}`).join(' ')}\nquorum g`
  const policy = parsePolicy(sha256, Buffer.from(`log ${formatVerifierKey(log.key)}\n${lines.join('\n')}\n${quorum}\n`))
  if (typeof policy === 'string') throw new Error(policy)
  return policy
}

interface Asking {
  readonly witnesses: Witnesses
  readonly conflicts: WitnessConflict[]
  cosign(log: TestLog, size?: bigint): Promise<CosignResult>
}

function asking(policy: Policy, options: Partial<WitnessesOptions> = {}): Asking {
  const conflicts: WitnessConflict[] = []
  const witnesses = new Witnesses({ policy, timeoutMs: 5_000, onConflict: (conflict) => void conflicts.push(conflict), ...options })
  return { witnesses, conflicts, cosign: async (log, size = log.size) => witnesses.cosign(await log.note(size), log.prove, log.rootAt) }
}

async function opened(note: string, keys: readonly VerifierKey[]): Promise<OpenedNote> {
  const result = await openNote(parseNote(Buffer.from(note)) as SignedNote, keys, ed25519Check)
  if (typeof result === 'string') throw new Error(result)
  return result
}

const LIAR = signerFromSeed('witness.example/liar', Buffer.alloc(32, 66), ED25519_COSIGNATURE)
const LIAR_KEY = keyOf(LIAR.verifierKey)

/** A cosignature by the liar's key over what was posted, or something near it. */
async function lie(body: Buffer, time: bigint, text?: string, said = time): Promise<string> {
  const request = parseAddCheckpoint(body)
  if (typeof request === 'string') throw new Error(request)
  const bytes = formatCosignature(said, await LIAR.sign(cosignedMessage(text ?? request.note.text, time)))
  return formatSignatureLine({ name: LIAR_KEY.name, id: LIAR_KEY.id, bytes })
}

interface Told {
  readonly status?: number
  readonly type?: string
  readonly body: string
}

/** A witness that says what it is told to; `shown` is its monitoring endpoint. */
async function lying(
  say: (body: Buffer, count: number) => Promise<Told> | Told,
  shown: string | null = null,
): Promise<Known & { readonly count: () => number }> {
  let count = 0
  const url = await serve(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    if (request.method === 'GET') return void response.writeHead(shown === null ? 404 : 200).end(shown ?? '')
    const { status = 200, type = 'text/plain', body } = await say(Buffer.concat(chunks), ++count)
    response.writeHead(status, { 'Content-Type': type }).end(body)
  })
  return { key: LIAR_KEY, url, count: () => count }
}

describe('with a witness of our own', () => {
  test('each checkpoint is cosigned, from the size that it had; one that was made earlier is known by asking (409)', async () => {
    const log = new TestLog().grow(5)
    const { url, witness } = await serving([log])
    const policy = policyOf(log, [{ url, key: witness.key }], 1)
    const first = asking(policy)
    for (const more of [0, 1, 300]) {
      const { note, quorum, failures } = await first.cosign(log.grow(more))
      expect([quorum, failures]).toEqual([true, []])
      expect((await opened(note, [log.key, witness.key])).verified).toHaveLength(2)
      expect(first.witnesses.standings()).toEqual([{ witness: 'w0', url, size: log.size, failures: 0, retry_in_ms: 0 }])
    }
    // A process that remembers nothing.
    const second = asking(policy)
    expect(await second.cosign(log.grow(7))).toMatchObject({ quorum: true, failures: [] })
    // The first one has fallen behind.
    expect(await first.cosign(log.grow(7))).toMatchObject({ quorum: true, failures: [] })
    expect([...first.conflicts, ...second.conflicts]).toEqual([])
  })

  test('a checkpoint may be cosigned again without growth: the new cosignature takes the place of the old one', async () => {
    const log = new TestLog().grow(5)
    const { url, witness } = await serving([log])
    const { witnesses } = asking(policyOf(log, [{ url, key: witness.key }], 1))
    const before = await witnesses.cosign(await log.note(), log.prove)
    const after = await witnesses.cosign(before.note, log.prove)
    expect([after.quorum, after.failures]).toEqual([true, []])
    const { verified } = await opened(after.note, [log.key, witness.key])
    expect(verified.map(({ key }) => key.name)).toEqual([log.origin, witness.key.name])
    expect((parseNote(Buffer.from(after.note)) as SignedNote).signatures).toHaveLength(2)
    expect(cosignatureTime(verified[1]!.signature.bytes)).toBeGreaterThan(0n)
  })

  test('an older checkpoint than one that it cosigned for us is no conflict and no failure of the witness', async () => {
    const log = new TestLog().grow(9)
    const { url, witness } = await serving([log])
    const one = asking(policyOf(log, [{ url, key: witness.key }], 1))
    await one.cosign(log)
    const { quorum, failures } = await one.cosign(log, 5n)
    expect([quorum, failures]).toMatchObject([false, [{ witness: 'w0', retry_in_ms: 0 }]])
    expect(one.witnesses.standings()).toMatchObject([{ failures: 0, size: 9n }])
    // Another process of ours was further: what the witness shows continues what we have.
    const other = asking(policyOf(log, [{ url, key: witness.key }], 1))
    expect(await other.cosign(log, 5n)).toMatchObject({ quorum: false, failures: [{ why: expect.stringContaining('of 9 records') }] })
    expect([...one.conflicts, ...other.conflicts]).toEqual([])
  })

  test('calls at the same time come one after the other', async () => {
    const log = new TestLog().grow(5)
    const { url, witness } = await serving([log])
    const { witnesses, conflicts } = asking(policyOf(log, [{ url, key: witness.key }], 1))
    const notes = await Promise.all([1n, 2n, 3n, 4n, 5n].map((size) => log.note(size)))
    const results = await Promise.all(notes.map((note) => witnesses.cosign(note, log.prove, log.rootAt)))
    expect(results.every(({ quorum }) => quorum)).toBe(true)
    expect(conflicts).toEqual([])
  })
})

describe('a quorum of 2 of 3', () => {
  test('is met with one witness down, and not with two; the note has the cosignatures that there are', async () => {
    const log = new TestLog().grow(5)
    const three = await Promise.all([serving([log]), serving([log]), serving([log])])
    const known = three.map(({ url, witness }) => ({ url, key: witness.key }))
    const keys = known.map(({ key }) => key)
    const { cosign, witnesses } = asking(policyOf(log, known, 2))
    expect(await cosign(log)).toMatchObject({ quorum: true, failures: [] })
    await three[1]!.stop()
    const two = await cosign(log.grow(1))
    expect(two).toMatchObject({ quorum: true, failures: [{ witness: 'w1', why: expect.stringContaining('ECONNREFUSED') }] })
    expect((await opened(two.note, keys)).verified.map(({ key }) => key).toSorted((a, b) => keys.indexOf(a) - keys.indexOf(b))).toEqual([
      keys[0],
      keys[2],
    ])
    await three[2]!.stop()
    const one = await cosign(log.grow(1))
    expect(one.quorum).toBe(false)
    expect(one.failures.map(({ witness }) => witness).toSorted()).toEqual(['w1', 'w2'])
    expect((await opened(one.note, keys)).verified).toHaveLength(1)
    expect(witnesses.standings().map(({ failures }) => failures)).toEqual([0, 1, 1])
  })

  test('counts what the note had already, and refuses a note with a cosignature that is wrong', async () => {
    const log = new TestLog().grow(5)
    const [a, b] = [await serving([log]), await serving([log])]
    const known = [a, b].map(({ url, witness }) => ({ url, key: witness.key }))
    const policy = policyOf(log, known, 2)
    const half = await asking(policyOf(log, [known[0]!], 1)).cosign(log)
    await a.stop()
    const { witnesses } = asking(policy)
    expect(await witnesses.cosign(half.note, log.prove)).toMatchObject({ quorum: true, failures: [{ witness: 'w0' }] })
    const stale = half.note.split('\n\n')[1]!.split('\n')[1]!
    await expect(witnesses.cosign(`${await log.note(4n)}${stale}\n`, log.prove)).rejects.toThrow(RangeError)
  })
})

test('a witness that is down is asked ever less often, and says when; it comes back', async () => {
  const clock = fixedClock()
  const log = new TestLog().grow(5)
  const first = await serving([log])
  const policy = policyOf(log, [{ url: first.url, key: first.witness.key }], 1)
  await first.stop()
  const { cosign, witnesses } = asking(policy, { clock })
  const waits: number[] = []
  for (let i = 0; i < 12; i++) {
    const { failures } = await cosign(log)
    waits.push(failures[0]!.retry_in_ms)
    expect((await cosign(log)).failures[0]!.why).toContain('not asked yet')
    clock.advance(failures[0]!.retry_in_ms * 1000)
  }
  expect(waits).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600].map((seconds) => seconds * 1000))
  await serving([log], { dir: first.dir, port: Number(new URL(first.url).port) })
  expect(await cosign(log)).toMatchObject({ quorum: true, failures: [] })
  expect(witnesses.standings()).toMatchObject([{ failures: 0, retry_in_ms: 0 }])
})

test('a witness that does not answer costs the timeout, and the others count; so does a fetch that never settles', async () => {
  const log = new TestLog().grow(5)
  const good = await serving([log])
  const silent = { key: LIAR_KEY, url: await serve(() => {}) }
  // It sends the beginning of an answer and goes on for ever.
  const dripping = {
    key: keyOf(signerFromSeed('witness.example/drip', Buffer.alloc(32, 67), ED25519_COSIGNATURE).verifierKey),
    url: await serve((_, response) => {
      response.writeHead(200)
      const timer = setInterval(() => response.write('\u2014'), 20)
      response.on('close', () => clearInterval(timer))
    }),
  }
  const policy = policyOf(log, [silent, { url: good.url, key: good.witness.key }, dripping], 1)
  const { note, quorum, failures } = await asking(policy, { timeoutMs: 300 }).cosign(log)
  expect(quorum).toBe(true)
  expect((await opened(note, [good.witness.key])).verified).toHaveLength(1)
  expect(failures.map(({ witness, why }) => [witness, why]).toSorted()).toEqual([
    ['w0', 'it gave no answer within 300 ms'],
    ['w2', 'it gave no answer within 300 ms'],
  ])
  const deaf = asking(policyOf(log, [silent], 1), { timeoutMs: 50, fetch: () => new Promise(() => {}) })
  expect(await deaf.cosign(log)).toMatchObject({ quorum: false, failures: [{ why: 'it gave no answer within 50 ms' }] })
})

describe('a witness that lies is not believed', () => {
  const other = keyOf(signerFromSeed('witness.example/liar', Buffer.alloc(32, 9), ED25519_COSIGNATURE).verifierKey)
  const lies: readonly (readonly [what: string, say: (body: Buffer) => Promise<Told> | Told, why: string])[] = [
    ['nothing', () => ({ body: '' }), 'lines of signatures'],
    ['junk', () => ({ body: 'fine!\n' }), 'lines of signatures'],
    ['bytes that are no text', () => ({ body: '\u2014 x AAAAAAAA\n\n' }), 'lines of signatures'],
    ['a line by somebody else', () => ({ body: '\u2014 witness.example/other AAAAAAAAAAAA\n' }), 'without a cosignature by its key'],
    ['a cosignature over another text', async (body) => ({ body: await lie(body, 5n, 'example.com/log\n9\nAAAA\n') }), 'is wrong'],
    ['a cosignature without a time', async (body) => ({ body: await lie(body, 0n) }), 'does not say when'],
    ['another time than was signed', async (body) => ({ body: await lie(body, 5n, undefined, 6n) }), 'is wrong'],
    ['two cosignatures', async (body) => ({ body: (await lie(body, 5n)) + (await lie(body, 6n)) }), 'two signatures'],
    [
      'its key under the id of another one',
      async (body) => ({
        body: formatSignatureLine({
          ...(parseNote(Buffer.from(`x\n\n${await lie(body, 5n)}`)) as SignedNote).signatures[0]!,
          id: other.id,
        }),
      }),
      'without a cosignature',
    ],
    ['a text in front of it', async (body) => ({ body: `more\n\n${await lie(body, 5n)}` }), 'lines of signatures'],
    ['a line that is cut off', async (body) => ({ body: (await lie(body, 5n)).slice(0, -1) }), 'lines of signatures'],
    ['more than anybody needs', () => ({ body: `${'\u2014 x AAAAAAAA\n'.repeat(6000)}` }), 'more than'],
    [
      'a signature of a note, without a time',
      async (body) => {
        const text = (parseAddCheckpoint(body) as { note: SignedNote }).note.text
        return { body: formatSignatureLine({ name: LIAR_KEY.name, id: LIAR_KEY.id, bytes: await LIAR.sign(Buffer.from(text)) }) }
      },
      'is wrong',
    ],
    ['another success', async (body) => ({ status: 202, body: await lie(body, 5n) }), 'it answered 202'],
    ['a size that is none', () => ({ status: 409, type: SIZE_TYPE, body: '05\n' }), 'a size that is none'],
    ['a size as another type', () => ({ status: 409, body: '0\n' }), 'it answered 409'],
    ['an error with controls in it', () => ({ status: 500, body: '\u001b[31mred\n' }), '(?[31mred)'],
  ]

  test.each(lies)('%s', async (_, say, why) => {
    const log = new TestLog().grow(5)
    const { note, quorum, failures } = await asking(policyOf(log, [await lying(say)], 1)).cosign(log)
    expect(quorum).toBe(false)
    expect(failures[0]!.why).toContain(why)
    expect(note).toBe(await log.note())
  })

  test('and the truth from the same server is taken', async () => {
    const log = new TestLog().grow(5)
    const { note, quorum } = await asking(policyOf(log, [await lying(async (body) => ({ body: await lie(body, 5n) }))], 1)).cosign(log)
    expect(quorum).toBe(true)
    expect((await opened(note, [LIAR_KEY])).verified).toHaveLength(1)
    // The other lines of an answer are nobody's business.
    const more = await lying(async (body) => ({ body: `\u2014 witness.example/other AAAAAAAAAAAA\n${await lie(body, 7n)}` }))
    expect(await asking(policyOf(log, [more], 1)).cosign(log)).toMatchObject({ quorum: true })
  })

  test('who names another size each time is asked twice, no more', async () => {
    const log = new TestLog().grow(5)
    const restless = await lying((_, count) => ({ status: 409, type: SIZE_TYPE, body: `${count}\n` }))
    expect(await asking(policyOf(log, [restless], 1)).cosign(log)).toMatchObject({
      failures: [{ why: expect.stringContaining('another size') }],
    })
    expect(restless.count()).toBe(2)
  })

  test('a redirect is not followed', async () => {
    const log = new TestLog().grow(5)
    const good = await serving([log])
    const url = await serve((_, response) => response.writeHead(307, { Location: `${good.url}/add-checkpoint` }).end())
    expect(await asking(policyOf(log, [{ url, key: good.witness.key }], 1)).cosign(log)).toMatchObject({ quorum: false })
  })
})

/** As anybody else gets it. */
async function judged(conflict: WitnessConflict, log: TestLog): ReturnType<typeof checkForkEvidence> {
  const parsed = parseForkEvidence(Buffer.from(conflict.evidence!)) as ForkEvidence
  return checkForkEvidence(parsed, [log.key], { sha256, check: ed25519Check })
}

describe('another history', () => {
  test.each([
    ['of our size', 9, 'same-size'],
    ['of a smaller size', 5, 'prefix'],
    ['of a size that is a power of two', 8, 'prefix'],
  ])('%s, held by a witness: the evidence convicts, and is saved', async (_, size, kind) => {
    const trunk = new TestLog().grow(3)
    const [ours, theirs] = [trunk.fork(3).grow(6, 'ours'), trunk.fork(3).grow(size - 3, 'theirs')]
    const { url, witness } = await serving([trunk])
    expect(await submit(url, theirs, 0n)).toMatchObject({ status: 200 })
    const stateDir = tempDir()
    const { cosign, conflicts } = asking(policyOf(trunk, [{ url, key: witness.key }], 1), { stateDir })
    const { quorum, failures } = await cosign(ours)
    expect([quorum, failures]).toMatchObject([false, [{ witness: 'w0', why: expect.stringContaining('422') }]])
    expect(conflicts).toMatchObject([{ witness: 'w0', proven: true }])
    expect(conflicts[0]!.evidence).toContain(`\n${kind}\n`)
    expect(await judged(conflicts[0]!, trunk)).toMatchObject({ proven: true, key: trunk.key })
    expect(readdirSync(stateDir).map((name) => `${stateDir}/${name}`)).toEqual([conflicts[0]!.file])
    expect(readFileSync(conflicts[0]!.file!, 'utf8')).toBe(conflicts[0]!.evidence)
  })

  test('of a larger size: nothing can be proven yet, and it is told; when we have grown past it, it can', async () => {
    const clock = fixedClock()
    const trunk = new TestLog().grow(3)
    const [ours, theirs] = [trunk.fork(3).grow(6, 'ours'), trunk.fork(3).grow(20, 'theirs')]
    const { url, witness } = await serving([trunk])
    await submit(url, theirs, 0n)
    const { cosign, conflicts } = asking(policyOf(trunk, [{ url, key: witness.key }], 1), { clock })
    await cosign(ours)
    expect(conflicts).toMatchObject([{ proven: false, why: expect.stringContaining('of 23 records, and we have 9'), file: null }])
    expect(await judged(conflicts[0]!, trunk)).toMatchObject({ proven: false })
    clock.advance(3_600_000_000)
    // The same again is not told again.
    await cosign(ours)
    expect(conflicts).toHaveLength(1)
    clock.advance(3_600_000_000)
    await cosign(ours.grow(30, 'ours'))
    expect(conflicts).toHaveLength(2)
    expect(conflicts[1]).toMatchObject({ proven: true })
    expect(await judged(conflicts[1]!, trunk)).toMatchObject({ proven: true })
  })

  test('that is our own, of which we lost the end, is told too', async () => {
    const log = new TestLog().grow(9)
    const { url, witness } = await serving([log])
    await submit(url, log, 0n)
    const { cosign, conflicts } = asking(policyOf(log, [{ url, key: witness.key }], 1))
    expect(await cosign(log.fork(5))).toMatchObject({ quorum: false })
    expect(conflicts).toMatchObject([{ proven: false }])
    expect(await judged(conflicts[0]!, log)).toMatchObject({ proven: false, checkpoints: [{ size: 5n }, { size: 9n }] })
  })

  test('that nobody shows, or that is not signed by us, is told without evidence', async () => {
    const log = new TestLog().grow(5)
    const stranger = await new TestLog(log.origin, 9).grow(9).note()
    for (const shown of [null, stranger, 'junk', await new TestLog('example.com/other', 1).grow(9).note()]) {
      const far = await lying(() => ({ status: 409, type: SIZE_TYPE, body: '9\n' }), shown)
      const { cosign, conflicts } = asking(policyOf(log, [far], 1))
      await cosign(log)
      expect(conflicts).toEqual([
        { witness: 'w0', why: expect.stringContaining('of 9 records'), evidence: null, proven: false, file: null },
      ])
      expect(far.count()).toBe(1)
    }
  })

  test('that is claimed by a witness which shows what fits is no conflict', async () => {
    const log = new TestLog().grow(5)
    for (const [status, body] of [
      [409, '9\n'],
      [422, 'no\n'],
    ] as const) {
      const { cosign, conflicts } = asking(policyOf(log, [await lying(() => ({ status, type: SIZE_TYPE, body }), await log.note(4n))], 1))
      expect(await cosign(log)).toMatchObject({ quorum: false, failures: [{ retry_in_ms: 5000 }] })
      expect(conflicts).toEqual([])
    }
  })

  test('at our size, which an older text of the specification answers with 409 and no size', async () => {
    const [ours, theirs] = [new TestLog().grow(5, 'ours'), new TestLog().grow(5, 'theirs')]
    const old = await lying(() => ({ status: 409, body: 'roots differ\n' }), await theirs.note())
    const { cosign, conflicts } = asking(policyOf(ours, [old], 1))
    await cosign(ours)
    expect(conflicts).toMatchObject([{ proven: true, why: 'it answered 409 (roots differ)' }])
  })

  test('without the roots of before, a fork at another size is told and not proven', async () => {
    const trunk = new TestLog().grow(3)
    const [ours, theirs] = [trunk.fork(3).grow(6, 'ours'), trunk.fork(3).grow(2, 'theirs')]
    const { url, witness } = await serving([trunk])
    await submit(url, theirs, 0n)
    const { witnesses, conflicts } = asking(policyOf(trunk, [{ url, key: witness.key }], 1))
    await witnesses.cosign(await ours.note(), ours.prove)
    expect(conflicts).toMatchObject([{ proven: false }])
  })
})

test('a proof that can not be made fails for the witness that needs it, and no other', async () => {
  const log = new TestLog().grow(5)
  const [a, b] = [await serving([log]), await serving([log])]
  await submit(a.url, log, 0n)
  const { witnesses } = asking(
    policyOf(
      log,
      [a, b].map(({ url, witness }) => ({ url, key: witness.key })),
      1,
    ),
  )
  const result = await witnesses.cosign(await log.grow(1).note(), async () => {
    throw new Error('the tree is gone')
  })
  expect(result).toMatchObject({ quorum: true, failures: [{ witness: 'w0', why: 'the tree is gone' }] })
})

test('twenty witnesses at once: no warning, all count', async () => {
  const warnings: string[] = []
  const hear = (warning: Error): void => void warnings.push(warning.message)
  process.on('warning', hear)
  onTestFinished(() => void process.off('warning', hear))
  const log = new TestLog().grow(5)
  const all = await Promise.all(Array.from({ length: 20 }, () => serving([log])))
  const known = all.map(({ url, witness }) => ({ url, key: witness.key }))
  expect(await asking(policyOf(log, known, 20)).cosign(log)).toMatchObject({ quorum: true, failures: [] })
  expect(warnings).toEqual([])
})

test('a policy without URLs asks nobody; one without witnesses has its quorum', async () => {
  const log = new TestLog().grow(5)
  const { key } = await lying(() => ({ body: '' }))
  expect(await asking(policyOf(log, [{ key, url: '' }], 1)).cosign(log)).toMatchObject({
    quorum: false,
    failures: [],
    note: await log.note(),
  })
  expect(await asking(policyOf(log, [], 'none')).cosign(log)).toMatchObject({ quorum: true, failures: [] })
})

test('misuse is refused before anybody is asked', async () => {
  const log = new TestLog().grow(5)
  const witness = await lying(async (body) => ({ body: await lie(body, 5n) }))
  const policy = policyOf(log, [witness], 1)
  for (const timeoutMs of [0, -1, Number.NaN, Infinity]) expect(() => asking(policy, { timeoutMs })).toThrow(RangeError)
  for (const url of ['ftp://w.example', 'w.example', 'https://w.example/?x', 'https://w.example/#x'])
    expect(() => asking(policyOf(log, [{ ...witness, url }], 1))).toThrow(RangeError)
  const { witnesses } = asking(policy)
  for (const note of [
    'junk',
    await log.signed('hello\n'),
    await new TestLog('example.com/other').grow(1).note(),
    await new TestLog(log.origin, 9).grow(1).note(),
  ])
    await expect(witnesses.cosign(note, log.prove)).rejects.toThrow(RangeError)
  expect(witness.count()).toBe(0)
  // A key from elsewhere is as good as one of the policy.
  const other = new TestLog('example.com/other', 9).grow(1)
  expect(await asking(policy, { logKeys: [other.key] }).cosign(other)).toMatchObject({ quorum: true })
  // A refused call does not stop the next one.
  expect(await witnesses.cosign(await log.note(), log.prove)).toMatchObject({ quorum: true })
})
