/**
 * Withheld entries and the records that name them. A record that withholds is durable before bytes are removed, but it
 * may stand anywhere behind what it names, so all is settled at the end. Source: docs/format.md, "The ledger records itself".
 */
import { AscendingRanges, countOf, lastClaims, partition, union } from './ranges.ts'
import type { Range } from './ranges.ts'

/** The types of the reserved stream whose entries name records. */
export type NamingType = 'EntryErased' | 'EntriesArchived' | 'EntriesRestored'
export const NAMING_TYPES: readonly NamingType[] = ['EntryErased', 'EntriesArchived', 'EntriesRestored']

function isPosition(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/**
 * The positions that an entry names, in any of the forms: `seq`: one; `seqs`: a list; `first_seq` and `last_seq`: a
 * range, both included; `records` or `ranges`: a list of objects of these forms. Only positions before the naming
 * record count: nothing can be withheld before it is there. What has none of these forms names nothing.
 */
export function namedPositions(entry: unknown, before: number): Range[] {
  const named: Range[] = []
  const add = (first: unknown, last: unknown): void => {
    if (isPosition(first) && isPosition(last) && first <= last && first < before) named.push({ first, last: Math.min(last, before - 1) })
  }
  const read = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    const { seq, seqs, first_seq, last_seq } = value as { [key: string]: unknown }
    add(seq, seq)
    add(first_seq, last_seq)
    if (Array.isArray(seqs)) for (const each of seqs) add(each, each)
  }
  read(entry)
  if (typeof entry === 'object' && entry !== null) {
    const { records, ranges } = entry as { [key: string]: unknown }
    for (const list of [records, ranges]) if (Array.isArray(list)) for (const each of list) read(each)
  }
  return union(named)
}

export interface WithheldCounts {
  readonly erased: number
  readonly archived: number
  readonly unnamed: number
  readonly pending: number
}

/** What a part of a ledger withholds and names, for whoever joins the parts. */
export interface WithheldPart {
  readonly withheld: readonly Range[]
  readonly erased: readonly Range[]
  readonly archived: readonly { readonly range: Range; readonly holds: boolean }[]
}

/** Who is withheld, who is named, and how the two agree. */
export class WithheldEntries {
  /** Positions before are not looked at, so nothing is said of them. */
  start = 0
  readonly #withheld: AscendingRanges
  readonly #erased: Range[] = []
  readonly #archived: { range: Range; holds: boolean }[] = []
  readonly #max: number
  #overflown = false

  /** `rangesMax` bounds the memory: ranges that are withheld, and ranges that are named. */
  constructor(rangesMax: number) {
    this.#max = rangesMax
    this.#withheld = new AscendingRanges(rangesMax)
  }

  /** The entry at this position is not there. Positions ascend. */
  add(seq: number): void {
    this.#withheld.add(seq)
  }

  /** A record of the reserved stream names these positions. */
  name(type: NamingType, ranges: readonly Range[]): void {
    if (this.#erased.length + this.#archived.length + ranges.length > this.#max) {
      this.#overflown = true
      return
    }
    for (const range of ranges) {
      if (type === 'EntryErased') this.#erased.push(range)
      else this.#archived.push({ range, holds: type === 'EntriesArchived' })
    }
  }

  part(): WithheldPart {
    return { withheld: this.#withheld.ranges, erased: this.#erased, archived: this.#archived }
  }

  /** What the part behind withholds and names. */
  absorb({ withheld, erased, archived }: WithheldPart): void {
    this.#withheld.append(withheld)
    if (this.#erased.length + this.#archived.length + erased.length + archived.length > this.#max) {
      this.#overflown = true
      return
    }
    for (const range of erased) this.#erased.push(range)
    for (const claim of archived) this.#archived.push(claim)
  }

  /** True when there was too much to keep, so that nothing can be said. */
  get overflown(): boolean {
    return this.#overflown || this.#withheld.overflown
  }

  /** What is withheld without a name, and what is named as erased and is still there. */
  settle(): { counts: WithheldCounts; unnamed: readonly Range[]; pending: readonly Range[] } {
    const erased = partition(union(this.#erased), [{ first: this.start, last: Infinity }]).inside
    const byErasure = partition(this.#withheld.ranges, erased)
    const byArchive = partition(byErasure.outside, lastClaims(this.#archived))
    const pending = partition(erased, this.#withheld.ranges).outside
    const counts = {
      erased: countOf(byErasure.inside),
      archived: countOf(byArchive.inside),
      unnamed: countOf(byArchive.outside),
      pending: countOf(pending),
    }
    return { counts, unnamed: byArchive.outside, pending }
  }
}
