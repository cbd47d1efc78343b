/** Checks files that others made, with what Node has: the native hash and the native signatures. */
import { checkBundle } from '../verify/bundle-check.ts'
import type { BundleReport } from '../verify/bundle-report.ts'
import { parseTrust } from '../verify/trust.ts'
import type { Trust } from '../verify/trust.ts'
import { ed25519Check } from './ed25519.ts'
import { nodeHashing } from './hashing.ts'

/** Whom somebody believes. */
export interface ProofTrust {
  /** Verifier keys, `<name>+<8 hex>+<base64>`, known from elsewhere than the file: of the ledger, and of witnesses. */
  readonly keys?: readonly string[] | undefined
  /** The text of a C2SP tlog-policy file: its keys, and how many witnesses are enough. */
  readonly policy?: string | undefined
}

/** @throws RangeError where a key or the policy is none */
export function trustOf({ keys = [], policy }: ProofTrust): Trust {
  const trust = parseTrust(nodeHashing.sha256, keys, policy ?? null)
  if (typeof trust === 'string') throw new RangeError(trust)
  return trust
}

/**
 * Checks what `prove` made, without the ledger. Returns a report whatever the bytes are.
 * @throws RangeError where a key or the policy is none
 */
export async function checkProof(bytes: Uint8Array, trust: ProofTrust): Promise<BundleReport> {
  return checkBundle(bytes, { ...nodeHashing, ed25519: ed25519Check, ...trustOf(trust) })
}
