/**
 * Carrying out what the ledger's records say and is not done yet: whatever a crash, a full disk or an unreachable archive
 * left. It looks at what is there, so it can be cut at any point and run again; the normal path ends with it, too.
 */
import { partition, union } from '../../verify/ranges.ts'
import type { Range } from '../../verify/ranges.ts'
import { asToldError, LedgerError } from '../errors.ts'
import { formatSnapshotName, newestFirst } from '../snapshots.ts'
import { isWithheldLine } from './archive-lines.ts'
import type { ArchivedFile } from './catalogue.ts'
import type { Pace, RetentionContext } from './context.ts'
import { archivedRecords, FileLines, moveLines, MOVING } from './files.ts'
import { asKept, mayBePresent, presentFiles, rangesOf } from './scan.ts'
import type { PresentFiles } from './scan.ts'

/** Says beside the ledger how far its records are carried out. It may be lost: then all are looked at again. */
const SETTLED = 'settled-'

export interface Settled {
  /** Entries that were still there, and should not have been. */
  readonly finished: number
  /** Files that were removed or written anew. */
  readonly files: number
  /** What could not be done, and why; empty where all is. */
  readonly left: readonly string[]
}

interface Marks {
  readonly settled: number
  readonly names: readonly string[]
  /** Files that were on their way to the cold archive. */
  readonly moving: readonly string[]
}

async function marksOf({ upkeep }: RetentionContext): Promise<Marks> {
  const names: string[] = []
  const moving: string[] = []
  for await (const { name } of upkeep.archive.list(SETTLED)) names.push(name)
  for await (const { name } of upkeep.archive.list(MOVING)) moving.push(name)
  const sizes = names.map((name) => Number(name.slice(SETTLED.length)))
  return { settled: Math.max(0, ...sizes.filter(Number.isSafeInteger)), names, moving }
}

/** One run over what is not settled. */
class Settling {
  readonly #context: RetentionContext
  readonly #pace: Pace
  readonly #left: string[] = []
  #finished = 0
  #files = 0

  constructor(context: RetentionContext, pace: Pace) {
    this.#context = context
    this.#pace = pace
  }

