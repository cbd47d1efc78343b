/** From a policy file to the witnesses that a ledger's checkpoints are taken to. */
import { readFile } from 'node:fs/promises'
import { parseVerifierKey } from '../verify/note.ts'
import { parsePolicy } from '../verify/policy.ts'
import type { Policy } from '../verify/policy.ts'
import { LedgerError } from './errors.ts'
import { nodeHashing } from './hashing.ts'
import type { LedgerWarning } from './warning.ts'
import { Witnesses } from './witnesses.ts'

/** @throws LedgerError `invalid_policy` where the file can't be read or is no policy */
export async function readPolicyFile(path: string): Promise<Policy> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (error) {
    throw new LedgerError('invalid_policy', `the policy file ${path} can't be read: check the path and its mode`, {
      file: path,
      cause: error,
    })
  }
  const policy = parsePolicy(nodeHashing.sha256, bytes)
  if (typeof policy === 'string')
    throw new LedgerError('invalid_policy', `${path} is no policy of C2SP tlog-policy: ${policy}`, { file: path })
  return policy
}

export interface WitnessesParts {
  readonly policy: Policy
  /** The ledger's own checkpoint keys, as verifier keys. */
  readonly verifierKeys: readonly string[]
  /** Where evidence of a fork is put; null: nowhere. */
  readonly folder: string | null
  readonly warn: (warning: LedgerWarning) => void
}

/** The witnesses of the policy. Who of them contradicts the ledger is told, with the file that proves it. */
export function witnessesOf({ policy, verifierKeys, folder, warn }: WitnessesParts): Witnesses {
  return new Witnesses({
    policy,
    logKeys: verifierKeys.map((text) => parseVerifierKey(nodeHashing.sha256, text)).filter((key) => typeof key !== 'string'),
    ...(folder === null ? {} : { stateDir: folder }),
    onConflict: ({ witness, why, proven, file }) => {
      const evidence = file === null ? '' : `; the evidence is in ${file}`
      const weight = proven ? 'which proves that two histories were signed' : 'which this ledger does not continue'
      warn({ code: 'witness_conflict', message: `the witness ${witness} holds a checkpoint ${weight}: ${why}${evidence}` })
    },
  })
}
