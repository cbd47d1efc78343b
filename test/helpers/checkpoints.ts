/** Ledgers with keys, and checkpoints of them that a test signs itself: also such as no honest ledger would. */
import { writeFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AuditLedger, signerFromSeed } from '../../src/index.ts'
import type { OpenOptions, Signer } from '../../src/index.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { nodeParent } from '../../src/ledger/tree.ts'
import { formatCheckpoint } from '../../src/verify/checkpoint.ts'
import { ED25519_COSIGNATURE, formatNote, formatVerifierKey, joined, keyIdOf, parseNote, parseVerifierKey } from '../../src/verify/note.ts'
import type { NoteSignature, VerifierKey } from '../../src/verify/note.ts'
import { encodeText } from '../../src/verify/text.ts'
import { hashBytes, TreeEdge } from '../../src/verify/tree.ts'

export function signerOf(origin: string, seed: number): Signer {
  return signerFromSeed(origin, new Uint8Array(32).fill(seed))
}

export function keyOf(signer: Signer): VerifierKey {
  const key = parseVerifierKey(nodeHashing.sha256, signer.verifierKey)
  if (typeof key === 'string') throw new Error(key)
  return key
}

async function signature(signer: Signer, text: string): Promise<NoteSignature> {
  const { name, id } = keyOf(signer)
  return { name, id, bytes: await signer.sign(encodeText(text)) }
}

/** The text of a checkpoint over the first `size` of these lines. */
export function checkpointText(origin: string, lines: readonly string[], size = lines.length): string {
  const edge = new TreeEdge(nodeParent)
  for (const line of lines.slice(0, size)) edge.append(hashBytes(line.slice(9, 73)))
  return formatCheckpoint({ origin, size: BigInt(size), root: edge.root() ?? new Uint8Array(32), extensions: [] })
}

export async function signedBy(text: string, ...signers: readonly Signer[]): Promise<string> {
  return formatNote({ text, signatures: await Promise.all(signers.map((signer) => signature(signer, text))) })
}

/** A witness with its key, who says anything. */
export interface TestWitness {
  readonly key: VerifierKey
  readonly cosign: (note: string, time: bigint) => Promise<string>
}

export function witnessOf(name: string, seed: number): TestWitness {
  const signer = signerOf(name, seed)
  const { publicKey } = keyOf(signer)
  const key = { name, id: keyIdOf(nodeHashing.sha256, name, ED25519_COSIGNATURE, publicKey), kind: ED25519_COSIGNATURE, publicKey }
  return {
    key,
    async cosign(note, time) {
      const parsed = parseNote(encodeText(note))
      if (typeof parsed === 'string') throw new Error(parsed)
      const bytes = await signer.sign(encodeText(`cosignature/v1\ntime ${time}\n${parsed.text}`))
      const at = new Uint8Array(8)
      new DataView(at.buffer).setBigUint64(0, time)
      return formatNote({ ...parsed, signatures: [...parsed.signatures, { name, id: key.id, bytes: joined(at, bytes) }] })
    },
  }
}

/** The policy by which so many of these witnesses are enough. */
export function anyOf(needed: number, ...witnesses: readonly TestWitness[]): string {
  const lines = witnesses.map(({ key }, i) => `witness w${i} ${formatVerifierKey(key)}`)
  return [...lines, `group g ${needed} ${witnesses.map((_, i) => `w${i}`).join(' ')}`, 'quorum g', ''].join('\n')
}

export interface KeyedLedger {
  readonly origin: string
  readonly signer: Signer
  readonly records: number
  readonly text?: string
  readonly options?: OpenOptions
}

/** A ledger of so many records, with one checkpoint at its end, of a machine of its own. Returns the checkpoint. */
export async function makeKeyedLedger(
  location: string,
  { origin, signer, records, text = 'said', options = {} }: KeyedLedger,
): Promise<string> {
  const ledger = await AuditLedger.open(location, {
    origin,
    signer,
    actor: 'tester',
    checkpoints: false,
    stateFolder: `${location}-state`,
    fullText: 'off',
    ...options,
  })
  const { size } = await ledger.head()
  const calls = Array.from({ length: Math.max(0, records - size) }, (_, i) => ({
    agent_name: 'a',
    method_name: 'm',
    raw_output: `${text} ${size + i}`,
  }))
  await Promise.all(calls.map((call) => ledger.record(call)))
  const { note } = await ledger.checkpoint()
  await ledger.close()
  return note
}

const SEGMENT = join('segments', '00000000000000000000.jsonl')

/** The lines of a JSONL ledger's first segment. */
export function linesOfLedger(location: string): string[] {
  return readFileSync(join(location, SEGMENT), 'utf8').split('\n').slice(0, -1)
}

export function putLines(location: string, lines: readonly string[]): void {
  writeFileSync(join(location, SEGMENT), lines.map((line) => `${line}\n`).join(''))
}
