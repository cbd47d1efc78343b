/**
 * What a JSONL ledger does to entries: sealed segments are rewritten, one after the other, by the process that has the
 * writer's lock. Appends go on meanwhile, since they touch only the live segment, which is never rewritten.
 */
import fs from 'node:fs'
import { join } from 'node:path'
import type { FolderArchive } from '../../ledger/archive-folder.ts'
import { LedgerError } from '../../ledger/errors.ts'
import type { EntryUpkeep, KeptEntry, Reclaimed, UpkeepStep, WithholdOptions } from '../../ledger/upkeep.ts'
import { partition, union } from '../../verify/ranges.ts'
import type { Range } from '../../verify/ranges.ts'
import { isBrokenDatabase, removeDatabase } from '../sql/derived.ts'
import { asFileError } from './files.ts'
import type { FilePort } from './files.ts'
import { indexPath } from './index-catch-up.ts'
import { openIndex } from './index-db.ts'
import { keepIndexUp } from './index-upkeep.ts'
import type { IndexUpkeep } from './index-upkeep.ts'
import { forgetNames, keepNames } from './kept-names.ts'
import type { KnownRecords } from './known-records.ts'
import { archiveOf, TORN } from './layout.ts'
import type { Segment } from './layout.ts'
import type { LedgerIndex } from './ledger-index.ts'
import { hasEntryWithin, Restoring, Withholding } from './line-changes.ts'
import { movedTo, removeLeftovers, rewriteSegment } from './rewriting.ts'
import type { LineChanges } from './rewriting.ts'

export interface UpkeepParts {
  readonly files: FilePort
  readonly dir: string
  readonly index: LedgerIndex | null
  readonly known: KnownRecords
  /** All segments; the last record is in `live`, and what is before that is sealed. */
  readonly segments: () => { readonly all: readonly Segment[]; readonly live: Segment | null; readonly size: number }
  /** Throws when the store was closed. */
  readonly assertOpen: () => void
}

/** A sealed segment with the positions that it has. */
interface Stretch extends Range {
  readonly segment: Segment
}

const NOTHING: UpkeepStep = { records: 0, bytes: 0 }

export class JsonlUpkeep implements EntryUpkeep {
  readonly archive: FolderArchive
  readonly #parts: UpkeepParts
  /** One rewriting at a time. */
  #work: Promise<unknown> = Promise.resolve()
  /** What was erased may lie in files that are derived from entries, or were moved aside. */
  #hasErased = false

  constructor(parts: UpkeepParts) {
    this.#parts = parts
    this.archive = archiveOf(parts.files, parts.dir, false)
  }

  /** Resolves when no file is being written any more. */
  async settle(): Promise<void> {
    await this.#work
  }

