/** What a witness decides, without a socket. Its answers over HTTP are in server.test.ts. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { formatAddCheckpoint, parseAddCheckpoint } from '../../src/ledger/add-checkpoint.ts'
import { ed25519Check } from '../../src/ledger/ed25519.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { signerFromSeed } from '../../src/ledger/keys.ts'
import { fixedClock } from '../../src/testing/index.ts'
import { cosignatureTime, ED25519_COSIGNATURE, openNote, parseNote } from '../../src/verify/note.ts'
import type { SignedNote } from '../../src/verify/note.ts'
import { TREE_SIZE_MAX } from '../../src/verify/proof.ts'
import { Witness } from '../../src/witness/protocol.ts'
import type { CheckpointStore } from '../../src/witness/protocol.ts'
import { TestLog } from '../helpers/test-log.ts'

const { sha256 } = nodeHashing
const signer = signerFromSeed('witness.example/w1', Buffer.alloc(32, 7), ED25519_COSIGNATURE)

class Memory implements CheckpointStore {
  readonly notes = new Map<string, string>()
  /** What happens to writes: nothing, refused, or done and then refused. */
  fault: 'none' | 'refused' | 'outcome unknown' = 'none'
  slow = false

  async read(originHash: string): Promise<string | null> {
    if (this.slow) await sleep(2)
    return this.notes.get(originHash) ?? null
  }

  async write(originHash: string, note: string): Promise<void> {
    if (this.slow) await sleep(2)
    if (this.fault !== 'refused') this.notes.set(originHash, note)
    if (this.fault !== 'none') throw new Error('the disk is gone')
  }
}

const clock = fixedClock('2026-11-25T00:00:00.000000Z')
function witnessOf(store: CheckpointStore, logs: readonly TestLog[]): Witness {
  return new Witness({ signer, logs: logs.map(({ key }) => key), store, clock, sha256, check: ed25519Check })
}

async function submit(witness: Witness, log: TestLog, oldSize: bigint, size = log.size): ReturnType<Witness['addCheckpoint']> {
  return witness.addCheckpoint(Buffer.from(formatAddCheckpoint(oldSize, await log.prove(oldSize, size), await log.note(size))))
}

test('the request that is sent is the one that is read, and reading is strict', async () => {
  const log = new TestLog().grow(9)
  const note = await log.note()
  const proof = await log.prove(5n, 9n)
  const text = formatAddCheckpoint(5n, proof, note)
  expect(parseAddCheckpoint(Buffer.from(text))).toMatchObject({
    oldSize: 5n,
    proof: proof.map((hash) => Uint8Array.from(hash)),
    checkpoint: { size: 9n },
  })
  for (const [what, harmed] of [
    ['nothing', ''],
    ['no old size', text.replace('old 5\n', '')],
    ['a leading zero', text.replace('old 5', 'old 05')],
    ['a sign', text.replace('old 5', 'old +5')],
    ['two blanks', text.replace('old 5', 'old  5')],
    ['a size beyond 2^63-1', text.replace('old 5', `old ${TREE_SIZE_MAX + 1n}`)],
    ['carriage returns', text.replaceAll('\n', '\r\n')],
    ['hex', text.replace(/\n[^\n]+=\n/, `\n${'00'.repeat(32)}\n`)],
    ['a hash without padding', text.replace('=\n', '\n')],
    [
      '64 hashes',
      formatAddCheckpoint(
        5n,
        Array.from({ length: 64 }, () => proof[0]!),
        note,
      ),
    ],
    ['no checkpoint', text.slice(0, text.indexOf('\n\n') + 2)],
    ['a note that is no checkpoint', formatAddCheckpoint(0n, [], await log.signed('hello\n'))],
    ['a checkpoint that is cut off', text.slice(0, -1)],
  ] as const)
    expect(typeof parseAddCheckpoint(Buffer.from(harmed)), what).toBe('string')
  expect(typeof parseAddCheckpoint(Buffer.concat([Buffer.from(text), Buffer.of(0xff)]))).toBe('string')
})

test('what it gives is a cosignature with the time of its clock, over the text that the log signed', async () => {
  const log = new TestLog().grow(3)
  const store = new Memory()
  const witness = witnessOf(store, [log])
  const answer = await submit(witness, log, 0n)
  expect(answer).toMatchObject({ status: 200, contentType: 'text/plain; charset=utf-8' })
  const note = parseNote(Buffer.from((await log.note()) + answer.body)) as SignedNote
  const opened = await openNote(note, [log.key, witness.key], ed25519Check)
  expect(opened).toMatchObject({ verified: [{ key: log.key }, { key: witness.key }] })
  expect(cosignatureTime(note.signatures[1]!.bytes)).toBe(BigInt(Date.UTC(2026, 10, 25) / 1000))
  // What it remembers is what it gave.
  expect([...store.notes.values()]).toEqual([(await log.note()) + answer.body])
  expect(await witness.latestCheckpoint(witness.originHash(log.origin))).toMatchObject({
    status: 200,
    body: (await log.note()) + answer.body,
  })
})

