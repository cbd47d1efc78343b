/**
 * Snapshots: states of projections kept beside the ledger, each named by a `SnapshotTaken` record that commits to it.
 * What lies beside the ledger anybody may have changed, so a state is used only where the record, the position and the
 * digest say that it is the one that was taken. Source: docs/format.md, "Snapshots".
 */
import { createHash } from 'node:crypto'
import { canonicalize, CanonicalError } from '../verify/canonical.ts'
import { LEDGER_STREAM } from '../verify/header.ts'
import { readSense } from '../verify/record.ts'
import { commitmentHash, draftOwnRecord, OWN_ACTOR } from './draft.ts'
import type { Draft, DraftContext } from './draft.ts'
import type { JsonObject } from './entry.ts'
import { LedgerError } from './errors.ts'
import { LIMITS } from './limits.ts'
import { LedgerRecord } from './record.ts'
import type { Head, RecordFilter, Store } from './store.ts'

/** The state of a projection, spelled, with all that it is bound to. */
export interface SnapshotContent {
  readonly projection: string
  readonly version: number
  /** Types that had a handler, in order. */
  readonly types: readonly string[]
  /** What else the events had to fit. */
  readonly filter: RecordFilter
  /** The last record that was looked at, and its hash. */
  readonly position: number
  readonly hash: string
  readonly state: unknown
}

/** A name of a kept text: which projection and scope, which position, which record. */
export interface SnapshotName {
  readonly group: string
  readonly position: number
  /** `run_id` of the `SnapshotTaken` record. */
  readonly id: string
}

const POSITION_DIGITS = 16
const NAME = /^([0-9a-f]{16})-([0-9]{16})-([0-9a-f-]{36})$/
const SALT = /^[A-Za-z0-9_-]{22}$/

/** Snapshots of one projection and one scope are of one group, whatever their versions. */
export function groupOf(projection: string, filter: RecordFilter): string {
  return createHash('sha256').update(canonicalize({ filter, projection })).digest('hex').slice(0, 16)
}

export function formatSnapshotName({ group, position, id }: SnapshotName): string {
  return `${group}-${String(position).padStart(POSITION_DIGITS, '0')}-${id}`
}

export function parseSnapshotName(name: string): SnapshotName | null {
  const [, group, position, id] = NAME.exec(name) ?? []
  return group === undefined ? null : { group, position: Number(position), id: id as string }
}

/** @throws LedgerError `invalid_entry` where a state is no JSON, `too_large` */
export function formatState(name: string, state: unknown): string {
  try {
    return canonicalize(state, { bytes_max: LIMITS.snapshot_bytes_max })
  } catch (error) {
    if (!(error instanceof CanonicalError)) throw error
    const code = error.too_large ? 'too_large' : 'invalid_entry'
    throw new LedgerError(code, `the state of ${name} can't be kept: ${error.message}. Nothing was recorded`, {
      path: error.path === '' ? '/' : error.path,
      cause: error,
    })
  }
}

/** The kept text: a line with the salt, then the canonical JSON that the digest commits to. */
function formatSnapshot(salt: string, content: SnapshotContent): { text: string; digest: string } {
  const { state, ...rest } = content
  // Its members are in the order of canonical JSON, with the state, which is spelled already, between them.
  const [before, after] = canonicalize({ ...rest, state: null }).split(',"state":null,') as [string, string]
  const body = `${before},"state":${formatState(content.projection, state)},${after}`
  return { text: `${salt}\n${body}`, digest: commitmentHash(salt, body) }
}

interface KeptSnapshot {
  readonly content: SnapshotContent
  readonly digest: string
}

/** Null where the text is none. */
function parseSnapshot(text: string): KeptSnapshot | null {
  const end = text.indexOf('\n')
  const [salt, body] = [text.slice(0, end), text.slice(end + 1)]
  if (!SALT.test(salt)) return null
  try {
    const content = JSON.parse(body) as SnapshotContent
    if (typeof content !== 'object' || content === null) return null
    return { content, digest: commitmentHash(salt, body) }
  } catch {
    return null
  }
}

export async function headOf(store: Store): Promise<Head> {
  return (await store.state({ streams: [], run_ids: [] })).head
}

/** Hash of the record at a position that is there. */
export async function hashAt(store: Store, position: number): Promise<string | null> {
  for await (const [line] of store.read({ filter: {}, from: position, before: position + 1, reverse: false, limit: 1 })) {
    if (line !== undefined) return readSense(line).hash
  }
  return null
}

