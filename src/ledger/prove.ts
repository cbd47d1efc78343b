/** Makes bundles: which records are asked for, whether the checkpoint covers them, and each with its path to the root. */
import { BUNDLE_LIMITS, formatBundle } from '../verify/bundle.ts'
import type { BundledRecord } from '../verify/bundle.ts'
import { parseCheckpoint } from '../verify/checkpoint.ts'
import { parseNote } from '../verify/note.ts'
import { checkInclusion } from '../verify/proof.ts'
import { formatLine, readLine } from '../verify/record.ts'
import { encodeText } from '../verify/text.ts'
import { hashBytes, hashHex } from '../verify/tree.ts'
import { LedgerError } from './errors.ts'
import type { LedgerRecord } from './record.ts'
import { readRecords } from './record-reading.ts'
import type { RecordFilter, Store } from './store.ts'
import { nodeParent } from './tree.ts'

/** Which records; exactly one of these. */
export interface ProofRequest {
  readonly run_id?: string | readonly string[] | undefined
  /** All records of these tasks, conversations or traces that are there now. */
  readonly correlation_id?: string | readonly string[] | undefined
  /** Positions. */
  readonly seq?: number | readonly number[] | undefined
}

/** A signed note over the first `size` records. */
export interface CheckpointToProve {
  readonly size: number
  /** 64 hex digits. */
  readonly root: string
  /** The signed note, with cosignatures as far as there are any. */
  readonly note: string
}

/** Which entries go into the bundle: all, none, or those of the records for which it is true. */
export type Disclosure = boolean | ((record: LedgerRecord) => boolean)

export interface ProveOptions {
  /** None unless said: a bundle has headers alone, and each entry is withheld. */
  readonly disclose?: Disclosure | undefined
  /** The last one unless said, or a new one where that does not cover the records. */
  readonly checkpoint?: CheckpointToProve | undefined
}

/** What paths are read from. */
export interface InclusionProver {
  /** From the leaf to the root of the tree of this size, the leaf's sibling first. */
  inclusion(seq: number, size: number): Promise<Uint8Array[]>
}

/** What of a ledger a bundle is made from. */
export interface ProofSources {
  readonly store: Pick<Store, 'read' | 'state'>
  readonly tree: InclusionProver
  latestCheckpoint(): Promise<CheckpointToProve | null>
  /** Null where the ledger can't sign: a reader, or a ledger without its key. */
  readonly sign: (() => Promise<CheckpointToProve>) | null
}

/** Positions that are asked of a store at once. */
const POSITIONS_AT_ONCE = 1000

/**
 * A bundle of the records that are asked for, under a checkpoint that covers them.
 * @throws TypeError | RangeError for misuse; LedgerError `not_found` | `not_covered` | `too_large` | `damaged`
 */
export async function prove(sources: ProofSources, request: ProofRequest, options: ProveOptions = {}): Promise<Uint8Array> {
  const { disclose = false } = options
  if (typeof disclose !== 'boolean' && typeof disclose !== 'function') throw new TypeError('disclose must be a boolean or a function')
  const seqs = await positionsOf(sources.store, request)
  const checkpoint = await checkpointOver(sources, seqs.at(-1)!, options.checkpoint)
  return proveRecords(sources.store, sources.tree, checkpoint, seqs, disclose)
}

/** A checkpoint that covers the record at this position. */
async function checkpointOver(sources: ProofSources, seq: number, given: CheckpointToProve | undefined): Promise<CheckpointToProve> {
  if (given !== undefined) requireWhatItSays(given)
  const latest = given ?? (await sources.latestCheckpoint())
  if (latest !== null && latest.size > seq) return latest
  const covered = latest === null ? 'no checkpoint has been signed' : `the checkpoint covers the first ${latest.size} records`
  const notCovered = (what: string): LedgerError =>
    new LedgerError('not_covered', `record ${seq} is not proven yet: ${covered}. ${what}`, { seq, size: latest?.size ?? 0 })
  if (given !== undefined) throw notCovered('Give a later checkpoint, or none')
  if (sources.sign === null)
    throw notCovered(
      'Sign one where the ledger can be written to and its key is (ledger.checkpoint()), or wait for the next one of its writer',
    )
  const signed = await sources.sign()
  if (signed.size > seq) return signed
  throw notCovered('Try again when the ledger has signed a later one')
}

/** @throws RangeError where the note says another size or root */
function requireWhatItSays({ size, root, note }: CheckpointToProve): void {
  const signed = parseNote(encodeText(note))
  const checkpoint = typeof signed === 'string' ? signed : parseCheckpoint(signed.text)
  if (typeof checkpoint === 'string') throw new RangeError(`the checkpoint that is given is none: ${checkpoint}`)
  if (checkpoint.size !== BigInt(size) || hashHex(checkpoint.root) !== root)
    throw new RangeError("the checkpoint's size and root are not those of its note")
}

/**
 * The bundle of these records under this checkpoint. Each path is checked before it leaves.
 * @param seqs ascending, none twice, all below the checkpoint's size
 * @throws LedgerError `too_large` | `damaged`
 */