test('no memory, no cosignature: a write that fails, whether or not it took effect, is answered with an error', async () => {
  const log = new TestLog().grow(3)
  const store = new Memory()
  const witness = witnessOf(store, [log])
  store.fault = 'refused'
  await expect(submit(witness, log, 0n)).rejects.toThrow('the disk is gone')
  store.fault = 'outcome unknown'
  await expect(submit(witness, log, 0n)).rejects.toThrow('the disk is gone')
  store.fault = 'none'
  // It is there after all, so that is where things go on; another history is refused.
  expect(await submit(witness, new TestLog().grow(3, 'other'), 0n)).toMatchObject({ status: 409, body: '3\n' })
  expect(await submit(witness, new TestLog().grow(3, 'other'), 3n)).toMatchObject({ status: 422 })
  expect(await submit(witness, log.grow(2), 3n)).toMatchObject({ status: 200 })
})

test('of many requests at once, one wins each step, however slow the memory is', async () => {
  const store = new Memory()
  store.slow = true
  const trunk = new TestLog().grow(4)
  const witness = witnessOf(store, [trunk])
  expect(await submit(witness, trunk, 0n)).toMatchObject({ status: 200 })
  const forks = Array.from({ length: 12 }, (_, i) => trunk.fork(4).grow(1 + (i % 5), `fork ${i}`))
  const answers = await Promise.all(forks.map((fork) => submit(witness, fork, 4n)))
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  const winner = forks[answers.findIndex(({ status }) => status === 200)]!
  const size = `${winner.size}\n`
  expect(answers.filter(({ status, body }) => status === 409 && body === size)).toHaveLength(11)
  // An older checkpoint of the winner's own history never comes back.
  expect(await submit(witness, winner, 4n, 4n)).toMatchObject({ status: 409, body: size })
})

test('logs do not know of each other', async () => {
  const [a, b] = [new TestLog('example.com/a', 1).grow(5), new TestLog('example.com/b', 2).grow(8)]
  const witness = witnessOf(new Memory(), [a, b])
  expect(await submit(witness, a, 0n)).toMatchObject({ status: 200 })
  expect(await submit(witness, b, 0n)).toMatchObject({ status: 200 })
  expect(await submit(witness, a.grow(1), 5n)).toMatchObject({ status: 200 })
})

test('a key counts for the log that it is named for, and a log may have two', async () => {
  const [a, b] = [new TestLog('example.com/a', 1).grow(5), new TestLog('example.com/b', 2).grow(5)]
  const second = new TestLog('example.com/a', 3).grow(5)
  const witness = witnessOf(new Memory(), [a, b, second])
  const stolen = await b.signed((await a.note()).split('\n\n')[0] + '\n')
  expect(await witness.addCheckpoint(Buffer.from(formatAddCheckpoint(0n, [], stolen)))).toMatchObject({ status: 403 })
  expect(await submit(witness, second, 0n)).toMatchObject({ status: 200 })
  expect(await submit(witness, a, 5n)).toMatchObject({ status: 200 })
})

test('a memory that is damaged, of another log or of another key stops it, and never starts it anew', async () => {
  const log = new TestLog().grow(3)
  const store = new Memory()
  const witness = witnessOf(store, [log])
  await submit(witness, log, 0n)
  const [[hash, note]] = store.notes as unknown as [[string, string]]
  const uncosigned = await log.note()
  const other = new TestLog('example.com/other').grow(3)
  const elsewhere = new Memory()
  const others = witnessOf(elsewhere, [other])
  await submit(others, other, 0n)
  for (const harmed of ['', note.slice(0, -1), note.replace('\n3\n', '\n2\n'), uncosigned, [...elsewhere.notes.values()][0]!]) {
    store.notes.set(hash, harmed)
    await expect(witness.checkMemory([hash])).rejects.toMatchObject({ code: 'damaged' })
    await expect(submit(witness, log, 3n)).rejects.toMatchObject({ code: 'damaged' })
    await expect(submit(witness, log, 0n)).rejects.toMatchObject({ code: 'damaged' })
  }
  store.notes.set(hash, note)
  await witness.checkMemory([hash])
  expect(await submit(witness, log.grow(1), 3n)).toMatchObject({ status: 200 })
})

test('a clock before 1970 gives no cosignature', async () => {
  const log = new TestLog().grow(1)
  const wrong = { now: () => 999_999, monotonic: () => 0 }
  const witness = new Witness({ signer, logs: [log.key], store: new Memory(), clock: wrong, sha256, check: ed25519Check })
  await expect(submit(witness, log, 0n)).rejects.toMatchObject({ code: 'io_error' })
})
