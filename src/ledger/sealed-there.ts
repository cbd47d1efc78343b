/** Records that the store seals: their headers in pieces, and the same sealing done again here. */
import { formatHeader, GENESIS } from '../verify/header.ts'
import { parseTime } from '../verify/time.ts'
import { headerOf } from './draft.ts'
import type { Draft } from './draft.ts'
import { LedgerError } from './errors.ts'
import { planBatch } from './plan.ts'
import type { AppendRequest, BatchPlan, Sealing } from './plan.ts'
import type { SealedFor, UnsealedRecord } from './store.ts'

/** Nothing is expected of the ledger, and nothing of it can be there already: only the end is missing. */
export function isSealable(batch: readonly AppendRequest[]): boolean {
  const streams = new Set<string>()
  return batch.every(({ drafts, expectations, condition }) => {
    const [draft, second] = drafts
    // A record of an append of several says where the last one stands.
    if (draft === undefined || second !== undefined || !draft.fresh || condition !== undefined) return false
    // A stream that is new with one record has no other record before it in the batch.
    if (isStreamNew(draft) && streams.has(draft.stream)) return false
    streams.add(draft.stream)
    return expectations.every(({ expected }) => expected === 'any')
  })
}

function isStreamNew({ stream, run_id }: Draft): boolean {
  return stream === run_id
}

/** What ends the pieces: quotes inside of a text are escaped, so that none of these stands in one. */
const AT_PREVIOUS = ',"previous_hash":"'
const AT_RUN_ID = '","run_id":'
const AT_SEQ = ',"seq":'
const AT_VERSION = ',"stream_version":'

export function unsealed(draft: Draft): UnsealedRecord {
  const nowhere = { seq: 0, previous_hash: GENESIS, recorded_at: '', stream_version: 0, append_last_seq: null, signers: undefined }
  const text = formatHeader(headerOf(draft, nowhere))
  const front = text.indexOf(AT_PREVIOUS) + AT_PREVIOUS.length
  const middle = text.indexOf(AT_RUN_ID, front)
  const seq = text.indexOf(AT_SEQ, middle) + AT_SEQ.length
  const version = text.indexOf(AT_VERSION, seq) + AT_VERSION.length
  const { salt, entry_text, provider, model } = draft
  const pieces = [text.slice(0, front), text.slice(middle, seq), text.slice(seq + 1, version), text.slice(version + 1)] as const
  return { header: draft, pieces, isStreamNew: isStreamNew(draft), salt, entry_text, provider, model }
}

/** Seals as the store did. @throws LedgerError `damaged` where it sealed anything else */
export function planSealed(batch: readonly AppendRequest[], sealed: SealedFor, sealing: Sealing): BatchPlan {
  const { head, streams, recorded_at } = sealed
  const now = parseTime(recorded_at)
  if (now === null) throw new LedgerError('damaged', `the database tells the time as ${JSON.stringify(recorded_at)}: run verify`)
  const plan = planBatch(batch, { head, streams, runs: new Map(), now }, now, sealing)
  if (plan.head.hash === sealed.hash && plan.records.length === batch.length) return plan
  throw new LedgerError(
    'damaged',
    `the database sealed other records than it was given, from position ${head.size} on: run verify; its function seal_records is not ours`,
    { seq: head.size, expected: plan.head.hash, found: sealed.hash },
  )
}