  async run(): Promise<Settled> {
    const { catalogue } = this.#context.tiers
    await catalogue.refresh(this.#context.store)
    const marks = await marksOf(this.#context)
    const { size } = catalogue
    // One that is ahead of the ledger is of another copy of it.
    const settled = marks.settled > size ? 0 : marks.settled
    const erased = union(catalogue.erasures.filter(({ seq }) => seq >= settled).flatMap(({ ranges }) => ranges))
    await this.#erase(erased)
    const present = await presentFiles(this.#context)
    await this.#withholdArchived(settled, present)
    await this.#rewriteErased(present)
    await this.#removeUnclaimed(present, marks.moving)
    if (erased.length > 0) await this.#forget(erased)
    if (this.#left.length === 0 && size !== marks.settled) await this.#mark(size, marks.names)
    return { finished: this.#finished, files: this.#files, left: this.#left }
  }

  /** Takes entries away, all of them. */
  async #withhold(ranges: readonly Range[], erase: boolean): Promise<void> {
    if (ranges.length === 0) return
    for await (const { records, bytes } of this.#context.upkeep.withhold(ranges, { erase })) {
      this.#finished += records
      await this.#pace.done('settle', records, bytes)
    }
  }

  async #erase(erased: readonly Range[]): Promise<void> {
    const { segment } = this.#context.store
    // Whoever erases seals the live segment first; what is in one again comes of a record that came in between.
    if (segment !== null && erased.some(({ last }) => last >= segment.first_seq)) await this.#context.rotate()
    await this.#withhold(erased, true)
  }

  /** Entries that are in a file, as their record says, and in the store still: a crash came between the two. */
  async #withholdArchived(since: number, present: PresentFiles): Promise<void> {
    const { catalogue } = this.#context.tiers
    for (const [file, ranges] of catalogue.current()) {
      if (file.named_by < since || present[file.tier]?.has(file.file) !== true) continue
      this.#pace.check()
      await this.#trying(`the entries in ${file.file}`, async () => {
        const doubled: number[] = []
        for await (const { seq, own } of archivedRecords(this.#context, file, ranges)) if (!isWithheldLine(own)) doubled.push(seq)
        await this.#withhold(rangesOf(doubled), false)
      })
    }
  }

  /** Files that hold what was erased are written anew without it. */
  async #rewriteErased(present: PresentFiles): Promise<void> {
    const { catalogue } = this.#context.tiers
    const { erased } = catalogue
    if (erased.length === 0) return
    for (const file of catalogue.files.values()) {
      if (!mayBePresent(file, present) || partition(union(file.ranges), erased).inside.length === 0) continue
      this.#pace.check()
      await this.#trying(`what was erased is in ${file.file} still`, () => this.#rewrite(file))
    }
  }

  async #rewrite(file: ArchivedFile): Promise<void> {
    const { tiers } = this.#context
    const archive = tiers.archiveOf(file)
    if ((await archive.stat(file.file)) === null) return
    for (;;) {
      const ranges = tiers.catalogue.current().get(file)
      if (ranges === undefined) break
      const lines = new FileLines()
      for await (const { line } of archivedRecords(this.#context, file, ranges)) lines.add(asKept(line))
      if (lines.seqs.length === 0) break
      if ((await moveLines(this.#context, file.tier, lines, { reason: `without what was erased of ${file.file}` })) !== null) break
    }
    await this.#remove(file)
  }

  async #remove(file: ArchivedFile): Promise<void> {
    this.#context.tiers.forget(file.file)
    await this.#context.tiers.archiveOf(file).remove(file.file)
    this.#files++
  }

  /** Files of which nothing is claimed any more, and those that no record ever named. */
  async #removeUnclaimed(present: PresentFiles, moving: readonly string[]): Promise<void> {
    const { tiers, upkeep } = this.#context
    const { catalogue } = tiers
    const current = new Set([...catalogue.current().keys()].map(({ file }) => file))
    for (const file of catalogue.files.values()) {
      if (current.has(file.file) || present[file.tier]?.has(file.file) !== true) continue
      if ((await tiers.archiveOf(file).stat(file.file)) === null) continue
      await this.#trying(`${file.file} holds nothing any more`, () => this.#remove(file))
    }
    for (const name of present.warm ?? []) {
      if (catalogue.files.has(name)) continue
      await upkeep.archive.remove(name)
      this.#files++
    }
    for (const mark of moving) {
      const name = mark.slice(MOVING.length)
      if (!catalogue.files.has(name)) {
        // It may be there or not; where nobody names the archive, it is looked for when somebody does.
        if (tiers.cold === null) continue
        await tiers.cold.remove(name)
      }
      await upkeep.archive.remove(mark)
    }
  }

  /** What follows from entries, and may say what they said. */
  async #forget(erased: readonly Range[]): Promise<void> {
    const { store, forgetWords } = this.#context
    const first = erased[0]!.first
    for (const name of await newestFirst(store, '')) if (name.position >= first) await store.snapshots.remove(formatSnapshotName(name))
    await forgetWords()
  }

  async #mark(size: number, before: readonly string[]): Promise<void> {
    const { archive } = this.#context.upkeep
    await archive.write(`${SETTLED}${String(size).padStart(20, '0')}`, Buffer.from('carried out\n'))
    for (const name of before) await archive.remove(name)
  }

  /** What one file keeps from being done is told, and the rest is done. */
  async #trying(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const passing = ['archived', 'damaged', 'not_found', 'io_error', 'key_error']
      if (!(error instanceof LedgerError) || !passing.includes(error.code)) throw error
      this.#left.push(`${what}: ${asToldError(error).message}`)
    }
  }
}

/** @throws LedgerError of the store, the signal's reason */
export function settle(context: RetentionContext, pace: Pace): Promise<Settled> {
  return new Settling(context, pace).run()
}
