/** What everything derived is made from, and how it is bound to the ledger: so many records, under this root. */
import { hashHex } from '../verify/tree.ts'
import type { SignedCheckpoint } from '../ledger/checkpoints.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Criteria } from '../ledger/query.ts'
import type { LedgerRecord } from '../ledger/record.ts'

/** The ledger as it was when something was derived from it. */
export interface LedgerFacts {
  readonly origin: string | null
  /** Number of records. */
  readonly size: number
  /** Hash of the last of them, or null where there is none. */
  readonly head: string | null
  /** Root of the Merkle tree over them (RFC 6962), 64 hex. */
  readonly root: string
  /** The last checkpoint that is kept with the ledger; it covers as many records, or fewer. */
  readonly checkpoint: SignedCheckpoint | null
}

/** @throws LedgerError as reading, and `damaged` where the tree can't be made of the records */
export async function ledgerFacts(ledger: Ledger): Promise<LedgerFacts> {
  // Before the head: one that is signed meanwhile would speak of records that are not in what is derived.
  const checkpoint = await ledger.latestCheckpoint()
  const { size, hash } = await ledger.head()
  return {
    origin: ledger.origin,
    size,
    head: size === 0 ? null : hash,
    root: hashHex(await ledger.tree.root(size)),
    checkpoint,
  }
}

/**
 * The records before position `size` that fit: what is derived in several readings has to be of the same records each
 * time, whatever is appended meanwhile.
 */
export async function* recordsBefore(
  ledger: Pick<Ledger, 'scan'>,
  criteria: Criteria,
  size: number,
): AsyncGenerator<LedgerRecord, void, undefined> {
  for await (const record of ledger.scan(criteria)) {
    if (record.seq >= size) return
    yield record
  }
}

/** A text that is not empty, or null. */
export function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
