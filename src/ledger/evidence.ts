/** What a ledger is held against besides its own records: keys and checkpoints from outside, and what this machine remembers. */
import type { ClaimEvidence, WitnessRule } from '../verify/claims.ts'
import { readSense } from '../verify/record.ts'
import { ED25519, parseVerifierKey } from '../verify/note.ts'
import type { VerifierKey } from '../verify/note.ts'
import { noteOfFile, readStatement } from '../verify/statement.ts'
import type { Statement } from '../verify/statement.ts'
import { ed25519Check } from './ed25519.ts'
import { LedgerError } from './errors.ts'
import { nodeHashing } from './hashing.ts'
import { readRemembered } from './remembered.ts'
import type { Store } from './store.ts'
import { readWitnessRule } from './witness-rule.ts'

/** A checkpoint that the caller kept: a signed note, a tlog-proof or a bundle, as it is in its file. */
export type KeptCheckpoint = string | Uint8Array | { readonly name: string; readonly content: string | Uint8Array }

export interface EvidenceOptions {
  /** Public keys that are trusted, from outside the ledger: `<name>+<8 hex key id>+<base64>`. */
  readonly keys?: readonly string[] | undefined
  /** A policy file (C2SP tlog-policy): logs whose keys are trusted, witnesses that are believed, how many of them are enough. */
  readonly policy?: string | Uint8Array | undefined
  /** Checkpoints of this ledger from before. */
  readonly since?: readonly KeptCheckpoint[] | undefined
  /** False: what this machine remembers of the ledger is left out. */
  readonly remembered?: boolean | undefined
  /** Where the memory of ledgers is; `${XDG_STATE_HOME:-~/.local/state}/cortex-ledger` unless said. */
  readonly stateFolder?: string | undefined
}

/** What of it was given, read. */
export interface AskedEvidence {
  readonly keys: readonly VerifierKey[]
  readonly witnesses: WitnessRule | null
  readonly since: readonly Statement[]
  readonly remembered: boolean
  readonly stateFolder: string | undefined
}

/** @throws RangeError for a key that is none */
export function readTrustedKey(text: string): VerifierKey {
  const key = parseVerifierKey(nodeHashing.sha256, text)
  if (typeof key === 'string') throw new RangeError(`${JSON.stringify(text.slice(0, 200))} is no verifier key: ${key}`)
  if (key.kind !== ED25519)
    throw new RangeError(
      `the key ${key.name}+${key.id} is of kind ${key.kind}; a ledger's is of kind ${ED25519}, and a witness's belongs into a policy`,
    )
  return key
}

/** @throws RangeError where there is no checkpoint in it */
export function readKeptCheckpoint(kept: KeptCheckpoint, number: number): Statement {
  const { name, content } = typeof kept === 'string' || kept instanceof Uint8Array ? { name: `since[${number}]`, content: kept } : kept
  const note = noteOfFile(typeof content === 'string' ? Buffer.from(content) : content)
  const statement = typeof note === 'string' ? readStatement('since', name, note) : note.fault
  if (typeof statement === 'string') throw new RangeError(`${name} holds no checkpoint: ${statement}`)
  if (statement.checkpoint.size === 0n) throw new RangeError(`${name} is a checkpoint of no records: it says nothing`)
  return statement
}

/** @throws RangeError where something of it can't be read: that is misuse, and no finding */
export function readEvidence(options: EvidenceOptions): AskedEvidence {
  return {
    keys: (options.keys ?? []).map(readTrustedKey),
    witnesses: options.policy === undefined ? null : readWitnessRule(options.policy),
    since: (options.since ?? []).map(readKeptCheckpoint),
    remembered: options.remembered ?? true,
    stateFolder: options.stateFolder,
  }
}

/** The origin by record 0, or null where it can't be read. */
export async function originOf(store: Pick<Store, 'read'>): Promise<string | null> {
  try {
    for await (const lines of store.read({ filter: {}, from: 0, before: 1, reverse: false, limit: 1 })) {
      for (const line of lines) return readSense(line).header.actor
    }
  } catch (error) {
    if (!(error instanceof LedgerError || error instanceof TypeError)) throw error
  }
  return null
}

export const OWN_CHECKPOINT = "the ledger's own checkpoint"

/** Adds what lies with the ledger, and what this machine remembers. */
export async function gatherEvidence(
  store: Pick<Store, 'read' | 'kind'> & { readonly tree: Pick<Store['tree'], 'readText'> },
  asked: AskedEvidence,
  wantedOrigin: string | undefined,
): Promise<ClaimEvidence> {
  const statements = [...asked.since]
  const unreadable: { source: string; why: string }[] = []
  const take = (role: 'own' | 'remembered', source: string, text: string): void => {
    const statement = readStatement(role, source, text)
    if (typeof statement === 'string') unreadable.push({ source, why: statement })
    else statements.push(statement)
  }
  const own = await store.tree.readText('checkpoint').catch((error: unknown) => {
    unreadable.push({ source: OWN_CHECKPOINT, why: error instanceof Error ? error.message : String(error) })
    return null
  })
  if (own !== null) take('own', OWN_CHECKPOINT, own)
  const origin = asked.remembered && store.kind !== 'memory' ? (wantedOrigin ?? (await originOf(store))) : null
  if (origin !== null) {
    try {
      const remembered = await readRemembered(origin, asked.stateFolder)
      if (remembered !== null) take('remembered', remembered.path, remembered.note)
    } catch (error) {
      if (!(error instanceof LedgerError)) throw error
      unreadable.push({ source: String(error.details['file'] ?? 'what this machine remembers'), why: error.message })
    }
  }
  return { statements, unreadable, keys: asked.keys, witnesses: asked.witnesses, check: ed25519Check, begun: 0 }
}
