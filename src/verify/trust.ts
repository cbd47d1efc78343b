/** Whom somebody believes who checks a file: verifier keys, and maybe a policy that says how many witnesses are enough. */
import type { Sha256 } from './hash.ts'
import { ED25519, ED25519_COSIGNATURE, parseVerifierKey } from './note.ts'
import type { VerifierKey } from './note.ts'
import { parsePolicy, quorumMet, witnessKeysOf } from './policy.ts'
import { encodeText } from './text.ts'

export interface Trust {
  readonly keys: readonly VerifierKey[]
  /** Absent where no policy says how many are enough. */
  readonly quorum?: (cosigners: readonly VerifierKey[]) => boolean
}

/**
 * The keys of both, or why a text is none.
 * @param keys verifier keys, `<name>+<8 hex>+<base64>`
 * @param policy the text of a C2SP tlog-policy file, or null
 */
export function parseTrust(sha256: Sha256, keys: readonly string[], policy: string | null): Trust | string {
  const given: VerifierKey[] = []
  for (const text of keys) {
    const key = parseVerifierKey(sha256, text)
    if (typeof key === 'string') return `${JSON.stringify(text)} is no verifier key: ${key}`
    if (key.kind !== ED25519 && key.kind !== ED25519_COSIGNATURE)
      return `the key ${key.name}+${key.id} is of kind ${key.kind}: known are ${ED25519} (Ed25519) and ${ED25519_COSIGNATURE} (a witness's)`
    given.push(key)
  }
  if (policy === null) return { keys: given }
  const parsed = parsePolicy(sha256, encodeText(policy))
  if (typeof parsed === 'string') return `the policy is none: ${parsed}`
  return {
    keys: [...given, ...parsed.logs.map(({ key }) => key), ...witnessKeysOf(parsed)],
    quorum: (cosigners) => quorumMet(parsed, cosigners),
  }
}
