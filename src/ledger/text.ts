/**
 * The port of a full-text index: which records hold all of some words. It is derived and can be lost at any time; what
 * it answers is looked at in the records themselves (text-search.ts). Fulfilled by src/stores/text.
 */
import type { RecordText } from './record-text.ts'

/** `rank`: best first by BM25 over the records before `before`, then by position. */
export type TextOrder = 'oldest' | 'newest' | 'rank'

/** Which of the records with all words; in one answer are at most `limit`, fewer only where there are no more. */
export interface TextSelection {
  readonly text: string
  readonly order: TextOrder
  /** First position, inclusive; 0 with `rank`. */
  readonly from: number
  /** Exclusive. Records before it are acknowledged. */
  readonly before: number
  /** Places of the ranking that are left out; 0 in the other orders. */
  readonly offset: number
  readonly limit: number
  /** Only these positions; null for all. Not with `rank`, whose places they would change. */
  readonly among: readonly number[] | null
}

export interface TextFigures {
  /** Records that are in the index, or have been looked at and have no text. */
  readonly records: number
  readonly bytes: number
}

export interface TextIndex {
  /** @throws RangeError for a text that has no word or too many; LedgerError `unsupported` where full text is off or can't be had */
  check(text: string): Promise<void>
  /** Positions, in order. Whatever was acknowledged before the call is found. */
  find(selection: TextSelection): Promise<readonly number[]>
  /** How many of the records before `before` have all words. */
  count(text: string, before: number): Promise<number>
  /** For each of these whether it has all words, by the rules of the index and without it. */
  matching(text: string, records: readonly (RecordText | null)[]): Promise<boolean[]>
  /** It was wrong: it is made anew. */
  rebuild(): Promise<void>
  /** Entries were erased: none of their words is left in it. Where there is no index, none is made. */
  forget(): Promise<void>
  /** There are so many records now; the index follows when it has time, where there is one. Returns at once. */
  follow(size: number): void
  /** The index is up to date when this resolves, where there is one. */
  flush(): Promise<void>
  /** Null where there is no index yet. */
  figures(): Promise<TextFigures | null>
  close(): Promise<void>
}
