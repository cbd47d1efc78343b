import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { sha256 } from '../../src/verify/hash.ts'
import { checkConsistency, checkInclusion, proveConsistency, proveInclusion, readRoot, TREE_SIZE_MAX } from '../../src/verify/proof.ts'
import type { HashReader } from '../../src/verify/proof.ts'
import { emptyRoot, hashBytes, hashHex, parentHashing, TreeEdge } from '../../src/verify/tree.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { scale } from '../helpers/scale.ts'

const parent = parentHashing(nodeHashing.sha256)
const leafOf = (i: number): Uint8Array => createHash('sha256').update(Buffer.of(0)).update(`leaf ${i}`).digest()

/** RFC 9162, 2.1.1, word for word: the judge of everything here. */
function treeHash(leaves: readonly Uint8Array[]): Uint8Array {
  const [first] = leaves
  if (first === undefined) return createHash('sha256').digest()
  if (leaves.length === 1) return first
  let k = 1
  while (k * 2 < leaves.length) k *= 2
  return createHash('sha256')
    .update(Buffer.of(1))
    .update(treeHash(leaves.slice(0, k)))
    .update(treeHash(leaves.slice(k)))
    .digest()
}

/** Perfect subtrees as a growing tree completes them. */
function grown(count: number): { reader: HashReader; edge: TreeEdge; leaves: Uint8Array[]; asked: number[] } {
  const hashes = new Map<string, Uint8Array>()
  const edge = new TreeEdge(parent)
  const leaves = Array.from({ length: count }, (_, i) => leafOf(i))
  for (const leaf of leaves) edge.append(leaf, (level, index, hash) => hashes.set(`${level} ${index}`, hash))
  const asked: number[] = []
  const reader: HashReader = {
    async readHashes(nodes) {
      asked.push(nodes.length)
      return nodes.map(({ level, index }) => {
        const hash = hashes.get(`${level} ${index}`)
        if (hash === undefined) throw new Error(`node ${level} ${index} is not in the tree`)
        return hash
      })
    },
  }
  return { reader, edge, leaves, asked }
}

/** Each way to harm a proof: a bit of each hash, one left out, one doubled, one more, two in each other's place. */
function* harmed(proof: readonly Uint8Array[]): Generator<Uint8Array[]> {
  for (const [i, hash] of proof.entries()) {
    yield proof.with(
      i,
      hash.map((byte, at) => (at === (i * 7) % 32 ? byte ^ 0x10 : byte)),
    )
    yield proof.toSpliced(i, 1)
    yield proof.toSpliced(i, 0, hash)
    yield proof.with(i, hash.subarray(0, 31))
    if (i > 0) yield proof.with(i, proof[i - 1]!).with(i - 1, hash)
  }
  yield [...proof, leafOf(0)]
  if (proof.length > 0) yield []
}

test('a growing tree has the root of the RFC at every size, and its hashes by native and plain SHA-256 are the same', () => {
  const plain = new TreeEdge(parentHashing(sha256))
  const { leaves } = grown(130)
  expect(plain.root()).toBe(null)
  expect(hashHex(emptyRoot(sha256))).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
  for (const [i, leaf] of leaves.entries()) {
    plain.append(leaf)
    expect(Buffer.from(plain.root()!)).toEqual(Buffer.from(treeHash(leaves.slice(0, i + 1))))
    const resumed = new TreeEdge(parent, plain.size, plain.hashes)
    expect(resumed.root()).toEqual(plain.root())
  }
  expect(() => new TreeEdge(parent, 3, [leafOf(0)])).toThrow(RangeError)
})

test('every inclusion proof of every size holds, is as long as the tree is high, and fails when harmed', async () => {
  const sizes = scale(70, 300)
  const { reader, leaves, asked } = grown(sizes)
  for (let size = 1; size <= sizes; size++) {
    const root = await readRoot(parent, reader, BigInt(size))
    expect(Buffer.from(root)).toEqual(Buffer.from(treeHash(leaves.slice(0, size))))
    for (let index = 0; index < size; index++) {
      asked.length = 0
      const proof = await proveInclusion(parent, reader, BigInt(index), BigInt(size))
      // One reading, and no more hashes than two a level.
      expect(asked.length === 1 && asked[0]! <= 2 * Math.ceil(Math.log2(size + 1))).toBe(true)
      const check = (with_: readonly Uint8Array[], at = index, of = size, leaf = leaves[index]!): string | null =>
        checkInclusion(parent, BigInt(at), BigInt(of), leaf, root, with_)
      expect(check(proof)).toBe(null)
      for (const bad of harmed(proof)) expect(check(bad), `${index} of ${size}`).not.toBe(null)
      if (size > 1) expect(check(proof, (index + 1) % size)).not.toBe(null)
      expect(check(proof, index, size, leafOf(size + 1))).not.toBe(null)
    }
  }
})

