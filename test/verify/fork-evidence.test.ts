import { describe, expect, test } from 'vitest'
import { ed25519Check } from '../../src/ledger/ed25519.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { formatCheckpoint } from '../../src/verify/checkpoint.ts'
import { checkForkEvidence, formatForkEvidence, parseForkEvidence } from '../../src/verify/fork-evidence.ts'
import type { ForkEvidence, ForkFinding } from '../../src/verify/fork-evidence.ts'
import type { VerifierKey } from '../../src/verify/note.ts'
import { leafOf, TestLog } from '../helpers/test-log.ts'

const options = { sha256: nodeHashing.sha256, check: ed25519Check }
const LOG = new TestLog()
const OTHER = new TestLog('example.com/other', 2)
const KEYS: readonly VerifierKey[] = [LOG.key, OTHER.key]

/** As a stranger gets it: from bytes. */
async function check(evidence: ForkEvidence, keys = KEYS): Promise<ForkFinding | string> {
  const text = formatForkEvidence(evidence)
  const parsed = parseForkEvidence(Buffer.from(text))
  if (typeof parsed === 'string') throw new Error(parsed)
  expect(parsed).toEqual(evidence)
  expect(formatForkEvidence(parsed)).toBe(text)
  return checkForkEvidence(parsed, keys, options)
}

/** Two histories of one log that part after `common` leaves. */
function twoHistories(common: number, size: number, otherSize: number): [TestLog, TestLog] {
  const trunk = new TestLog().grow(common)
  return [trunk.fork(common).grow(size - common, 'a'), trunk.fork(common).grow(otherSize - common, 'b')]
}

async function sameSize(): Promise<ForkEvidence> {
  const [a, b] = twoHistories(3, 7, 7)
  return { contradiction: { kind: 'same-size' }, notes: [await a.note(), await b.note()] }
}

/** The larger one's own root at the smaller size, and the proof from there. */
async function prefix(common: number, size: number, larger: number): Promise<ForkEvidence> {
  const [a, b] = twoHistories(common, size, larger)
  const [from, to] = [BigInt(size), BigInt(larger)]
  return {
    contradiction: { kind: 'prefix', root: await b.rootAt(from), proof: await b.prove(from, to) },
    notes: [await a.note(), await b.note()],
  }
}

async function leaves(common: number, size: number, larger: number, index = common): Promise<ForkEvidence> {
  const [a, b] = twoHistories(common, size, larger)
  const at = async (log: TestLog): Promise<{ leaf: Uint8Array; path: Uint8Array[] }> => ({
    leaf: log.leaf(index),
    path: await log.inclusion(BigInt(index), log.size),
  })
  return {
    contradiction: { kind: 'leaves', index: BigInt(index), leaves: [await at(a), await at(b)] },
    notes: [await a.note(), await b.note()],
  }
}

describe('a fork is proven', () => {
  test('by two roots of one size', async () => {
    expect(await check(await sameSize())).toMatchObject({ proven: true, origin: 'example.com/log', key: LOG.key })
  })

  test('by the root that the larger tree begins with, at any sizes', async () => {
    for (let larger = 2; larger <= 17; larger++) {
      for (let size = 1; size < larger; size++) {
        const found = await check(await prefix(Math.floor(size / 2), size, larger))
        expect(found, `${size} of ${larger}`).toMatchObject({
          proven: true,
          checkpoints: [{ size: BigInt(size) }, { size: BigInt(larger) }],
        })
      }
    }
  })

  test('by two leaves at one index', async () => {
    for (const [common, size, larger] of [
      [0, 1, 1],
      [0, 1, 2],
      [3, 5, 9],
      [7, 8, 300],
    ] as const)
      expect(await check(await leaves(common, size, larger)), `${size} of ${larger}`).toMatchObject({ proven: true })
  })

  test('whatever the witnesses added, and under any of several keys of the log', async () => {
    const { contradiction, notes } = await sameSize()
    const cosigned = [`${notes[0]}\u2014 witness.example/w1 AAAAAAAAAAAAAAAA\n`, notes[1]] as const
    const second = new TestLog('example.com/log', 9)
    expect(await check({ contradiction, notes: cosigned }, [second.key, LOG.key])).toMatchObject({ proven: true, key: LOG.key })
  })
})

test('two sizes alone prove nothing, and say so', async () => {
  const [a, b] = twoHistories(3, 5, 9)
  expect(await check({ contradiction: { kind: 'unproven' }, notes: [await a.note(), await b.note()] })).toMatchObject({ proven: false })
})

