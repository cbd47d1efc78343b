/** The text index as a ledger uses it: asked from the caller's thread, worked on by another, made when it is wanted. */
import { existsSync, statSync } from 'node:fs'
import { LedgerError } from '../../ledger/errors.ts'
import type { RecordText } from '../../ledger/record-text.ts'
import type { TextFigures, TextIndex, TextSelection } from '../../ledger/text.ts'
import { removeDatabase } from '../sql/derived.ts'
import type { DriverName } from '../sql/driver.ts'
import type { Thread } from '../sql/thread.ts'
import { openToRead, readPosition } from './text-db.ts'
import type { TextRequest, TextService } from './text-service.ts'
import { Matcher } from './words.ts'

/**
 * `on-demand`: made by the first query for words, and from then on kept up by every process that writes. `background`:
 * kept up from the start. `off`: neither made nor asked.
 */
export type FullTextMode = 'on-demand' | 'background' | 'off'

export interface FullTextParts {
  readonly mode: FullTextMode
  /** Where the file is; null where the index ends with this process. */
  readonly path: string | null
  readonly driver: DriverName
  /** Null for a store that no other thread can read. */
  readonly thread: Thread<TextRequest> | null
  /** For this thread, where there is no other. */
  readonly openService: () => Promise<{ readonly service: TextService; readonly close: () => Promise<void> }>
}

/** New records wait so long for others, so that a transaction has many; queries don't wait for it. */
const FOLLOW_DELAY_MS = 1000
/** So often it is looked whether somebody else has made an index. After a failure, a full disk perhaps, it is tried again so much later. */
const LOOK_DELAY_MS = 5000

export class FullTextIndex implements TextIndex {
  readonly #parts: FullTextParts
  readonly #matcher: Matcher
  #here: Promise<{ service: TextService; close: () => Promise<void> }> | null = null
  #queue: Promise<unknown> = Promise.resolve()
  #timer: NodeJS.Timeout | null = null
  #size = 0
  /** There is an index to be kept up, as far as this process knows. */
  #isWanted: boolean
  #isFailing = false
  #isClosed = false

  constructor(parts: FullTextParts) {
    this.#parts = parts
    this.#matcher = new Matcher(parts.driver)
    this.#isWanted = parts.mode === 'background' || (parts.mode === 'on-demand' && parts.path !== null && existsSync(parts.path))
  }

  #refuse(): void {
    if (this.#isClosed) throw new LedgerError('closed', 'the ledger is closed: open it again to search')
    if (this.#parts.mode === 'off')
      throw new LedgerError('unsupported', "full text is off: open the ledger with fullText: 'on-demand' to search for words")
  }

  async check(text: string): Promise<void> {
    this.#refuse()
    await this.#matcher.check(text)
  }

  find(selection: TextSelection): Promise<readonly number[]> {
    return this.#ask({ kind: 'find', selection }, true)
  }

  count(text: string, before: number): Promise<number> {
    return this.#ask({ kind: 'count', text, before }, true)
  }

  matching(text: string, records: readonly (RecordText | null)[]): Promise<boolean[]> {
    return this.#matcher.matching(text, records)
  }

  rebuild(): Promise<void> {
    return this.#ask({ kind: 'rebuild' }, true)
  }

  async #ask<Answer>(request: TextRequest, isAwaited: boolean): Promise<Answer> {
    this.#refuse()
    this.#isWanted = true
    const { thread } = this.#parts
    if (thread !== null && !thread.isBroken) {
      try {
        return await thread.ask<Answer>(request, isAwaited)
      } catch (error) {
        if (!thread.isBroken || this.#isClosed) throw error
      }
    }
    const answer = this.#queue.then(async () => {
      this.#here ??= this.#parts.openService()
      return (await this.#here).service.answer(request)
    })
    this.#queue = answer.catch(() => {})
    return (await answer) as Answer
  }

  async forget(): Promise<void> {
    const { mode, path } = this.#parts
    const isThere = path === null ? this.#here !== null : existsSync(path)
    if (this.#isClosed || (!isThere && this.#here === null)) return
    if (mode === 'off' && path !== null) removeDatabase(path)
    else await this.#ask({ kind: 'rebuild' }, true)
  }

  /** Nothing is done here but to note the size: the caller has just been told that a record is durable, and has better things to do. */
  follow(size: number): void {
    this.#size = size
    this.#wait(this.#isFailing || !this.#isWanted ? LOOK_DELAY_MS : FOLLOW_DELAY_MS)
  }

  #wait(ms: number): void {
    if (this.#timer !== null || this.#isClosed || this.#parts.mode === 'off' || !this.#canFollow) return
    this.#timer = setTimeout(() => void this.#followOn(), ms)
    this.#timer.unref()
  }

  get #canFollow(): boolean {
    return this.#parts.thread !== null && !this.#parts.thread.isBroken && this.#parts.path !== null
  }

  /**
   * One transaction, then a pause of the same length: appends and queries don't wait for the index, but it shares the
   * processors and the disk with them, and it is in no hurry.
   */
  async #followOn(): Promise<void> {
    const size = this.#size
    const began = performance.now()
    this.#isWanted ||= existsSync(this.#parts.path as string)
    let isUp = true
    try {
      if (this.#isWanted) isUp = await this.#ask<boolean>({ kind: 'catch-up', stepsMax: 1 }, false)
      this.#isFailing = false
    } catch {
      this.#isFailing = true
    }
    this.#timer = null
    if (this.#isFailing) this.#wait(LOOK_DELAY_MS)
    else if (!isUp) this.#wait(performance.now() - began)
    else if (this.#size > size) this.follow(this.#size)
  }

  async flush(): Promise<void> {
    const { mode, path } = this.#parts
    if (mode === 'off' || path === null || this.#isClosed || (mode !== 'background' && !existsSync(path))) return
    await this.#ask({ kind: 'catch-up', stepsMax: Infinity }, true)
  }

  async figures(): Promise<TextFigures | null> {
    const { path, driver } = this.#parts
    if (path === null || !existsSync(path)) return null
    const database = await openToRead(path, driver)
    if (database === null) return { records: 0, bytes: sizeOf(path) }
    try {
      return { records: readPosition(database).size, bytes: sizeOf(path) + sizeOf(`${path}-wal`) }
    } catch (error) {
      if (error instanceof LedgerError) return { records: 0, bytes: sizeOf(path) }
      throw error
    } finally {
      database.close()
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#parts.thread?.close()
    const here = await this.#here?.catch(() => null)
    here?.service.interrupt()
    await this.#queue
    await here?.close()
    await this.#matcher.close()
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}
