/**
 * Copies a ledger from any store into any other: every line byte for byte in its place, so that each hash, proof and
 * checkpoint of the source holds for the copy. What has been copied is always a beginning of the source, whatever ends the
 * copy; running it again goes on from there, after a look whether it still is. The target is a replica from before its
 * first record until somebody promotes it.
 */
import { splitLine, readLine } from '../verify/record.ts'
import { parseHeader } from '../verify/header-scan.ts'
import { LEDGER_STREAM } from '../verify/header.ts'
import { hashBytes, hashHex, TreeEdge } from '../verify/tree.ts'
import { auditOnce, judged } from './audit.ts'
import { eraseInCopy } from './copy-erasures.ts'
import type { CopyErasures } from './copy-erasures.ts'
import { copyDataKeys } from './copy-keys.ts'
import { LedgerError } from './errors.ts'
import { gatherEvidence, originOf, readEvidence } from './evidence.ts'
import { indexedNames } from './filter.ts'
import { nodeHashing } from './hashing.ts'
import { formatReplicaNote, readReplicaNote } from './replica.ts'
import type { ReplicaNote } from './replica.ts'
import type { Head, SealedRecord, Store } from './store.ts'
import { nodeParent } from './tree.ts'

/** How far a copy has come. */
export interface CopyProgress {
  /** Verifying reads the copy once more. */
  readonly phase: 'copying' | 'verifying'
  readonly records: number
  /** Records of the source; null where its end is damaged, so that nobody can tell. */
  readonly size: number | null
}

export interface CopyOptions {
  /** Hears now and then how far it is. */
  readonly onProgress?: ((progress: CopyProgress) => void) | undefined
  readonly signal?: AbortSignal | undefined
  /** As of a verification: where the ids of a large ledger are put until the end. */
  readonly temporaryFolder?: string | undefined
}

export interface CopyReport extends CopyErasures {
  readonly origin: string
  /** Records of the copy now. */
  readonly size: number
  /** Hash of the last one. */
  readonly hash: string
  /** Root of the tree over them, 64 hex: the copy's, and the source's. */
  readonly root: string
  /** Records that the target had before; null where nothing was there. */
  readonly previous_size: number | null
}

/** Records and bytes of one append to the target: two of them are in memory, one being written and one being read. */
const BATCH_RECORDS = 1000
const BATCH_BYTES = 4 * 1024 * 1024
/** An append of the source stays whole up to so many bytes, which every append of a ledger's own is far below. */
const WHOLE_BYTES_MAX = 64 * 1024 * 1024

const NOTHING = { streams: [], run_ids: [] }

function isDamage(error: unknown): error is LedgerError {
  return error instanceof LedgerError && error.code === 'damaged'
}

/**
 * Brings `target` to where `source` is now, verifies all of it, and notes that it did.
 * @throws LedgerError `already_exists` where the target holds a ledger that is no replica; `behind_checkpoint` where the
 *   source has fewer records; `forked` where it has other ones; `damaged` where the source or the copy is; `not_found`
 *   where the source has no record; `locked` where somebody else writes to the target; `disk_full`, `io_error`, `read_only`
 */
export async function copyLedger(source: Store, target: Store, options: CopyOptions = {}): Promise<CopyReport> {
  // Before its records are: then they are all there.
  const checkpoint = await source.tree.readText('checkpoint')
  const copying = await Copying.begin(source, target, options)
  const { size, root } = await copying.run()
  // The key of a record is there before the record is, so none is missing.
  await copyDataKeys(source.dataKeys, target.dataKeys)
  const erasures = await eraseInCopy(target)
  if (checkpoint !== null) await target.tree.writeText('checkpoint', checkpoint)
  return { ...(await copying.verify(size, root)), ...erasures }
}

/** The number of the source's records; null where its last line is no record. @throws LedgerError `not_found` */
async function sizeOf(source: Store): Promise<number | null> {
  let size: number
  try {
    ;({ size } = (await source.state(NOTHING)).head)
  } catch (error) {
    if (isDamage(error)) return null
    throw error
  }
  if (size === 0) throw new LedgerError('not_found', `there is no record at ${source.location}: check the path of the ledger to be copied`)
  return size
}

