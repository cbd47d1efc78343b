/** Bundles over lines of which no ledger has to be kept, signed and cosigned: for tests of what checks them. */
import { AuditLedger } from '../../src/index.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { signerFromSeed } from '../../src/ledger/keys.ts'
import { fixedClock, seededRandom } from '../../src/testing/index.ts'
import type { BundledRecord } from '../../src/verify/bundle.ts'
import { formatCheckpoint } from '../../src/verify/checkpoint.ts'
import { headerHash } from '../../src/verify/hash.ts'
import { ED25519_COSIGNATURE, formatNote, formatVerifierKey, keyIdOf, parseVerifierKey } from '../../src/verify/note.ts'
import type { NoteSignature, VerifierKey } from '../../src/verify/note.ts'
import { proveInclusion, readRoot } from '../../src/verify/proof.ts'
import { formatLine, readLine, splitLine } from '../../src/verify/record.ts'
import { hashBytes, parentHashing, TreeEdge } from '../../src/verify/tree.ts'

export const BUNDLE_ORIGIN = 'example.com/agents/bundles'
const { sha256 } = nodeHashing
const parent = parentHashing(sha256)
const utf8 = new TextEncoder()

function made<T>(value: T | string): T {
  if (typeof value === 'string') throw new Error(value)
  return value
}

/** A key that signs for a log, or cosigns as a witness. */
export interface NoteSigner {
  readonly key: VerifierKey
  readonly verifierKey: string
  sign(text: string): Promise<NoteSignature>
}

export function logSigner(name: string, seed: number): NoteSigner {
  const signer = signerFromSeed(name, Buffer.alloc(32, seed))
  const key = made(parseVerifierKey(sha256, signer.verifierKey))
  return {
    key,
    verifierKey: signer.verifierKey,
    sign: async (text) => ({ name, id: key.id, bytes: await signer.sign(utf8.encode(text)) }),
  }
}

/** @param seconds since 1970, at which it says that it saw the note */
export function witnessSigner(name: string, seed: number, seconds: bigint): NoteSigner {
  const signer = signerFromSeed(name, Buffer.alloc(32, seed))
  const { publicKey } = made(parseVerifierKey(sha256, signer.verifierKey))
  const kind = ED25519_COSIGNATURE
  const key = { name, id: keyIdOf(sha256, name, kind, publicKey), kind, publicKey }
  const time = Buffer.alloc(8)
  time.writeBigUInt64BE(seconds)
  return {
    key,
    verifierKey: formatVerifierKey(key),
    sign: async (text) => {
      const signature = await signer.sign(utf8.encode(`cosignature/v1\ntime ${seconds}\n${text}`))
      return { name, id: key.id, bytes: Buffer.concat([time, signature]) }
    },
  }
}

export async function signedNote(text: string, signers: readonly NoteSigner[]): Promise<string> {
  return formatNote({ text, signatures: await Promise.all(signers.map((signer) => signer.sign(text))) })
}

/** Lines in their order, and the tree over them. */
export interface Lines {
  readonly lines: readonly Uint8Array[]
  /** The text of their checkpoint. */
  readonly checkpoint: string
  /** The record at this position with its path; the line is given where it is to be another. */
  record(index: number, line?: Uint8Array): Promise<BundledRecord>
}

export async function treeOver(lines: readonly Uint8Array[], origin = BUNDLE_ORIGIN): Promise<Lines> {
  const edge = new TreeEdge(parent)
  const nodes = new Map<string, Uint8Array>()
  for (const line of lines) {
    const slices = splitLine(line)!
    const leaf = hashBytes(headerHash(sha256, line.subarray(slices.header_start, slices.header_end)))
    edge.append(leaf, (level, index, hash) => nodes.set(`${level} ${index}`, hash))
  }
  const size = BigInt(lines.length)
  const reader = {
    readHashes: async (asked: readonly { level: number; index: bigint }[]) =>
      asked.map(({ level, index }) => nodes.get(`${level} ${index}`)!),
  }
  return {
    lines,
    checkpoint: formatCheckpoint({ origin, size, root: await readRoot(parent, reader, size), extensions: [] }),
    record: async (index, line = lines[index]!) => ({ index, line, path: await proveInclusion(parent, reader, BigInt(index), size) }),
  }
}

/** The lines of a small ledger of agents' calls. Twice the same seed gives twice the same bytes. */
export async function ledgerLines(count: number, seed = 1, origin = BUNDLE_ORIGIN): Promise<Uint8Array[]> {
  const clock = fixedClock()
  const ledger = await AuditLedger.open('memory:', { origin, signer: null, clock, random: seededRandom(seed) })
  for (let n = 1; n < count; n++) {
    clock.advance(1_500_000)
    await ledger.record({
      agent_name: n % 2 === 0 ? 'analyst' : 'planner',
      method_name: n % 3 === 0 ? 'summarise' : 'classify',
      correlation_id: `task-${n % 4}`,
      prompt: [{ role: 'user', content: `Is message ${n} "spam"? Grüße \u2028 🦊` }],
      raw_output: `{"spam": ${n % 5 === 0}}`,
      parsed_data: { spam: n % 5 === 0 },
      provider_name: 'example',
      model_name: 'example-1',
      usage: { input_tokens: 12 + n, output_tokens: 5, cost_usd: '0.00031' },
    })
  }
  const lines: Uint8Array[] = []
  for await (const { bytes } of ledger.read()) lines.push(bytes)
  await ledger.close()
  return lines
}

export function withheld(line: Uint8Array): Uint8Array {
  return utf8.encode(formatLine({ ...readLine(line), salt: null, entry_text: null }))
}

/** The line with one text in place of another, which must be there once at least. */
export function changed(line: Uint8Array, from: string, to: string): Uint8Array {
  const text = Buffer.from(line).toString()
  if (!text.includes(from)) throw new Error(`no ${from} in ${text}`)
  return Buffer.from(text.replace(from, to))
}

/** The line with other header members or another entry, its hashes made anew: what somebody with intent would seal. */
export function resealed(line: Uint8Array, header: object, entry_text?: string): Uint8Array {
  const parts = readLine(line)
  const entry = entry_text ?? parts.entry_text
  const entry_hash = entry === null ? parts.header.entry_hash : sha256(utf8.encode(`"salt":"${parts.salt}","entry":${entry}`))
  const members = Object.entries({ ...parts.header, entry_hash, ...header }).toSorted(([a], [b]) => (a < b ? -1 : 1))
  const header_text = JSON.stringify(Object.fromEntries(members))
  return utf8.encode(formatLine({ ...parts, header_text, entry_text: entry, hash: headerHash(sha256, utf8.encode(header_text)) }))
}
