/**
 * Doing what a policy says: erases what is due, moves what is old, and clears up. It may be cut at any point and run again
 * at any time; where nothing is due it does nothing.
 */
import { union } from '../../verify/ranges.ts'
import type { Range } from '../../verify/ranges.ts'
import { asToldError, LedgerError } from '../errors.ts'
import type { EntryNames } from '../filter.ts'
import type { Reclaimed } from '../upkeep.ts'
import { isWithheldLine } from './archive-lines.ts'
import type { ArchivedFile } from './catalogue.ts'
import { ownDraft, Pace, rangesEntry, recordedUs, recordUnlessStale, without } from './context.ts'
import type { PaceOptions, RetentionContext } from './context.ts'
import { archivedRecords, FileLines, moveLines, smallFileBefore, unheldLines } from './files.ts'
import type { Move, Reason } from './files.ts'
import { decide, dueBefore, policyEntry } from './policy.ts'
import type { Decision, RetentionPolicy, Tier } from './policy.ts'
import { asKept, hotRanges, presentFiles, rangesOf, recordsAt } from './scan.ts'
import type { KeptRecord, PresentFiles } from './scan.ts'
import { settle } from './settle.ts'

export interface ApplyOptions extends PaceOptions {
  /** False: the room of what was moved is given back another time. */
  readonly reclaim?: boolean | undefined
  /**
   * True unless said, for a policy: the last file of a tier, while it is small, is made anew together with what is moved,
   * and its old form removed. False for an archive whose files can't be removed, or cost to be read.
   */
  readonly join?: boolean | undefined
}

export interface TierMoves {
  readonly files: number
  readonly records: number
  /** Of salts and entries. */
  readonly bytes: number
  /** What the files of the tier take more than before, so long as all that they replace are removed. */
  readonly stored_bytes: number
}

export interface RetentionApplied {
  readonly warm: TierMoves
  readonly cold: TierMoves
  /** Records that were erased since the policy says so. */
  readonly erased: number
  /** The live segment was sealed first. */
  readonly rotated: boolean
  /** Entries that an earlier run had left. */
  readonly finished: number
  /** Null where nothing was given back. */
  readonly reclaimed: Reclaimed | null
  /** What could not be done, and why; empty where all is. */
  readonly left: readonly string[]
}

/** Of one EntryErased. */
const ERASED_AT_ONCE = 20_000
const US_PER_DAY = 86_400_000_000
const NO_MOVES: TierMoves = { files: 0, records: 0, bytes: 0, stored_bytes: 0 }

function added(moves: TierMoves, { records, bytes, stored_bytes }: Move): TierMoves {
  return {
    files: moves.files + 1,
    records: moves.records + records,
    bytes: moves.bytes + bytes,
    stored_bytes: moves.stored_bytes + stored_bytes,
  }
}

/** Says what is to be moved now, and what goes into the records of it. */
export interface Chooser {
  readonly why: Reason
  readonly hasCold: boolean
  /** Records from before these times are looked at, µs. */
  readonly before: { readonly warm: number; readonly cold: number; readonly erase: number }
  /** Live segments that hold a record from before this time are sealed first, µs. */
  readonly rotateBefore: number
  decide(record: Pick<KeptRecord, 'header' | 'seq'>, tier: Tier, names: EntryNames | null): Decision
}

/** A policy as it is at one moment. */
export class PolicyNow implements Chooser {
  readonly policy: RetentionPolicy
  readonly now_us: number
  readonly #context: RetentionContext

  constructor(context: RetentionContext, policy: RetentionPolicy, now_us: number) {
    this.#context = context
    this.policy = policy
    this.now_us = now_us
  }

  get why(): Reason {
    return { reason: 'policy', policy: policyEntry(this.policy) }
  }

  get rotateBefore(): number {
    const { warm, erase } = this.before
    return Math.min(Math.max(warm, erase), this.now_us - this.policy.rotateAfterDays * US_PER_DAY + 1)
  }

  get before(): { readonly warm: number; readonly cold: number; readonly erase: number } {
    const before = dueBefore(this.policy, this.now_us)
    return { ...before, cold: this.hasCold ? before.cold : -Infinity }
  }

  get hasCold(): boolean {
    return this.#context.tiers.cold !== null
  }

  decide({ header, seq }: Pick<KeptRecord, 'header' | 'seq'>, tier: Tier, names: EntryNames | null): Decision {
    const { catalogue } = this.#context.tiers
    const facts = {
      tier,
      recorded_us: recordedUs(header),
      restored_us: catalogue.restoredUs(seq),
      isOwn: false,
      isHeld: catalogue.holdsOver(header, names).length > 0,
    }
    return decide(this.policy, facts, this.now_us, this.hasCold)
  }
}

