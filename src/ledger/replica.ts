/**
 * What the mark of a replica says: whose copy it is, and whether the last copy came to its end and was found to be what
 * the source is. Two writers of one origin fork, so nobody records in a replica until it is promoted.
 */
import { LedgerError } from './errors.ts'
import type { Store } from './store.ts'

export interface ReplicaNote {
  /** Where the source was, for people. */
  readonly source: string
  readonly origin: string
  /** Of what the last copy came to, where it was verified; null while one is at work, and where it failed. */
  readonly verified: { readonly size: number; readonly hash: string } | null
}

/** Read by people, too: `replica.json` in a JSONL ledger. */
export function formatReplicaNote({ source, origin, verified }: ReplicaNote): string {
  return `${JSON.stringify({ replica_of: source, origin, verified })}\n`
}

/** A mark that can't be read is a mark all the same: a replica of nobody knows what. */
export function parseReplicaNote(text: string): ReplicaNote {
  try {
    const { replica_of, origin, verified } = JSON.parse(text) as { [member: string]: unknown }
    const { size, hash } = (verified ?? {}) as { [member: string]: unknown }
    if (typeof replica_of === 'string' && typeof origin === 'string')
      return {
        source: replica_of,
        origin,
        verified: Number.isSafeInteger(size) && typeof hash === 'string' ? { size: size as number, hash } : null,
      }
  } catch {
    // As one that says nothing.
  }
  return { source: 'another ledger', origin: '', verified: null }
}

/** Null where the ledger is none. @throws LedgerError `io_error` */
export async function readReplicaNote(store: Store): Promise<ReplicaNote | null> {
  const text = await store.replica.read()
  return text === null ? null : parseReplicaNote(text)
}

/** Before anything is written. @throws LedgerError `read_only` */
export async function refuseReplica(store: Store): Promise<void> {
  const note = await readReplicaNote(store)
  if (note === null) return
  throw new LedgerError(
    'read_only',
    `the ledger at ${store.location} is a replica of ${note.source}, and two writers of one ledger would part it for good: open it with readOnly. To record here from now on, and never there again, run: cortex-ledger promote ${store.location}`,
    { location: store.location, replica_of: note.source },
  )
}
