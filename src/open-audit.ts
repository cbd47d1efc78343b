/**
 * Verifying the ledger at a location on two threads: this one goes through the first part of the records, another one,
 * with a store of its own, through the rest (src/verify/part.ts). Where anything at all is wrong, or does not fit, one
 * thread goes through all of it, so that a damaged ledger is told of in one way only.
 */
import { availableParallelism } from 'node:os'
import { auditNew } from './ledger/audit-new.ts'
import { auditOnce, counting, judged, openVerification, settled } from './ledger/audit.ts'
import type { AuditOptions, Pass } from './ledger/audit.ts'
import { gatherEvidence, readEvidence } from './ledger/evidence.ts'
import { SeededSink } from './ledger/seeded-sink.ts'
import type { AuditSink, Store } from './ledger/store.ts'
import { readTemporary } from './ledger/temporary-file.ts'
import { tieredStore } from './ledger/retention/tiered-store.ts'
import { openStore } from './open-store.ts'
import { Thread } from './stores/sql/thread.ts'
import type { TemporarySpace } from './verify/id-log.ts'
import type { LedgerPart } from './verify/part.ts'
import type { VerificationReport } from './verify/report.ts'

export interface LocationAuditOptions extends AuditOptions {
  readonly driver?: 'node:sqlite' | 'better-sqlite3' | undefined
  /** Only what is behind the largest checkpoint of `since` is read. */
  readonly onlySince?: boolean | undefined
  /**
   * Threads that verify, 1 or 2. Unless said, 2 where the machine has two processors and the ledger is large enough for
   * that to be faster.
   */
  readonly threads?: number | undefined
}

/** What the other thread is to verify. */
export interface PartRequest {
  readonly location: string
  readonly driver: 'node:sqlite' | 'better-sqlite3' | null
  /** Position of its first record. */
  readonly from: number
  readonly canonicalEntries: boolean
  readonly temporaryFolder: string | null
  readonly sizes: readonly number[] | null
  readonly seed: number
  /** Lines that were checked so far, and whether to stop. */
  readonly shared: Int32Array
}

/** A part in which all is well, and the descriptors of the files with its ids, good until the thread is closed. */
export interface PartAnswer {
  readonly part: LedgerPart
  readonly files: readonly [run_ids: number, streams: number]
}

export const LINES = 0
export const STOP = 1

const WORKER_FILE = new URL(import.meta.url.endsWith('.ts') ? './audit-worker.ts' : './audit-worker.js', import.meta.url)
/** How much of the records is this thread's. It also joins the parts, but the other one has to start first. */
const SHARE = 0.51
/** Of 80 MB two threads made about as much of each core's time as one: the second has to start and to warm up. Bytes. */
const TWO_THREADS_BYTES_MIN = 100_000_000
/** V8 widens it to 128 for what lives on from block to block, and another thread's is on top of this one's. */
const YOUNG_GENERATION_MB = 24

/** The other thread's file, as this one reads it. */
class OthersFile implements TemporarySpace {
  readonly #file: number

  constructor(file: number) {
    this.#file = file
  }

  write(): void {
    throw new Error('the file is the other thread’s')
  }