/** Where the entry is, by the ledger's own records. */
function tierOf({ tiers }: RetentionContext, seq: number): Tier {
  const owner = tiers.catalogue.ownerOf(seq)
  return owner?.kind === 'file' ? owner.tier : 'hot'
}

/** Of its entry, also where that lies in a file that can be read and somebody needs to know. */
export async function namesOf(context: RetentionContext, { names, seq, line, isWithheld }: KeptRecord): Promise<EntryNames | null> {
  return isWithheld ? archivedNames(context, seq, line) : names
}

/** What a withheld entry names; null where nobody asks, or it can't be read. */
export async function archivedNames({ tiers }: RetentionContext, seq: number, line: Uint8Array): Promise<EntryNames | null> {
  const { catalogue } = tiers
  const isAsked = catalogue.activeHolds.some(({ filter }) => filter.provider !== undefined || filter.model !== undefined)
  const owner = isAsked ? catalogue.ownerOf(seq) : null
  if (owner?.kind !== 'file') return null
  try {
    return asKept(await tiers.whole(owner, seq, line)).names
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
    return null
  }
}

/** True where entries that are due lie in a live segment that is old enough to be sealed. */
export async function isRotationDue({ store }: RetentionContext, { rotateBefore }: Chooser): Promise<boolean> {
  const { segment } = store
  if (segment === null) return false
  const live = [{ first: segment.first_seq, last: Number.MAX_SAFE_INTEGER - 1 }]
  for await (const _ of recordsAt(store, live, { before_us: rotateBefore })) return true
  return false
}

class Applying {
  readonly #context: RetentionContext
  readonly #now: Chooser
  readonly #pace: Pace
  readonly #options: ApplyOptions
  readonly #left: string[] = []
  readonly #moves = { warm: NO_MOVES, cold: NO_MOVES }
  #erased = 0

  constructor(context: RetentionContext, now: Chooser, pace: Pace, options: ApplyOptions) {
    this.#context = context
    this.#now = now
    this.#pace = pace
    this.#options = options
  }