  /** One after the other; a failure is its caller's alone. */
  #inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
    const turn = this.#work.then(async () => {
      this.#parts.assertOpen()
      try {
        return await act()
      } catch (error) {
        throw asFileError(error, `changing the entries of ${this.#parts.dir}`)
      }
    })
    this.#work = turn.catch(() => {})
    return turn
  }

  async *withhold(positions: readonly Range[], { erase = false }: WithholdOptions = {}): AsyncGenerator<UpkeepStep, void, undefined> {
    this.#parts.assertOpen()
    const wanted = union(positions)
    if (wanted.length === 0) return
    await this.#inTurn(() => this.#begin(wanted))
    if (erase) this.#hasErased = true
    for (const stretch of this.#sealed()) {
      const { inside } = partition(wanted, [stretch])
      if (inside.length === 0) continue
      const step = await this.#inTurn(async () => {
        await (erase ? forgetNames : keepNames)(this.#parts.files, stretch.segment, inside)
        // Crash point: names are kept of entries that are there, which does no harm.
        const done = await this.#rewrite(stretch.segment, new Withholding(inside))
        if (erase) await this.#forget(inside)
        return done
      })
      if (step.records > 0) yield step
    }
  }

  /** What has to be so before the first entry goes. @throws LedgerError `locked` */
  async #begin(wanted: readonly Range[]): Promise<void> {
    const { files, known, segments } = this.#parts
    const { live, size } = segments()
    if (live !== null) {
      const { inside } = partition(wanted, [{ first: live.first_seq, last: size - 1 }])
      if (inside.length > 0 && (await hasEntryWithin(files, live, inside))) throw stillLive(live)
    }
    // The index takes provider and model from entries, and may be all that knows them afterwards.
    await known.flush()
    await this.#inIndex({ kind: 'settle' })
  }

  #sealed(): Stretch[] {
    const { all, live } = this.#parts.segments()
    return all.flatMap((segment, i) => {
      const next = all[i + 1]
      if (next === undefined || live === null || segment.first_seq >= live.first_seq) return []
      return [{ segment, first: segment.first_seq, last: next.first_seq - 1 }]
    })
  }

  async #rewrite(segment: Segment, changes: LineChanges): Promise<UpkeepStep> {
    const { files, known } = this.#parts
    const rewritten = await rewriteSegment(files, segment, changes)
    if (rewritten === null) return NOTHING
    // Until it is told, whoever asks the index finds the line elsewhere in the segment (places.ts).
    known.moved(segment.first_seq, (byte) => movedTo(rewritten.moves, byte))
    await this.#inIndex({ kind: 'moved', segment: segment.first_seq }, rewritten.size)
    return { records: rewritten.records, bytes: rewritten.bytes }
  }

  /** What the index can't be told is found by those who look: then it is only slower. False where it was not done. */
  async #inIndex(work: IndexUpkeep, bytes = 0): Promise<boolean> {
    try {
      return await this.#keepUp(work, bytes)
    } catch (error) {
      if (!(error instanceof LedgerError)) throw error
      if (isBrokenDatabase(error)) this.#parts.index?.discard()
      return false
    }
  }

  async #keepUp(work: IndexUpkeep, bytes: number): Promise<boolean> {
    const { index, dir } = this.#parts
    const path = indexPath(dir)
    if (index !== null) return index.keepUp(work, bytes)
    // Nobody uses it here, but one from before may lie there.
    if (!fs.existsSync(path)) return true
    const database = await openIndex(path, { busyTimeoutMs: 5000, cacheKib: 4096 })
    try {
      return keepIndexUp(database, dir, work)
    } finally {
      database.close()
    }
  }

  /** @throws LedgerError where the index still has what the entries said */
  async #forget(ranges: readonly Range[]): Promise<void> {
    if (await this.#inIndex({ kind: 'forget', ranges })) return
    // It is made anew from what is left.
    this.#parts.index?.discard()
    removeDatabase(indexPath(this.#parts.dir))
  }

  async *restore(entries: AsyncIterable<readonly KeptEntry[]>): AsyncGenerator<UpkeepStep, void, undefined> {
    this.#parts.assertOpen()
    const restoring = new Restoring(entries)
    try {
      await restoring.advance(0)
      while (restoring.position !== Infinity) {
        const { position } = restoring
        const stretch = this.#sealed().findLast(({ first }) => first <= position)
        if (stretch === undefined || stretch.last < position) {
          await this.#passBy(position)
          await restoring.advance(position + 1)
          continue
        }
        restoring.last = stretch.last
        const step = await this.#inTurn(() => this.#rewrite(stretch.segment, restoring))
        // What the segment does not have is passed by.
        await restoring.advance(stretch.last + 1)
        if (step.records > 0) yield step
      }
    } catch (error) {
      throw restoring.failure === null ? error : restoring.failure.error
    } finally {
      await restoring.close()
    }
  }

  /** It is not there, or in the live segment: with its entry, mostly. @throws LedgerError `locked` */
  async #passBy(seq: number): Promise<void> {
    const { files, segments } = this.#parts
    const { live, size } = segments()
    if (live === null || seq >= size || seq < live.first_seq) return
    if (!(await hasEntryWithin(files, live, [{ first: seq, last: seq }]))) throw stillLive(live)
  }

  async reclaim(): Promise<Reclaimed> {
    this.#parts.assertOpen()
    return this.#inTurn(async () => {
      const bytes_before = await this.#allBytes(this.#parts.dir)
      const left = await this.#clear()
      return { bytes_before, bytes_after: await this.#allBytes(this.#parts.dir), left }
    })
  }

  async #clear(): Promise<string[]> {
    const { files, dir } = this.#parts
    await removeLeftovers(files, dir)
    await this.archive.removeLeftovers()
    if (!this.#hasErased) return []
    await this.#removeTorn()
    const size = (await files.facts(indexPath(dir)))?.size ?? 0
    if (await this.#inIndex({ kind: 'clean' }, size)) {
      this.#hasErased = false
      return []
    }
    return ['index.db: another process is reading it, so free places in it could not be cleared: call again when it has closed the ledger']
  }

  /** Nothing in it was ever acknowledged, and what was recorded again may lie there in part, where no position names it. */
  async #removeTorn(): Promise<void> {
    const { files, dir } = this.#parts
    const folder = join(dir, TORN)
    if ((await files.facts(folder)) === null) return
    const names = await files.list(folder)
    for (const name of names) await files.remove(join(folder, name))
    if (names.length > 0) await files.syncFolder(folder, 'removed')
  }

  async #allBytes(folder: string): Promise<number> {
    const { files } = this.#parts
    let bytes = 0
    for (const name of await files.list(folder)) {
      const path = join(folder, name)
      const facts = await files.facts(path)
      if (facts !== null) bytes += facts.kind === 'folder' ? await this.#allBytes(path) : facts.size
    }
    return bytes
  }
}

function stillLive({ name }: Segment): LedgerError {
  return new LedgerError('locked', `${name} is still being written, so its entries can't be changed: rotate the ledger first`, {
    file: name,
  })
}

/** Of whoever only reads: archive files can be read, and nothing can be done. */
export function readingUpkeep(files: FilePort, dir: string, assertOpen: () => void): EntryUpkeep {
  const refuse = (): never => {
    assertOpen()
    throw new LedgerError('read_only', `${dir} was opened for reading: open it without readOnly to change what it keeps`)
  }
  return {
    archive: archiveOf(files, dir, true),
    // oxlint-disable-next-line require-yield
    async *withhold() {
      refuse()
    },
    // oxlint-disable-next-line require-yield
    async *restore() {
      refuse()
    },
    reclaim: async () => refuse(),
  }
}
