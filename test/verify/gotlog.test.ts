/** Our proofs, and our reading of published ones, before Go's own transparency-log code. */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { parseNote, parseVerifierKey } from '../../src/verify/note.ts'
import { proveConsistency, proveInclusion } from '../../src/verify/proof.ts'
import type { HashReader } from '../../src/verify/proof.ts'
import { parentHashing, TreeEdge } from '../../src/verify/tree.ts'
import { gotlog, hashFile } from '../helpers/gotlog.ts'
import { scale } from '../helpers/scale.ts'

const DATA = join(import.meta.dirname, '../../../shared/data')
const there = existsSync(DATA)
if (!there) console.log(`skipped: the published proofs and logs are not there (${DATA})`)

const parent = parentHashing(nodeHashing.sha256)
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

/** A tree of this size: its reader, and the root at each size. */
function grown(count: number): { reader: HashReader; leaves: Uint8Array[]; roots: Uint8Array[] } {
  const hashes = new Map<string, Uint8Array>()
  const edge = new TreeEdge(parent)
  const leaves = Array.from({ length: count }, (_, i) => createHash('sha256').update(Buffer.of(0)).update(`leaf ${i}`).digest())
  const roots = leaves.map((leaf) => {
    edge.append(leaf, (level, index, hash) => hashes.set(`${level} ${index}`, hash))
    return edge.root()!
  })
  return { reader: { readHashes: async (nodes) => nodes.map(({ level, index }) => hashes.get(`${level} ${index}`)!) }, leaves, roots }
}

const SIZE = scale(300, 70_000)
const SAMPLES = scale(3, 12)

test.skipIf(gotlog === null)('the judge accepts our proofs, and none with a byte changed', async () => {
  const { reader, leaves, roots } = grown(SIZE)
  const root = roots.at(-1)!
  for (let i = 0; i < SAMPLES; i++) {
    const index = Math.floor((i * (SIZE - 1)) / (SAMPLES - 1))
    const path = await proveInclusion(parent, reader, BigInt(index), BigInt(SIZE))
    const inclusion = (proof: readonly Uint8Array[]) =>
      gotlog!(['inclusion', String(SIZE), base64(root), String(index), base64(leaves[index]!), hashFile(proof)])
    expect(await inclusion(path)).toMatchObject({ ok: true })
    expect(await inclusion(path.with(i % path.length, createHash('sha256').digest()))).toMatchObject({ ok: false })
    const size = index + 1
    const proof = await proveConsistency(parent, reader, BigInt(size), BigInt(SIZE))
    const consistency = (hashes: readonly Uint8Array[]) =>
      gotlog!(['consistency', String(size), base64(roots[index]!), String(SIZE), base64(root), hashFile(hashes)])
    expect(await consistency(proof)).toMatchObject({ ok: true })
    expect(await consistency([...proof, root])).toMatchObject({ ok: false })
  }
})

test.skipIf(gotlog === null || !there)(
  'of the published proofs the judge disagrees about the one whose roots have a wrong length',
  async () => {
    const { said } = await gotlog!(['vectors', join(DATA, 'merkle')])
    expect(said).toMatch(/^vectors: 196 run, 1 disagree$/m)
  },
)

test.skipIf(gotlog === null || !there)('a published log and its checkpoints: the judge reads them as we do', async () => {
  const log = join(DATA, 'tlog/tessera-log')
  const key = /`(example\.com\/log\/testdata\+[^`]+)`/.exec(readFileSync(join(DATA, 'README.md'), 'utf8'))![1]!
  expect(parseVerifierKey(nodeHashing.sha256, key)).toMatchObject({ name: 'example.com/log/testdata' })
  expect(await gotlog!(['log', log, key])).toMatchObject({ ok: true, said: expect.stringContaining('size=15') })
  const note = readFileSync(join(log, 'checkpoint'))
  expect(typeof parseNote(note)).toBe('object')
  expect(await gotlog!(['note', key], note)).toMatchObject({ ok: true })
  for (let at = 0; at < note.length; at += 17) {
    const changed = Buffer.from(note)
    changed[at]! ^= 1
    expect(await gotlog!(['note', key], changed), `byte ${at}`).toMatchObject({ ok: false })
  }
})
