/** What a PostgreSQL ledger can do to its entries: by functions of the database, in steps, each a transaction of its own. */
import { setTimeout as sleep } from 'node:timers/promises'
import { archiveInPieces } from '../../ledger/archive-pieces.ts'
import { LedgerError } from '../../ledger/errors.ts'
import { indexedNames } from '../../ledger/filter.ts'
import { gathered, portionFrom, portionsOf } from '../../ledger/portions.ts'
import type { EntryUpkeep, KeptEntry, Reclaimed, UpkeepStep } from '../../ledger/upkeep.ts'
import type { Range } from '../../verify/ranges.ts'
import { textArray } from './arrays.ts'
import { entryFilesIn } from './entry-files.ts'
import type { EntryFiles } from './entry-files.ts'
import { pauseMs } from './connect.ts'
import { reclaimTables } from './reclaiming.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'
import type { TreeAccess } from './tree.ts'
import { storedName } from './writing.ts'

/** One transaction's. */
const STEP = { positions: 2000, ranges: 2000 } as const
const STEP_BYTES = 32 * 1024 * 1024

const SIZE = { text: 'SELECT size FROM heads WHERE ledger_id = $1' }
const WITHHOLD = { name: 'cortex_withhold', text: 'SELECT records, bytes, next_seq FROM withhold_entries($1, $2, $3, $4, $5)' }
const RESTORE = { name: 'cortex_restore', text: 'SELECT records, bytes FROM restore_entries($1, $2, $3, $4, $5, $6)' }

const LOCK = { text: "SELECT pg_try_advisory_lock(hashtextextended('cortex-ledger upkeep ' || current_schema() || ' ' || $1, 0))" }

export class PostgresUpkeep implements EntryUpkeep {
  readonly archive
  readonly #access: TreeAccess
  readonly #sessions: Sessions
  readonly #files: EntryFiles

  constructor(access: TreeAccess, sessions: Sessions) {
    this.#access = access
    this.#sessions = sessions
    this.#files = entryFilesIn(access)
    this.archive = archiveInPieces('entry_files', this.#files)
  }

  async *withhold(positions: readonly Range[], { erase = false } = {}): AsyncGenerator<UpkeepStep> {
    const { place, reading, assertWritable } = this.#access
    assertWritable()
    const [row] = await reading((session) => session.query(SIZE, [place.id]))
    for (const portion of portionsOf(positions, Number(row?.[0] ?? 0), STEP)) {
      for (let rest = portion; rest.length > 0;) {
        const firsts = `{${rest.map(({ first }) => first).join(',')}}`
        const lasts = `{${rest.map(({ last }) => last).join(',')}}`
        const [step] = await this.#patiently((session) => session.query(WITHHOLD, [place.id, firsts, lasts, String(erase), STEP_BYTES]))
        const [records, bytes, next] = step as (string | null)[]
        if (Number(records) > 0) yield { records: Number(records), bytes: Number(bytes) }
        rest = next === null || next === undefined ? [] : portionFrom(rest, Number(next))
      }
    }
  }

  async *restore(entries: AsyncIterable<readonly KeptEntry[]>): AsyncGenerator<UpkeepStep> {
    this.#access.assertWritable()
    for await (const portion of gathered(entries, { entries: STEP.positions, bytes: STEP_BYTES })) {
      const step = await this.#restoreStep(portion)
      if (step.records > 0) yield step
    }
  }

  async #restoreStep(entries: readonly KeptEntry[]): Promise<UpkeepStep> {
    const names = entries.map(({ entry_text }) => indexedNames(entry_text))
    const values = [
      this.#access.place.id,
      `{${entries.map(({ seq }) => seq).join(',')}}`,
      textArray(entries.map(({ salt }) => salt)),
      textArray(entries.map(({ entry_text }) => entry_text)),
      textArray(names.map(({ provider }) => storedName(provider))),
      textArray(names.map(({ model }) => storedName(model))),
    ]
    const [row] = await this.#patiently((session) => session.query(RESTORE, values))
    const [records, bytes] = row as (string | null)[]
    return { records: Number(records), bytes: Number(bytes) }
  }

  async reclaim(): Promise<Reclaimed> {
    this.#access.assertWritable()
    await this.#files.removeLeftOvers()
    return reclaimTables((work) => this.#access.reading(work), this.#sessions.patience_ms)
  }

  /** Of a session of its own: the server lets go of it when the connection is gone, however that ends. */
  async lock(): Promise<() => Promise<void>> {
    this.#access.assertWritable()
    const session = await this.#sessions.streaming()
    try {
      const [row] = await session.query(LOCK, [String(this.#access.place.id)])
      if (row?.[0] !== 't')
        throw new LedgerError('locked', 'another process is moving or erasing entries of this ledger: let it finish, then try again')
    } catch (error) {
      await session.end()
      throw error
    }
    return () => session.end()
  }

  /** Work that does nothing where it was done already. A table may be locked for a while: it is tried again. */
  async #patiently<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const deadline = performance.now() + this.#sessions.patience_ms
    for (let round = 0; ; round++) {
      try {
        return await this.#access.reading(work)
      } catch (error) {
        if (!(error instanceof LedgerError) || error.code !== 'locked' || performance.now() >= deadline) throw error
      }
      await sleep(pauseMs(round))
    }
  }
}
