/** What somebody types, as an expression of FTS5 in which nothing but the words means anything; and records held against it. */
import { LIMITS } from '../../ledger/limits.ts'
import type { RecordText } from '../../ledger/record-text.ts'
import type { Database, DriverName } from '../sql/driver.ts'
import { INSERT_TEXT, openScratch, rowOf } from './text-db.ts'

/** What is written together: no white space, and no NUL, at which SQLite would take an expression to end. */
const PIECES = /[^\s\0]+/g

/**
 * Each piece in quotes, inside of which FTS5 knows no operators: its words must stand together in their order, so that
 * `a-b` and `bob@example.com` are found as they were written. A piece without a word is left out by FTS5 itself.
 */
export function expressionOf(text: string): string {
  const pieces = text.toWellFormed().match(PIECES) ?? []
  return pieces.map((piece) => `"${piece.replaceAll('"', '""')}"`).join(' ')
}

/** Looks at texts with the index's own tokenizer, in memory and apart from the index. */
export class Matcher {
  readonly #driver: DriverName
  #opening: Promise<Database> | null = null

  constructor(driver: DriverName) {
    this.#driver = driver
  }

  /** A failure is not kept: asking again tries again. */
  #scratch(): Promise<Database> {
    this.#opening ??= openScratch(this.#driver).catch((error: unknown) => {
      this.#opening = null
      throw error
    })
    return this.#opening
  }

  /** @throws RangeError where there is no word, or too many; LedgerError `unsupported` */
  async check(text: string): Promise<void> {
    const database = await this.#scratch()
    database.exec("INSERT INTO text (text) VALUES ('delete-all')")
    database.cached(INSERT_TEXT).run(0, text.toWellFormed(), '', '', '')
    const words = Number(database.cached('SELECT count(*) AS n FROM tokens').get()?.['n'])
    if (words === 0)
      throw new RangeError(`text ${JSON.stringify(text)} has no word to look for: words are made of letters and digits of any script`)
    if (words > LIMITS.text_query_words_max)
      throw new RangeError(`text has ${words} words and may have ${LIMITS.text_query_words_max}: name fewer`)
  }

  /** For each of the records whether it has all words. */
  async matching(text: string, records: readonly (RecordText | null)[]): Promise<boolean[]> {
    const database = await this.#scratch()
    // From here on nothing waits, so that nobody else's texts come in between.
    database.exec("INSERT INTO text (text) VALUES ('delete-all')")
    database.exec('BEGIN')
    try {
      const insert = database.cached(INSERT_TEXT)
      for (const [i, record] of records.entries()) if (record !== null) insert.run(...rowOf(i, record))
    } finally {
      database.exec('COMMIT')
    }
    const rows = database.cached('SELECT rowid AS i FROM text WHERE text MATCH ?').all(expressionOf(text))
    const matching = new Set(rows.map(({ i }) => Number(i)))
    return records.map((_, i) => matching.has(i))
  }

  async close(): Promise<void> {
    const opening = this.#opening
    if (opening === null) return
    this.#opening = null
    ;(await opening.catch(() => null))?.close()
  }
}
