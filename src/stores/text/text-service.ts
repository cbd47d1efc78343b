/**
 * Everything that is done with the file of a text index, one request after the other: on a thread of its own, or on the
 * caller's where there is none.
 */
import { join } from 'node:path'
import { LedgerError } from '../../ledger/errors.ts'
import type { Store } from '../../ledger/store.ts'
import type { TextSelection } from '../../ledger/text.ts'
import { identityOf, isBrokenDatabase, removeDatabase } from '../sql/derived.ts'
import type { Database, DriverName, SqlValue } from '../sql/driver.ts'
import { catchUp, headOf, readRecord } from './catch-up.ts'
import type { StepSize } from './catch-up.ts'
import { hasNewer, Rankings } from './ranking.ts'
import { openTemporary, openToRead, openToWrite, readPosition } from './text-db.ts'
import { expressionOf } from './words.ts'

export type TextRequest =
  | { readonly kind: 'find'; readonly selection: TextSelection }
  | { readonly kind: 'count'; readonly text: string; readonly before: number }
  /** Answered with true when all is in the index; `stepsMax`: at most so many transactions. */
  | { readonly kind: 'catch-up'; readonly stepsMax: number }
  | { readonly kind: 'rebuild' }

export interface TextServiceParts {
  /** Read only from here; of the service where it has opened it. */
  readonly store: Store
  /** Where the index is kept; null for one that ends with this process. */
  readonly path: string | null
  readonly driver: DriverName
  readonly step: StepSize
}

/** Who opened it and for how long: `guest` may only read it. */
interface Open {
  readonly database: Database
  readonly access: 'owner' | 'guest' | 'temporary'
  readonly identity: string | null
}

/** What an answer takes. */
interface Needs {
  /** Records before it must be in the index. */
  readonly before: number
  /** And none behind it, or they must be removable. */
  readonly isAsOf: boolean
  readonly stepsMax: number
}

/** A broken index is made anew, and the new one could be broken by somebody at once. */
const ATTEMPTS_MAX = 3

export class TextService {
  readonly #parts: TextServiceParts
  readonly #rankings = new Rankings()
  #open: Open | null = null
  /** The folder can't be written: from then on the index is one of this process. */
  #isHomeless: boolean
  #isOver = false

  constructor(parts: TextServiceParts) {
    this.#parts = parts
    this.#isHomeless = parts.path === null
  }