describe('an honest log is never convicted', () => {
  const honest = new TestLog().grow(20)
  const notes = async (size: bigint, larger: bigint): Promise<[string, string]> => [await honest.note(size), await honest.note(larger)]

  test('by what is true of it', async () => {
    const root = await honest.rootAt(5n)
    const proof = await honest.prove(5n, 9n)
    expect(await check({ contradiction: { kind: 'prefix', root, proof }, notes: await notes(5n, 9n) })).toContain('begins with the smaller')
    const leaf = { leaf: honest.leaf(2), path: await honest.inclusion(2n, 5n) }
    const again = { leaf: honest.leaf(2), path: await honest.inclusion(2n, 9n) }
    expect(await check({ contradiction: { kind: 'leaves', index: 2n, leaves: [leaf, again] }, notes: await notes(5n, 9n) })).toContain(
      'the same',
    )
    expect(await check({ contradiction: { kind: 'same-size' }, notes: await notes(5n, 5n) })).toContain('the same')
    expect(await check({ contradiction: { kind: 'same-size' }, notes: await notes(5n, 9n) })).toContain('differ')
    expect(await check({ contradiction: { kind: 'unproven' }, notes: await notes(5n, 5n) })).toContain('the same')
  })

  test('by a size of 0, from which an empty proof holds whatever the root', async () => {
    const bogus: ForkEvidence = { contradiction: { kind: 'prefix', root: leafOf('x'), proof: [] }, notes: await notes(0n, 9n) }
    expect(await check(bogus)).toContain('prefix')
    expect(await check({ ...bogus, contradiction: { kind: 'unproven' } })).toContain('size 0')
  })

  test('by an equal size, to which an empty proof leads', async () => {
    expect(await check({ contradiction: { kind: 'prefix', root: leafOf('x'), proof: [] }, notes: await notes(9n, 9n) })).toContain('prefix')
  })

  test('by a made-up root or leaf, with the proofs that it has', async () => {
    for (const size of [4n, 5n, 8n]) {
      const proof = await honest.prove(size, 20n)
      for (const one of [proof, proof.slice(1), [...proof, leafOf('x')], [leafOf('x'), ...proof]])
        expect(
          typeof (await check({ contradiction: { kind: 'prefix', root: leafOf('x'), proof: one }, notes: await notes(size, 20n) })),
        ).toBe('string')
    }
    const real = { leaf: honest.leaf(2), path: await honest.inclusion(2n, 20n) }
    const fake = { leaf: leafOf('x'), path: await honest.inclusion(2n, 5n) }
    expect(await check({ contradiction: { kind: 'leaves', index: 2n, leaves: [fake, real] }, notes: await notes(5n, 20n) })).toContain(
      'another root',
    )
    // A leaf of the second tree that the first one does not reach.
    const beyond = { leaf: honest.leaf(7), path: await honest.inclusion(7n, 20n) }
    expect(await check({ contradiction: { kind: 'leaves', index: 7n, leaves: [real, beyond] }, notes: await notes(5n, 20n) })).toContain(
      'not in a tree',
    )
    // The same extension text changed is no other root.
    const extended = [await honest.note(9n), await honest.note(9n, ['more'])] as const
    expect(await check({ contradiction: { kind: 'same-size' }, notes: extended })).toContain('the same')
  })

  test('by what another key signed', async () => {
    const { contradiction, notes: forged } = await sameSize()
    const thief = Object.assign(new TestLog('example.com/log', 5).grow(7))
    expect(await check({ contradiction, notes: [forged[0], await thief.note()] })).toContain('note 2: no key that is trusted')
    // Both keys are trusted, but each signed one of the two.
    expect(await check({ contradiction, notes: [forged[0], await thief.note()] }, [LOG.key, thief.key])).toContain('signed both')
    expect(await check({ contradiction, notes: forged }, [OTHER.key])).toContain('note 1')
    expect(await check({ contradiction, notes: forged }, [])).toContain('note 1')
  })

  test('by what its key signed as another log', async () => {
    const root = leafOf('x')
    const elsewhere = await LOG.signed(formatCheckpoint({ origin: 'example.com/other', size: 9n, root, extensions: [] }))
    expect(await check({ contradiction: { kind: 'same-size' }, notes: [await honest.note(9n), elsewhere] })).toContain('note 2')
    const both = [
      await honest.note(9n),
      await OTHER.signed(formatCheckpoint({ origin: 'example.com/other', size: 9n, root, extensions: [] })),
    ] as const
    expect(await check({ contradiction: { kind: 'same-size' }, notes: both })).toContain('two logs')
  })

  test('with the notes in the wrong order', async () => {
    const { contradiction, notes: right } = await prefix(2, 5, 9)
    expect(await check({ contradiction, notes: [right[1], right[0]] })).toContain('stands first')
  })
})

