/** Giving room back, and leaving no byte of what was taken away in the tables' files. */
import { setTimeout as sleep } from 'node:timers/promises'
import { LedgerError } from '../../ledger/errors.ts'
import type { Reclaimed } from '../../ledger/upkeep.ts'
import { pauseMs } from './connect.ts'
import { quoted } from './migrate.ts'
import { LIVE_BYTES_MAX } from './schema-upkeep.ts'
import type { Session } from './session.ts'

type Reading = <T>(work: (session: Session) => Promise<T>) => Promise<T>

/** How long somebody else may be in the way of one table, ms; less where the store has less patience. */
const PATIENCE_MS_MAX = 10_000
const STATISTICS = 'pg_statistic'

const BYTES = `SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0) + pg_total_relation_size('run_keys') + pg_total_relation_size('heads')
    + pg_total_relation_size('entry_files') + pg_total_relation_size('entry_pieces') + pg_total_relation_size('snapshots')
  FROM pg_inherits WHERE inhparent = 'audit_log'::regclass`
const DUE = 'SELECT table_name FROM upkeep_due ORDER BY table_name'
const MAY_VACUUM = `SELECT pg_has_role(current_user, d.datdba, 'USAGE') OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
  FROM pg_database AS d WHERE d.datname = current_database()`
const STANDBYS = `SELECT count(*) FROM pg_stat_replication`

async function bytesOf(reading: Reading): Promise<number> {
  const [row] = await reading((session) => session.query({ text: BYTES }))
  return Number(row?.[0])
}

/** Asks until there is nothing in the way; what is in the way when the patience is over comes back. */
async function whatKeeps(patience_ms: number, ask: () => Promise<string | null>): Promise<string | null> {
  const deadline = performance.now() + Math.min(patience_ms, PATIENCE_MS_MAX)
  for (let round = 0; ; round++) {
    let kept: string | null
    try {
      kept = await ask()
    } catch (error) {
      if (!(error instanceof LedgerError) || error.code !== 'locked') throw error
      kept = 'somebody is using it all the time: reclaim again at a quieter hour'
    }
    if (kept === null || performance.now() >= deadline || / too large | no partition /.test(kept)) return kept
    await sleep(pauseMs(round))
  }
}

async function first(reading: Reading, text: string, values: readonly (string | number)[] = []): Promise<string | null> {
  const rows = await reading((session) => session.query({ text, isUnhurried: true }, values))
  return rows[0]?.[0] ?? null
}

/** The planner's statistics of provider and model quote values, and what replaces them leaves the old ones in the table's pages. */
async function forgetStatistics(reading: Reading, patience_ms: number): Promise<string | null> {
  // After which the statistics hold nothing of what was erased; null where nothing was.
  const transaction = await first(reading, 'SELECT renew_statistics()')
  if (transaction === null) return null
  if ((await first(reading, MAY_VACUUM)) !== 't')
    return 'old values of provider, model and short entries may be in it: reclaim as the owner of the database'
  const kept = await whatKeeps(patience_ms, async () => {
    const holder = await first(reading, 'SELECT upkeep_holder($1::xid8)', [transaction])
    if (holder !== null) return `${holder} began before it was renewed: reclaim again when it has ended`
    await reading(async (session) => {
      await session.query({ text: "SET lock_timeout = '2s'" })
      try {
        await session.query({ text: 'VACUUM (FULL) pg_catalog.pg_statistic', isUnhurried: true })
      } finally {
        await session.query({ text: 'SET lock_timeout = 0' }).catch(() => session.destroy())
      }
    })
    return null
  })
  if (kept === null)
    await reading((session) =>
      session.query({ text: 'DELETE FROM upkeep_due WHERE table_name = $1 AND transaction_id = $2::xid8' }, [STATISTICS, transaction]),
    )
  return kept
}

export async function reclaimTables(reading: Reading, patience_ms: number): Promise<Reclaimed> {
  const bytes_before = await bytesOf(reading)
  const left: string[] = []
  const due = await reading((session) => session.query({ text: DUE }))
  for (const [table] of due as [string][]) {
    if (table === STATISTICS) continue
    const kept = await whatKeeps(patience_ms, () => first(reading, 'SELECT rewrite_table($1, $2)', [table, LIVE_BYTES_MAX]))
    if (kept === null) continue
    left.push(`${table}: ${kept}`)
    // Its room is used again at least. Whoever may not is passed over by the server.
    if (/ too large /.test(kept)) await reading((session) => session.query({ text: `VACUUM ${quoted(table)}`, isUnhurried: true }))
  }
  const statistics = await forgetStatistics(reading, patience_ms)
  if (statistics !== null) left.push(`${STATISTICS}: ${statistics}`)
  left.push("the server's write-ahead log, with its archive, and base backups and dumps: they keep what was written until they expire")
  const standbys = Number(await first(reading, STANDBYS))
  if (standbys > 0)
    left.push(
      `${standbys} ${standbys === 1 ? 'standby' : 'standbys'}: gone there once this is replayed, but for the write-ahead log that they keep`,
    )
  return { bytes_before, bytes_after: await bytesOf(reading), left }
}