test('every consistency proof of every pair of sizes holds, and fails when harmed', async () => {
  const sizes = scale(70, 300)
  const { reader, leaves } = grown(sizes)
  const roots = Array.from({ length: sizes + 1 }, (_, size) => treeHash(leaves.slice(0, size)))
  for (let size = 0; size <= sizes; size++) {
    for (let old = 0; old <= size; old++) {
      const proof = await proveConsistency(parent, reader, BigInt(old), BigInt(size))
      const check = (with_: readonly Uint8Array[], oldRoot = roots[old]!, root = roots[size]!): string | null =>
        checkConsistency(parent, BigInt(old), BigInt(size), oldRoot, root, with_)
      expect(check(proof), `${old} to ${size}`).toBe(null)
      for (const bad of harmed(proof)) expect(check(bad), `${old} to ${size}`).not.toBe(null)
      if (old === 0) continue
      expect(
        check(
          proof,
          leafOf(0).map((byte) => byte ^ 1),
        ),
      ).not.toBe(null)
      expect(check(proof, roots[old], leafOf(1))).not.toBe(null)
    }
  }
})

test('what is no position or size of a tree is refused, to the largest there can be', async () => {
  const { reader } = grown(3)
  const hash = leafOf(0)
  await expect(proveInclusion(parent, reader, 3n, 3n)).rejects.toThrow(RangeError)
  await expect(proveInclusion(parent, reader, -1n, 3n)).rejects.toThrow(RangeError)
  await expect(proveConsistency(parent, reader, 4n, 3n)).rejects.toThrow(RangeError)
  await expect(readRoot(parent, reader, TREE_SIZE_MAX + 1n)).rejects.toThrow(RangeError)
  expect(checkInclusion(parent, 0n, 0n, hash, hash, [])).toContain('not in a tree')
  expect(checkInclusion(parent, 0n, TREE_SIZE_MAX + 1n, hash, hash, [])).toContain('2^63-1')
  expect(checkConsistency(parent, 2n, 1n, hash, hash, [])).toContain('never')
  expect(checkInclusion(parent, TREE_SIZE_MAX - 1n, TREE_SIZE_MAX, hash, hash, [])).toContain('not 62')
  const path = Array.from({ length: 63 }, (_, i) => leafOf(i))
  let root = hash
  for (const sibling of path) root = parent(root, sibling)
  expect(checkInclusion(parent, 0n, TREE_SIZE_MAX, hash, root, path)).toBe(null)
})

const VECTORS = join(import.meta.dirname, '../../../shared/data/merkle')
const there = existsSync(VECTORS)
if (!there) console.log(`skipped: the published proofs are not there (${VECTORS})`)

interface Vector {
  readonly desc: string
  readonly wantErr: boolean
  readonly proof: readonly string[] | null
  readonly root: string
  readonly leafHash: string
  readonly leafIdx: number
  readonly treeSize: number
  readonly size1: number
  readonly size2: number
  readonly root1: string
  readonly root2: string
}

function vectors(kind: string): [name: string, vector: Vector][] {
  if (!there) return []
  const files = readdirSync(join(VECTORS, kind), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.json'))
  // JSON.parse would round what is beyond 2^53.
  const exact = (text: string): string => text.replace(/"(leafIdx|treeSize|size1|size2)": *(\d{16,})/g, '"$1": "$2"')
  return files.map((name) => [name, JSON.parse(exact(readFileSync(join(VECTORS, kind, name), 'utf8'))) as Vector])
}

const bytes = (base64: string | null | undefined): Uint8Array => Buffer.from(base64 ?? '', 'base64')

describe.skipIf(!there)('published proofs', () => {
  test('inclusion', () => {
    const all = vectors('inclusion')
    expect(all.length).toBe(98)
    for (const [name, { leafIdx, treeSize, leafHash, root, proof, wantErr }] of all) {
      const why = checkInclusion(parent, BigInt(leafIdx), BigInt(treeSize), bytes(leafHash), bytes(root), (proof ?? []).map(bytes))
      expect(why !== null, `${name}: ${why}`).toBe(wantErr)
    }
  })

  test('consistency', () => {
    const all = vectors('consistency')
    expect(all.length).toBe(98)
    const oddRoots: string[] = []
    for (const [name, { size1, size2, root1, root2, proof, wantErr }] of all) {
      const roots = [bytes(root1), bytes(root2)] as const
      const why = checkConsistency(parent, BigInt(size1), BigInt(size2), ...roots, (proof ?? []).map(bytes))
      if (roots.some(({ length }) => length !== 32) && !wantErr) {
        oddRoots.push(name)
        expect(why, name).not.toBe(null)
      } else expect(why !== null, `${name}: ${why}`).toBe(wantErr)
    }
    // The one whose roots have the wrong length is refused all the same.
    expect(oddRoots.length).toBe(1)
  })
})

test('hashes as hex and as bytes', () => {
  const hex = hashHex(leafOf(3))
  expect(hex).toBe(Buffer.from(leafOf(3)).toString('hex'))
  expect(hashHex(hashBytes(hex))).toBe(hex)
})