  read(position: number, into: Uint8Array): void {
    readTemporary(this.#file, position, into)
  }
}

/** Something is not in order; all is to be verified on one thread. */
const UNCLEAN = new Error('the parts are not to be joined')

/** Stops the audit as soon as it is known that the parts will not be joined. */
function heeding(sink: AuditSink, check: (lines: number) => void): AuditSink {
  return counting(sink, check)
}

/** The part of the other thread; null where something is wrong in it. */
export async function auditPart(request: PartRequest): Promise<{ answer: PartAnswer; close: () => void } | null> {
  const { location, driver, from, canonicalEntries, temporaryFolder, sizes, seed, shared } = request
  const below = await openStore(location, { readOnly: true, index: 'off', ...(driver === null ? {} : { driver }) })
  const store = tieredStore(below, { cold: null, readThrough: false })
  const options = { canonicalEntries, ...(temporaryFolder === null ? {} : { temporaryFolder }) }
  const { verifier, files, close } = openVerification(options, sizes, seed)
  try {
    const sink = new SeededSink(verifier, true)
    const watched = heeding(sink, (lines) => {
      Atomics.store(shared, LINES, lines)
      if (Atomics.load(shared, STOP) === 1 || !verifier.isClean) throw UNCLEAN
    })
    await store.audit(watched, undefined, { from: from - 1, before: Infinity })
    const part = sink.begun?.seq === from - 1 ? verifier.part() : null
    const [runIds, streams] = files
    if (part !== null && runIds !== undefined && streams !== undefined)
      return { answer: { part, files: [runIds.descriptor, streams.descriptor] }, close }
  } catch (error) {
    if (error !== UNCLEAN) {
      close()
      throw error
    }
  } finally {
    await store.close()
  }
  close()
  return null
}

/** True where nothing is wrong and nothing was left out for want of room. */
function isWhole({ problems_total, checks }: VerificationReport): boolean {
  return problems_total === 0 && checks.run_ids_unique.verdict === 'pass' && checks.stream_versions.verdict === 'pass'
}

/** Whoever verifies the other part. */
export interface OtherThread {
  readonly ask: (request: PartRequest) => Promise<PartAnswer | null>
  /** It stops; the files of its answer are gone then. */
  readonly close: () => Promise<void>
}

export function otherThread(): OtherThread {
  const thread = new Thread<PartRequest>(WORKER_FILE, {}, 'cortex-ledger verify', { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB })
  return { ask: (request) => thread.ask<PartAnswer | null>(request, true), close: () => thread.close() }
}

/** One pass in two parts, of which the other begins at `from`; null where one thread has to do it. */
export async function auditInTwo(
  location: string,
  store: Store,
  options: LocationAuditOptions,
  sizes: readonly number[] | null,
  from: number,
  other: OtherThread,
): Promise<Pass | null> {
  const seed = (Math.random() * 0x1_0000_0000) | 1
  const shared = new Int32Array(new SharedArrayBuffer(8))
  const { verifier, close } = openVerification(options, sizes, seed)
  try {
    const request: PartRequest = {
      location,
      driver: options.driver ?? null,
      from,
      canonicalEntries: options.canonicalEntries ?? false,
      temporaryFolder: options.temporaryFolder ?? null,
      sizes,
      seed,
      shared,
    }
    let isLost = false
    const asking = other.ask(request).catch(() => null)
    void asking.then((answer) => (isLost = answer === null))
    const sink = heeding(verifier, (lines) => {
      options.onProgress?.(lines + Atomics.load(shared, LINES))
      if (isLost || !verifier.isClean) throw UNCLEAN
    })
    await store.audit(sink, options.signal, { from: 0, before: from })
    const answer = await heard(asking, shared, options, from)
    if (answer === null) return null
    const [run_ids, streams] = answer.files.map((file) => new OthersFile(file)) as [OthersFile, OthersFile]
    if (!verifier.join(answer.part, { run_ids, streams })) return null
    const report = await settled(verifier, options.signal)
    return isWhole(report) ? { report, facts: verifier.facts() } : null
  } catch (error) {
    if (error === UNCLEAN) return null
    throw error
  } finally {
    Atomics.store(shared, STOP, 1)
    close()
    await other.close()
  }
}

/** How often somebody who waits hears how far it is. */
const TELL_MS = 50

/** What the other thread says, unless the caller has had enough. */
async function heard<Answer>(
  asking: Promise<Answer>,
  shared: Int32Array,
  { signal, onProgress }: LocationAuditOptions,
  lines: number,
): Promise<Answer> {
  const timer = setInterval(() => onProgress?.(lines + Atomics.load(shared, LINES)), TELL_MS)
  let stop = (): void => {}
  try {
    if (signal === undefined) return await asking
    signal.throwIfAborted()
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(signal.reason)
      signal.addEventListener('abort', stop, { once: true })
    })
    return await Promise.race([asking, aborted])
  } finally {
    clearInterval(timer)
    signal?.removeEventListener('abort', stop)
  }
}

/** Where the work is cut in two; null where one thread does it. @throws RangeError */
async function cutOf(store: Store, threads: number | undefined): Promise<number | null> {
  if (threads !== undefined && threads !== 1 && threads !== 2) throw new RangeError(`threads must be 1 or 2, not ${threads}`)
  if (threads === 1 || store.auditCut === undefined || (threads === undefined && availableParallelism() < 2)) return null
  // Where the ledger is too damaged to be cut, one thread finds out why.
  const cut = await store.auditCut(SHARE).catch(() => null)
  return cut === null || (threads === undefined && cut.bytes < TWO_THREADS_BYTES_MIN) ? null : cut.seq
}

/**
 * Verifies what a store holds that was opened for reading at this location.
 * @throws RangeError for a key or a checkpoint that is none, and for other threads than 1 and 2
 */
export async function auditLocation(location: string, store: Store, options: LocationAuditOptions): Promise<VerificationReport> {
  const asked = readEvidence(options)
  const evidence = await gatherEvidence(store, asked, options.origin)
  const isNew = options.onlySince === true ? await auditNew(store, options, evidence) : null
  if (isNew !== null) return isNew
  const from = await cutOf(store, options.threads)
  return judged(evidence, async (sizes) => {
    const joined = from === null ? null : await auditInTwo(location, store, options, sizes, from, otherThread())
    return joined ?? auditOnce(store, options, sizes)
  })
}