/** A kept state that is the one that was taken. */
export interface TrueSnapshot {
  readonly id: string
  readonly content: SnapshotContent
  /** When its record was made. */
  readonly taken_at: string
}

/** The record by which a ledger names a snapshot. */
export interface SnapshotRecord {
  readonly id: string
  readonly seq: number
  readonly projection: string
  readonly version: number
  readonly position: number
  readonly hash: string
  readonly digest: string
  readonly taken_at: string
}

/** Null where the record names none. */
export function readSnapshotRecord({ header, entry }: LedgerRecord): SnapshotRecord | null {
  if (header.type !== 'SnapshotTaken' || header.stream !== LEDGER_STREAM || entry === null) return null
  const { projection, version, position, hash, digest } = entry as { readonly [member: string]: unknown }
  if (typeof projection !== 'string' || typeof hash !== 'string' || typeof digest !== 'string') return null
  if (!Number.isSafeInteger(version) || !Number.isSafeInteger(position)) return null
  const numbers = { version: version as number, position: position as number }
  return { id: header.run_id, seq: header.seq, projection, ...numbers, hash, digest, taken_at: header.recorded_at }
}

/** @returns why the kept text is not to be used, in words; null where it is not there any more */
export async function judgeSnapshot(store: Store, name: SnapshotName, head: Head): Promise<TrueSnapshot | string | null> {
  const text = await store.snapshots.read(formatSnapshotName(name))
  if (text === null) return null
  const line = (await store.state({ streams: [], run_ids: [name.id] })).runs.get(name.id)
  const record = line === undefined ? null : readSnapshotRecord(new LedgerRecord(line))
  if (record === null) return 'no record of the ledger names it'
  const kept = parseSnapshot(text)
  if (kept === null || kept.digest !== record.digest) return 'its content is not what its record commits to'
  const { content } = kept
  if (content.projection !== record.projection || content.version !== record.version || content.position !== record.position)
    return 'its content is of another projection or position than its record'
  if (content.hash !== record.hash) return 'its content is of another record than its own names'
  if (record.position !== name.position || groupOf(content.projection, content.filter) !== name.group)
    return 'it is kept under the name of another one'
  if (record.position >= head.size || record.position >= record.seq) return `the ledger has no position ${record.position} for it`
  const hash = record.position === head.size - 1 ? head.hash : await hashAt(store, record.position)
  if (hash !== record.hash) return `the record at position ${record.position} is not the one that it was taken at`
  return { id: name.id, content, taken_at: record.taken_at }
}

export interface SnapshotsParts {
  readonly store: Store
  readonly drafting: DraftContext
  readonly submit: (drafts: readonly Draft[]) => Promise<unknown>
}

/**
 * Records that a state was taken, then keeps it, and removes what is beyond `keep` in its group.
 * Crash point: between the two the record names a state that is not there, which is no more than one that was removed.
 */
export async function takeSnapshot({ store, drafting, submit }: SnapshotsParts, content: SnapshotContent, keep: number): Promise<string> {
  const { text, digest } = formatSnapshot(drafting.newSalt(), content)
  const { projection, version, position, hash } = content
  const entry: JsonObject = { projection, version, position, hash, digest }
  const draft = draftOwnRecord('SnapshotTaken', 'take_snapshot', OWN_ACTOR, entry, drafting)
  const name = { group: groupOf(projection, content.filter), position, id: draft.run_id }
  await submit([draft])
  await store.snapshots.write(formatSnapshotName(name), text)
  await removeBeyond(store, name.group, keep)
  return name.id
}

/** Only what the ledger names counts and is removed: what somebody else put there must not push out what is true. */
async function removeBeyond(store: Store, group: string, keep: number): Promise<void> {
  const names = await newestFirst(store, `${group}-`)
  if (names.length <= keep) return
  const { runs } = await store.state({ streams: [], run_ids: names.map(({ id }) => id) })
  let kept = 0
  for (const name of names) {
    const line = runs.get(name.id)
    const record = line === undefined ? null : readSnapshotRecord(new LedgerRecord(line))
    if (record === null || record.position !== name.position) continue
    if (++kept > keep) await store.snapshots.remove(formatSnapshotName(name))
  }
}

/** By position, then by the time of their ids. */
export async function newestFirst(store: Store, prefix: string): Promise<SnapshotName[]> {
  const names = (await store.snapshots.list(prefix)).toSorted().toReversed()
  return names.map(parseSnapshotName).filter((name) => name !== null)
}