  async run(): Promise<RetentionApplied> {
    const before = await settle(this.#context, this.#pace)
    const rotated = await isRotationDue(this.#context, this.#now)
    if (rotated) await this.#context.rotate()
    await this.#context.tiers.catalogue.refresh(this.#context.store)
    await this.#erase()
    if (this.#now.hasCold) {
      await this.#moveHot('cold')
      await this.#moveWarm()
    }
    await this.#moveHot('warm')
    await this.#trimWarm()
    const after = await settle(this.#context, this.#pace)
    const { warm, cold } = this.#moves
    const isLess = this.#erased + warm.records + cold.records + before.finished + before.files + after.files > 0
    const reclaimed = isLess && this.#options.reclaim !== false ? await this.#context.upkeep.reclaim() : null
    const left = [...this.#left, ...after.left, ...(reclaimed?.left ?? [])]
    return { warm, cold, erased: this.#erased, rotated, finished: before.finished, reclaimed, left }
  }

  /** Positions that may be changed: of a live segment none. */
  get #changeable(): Range[] {
    const { store, tiers } = this.#context
    const before = store.segment?.first_seq ?? tiers.catalogue.size
    return before === 0 ? [] : [{ first: 0, last: before - 1 }]
  }

  async #erase(): Promise<void> {
    const { store, tiers } = this.#context
    const { erase: before_us } = this.#now.before
    for (let from = 0; ;) {
      this.#pace.check()
      const ranges = without(this.#changeable, union([...tiers.catalogue.erased, ...(from === 0 ? [] : [{ first: 0, last: from - 1 }])]))
      const due: number[] = []
      for await (const record of recordsAt(store, ranges, { before_us })) {
        const names = await namesOf(this.#context, record)
        if (this.#now.decide(record, tierOf(this.#context, record.seq), names).move !== 'erase') continue
        due.push(record.seq)
        if (due.length === ERASED_AT_ONCE) break
      }
      if (due.length === 0) return
      const entry = { ...this.#now.why, records: due.length, ranges: rangesEntry(rangesOf(due)) }
      // Crash point: what is recorded here is carried out by `settle`, now or the next time.
      if ((await recordUnlessStale(this.#context, [ownDraft(this.#context, 'EntryErased', 'erase_entries', entry)])) === null) continue
      from = due.at(-1)! + 1
      this.#erased += due.length
      await this.#pace.done('erase', due.length, 0)
    }
  }

  async #moved(tier: 'warm' | 'cold', lines: FileLines): Promise<boolean> {
    const small = this.#options.join === false ? null : await smallFileBefore(this.#context, tier, lines.seqs[0]!)
    const move = await moveLines(this.#context, tier, lines, this.#now.why, small)
    if (move === null) return false
    this.#moves[tier] = added(this.#moves[tier], move)
    await this.#pace.done(tier, move.records, move.bytes)
    return true
  }

  /** Entries that are in the store. */
  async #moveHot(tier: 'warm' | 'cold'): Promise<void> {
    const { store, tiers } = this.#context
    const before_us = this.#now.before[tier]
    const present: PresentFiles = await presentFiles(this.#context)
    for (let from = 0; ;) {
      this.#pace.check()
      const ranges = without(hotRanges(tiers.catalogue, present), [
        ...(from === 0 ? [] : [{ first: 0, last: from - 1 }]),
        { first: (this.#changeable.at(-1)?.last ?? -1) + 1, last: Infinity },
      ])
      const lines = new FileLines()
      for await (const record of recordsAt(store, ranges, { before_us })) {
        if (record.isWithheld || this.#now.decide(record, 'hot', record.names).move !== tier) continue
        lines.add(record)
        if (lines.isFull) break
      }
      for (const seq of lines.damaged) this.#left.push(`the record at position ${seq} is damaged, and stays where it is: run verify`)
      const last = lines.seqs.at(-1)
      if (last === undefined) return
      if (await this.#moved(tier, lines)) from = last + 1
    }
  }

  /** Entries in warm files: a file's worth at a time becomes a cold one. */
  async #moveWarm(): Promise<void> {
    const { tiers } = this.#context
    const looked = new Set<ArchivedFile>()
    for (;;) {
      this.#pace.check()
      const next = [...tiers.catalogue.current()].find(([file]) => file.tier === 'warm' && !looked.has(file) && this.#mayBeCold(file))
      if (next === undefined) return
      const [file, ranges] = next
      try {
        const lines = await this.#dueIn(file, ranges)
        if (lines.seqs.length === 0 || (await this.#moved('cold', lines))) looked.add(file)
      } catch (error) {
        // A file that is damaged keeps itself where it is, and nothing else.
        if (!(error instanceof LedgerError) || !['damaged', 'not_found'].includes(error.code)) throw error
        looked.add(file)
        this.#left.push(`the entries in ${file.file} stay where they are: ${asToldError(error).message}`)
      }
    }
  }

  /** Warm files of which some entries are cold now are written anew without them: no entry takes room twice. */
  async #trimWarm(): Promise<void> {
    const { catalogue } = this.#context.tiers
    const looked = new Set<ArchivedFile>()
    const isTrimmed = (file: ArchivedFile, left: readonly Range[]): boolean => {
      const gone = without(file.ranges, left)
      return gone.length === 0 || catalogue.ownersIn(gone).every((owner) => owner.kind !== 'file' || owner.tier === 'warm')
    }
    for (;;) {
      this.#pace.check()
      const next = [...catalogue.current()].find(([file, ranges]) => file.tier === 'warm' && !looked.has(file) && !isTrimmed(file, ranges))
      if (next === undefined) return
      const [file, ranges] = next
      const lines = await unheldLines(this.#context, file, ranges)
      const why = { reason: 'without what is in the archive' }
      if (lines === null || (await moveLines(this.#context, 'warm', lines, why)) !== null) looked.add(file)
    }
  }

  #mayBeCold({ oldest }: ArchivedFile): boolean {
    return recordedUs({ recorded_at: oldest } as KeptRecord['header']) < this.#now.before.cold
  }

  async #dueIn(file: ArchivedFile, ranges: readonly Range[]): Promise<FileLines> {
    const lines = new FileLines()
    for await (const { own, line } of archivedRecords(this.#context, file, ranges)) {
      const record = asKept(line)
      if (isWithheldLine(own) && this.#now.decide(record, 'warm', record.names).move === 'cold') lines.add(record)
    }
    return lines
  }
}

/** @throws LedgerError `disk_full` | `io_error` | `key_error` | `damaged` | `locked` | `closed`; the signal's reason */
export function applyPolicy(context: RetentionContext, policy: RetentionPolicy, options: ApplyOptions): Promise<RetentionApplied> {
  const pace = new Pace(options)
  return applyChoice(context, new PolicyNow(context, policy, context.drafting.now()), pace, options)
}

export function applyChoice(context: RetentionContext, chooser: Chooser, pace: Pace, options: ApplyOptions): Promise<RetentionApplied> {
  return new Applying(context, chooser, pace, options).run()
}