async function firstHash(store: Store): Promise<string | null> {
  for await (const [line] of store.read({ filter: {}, from: 0, before: 1, reverse: false, limit: 1 }))
    if (line !== undefined) return placeOf(line).hash
  return null
}

/** The record of a line, as a store takes it. @throws TypeError where it is no record */
function recordOf(line: Uint8Array): SealedRecord {
  const parts = readLine(line)
  return { ...parts, ...indexedNames(parts.entry_text) }
}

/** Position and hash of a line whose record is in the target already. @throws TypeError where it is not what was hashed */
function placeOf(line: Uint8Array): { seq: number; hash: string } {
  const slices = splitLine(line)
  const leaf = slices === null ? null : Buffer.concat([ZERO, line.subarray(slices.header_start, slices.header_end)])
  const header = leaf === null ? null : parseHeader(leaf, 1)
  if (slices === null || leaf === null || header === null || !('v' in header)) throw new TypeError('it has not the form of one')
  const hash = nodeHashing.sha256(leaf)
  if (hash !== Buffer.from(line.buffer, line.byteOffset + slices.hash_start, 64).toString('latin1'))
    throw new TypeError('it is not what was hashed')
  return { seq: header.seq, hash }
}

const ZERO = Buffer.of(0)

const endsAppend = ({ header: { seq, append_last_seq } }: SealedRecord): boolean => append_last_seq === undefined || append_last_seq <= seq

/** It is the first record of a segment, where there are any. */
const beginsSegment = ({ header: { type, stream } }: SealedRecord): boolean => type === 'SegmentSealed' && stream === LEDGER_STREAM

class Copying {
  readonly #source: Store
  readonly #target: Store
  readonly #options: CopyOptions
  readonly #note: ReplicaNote
  readonly #size: number | null
  /** Where the target was. */
  readonly #known: Head
  /** The mark says already that nobody vouches for what is there. */
  #isMarked: boolean
  readonly #isNew: boolean
  /** Of the tree over the source's records. */
  readonly #edge = new TreeEdge(nodeParent)
  /** Where the target is when all is written that was handed over. */
  #head: Head
  /** Hash of the record that was taken last. */
  #last: string
  #batch: SealedRecord[] = []
  #bytes = 0
  #underway: Promise<void> = Promise.resolve()

  private constructor(
    source: Store,
    target: Store,
    options: CopyOptions,
    at: { origin: string; size: number | null; head: Head; before: ReplicaNote | null },
  ) {
    this.#source = source
    this.#target = target
    this.#options = options
    this.#note = { source: source.location, origin: at.origin, verified: null }
    this.#size = at.size
    this.#known = this.#head = at.head
    this.#last = at.head.hash
    this.#isNew = at.before === null
    this.#isMarked = at.before !== null && at.before.verified === null
  }

  /** Looks whether the one can become a copy of the other. Nothing is written. */
  static async begin(source: Store, target: Store, options: CopyOptions): Promise<Copying> {
    const size = await sizeOf(source)
    const { head } = await target.state(NOTHING)
    const before = await readReplicaNote(target)
    const details = { location: target.location, size: head.size }
    if (head.size > 0 && before === null)
      throw new LedgerError(
        'already_exists',
        `there is a ledger at ${target.location} already, with ${head.size} records, and it is no replica: copy to another place`,
        details,
      )
    if (size !== null && size < head.size)
      throw new LedgerError(
        'behind_checkpoint',
        `the ledger at ${source.location} has ${size} records, its replica at ${target.location} ${head.size}: the source was cut, or is an older copy. Nothing was changed; restore the source, or promote the replica in its place`,
        { ...details, source_size: size },
      )
    const origin = await originOf(source)
    if (origin === null)
      throw new LedgerError('damaged', `record 0 of ${source.location} can't be read: run verify to see what is wrong`, { seq: 0 })
    return new Copying(source, target, options, { origin, size, head, before })
  }