  async answer(request: TextRequest): Promise<number | readonly number[] | boolean | null> {
    switch (request.kind) {
      case 'find': {
        const { selection } = request
        const isAsOf = selection.order === 'rank'
        return this.#healing({ before: selection.before, isAsOf, stepsMax: Infinity }, (database) => this.#find(database, selection))
      }
      case 'count':
        return this.#healing({ before: request.before, isAsOf: false, stepsMax: Infinity }, async (database) =>
          count(database, request.text, request.before),
        )
      case 'catch-up':
        return this.#healing({ before: Infinity, isAsOf: false, stepsMax: request.stepsMax }, async (_, isUp) => isUp)
      case 'rebuild':
        this.#discard()
        return null
    }
  }

  /** Brings the index up, then asks it; where it turns out to be broken, the same with a new one. */
  async #healing<Answer>(needs: Needs, ask: (database: Database, isUp: boolean) => Promise<Answer>): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      try {
        const { database, isUp } = await this.#ready(needs)
        return await ask(database, isUp)
      } catch (error) {
        if (attempt >= ATTEMPTS_MAX || !isBrokenDatabase(error)) throw error
        this.#discard()
      }
    }
  }

  async #ready({ before, isAsOf, stepsMax }: Needs): Promise<{ readonly database: Database; readonly isUp: boolean }> {
    let open = await this.#fresh()
    if (open.access === 'guest') {
      if (await this.#covers(open.database, before, isAsOf)) return { database: open.database, isUp: true }
      this.#letGo()
      this.#isHomeless = true
      open = await this.#fresh()
    }
    const { store, step } = this.#parts
    const isUp = await catchUp(open.database, store, { step, stepsMax, isOver: () => this.#isOver })
    return { database: open.database, isUp }
  }

  /** What stands there now; somebody may have removed it, or made it anew. */
  async #fresh(): Promise<Open> {
    const { path, driver, store } = this.#parts
    if (this.#open !== null && (this.#open.access === 'temporary' || this.#open.identity === identityOf(path as string))) return this.#open
    this.#letGo()
    if (path !== null && !this.#isHomeless) this.#open = await this.#atHome(path)
    this.#open ??= { database: await openTemporary(driver, store.kind === 'memory'), access: 'temporary', identity: null }
    return this.#open
  }

  async #atHome(path: string): Promise<Open | null> {
    const { driver, store } = this.#parts
    let database: Database | null
    let access: Open['access'] = 'owner'
    try {
      await headOf(store)
      database = await openToWrite(path, store.segment === null ? store.location : join(store.location, store.segment.name), driver)
    } catch (error) {
      if (!(error instanceof LedgerError) || !isNoHome(error)) throw error
      database = await openToRead(path, driver)
      access = 'guest'
    }
    if (database === null) this.#isHomeless = true
    return database === null ? null : { database, access, identity: identityOf(path) }
  }

  /** An index that can't be written has all records before `before` of this ledger, and none too many for a ranking. */
  async #covers(database: Database, before: number, isAsOf: boolean): Promise<boolean> {
    try {
      const { size, hash } = readPosition(database)
      const { store } = this.#parts
      const head = await headOf(store)
      if (size < before || size > head.size || (isAsOf && hasNewer(database, before))) return false
      if (size === head.size) return hash === head.hash
      for await (const [line] of store.read({ filter: {}, from: size, before: size + 1, reverse: false, limit: 1 })) {
        return line !== undefined && readRecord(line)?.header.previous_hash === hash
      }
      return false
    } catch (error) {
      if (isBrokenDatabase(error)) return false
      throw error
    }
  }

  async #find(database: Database, selection: TextSelection): Promise<number[]> {
    const { text, order, before, offset, limit } = selection
    if (order === 'rank') return this.#rankings.places(database, this.#parts.store, text, before, offset, limit)
    return findInOrder(database, selection)
  }

  #letGo(): void {
    try {
      this.#open?.database.close()
    } catch {
      // Broken; it is let go of anyway.
    }
    this.#open = null
  }

  #discard(): void {
    const access = this.#open?.access
    this.#letGo()
    this.#rankings.forget()
    if (this.#parts.path === null || this.#isHomeless) return
    // Not to be removed by whoever may not write it; nor to be used.
    if (access === 'guest') this.#isHomeless = true
    else {
      try {
        removeDatabase(this.#parts.path)
      } catch {
        this.#isHomeless = true
      }
    }
  }

  /** What is under way ends with its next step. */
  interrupt(): void {
    this.#isOver = true
  }

  close(): void {
    if (this.#open?.access === 'owner') {
      try {
        // At rest the file needs no log beside it, so that those who may only read can read it.
        this.#open.database.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = DELETE')
      } catch {
        // Somebody else has it open.
      }
    }
    this.#letGo()
  }
}

/** The index can't be made or written at its place, which is no reason not to answer. */
function isNoHome(error: LedgerError): boolean {
  return (
    ['read_only', 'io_error', 'not_found', 'disk_full'].includes(error.code) || (error.code === 'not_a_ledger' && !isBrokenDatabase(error))
  )
}

function findInOrder(database: Database, { text, order, from, before, limit, among }: TextSelection): number[] {
  const params: SqlValue[] = [expressionOf(text), from, before]
  // The plus: else SQLite would look each of them up in FTS5, which costs as much as the whole query.
  const only = among === null ? '' : 'AND +rowid IN (SELECT value FROM json_each(?))'
  if (among !== null) params.push(JSON.stringify(among))
  const direction = order === 'newest' ? 'DESC' : 'ASC'
  const sql = `SELECT rowid AS seq FROM text WHERE text MATCH ? AND rowid >= ? AND rowid < ? ${only} ORDER BY rowid ${direction} LIMIT ?`
  return database
    .cached(sql)
    .all(...params, limit)
    .map(({ seq }) => Number(seq))
}

function count(database: Database, text: string, before: number): number {
  const row = database.cached('SELECT count(*) AS n FROM text WHERE text MATCH ? AND rowid < ?').get(expressionOf(text), before)
  return Number(row?.['n'] ?? 0)
}