test('every byte, changed, makes it prove nothing or is of no meaning', async () => {
  for (const evidence of [await prefix(2, 5, 9), await leaves(3, 5, 6), await sameSize()]) {
    const bytes = Buffer.from(formatForkEvidence(evidence))
    for (let at = 0; at < bytes.length; at++) {
      const harmed = Buffer.from(bytes)
      harmed[at]! ^= 1
      const parsed = parseForkEvidence(harmed)
      const found = typeof parsed === 'string' ? parsed : await checkForkEvidence(parsed, KEYS, options)
      expect(typeof found, `byte ${at} of ${evidence.contradiction.kind}`).toBe('string')
    }
  }
})

test('every line, dropped or doubled, spoils it', async () => {
  for (const evidence of [await prefix(2, 5, 9), await leaves(3, 5, 6), await sameSize()]) {
    const lines = formatForkEvidence(evidence).split('\n').slice(0, -1)
    for (const [at, line] of lines.entries()) {
      for (const harmed of [lines.toSpliced(at, 1), lines.toSpliced(at, 0, line)]) {
        const parsed = parseForkEvidence(Buffer.from(`${harmed.join('\n')}\n`))
        const found = typeof parsed === 'string' ? parsed : await checkForkEvidence(parsed, KEYS, options)
        expect(typeof found, `line ${at} of ${evidence.contradiction.kind}: ${line}`).toBe('string')
      }
    }
  }
})

const NOTE = 'a\n1\nb\n\n\u2014 x AAAAAAAA\n'
test.each([
  ['another first line', `cortex-ledger/fork-evidence@v2\nsame-size\n\nnote 5\n${NOTE}note 5\n${NOTE}`, 'begins with'],
  ['one note', `cortex-ledger/fork-evidence@v1\nsame-size\n\nnote 5\n${NOTE}`, 'not 1'],
  ['three notes', `cortex-ledger/fork-evidence@v1\nsame-size\n\n${`note 5\n${NOTE}`.repeat(3)}`, 'not 3'],
  ['a note that is longer than the rest', `cortex-ledger/fork-evidence@v1\nsame-size\n\nnote 5\n${NOTE}note 6\n${NOTE}`, 'how many lines'],
  ['a count with a leading zero', `cortex-ledger/fork-evidence@v1\nsame-size\n\nnote 05\n${NOTE}note 5\n${NOTE}`, 'how many lines'],
  ['another reason', `cortex-ledger/fork-evidence@v1\nbecause\n\nnote 5\n${NOTE}note 5\n${NOTE}`, 'contradict'],
  ['no reason', `cortex-ledger/fork-evidence@v1\n\nnote 5\n${NOTE}note 5\n${NOTE}`, 'contradict'],
  ['a reason with more', `cortex-ledger/fork-evidence@v1\nsame-size\nmore\n\nnote 5\n${NOTE}note 5\n${NOTE}`, 'alone'],
  ['no line feed at the end', `cortex-ledger/fork-evidence@v1\nsame-size\n\nnote 5\n${NOTE}note 5\n${NOTE.slice(0, -1)}`, 'line feed'],
  ['no empty line', 'cortex-ledger/fork-evidence@v1\nsame-size\n', 'empty line'],
  [
    '64 hashes',
    `cortex-ledger/fork-evidence@v1\nprefix\nroot ${'A'.repeat(43)}=\n${`${'A'.repeat(43)}=\n`.repeat(64)}\nnote 5\n${NOTE}note 5\n${NOTE}`,
    '63',
  ],
])('no evidence: %s', (_, text, why) => {
  expect(parseForkEvidence(Buffer.from(text))).toContain(why)
})

test('no evidence: bytes that are no UTF-8, and more than it can be', () => {
  expect(parseForkEvidence(Buffer.of(0xff))).toContain('UTF-8')
  expect(parseForkEvidence(Buffer.alloc(1024 * 1024 + 1, 0x20))).toContain('bytes')
})
