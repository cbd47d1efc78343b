/** What `verify` does where a published log lies: keys and checkpoints from before are read, and given on. */
import { readFile } from 'node:fs/promises'
import { isPublishedLog } from '../ledger/published-log.ts'
import type { VerificationReport } from '../index.ts'
import { parseVerifierKey } from '../verify/note.ts'
import { parsePolicy } from '../verify/policy.ts'
import type { Policy } from '../verify/policy.ts'
import { readCheckpoint } from '../verify/published-claims.ts'
import type { NamedNote } from '../verify/published-claims.ts'
import { nodeHashing } from '../ledger/hashing.ts'
import { asked, Misuse } from './errors.ts'

export interface PublishedOptions {
  readonly origin?: string | undefined
  readonly keys: readonly string[]
  /** Files. */
  readonly since: readonly string[]
  /** A file. */
  readonly policy?: string | undefined
  readonly onProgress: (headers: number) => void
}

/** A checkpoint from before that is none is a slip of whoever gave it, and no finding. @throws Misuse */
async function noteOf(file: string): Promise<NamedNote> {
  const bytes = await readFile(file)
  const checkpoint = readCheckpoint(bytes)
  if (typeof checkpoint === 'string') throw new Misuse(`--since ${file} is no signed checkpoint: ${checkpoint}`)
  return { name: file, bytes }
}

function requireKey(text: string): void {
  const key = parseVerifierKey(nodeHashing.sha256, text)
  if (typeof key === 'string') throw new Misuse(`--key ${JSON.stringify(text)}: ${key}`)
}

/** @throws Misuse */
async function policyOf(file: string): Promise<Policy> {
  const policy = parsePolicy(nodeHashing.sha256, await readFile(file))
  if (typeof policy === 'string') throw new Misuse(`--policy ${file}: ${policy}`)
  return policy
}

/** The report on the published log at this place; null where none is. */
export async function verifyPublished(location: string, options: PublishedOptions): Promise<VerificationReport | null> {
  if (!(await isPublishedLog(location))) return null
  options.keys.forEach(requireKey)
  const since = await Promise.all(options.since.map(noteOf))
  const policy = options.policy === undefined ? undefined : await policyOf(options.policy)
  const { origin, keys, onProgress } = options
  const { verifyPublishedLog } = await import('../ledger/published-log.ts')
  return asked(() => verifyPublishedLog(location, { origin, keys, since, policy, onProgress }))
}
