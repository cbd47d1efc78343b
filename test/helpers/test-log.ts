/** A log in memory that grows, forks and signs: the other side of a witness. */
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { signerFromSeed } from '../../src/ledger/keys.ts'
import type { Signer } from '../../src/ledger/keys.ts'
import { formatCheckpoint } from '../../src/verify/checkpoint.ts'
import { formatNote, parseVerifierKey } from '../../src/verify/note.ts'
import type { VerifierKey } from '../../src/verify/note.ts'
import { proveConsistency, proveInclusion, readRoot } from '../../src/verify/proof.ts'
import type { HashReader } from '../../src/verify/proof.ts'
import { emptyRoot, hashBytes, parentHashing, TreeEdge } from '../../src/verify/tree.ts'

const { sha256 } = nodeHashing
const parent = parentHashing(sha256)

export function keyOf(text: string): VerifierKey {
  const key = parseVerifierKey(sha256, text)
  if (typeof key === 'string') throw new Error(key)
  return key
}

export function leafOf(text: string): Uint8Array {
  return hashBytes(sha256(Buffer.from(`\0${text}`)))
}

export class TestLog {
  readonly origin: string
  readonly signer: Signer
  readonly key: VerifierKey
  readonly #leaves: Uint8Array[] = []
  readonly #hashes = new Map<string, Uint8Array>()
  readonly #edge = new TreeEdge(parent)
  readonly #reader: HashReader = {
    readHashes: async (nodes) =>
      nodes.map(({ level, index }) => {
        const hash = this.#hashes.get(`${level} ${index}`)
        if (hash === undefined) throw new Error(`node ${level} ${index} is not in the tree`)
        return hash
      }),
  }

  constructor(origin = 'example.com/log', seed = 1) {
    this.origin = origin
    this.signer = signerFromSeed(origin, Buffer.alloc(32, seed))
    this.key = keyOf(this.signer.verifierKey)
  }

  get size(): bigint {
    return BigInt(this.#leaves.length)
  }

  /** So many leaves more, told apart by this text. */
  grow(count: number, text = 'leaf'): this {
    for (let i = 0; i < count; i++) this.#append(leafOf(`${text} ${this.#leaves.length}`))
    return this
  }

  /** Another log by the same key that has the first `size` leaves of this one. */
  fork(size: number): TestLog {
    const fork = Object.assign(new TestLog(this.origin), { signer: this.signer, key: this.key })
    for (const leaf of this.#leaves.slice(0, size)) fork.#append(leaf)
    return fork
  }

  leaf(index: number): Uint8Array {
    return this.#leaves[index]!
  }

  readonly rootAt = async (size: bigint): Promise<Uint8Array> => {
    if (size > this.size) throw new RangeError(`there are ${this.size} leaves`)
    return size === 0n ? emptyRoot(sha256) : readRoot(parent, this.#reader, size)
  }

  readonly prove = async (oldSize: bigint, size: bigint): Promise<Uint8Array[]> => {
    if (size > this.size) throw new RangeError(`there are ${this.size} leaves`)
    return proveConsistency(parent, this.#reader, oldSize, size)
  }

  inclusion(index: bigint, size: bigint): Promise<Uint8Array[]> {
    return proveInclusion(parent, this.#reader, index, size)
  }

  /** The signed checkpoint over the first `size` leaves. */
  async note(size = this.size, extensions: readonly string[] = []): Promise<string> {
    return this.signed(formatCheckpoint({ origin: this.origin, size, root: await this.rootAt(size), extensions }))
  }

  async signed(text: string): Promise<string> {
    const bytes = await this.signer.sign(Buffer.from(text))
    return formatNote({ text, signatures: [{ name: this.key.name, id: this.key.id, bytes }] })
  }

  #append(leaf: Uint8Array): void {
    this.#leaves.push(leaf)
    this.#edge.append(leaf, (level, index, hash) => this.#hashes.set(`${level} ${index}`, hash))
  }
}
