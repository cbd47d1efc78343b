import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { parseCheckpoint } from '../../src/verify/checkpoint.ts'
import { parseNote } from '../../src/verify/note.ts'
import { checkConsistency, checkInclusion, proveConsistency, proveInclusion, readRoot } from '../../src/verify/proof.ts'
import { formatBundle, parseBundle, parseTilePath, TILE_WIDTH, tileIn, tilePath, tileReader, tilesBetween } from '../../src/verify/tiles.ts'
import type { Tile } from '../../src/verify/tiles.ts'
import { hashBytes, hashHex, parentHashing, TreeEdge } from '../../src/verify/tree.ts'
import { scale } from '../helpers/scale.ts'

const parent = parentHashing(nodeHashing.sha256)
const leafHash = (entry: Uint8Array): Uint8Array => hashBytes(nodeHashing.sha256(Buffer.concat([Buffer.of(0), entry])))
const pathsOf = (tiles: Iterable<Tile>): string[] => [...tiles].map(tilePath)

test.each<[Tile, string]>([
  [{ level: 0, index: 0n, width: 256 }, 'tile/0/000'],
  [{ level: 0, index: 999n, width: 1 }, 'tile/0/999.p/1'],
  [{ level: 63, index: 1000n, width: 255 }, 'tile/63/x001/000.p/255'],
  [{ level: 'entries', index: 1_234_067n, width: 256 }, 'tile/entries/x001/x234/067'],
])('paths: %o', (tile, path) => {
  expect(tilePath(tile)).toBe(path)
  expect(parseTilePath(path)).toEqual(tile)
})

test.each([
  '',
  'tile/0/0',
  'tile/00/000',
  'tile/64/000',
  'tile/0/x000/000',
  'tile/0/000.p/0',
  'tile/0/000.p/256',
  'tile/0/000.p/01',
  'tile/0/000/',
  '/tile/0/000',
  'tile/entries/1000',
  'tile/-1/000',
])('no path of a tile: %s', (path) => {
  expect(parseTilePath(path)).toBe(null)
})

test("the specification's example of 70,000 leaves, and what is due from one size to the next", () => {
  const all = pathsOf(tilesBetween(0n, 70_000n))
  expect(all.filter((path) => path.startsWith('tile/0/')).length).toBe(274)
  expect(all).toContain('tile/0/273.p/112')
  expect(all.filter((path) => /^tile\/[12]/.test(path))).toEqual(['tile/1/000', 'tile/1/001.p/17', 'tile/2/000.p/1'])
  expect(pathsOf(tilesBetween(0n, 256n))).toEqual(['tile/entries/000', 'tile/0/000', 'tile/1/000.p/1'])
  expect(pathsOf(tilesBetween(255n, 257n))).toEqual([
    'tile/entries/000',
    'tile/entries/001.p/1',
    'tile/0/000',
    'tile/0/001.p/1',
    'tile/1/000.p/1',
  ])
  expect(pathsOf(tilesBetween(70_000n, 70_000n))).toEqual([])
  expect(tileIn(70_000n, 2, 1n)).toBe(null)
})

test('proofs read from tiles hold, at sizes around every border', async () => {
  const count = scale(1100, 66_100)
  const levels = new Map<string, Uint8Array>()
  const edge = new TreeEdge(parent)
  const roots: Uint8Array[] = []
  const leaves: Uint8Array[] = []
  for (let i = 0; i < count; i++) {
    const leaf = createHash('sha256').update(String(i)).digest()
    leaves.push(leaf)
    edge.append(leaf, (level, index, hash) => levels.set(`${level} ${index}`, hash))
    roots.push(edge.root()!)
  }
  const fetch = async ({ level, index, width }: Tile): Promise<Uint8Array> =>
    Buffer.concat(Array.from({ length: width }, (_, i) => levels.get(`${8 * Number(level)} ${index * 256n + BigInt(i)}`)!))
  const sizes = [1, 2, 255, 256, 257, 511, 512, 700, 1023, 1024, 1025, 65_535, 65_536, 65_537, count].filter((size) => size <= count)
  for (const size of sizes) {
    const reader = tileReader(parent, BigInt(size), fetch)
    const root = roots[size - 1]!
    expect(hashHex(await readRoot(parent, reader, BigInt(size)))).toBe(hashHex(root))
    for (const index of [0, 1, size >> 1, size - 2, size - 1].filter((at) => at >= 0 && at < size)) {
      const proof = await proveInclusion(parent, reader, BigInt(index), BigInt(size))
      expect(checkInclusion(parent, BigInt(index), BigInt(size), leaves[index]!, root, proof)).toBe(null)
    }
    for (const old of sizes.filter((other) => other <= size)) {
      const proof = await proveConsistency(parent, reader, BigInt(old), BigInt(size))
      expect(checkConsistency(parent, BigInt(old), BigInt(size), roots[old - 1]!, root, proof)).toBe(null)
    }
  }
  const cut = tileReader(parent, 300n, async (tile) => (await fetch(tile)).subarray(1))
  await expect(proveInclusion(parent, cut, 0n, 300n)).rejects.toThrow(/bytes/)
})

test('bundles mirror each other; one that was cut is none', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }), (entries) => {
      const bundle = formatBundle(entries)
      expect(parseBundle(bundle)).toEqual(entries)
      if (bundle.length > 0) expect(parseBundle(bundle.subarray(0, -1))).not.toEqual(entries)
    }),
  )
  expect(parseBundle(Uint8Array.of(0))).toBe(null)
  expect(parseBundle(Uint8Array.of(0, 2, 1))).toBe(null)
  expect(() => formatBundle([new Uint8Array(65_536)])).toThrow(RangeError)
  expect(parseBundle(formatBundle([new Uint8Array(65_535)]))?.[0]?.length).toBe(65_535)
})

const LOG = join(import.meta.dirname, '../../../shared/data/tlog/tessera-log')
const there = existsSync(LOG)
if (!there) console.log(`skipped: the published log is not there (${LOG})`)

test.skipIf(!there)("a published log's tiles and bundles give the roots of its checkpoints", async () => {
  const checked: bigint[] = []
  for (let size = 1; size <= 15; size++) {
    const file = join(LOG, `checkpoint.${size}`)
    if (!existsSync(file)) continue
    const note = parseNote(readFileSync(file))
    const checkpoint = typeof note === 'string' ? note : parseCheckpoint(note.text)
    if (typeof checkpoint === 'string') throw new Error(checkpoint)
    const fetch = async (tile: Tile): Promise<Uint8Array> => readFileSync(join(LOG, tilePath(tile)))
    const tiles = [...tilesBetween(0n, checkpoint.size)]
    expect(tiles.every(({ width }) => width < TILE_WIDTH)).toBe(true)
    if (!tiles.every((tile) => existsSync(join(LOG, tilePath(tile))))) continue
    const root = await readRoot(parent, tileReader(parent, checkpoint.size, fetch), checkpoint.size)
    expect(hashHex(root)).toBe(hashHex(checkpoint.root))
    const entries = parseBundle(await fetch(tileIn(checkpoint.size, 'entries', 0n)!))
    const edge = new TreeEdge(parent)
    for (const entry of entries ?? []) edge.append(leafHash(entry))
    expect(edge.root()).toEqual(checkpoint.root)
    checked.push(checkpoint.size)
  }
  expect(checked.length).toBeGreaterThan(5)
})