export async function proveRecords(
  store: Pick<Store, 'read'>,
  tree: InclusionProver,
  checkpoint: CheckpointToProve,
  seqs: readonly number[],
  disclose: Disclosure,
): Promise<Uint8Array> {
  const records: BundledRecord[] = []
  let bytes = 0
  for await (const record of linesAt(store, seqs)) {
    const line = (typeof disclose === 'boolean' ? disclose : disclose(record)) ? record.bytes : withheldLine(record)
    bytes += line.length
    if (bytes > BUNDLE_LIMITS.bytes_max) throw tooLarge()
    records.push({ index: record.seq, line, path: await pathOf(tree, checkpoint, record) })
  }
  let text: string
  try {
    text = formatBundle({ note: checkpoint.note, records })
  } catch (error) {
    // Base64 and escapes are longer than the lines.
    if (error instanceof RangeError) throw tooLarge()
    throw error
  }
  return encodeText(text)
}

function tooLarge(): LedgerError {
  const { bytes_max, records_max } = BUNDLE_LIMITS
  return new LedgerError('too_large', `a bundle has at most ${records_max} records and ${bytes_max} bytes: ask for fewer at once`)
}

async function pathOf(tree: InclusionProver, { size, root }: CheckpointToProve, { seq, hash }: LedgerRecord): Promise<Uint8Array[]> {
  const path = await tree.inclusion(seq, size)
  const fault = checkInclusion(nodeParent, BigInt(seq), BigInt(size), hashBytes(hash), hashBytes(root), path)
  if (fault === null) return path
  throw new LedgerError(
    'damaged',
    `record ${seq} is not what the checkpoint over ${size} records was signed for: run verify to see what is wrong`,
    {
      seq,
      fault,
    },
  )
}

/** The record's line as it is after an erasure: header, hash and signatures stay, salt and entry go. */
function withheldLine({ bytes }: LedgerRecord): Uint8Array {
  return encodeText(formatLine({ ...readLine(bytes), salt: null, entry_text: null }))
}

async function* linesAt(store: Pick<Store, 'read'>, seqs: readonly number[]): AsyncGenerator<LedgerRecord, void, undefined> {
  for (let at = 0; at < seqs.length; at += POSITIONS_AT_ONCE) {
    const some = seqs.slice(at, at + POSITIONS_AT_ONCE)
    let next = 0
    for await (const record of find(store, { seq: new Set(some) }, some[0]!, some.at(-1)! + 1)) {
      if (record.seq !== some[next++]) break
      yield record
    }
    if (next !== some.length)
      throw new LedgerError('damaged', `record ${some[next]} can't be read: run verify to see what is wrong with the ledger`)
  }
}

function find(store: Pick<Store, 'read'>, filter: RecordFilter, from = 0, before = Infinity): AsyncIterable<LedgerRecord> {
  return readRecords(store, { filter, from, before, reverse: false, limit: Infinity })
}

/** Ascending, none twice, at least one. @throws TypeError | RangeError | LedgerError `not_found` | `too_large` */
async function positionsOf(store: ProofSources['store'], request: ProofRequest): Promise<number[]> {
  const [key, ...others] = (['run_id', 'correlation_id', 'seq'] as const).filter((one) => request[one] !== undefined)
  if (key === undefined || others.length > 0)
    throw new TypeError('a proof is of the records with a run_id, a correlation_id or a seq: give exactly one of these')
  const asked = request[key] as string | number | readonly (string | number)[]
  const wanted = typeof asked === 'object' ? asked : [asked]
  if (wanted.length === 0) throw new RangeError('a proof is of at least one record')
  return key === 'seq' ? positionsGiven(store, wanted) : positionsFound(store, key, wanted)
}

async function positionsGiven(store: ProofSources['store'], wanted: readonly unknown[]): Promise<number[]> {
  const isPosition = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
  if (!wanted.every(isPosition)) throw new RangeError('seq must be a position (an integer from 0) or an array of them')
  const seqs = [...new Set(wanted)].toSorted((a, b) => a - b)
  if (seqs.length > BUNDLE_LIMITS.records_max) throw tooLarge()
  const { size } = (await store.state({ streams: [], run_ids: [] })).head
  const last = seqs.at(-1)!
  if (last >= size)
    throw new LedgerError('not_found', `no record has the position ${last}: the ledger has ${size}, from 0`, { seq: last, size })
  return seqs
}

async function positionsFound(
  store: ProofSources['store'],
  key: 'run_id' | 'correlation_id',
  wanted: readonly unknown[],
): Promise<number[]> {
  const isText = (value: unknown): value is string => typeof value === 'string'
  if (!wanted.every(isText)) throw new TypeError(`${key} must be a string or an array of strings`)
  const found = new Set<string | undefined>()
  const seqs: number[] = []
  for await (const { seq, header } of find(store, { [key]: wanted })) {
    if (seqs.length === BUNDLE_LIMITS.records_max) throw tooLarge()
    seqs.push(seq)
    found.add(header[key])
  }
  const absent = wanted.find((one) => !found.has(one))
  if (absent === undefined) return seqs
  throw new LedgerError('not_found', `no record has the ${key} ${JSON.stringify(absent)}: look for it with query`, { [key]: absent })
}