  /** Hands over what the target has not. Resolves, when it is durable, to what the source is. */
  async run(): Promise<{ size: number; root: string }> {
    const { signal, onProgress } = this.#options
    try {
      for await (const chunk of this.#lines()) {
        signal?.throwIfAborted()
        for (const line of chunk) await this.#take(line)
        onProgress?.({ phase: 'copying', records: this.#edge.size, size: this.#size })
      }
      if (this.#size !== this.#edge.size) throw this.#damagedAt(this.#edge.size, 'it is not there')
    } catch (error) {
      // What is whole before the damage is worth having, all the more.
      if (isDamage(error)) {
        await this.#put()
        await this.#underway
      }
      // The target is not closed under a write.
      await this.#underway.catch(() => {})
      throw error
    }
    await this.#put()
    await this.#underway
    return { size: this.#edge.size, root: hashHex(this.#edge.root()!) }
  }

  /** All lines up to the first one that can't be read. */
  async *#lines(): AsyncGenerator<readonly Uint8Array[], void, undefined> {
    const all = { filter: {}, from: 0, before: this.#size ?? Infinity, reverse: false, limit: Infinity }
    try {
      return yield* this.#source.read(all)
    } catch (error) {
      if (!isDamage(error)) throw error
    }
    // A chunk goes down with its last line. One by one, those before it are to be had.
    for (;;) {
      const from = this.#edge.size
      try {
        yield* this.#source.read({ ...all, from, before: from + 1, limit: 1 })
      } catch (error) {
        throw isDamage(error) ? this.#damagedAt(from, error.message) : error
      }
      if (this.#edge.size === from) return
    }
  }

  async #take(line: Uint8Array): Promise<void> {
    const position = this.#edge.size
    if (position < this.#known.size) return this.#compare(line, position)
    const record = this.#readable(position, () => recordOf(line))
    if (record.header.seq !== position) throw this.#damagedAt(position, `position ${record.header.seq} stands there`)
    // No ledger was ever so, and a store may refuse it; whatever else is wrong with a record is for verification to say.
    if (record.header.previous_hash !== this.#last) throw this.#damagedAt(position, 'it does not continue the one before')
    if (this.#batch.length > 0 && beginsSegment(record)) await this.#put()
    this.#batch.push(record)
    this.#last = record.hash
    this.#bytes += line.length
    this.#edge.append(hashBytes(record.hash))
    const isFull = this.#batch.length >= BATCH_RECORDS || this.#bytes >= BATCH_BYTES
    if (isFull && (endsAppend(record) || this.#bytes >= WHOLE_BYTES_MAX)) await this.#put()
  }

  /** The last record that the target has stands for all before it, by the chain; and all of them for the root. */
  #compare(line: Uint8Array, position: number): void {
    const { seq, hash } = this.#readable(position, () => placeOf(line))
    if (seq !== position) throw this.#damagedAt(position, `position ${seq} stands there`)
    this.#edge.append(hashBytes(hash))
    if (position !== this.#known.size - 1 || hash === this.#known.hash) return
    throw new LedgerError(
      'forked',
      `the replica at ${this.#target.location} is none of the ledger at ${this.#source.location}: record ${position} is another one. Nothing was changed; run verify on both with a checkpoint from before, and copy the true one to a new place`,
      { location: this.#target.location, seq: position, expected: hash, found: this.#known.hash },
    )
  }

  #damagedAt(seq: number, why: string): LedgerError {
    const [{ location }, to] = [this.#source, this.#target.location]
    const come =
      seq < this.#known.size
        ? `Its replica at ${to} has records from there on, and was left as it is: run verify on both`
        : `What stands before it is at ${to} now, and nothing behind it. Run verify on the source; if there is no better one, cortex-ledger promote --unverified takes what is left`
    return new LedgerError('damaged', `record ${seq} of ${location} can't be copied (${why}). ${come}`, { location, seq })
  }

  #readable<Value>(position: number, read: () => Value): Value {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
      throw this.#damagedAt(position, error.message)
    }
  }

  /** Hands the batch to the target, which writes it while the next one is read. */
  async #put(): Promise<void> {
    const records = this.#batch
    const last = records.at(-1)
    if (last === undefined) return
    const expected = this.#head
    this.#batch = []
    this.#bytes = 0
    this.#head = { size: last.header.seq + 1, hash: last.hash, recorded_at: last.header.recorded_at }
    await this.#underway
    await this.#mark()
    this.#underway = this.#append(records, expected)
    // Whoever comes next hears of it.
    this.#underway.catch(() => {})
  }

  /** Crash point: from here on it is a replica, of no records yet or of more than are vouched for, and says so. */
  async #mark(): Promise<void> {
    if (this.#isMarked) return
    await this.#target.replica.write(formatReplicaNote(this.#note))
    this.#isMarked = true
  }

  async #append(records: readonly SealedRecord[], expected: Head): Promise<void> {
    try {
      // Crash point: the batch is there or not, and running again goes on behind what is.
      await this.#target.append(records, expected, { newSegment: beginsSegment(records[0]!) })
    } catch (error) {
      if (!(error instanceof LedgerError) || error.code !== 'head_moved') throw error
      // Somebody founded a ledger in between: that is none of ours to mark. Another copy of this source is.
      if (this.#isNew && expected.size === 0 && (await firstHash(this.#target)) !== records[0]!.hash) await this.#target.replica.write(null)
      throw new LedgerError(
        'locked',
        `another process writes to ${this.#target.location}: wait until it has finished, and run the copy again`,
        { location: this.#target.location, cause: error },
      )
    }
  }

  /** Reads all of the copy, holds it against the source, and only then vouches for it. */
  async verify(size: number, sourceRoot: string): Promise<Omit<CopyReport, keyof CopyErasures>> {
    const { signal, onProgress, temporaryFolder } = this.#options
    const { origin } = this.#note
    let root: string | null = null
    // The source's checkpoint has become the copy's own; what this machine has signed since is none of its business.
    const evidence = await gatherEvidence(this.#target, readEvidence({ remembered: false }), origin)
    const told = (records: number): void => onProgress?.({ phase: 'verifying', records, size })
    const report = await judged(evidence, async (sizes) => {
      const pass = await auditOnce(this.#target, { origin, signal, temporaryFolder, onProgress: told }, sizes ?? [])
      root = pass.facts?.roots.get(pass.report.size)?.root ?? null
      return pass
    })
    const { hash } = this.#head
    const [first] = report.problems
    if (!report.ok || report.size !== size || report.head !== hash || root !== sourceRoot) {
      if (this.#isMarked === false) await this.#mark()
      const what =
        first === undefined
          ? 'it is not what the source is'
          : `${report.problems_total} problems, the first ${first.code} at position ${first.seq}`
      throw new LedgerError(
        'damaged',
        `the copy at ${this.#target.location} has what was at ${this.#source.location}, and does not verify (${what}): run verify on both. It stays a replica`,
        { location: this.#target.location, problems: report.problems.slice(0, 10), size: report.size, root, source_root: sourceRoot },
      )
    }
    if ((await readReplicaNote(this.#target)) === null)
      throw new LedgerError('already_exists', `${this.#target.location} was promoted meanwhile: it is a replica no more`)
    await this.#target.replica.write(formatReplicaNote({ ...this.#note, verified: { size, hash } }))
    return { origin, size, hash, root: sourceRoot, previous_size: this.#isNew ? null : this.#known.size }
  }
}

export interface PromoteOptions {
  /** Also where the last copy did not come to its end, or did not verify: for whoever has lost the source. */
  readonly unverified?: boolean | undefined
}

export interface PromoteReport {
  readonly origin: string
  readonly size: number
  /** Hash of the last record; GENESIS where there is none. */
  readonly hash: string
  /** Where the source was, which nobody may write to any more. */
  readonly source: string
  /** What is there is what was verified. */
  readonly verified: boolean
}

/**
 * Makes a ledger of its own of a replica.
 * @throws LedgerError `already_exists` where it is one; `not_verified` where nobody vouches for what is there
 */
export async function promoteReplica(store: Store, { unverified = false }: PromoteOptions = {}): Promise<PromoteReport> {
  const note = await readReplicaNote(store)
  if (note === null)
    throw new LedgerError('already_exists', `the ledger at ${store.location} is no replica: there is nothing to promote`, {
      location: store.location,
    })
  const { size, hash } = (await store.state(NOTHING)).head
  const verified = note.verified !== null && note.verified.size === size && note.verified.hash === hash
  if (!verified && !unverified)
    throw new LedgerError(
      'not_verified',
      `nobody vouches for the ${size} records of the replica at ${store.location}: run the copy from ${note.source} again until it comes to its end. If the source is lost, --unverified promotes what is here; records at the end may be missing`,
      { location: store.location, size, verified_size: note.verified?.size ?? null },
    )
  const origin = (await originOf(store)) ?? note.origin
  // Crash point: a replica, or none.
  await store.replica.write(null)
  return { origin, size, hash, source: note.source, verified }
}
