/**
 * The best matches first. BM25 weighs by how many records there are and how many have each word, so each record that is
 * added moves the places of all. Pages of one query must not move: a ranking is that of the records before a position,
 * for ever. Where the index has newer records they are taken out in a transaction that is taken back.
 */
import { recordText } from '../../ledger/record-text.ts'
import type { Store } from '../../ledger/store.ts'
import type { Database } from '../sql/driver.ts'
import { readRecord } from './catch-up.ts'
import { readPosition, REMOVE_TEXT, rowOf } from './text-db.ts'
import { expressionOf } from './words.ts'

const RANKED = 'SELECT rowid AS seq FROM text WHERE text MATCH ? AND rowid < ? ORDER BY bm25(text), rowid LIMIT ?'

/** Of equal rank the older one comes first. */
function ranked(database: Database, text: string, before: number, limit: number): Float64Array {
  const seqs: number[] = []
  for (const { seq } of database.cached(RANKED).iterate(expressionOf(text), before, limit)) seqs.push(Number(seq))
  return Float64Array.from(seqs)
}

export function hasNewer(database: Database, before: number): boolean {
  return database.cached('SELECT 1 AS one FROM text_docsize WHERE id >= ? LIMIT 1').get(before) !== undefined
}

/** The first `limit` places of the ranking of the records before `before`. */
export async function rankBefore(database: Database, store: Store, text: string, before: number, limit: number): Promise<Float64Array> {
  if (!hasNewer(database, before)) return ranked(database, text, before, limit)
  database.exec('BEGIN IMMEDIATE')
  try {
    const { size } = readPosition(database)
    const remove = database.cached(REMOVE_TEXT)
    for await (const chunk of store.read({ filter: {}, from: before, before: size, reverse: false, limit: Infinity })) {
      const opening = await store.entries?.opening(chunk)
      for (const line of chunk) {
        const record = readRecord(line, opening)
        const words = record === null ? null : recordText(record)
        if (record !== null && words !== null) remove.run(...rowOf(record.seq, words))
      }
    }
    return ranked(database, text, before, limit)
  } finally {
    // Some errors have ended the transaction already.
    if (database.inTransaction) database.exec('ROLLBACK')
  }
}

/** Rankings that are remembered, so that the next page costs nothing; 8 of 2 MB at most. */
const REMEMBERED_MAX = 8
const PLACES_MAX = 262_144
/** Ranking costs the same for one page and for some. */
const PLACES_MIN = 4096

export class Rankings {
  /** In the order of last use. */
  readonly #known = new Map<string, { readonly seqs: Float64Array; readonly isWhole: boolean }>()

  async places(database: Database, store: Store, text: string, before: number, offset: number, limit: number): Promise<number[]> {
    const key = `${before} ${text}`
    const wanted = offset + limit
    let known = this.#known.get(key)
    if (known === undefined || (!known.isWhole && known.seqs.length < wanted)) {
      const most = Math.max(wanted, PLACES_MIN)
      const seqs = await rankBefore(database, store, text, before, most)
      known = { seqs, isWhole: seqs.length < most }
    }
    this.#known.delete(key)
    if (known.seqs.length <= PLACES_MAX) this.#known.set(key, known)
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= REMEMBERED_MAX) break
      this.#known.delete(oldest)
    }
    return [...known.seqs.subarray(offset, wanted)]
  }

  forget(): void {
    this.#known.clear()
  }
}
