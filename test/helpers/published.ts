/** Small honest ledgers in each store, signed checkpoints of them, and what lies in a published folder. */
import { readdirSync, readFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { signerFromSeed } from '../../src/ledger/keys.ts'
import type { Signer } from '../../src/ledger/keys.ts'
import type { Store } from '../../src/ledger/store.ts'
import { openStore } from '../../src/open-store.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import { formatCheckpoint } from '../../src/verify/checkpoint.ts'
import { ED25519, formatNote, parseVerifierKey } from '../../src/verify/note.ts'
import type { VerifierKey } from '../../src/verify/note.ts'
import { emptyRoot, hashBytes, hashHex, parentHashing, TreeEdge } from '../../src/verify/tree.ts'
import { encodeText } from '../../src/verify/text.ts'
import { HONEST_ORIGIN, makeHonestLedger } from './honest-ledger.ts'
import { tempDir } from './temp.ts'

/** The key of the honest ledger's checkpoints. */
export const signer: Signer = signerFromSeed(
  HONEST_ORIGIN,
  Uint8Array.from({ length: 32 }, (_, i) => i + 1),
)
/** A key of nobody in particular, under the same name. */
export const stranger: Signer = signerFromSeed(
  HONEST_ORIGIN,
  Uint8Array.from({ length: 32 }, (_, i) => i + 101),
)

export const STORES = ['jsonl', 'sqlite', 'memory'] as const
export type StoreKind = (typeof STORES)[number]

/** A store with an honest ledger of this size: the same records in each kind. Closed when the test has ended. */
export async function honestStore(kind: StoreKind, size: number, seed = 1): Promise<Store> {
  if (kind === 'memory') return inMemory(size, seed)
  return honestStoreAt(join(tempDir(), kind === 'jsonl' ? 'ledger' : 'ledger.db'), size, seed)
}

/** The same records, wherever. */
export async function honestStoreAt(location: string, size: number, seed = 1): Promise<Store> {
  await makeHonestLedger(location, size, seed)
  const store = await openStore(location, { readOnly: true })
  onTestFinished(() => store.close())
  return store
}

/** Nobody writes to them again, so tests share them. */
const made = new Map<string, Promise<Store>>()

function inMemory(size: number, seed: number): Promise<Store> {
  const name = `${size} ${seed}`
  const known = made.get(name)
  if (known !== undefined) return known
  const making = (async () => {
    // The ledger closes its store, and this one would be gone then.
    const store = { ...openMemoryStore(), close: async () => {} }
    await makeHonestLedger('memory:', size, seed, { store })
    return store
  })()
  made.set(name, making)
  return making
}

/** Roots (bytes) of the trees over the first records, by size. */
export async function rootsOf(store: Pick<Store, 'read'>): Promise<Uint8Array[]> {
  const edge = new TreeEdge(parentHashing(nodeHashing.sha256))
  const roots = [emptyRoot(nodeHashing.sha256)]
  for await (const chunk of store.read({ filter: {}, from: 0, before: Infinity, reverse: false, limit: Infinity })) {
    for (const line of chunk) {
      edge.append(hashBytes(Buffer.from(line.subarray(9, 73)).toString('latin1')))
      roots.push(edge.root()!)
    }
  }
  return roots
}

export async function signedNote(size: number, root: Uint8Array, by: Signer = signer, origin = HONEST_ORIGIN): Promise<string> {
  const text = formatCheckpoint({ origin, size: BigInt(size), root, extensions: [] })
  const key = keyOf(by)
  return formatNote({ text, signatures: [{ name: key.name, id: key.id, bytes: await by.sign(encodeText(text)) }] })
}

export function keyOf(by: Signer): VerifierKey {
  const key = parseVerifierKey(nodeHashing.sha256, by.verifierKey)
  if (typeof key === 'string' || key.kind !== ED25519) throw new Error(`no key: ${JSON.stringify(key)}`)
  return key
}

/** A signed checkpoint over the first `size` records, or all of them. */
export async function checkpointOf(
  store: Pick<Store, 'read'>,
  size?: number,
  by: Signer = signer,
): Promise<{ size: number; root: string; note: string }> {
  const roots = await rootsOf(store)
  const at = size ?? roots.length - 1
  return { size: at, root: hashHex(roots[at]!), note: await signedNote(at, roots[at]!, by) }
}

/** What is published in a folder: each file by its path, without what is the publisher's own. */
export function filesIn(dir: string): Map<string, Buffer> {
  const entries = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const paths = entries.map((entry) =>
    join(entry.parentPath, entry.name)
      .slice(dir.length + 1)
      .replaceAll('\\', '/'),
  )
  return new Map(
    paths
      .filter((path) => !path.startsWith('.publishing/'))
      .toSorted()
      .map((path) => [path, readFileSync(join(dir, path))]),
  )
}

/** Any web server: a file of the folder, or 404. */
export function folderHandler(dir: string): RequestListener {
  return (request, response) => {
    try {
      response.end(readFileSync(join(dir, decodeURIComponent(new URL(request.url!, 'http://host').pathname))))
    } catch {
      response.writeHead(404).end()
    }
  }
}
