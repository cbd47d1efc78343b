/** A policy file as what verification asks of it. Source: C2SP tlog-policy. */
import type { WitnessRule } from '../verify/claims.ts'
import { logKeysOf, parsePolicy, quorumTime, witnessKeysOf } from '../verify/policy.ts'
import { nodeHashing } from './hashing.ts'

/** @throws RangeError where the text is no policy */
export function readWitnessRule(policy: string | Uint8Array): WitnessRule {
  const parsed = parsePolicy(nodeHashing.sha256, typeof policy === 'string' ? Buffer.from(policy) : policy)
  if (typeof parsed === 'string') throw new RangeError(`the policy can't be read: ${parsed}`)
  return {
    logKeys: (origin) => logKeysOf(parsed, origin),
    witnessKeys: witnessKeysOf(parsed),
    isAsked: parsed.quorum !== null,
    quorumTime: (cosignatures) => quorumTime(parsed, cosignatures),
  }
}
