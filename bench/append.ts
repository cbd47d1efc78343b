/** Appending by few and by many, each store beside the floor under it, round by round. */
import { join } from 'node:path'
import { AuditLedger } from '../src/index.ts'
import type { Store } from '../src/ledger/store.ts'
import { openJsonlStore } from '../src/stores/jsonl/index.ts'
import { openSqliteStore } from '../src/stores/sqlite/index.ts'
import { appendTo, appending, byCallers } from './appending.ts'
import type { Manner } from './appending.ts'
import type { Batch } from './batches.ts'
import { inRounds, median } from './figures.ts'
import { jsonlFloor, sqliteFloor } from './floors.ts'
import { atLeast } from './rows.ts'
import type { Result, Row, Target } from './rows.ts'
import { LEDGER_OPTIONS, locationIn, STORES, timed } from './session.ts'
import type { Session, StoreKind } from './session.ts'
import { sampleCalls, WORKLOADS } from './workloads.ts'
import type { Workload } from './workloads.ts'

/** Fewer than elsewhere: these are the most rows, and the disk's moods make each of them long. */
const ROUNDS = 5

const MANNERS: readonly Manner[] = [
  { who: '1 caller', callers: 1, usual: 400, quick: 30, hasTarget: false },
  { who: '8 callers', callers: 8, usual: 1600, quick: 80, hasTarget: false },
  { who: '64 callers', callers: 64, usual: 6400, quick: 320, hasTarget: true },
  { who: '512 callers', callers: 512, usual: 6144, quick: 512, hasTarget: false },
  { who: 'batches of 1,000', callers: 'batches', usual: 10_000, quick: 1000, hasTarget: true },
]

interface Plan {
  readonly session: Session
  readonly workload: Workload
  readonly manner: Manner
  readonly count: number
  readonly append: (ledger: AuditLedger) => Promise<void>
}

/** A round of either store: the ledger's rates and the floor's, in records a second. */
async function round(
  { session, count, append }: Plan,
  open: (folder: string) => Promise<Store>,
  floor: (folder: string, batches: readonly Batch[]) => Promise<number>,
): Promise<Record<'ours' | 'sustained' | 'floor' | 'size' | 'bytes', number>> {
  return session.inFolder(async (folder) => {
    const { seconds, sustained, batches } = await appendTo(await open(folder), append)
    const bytes = batches.flat().reduce((sum, { entry_text }) => sum + Buffer.byteLength(entry_text ?? ''), 0)
    return {
      ours: count / seconds,
      sustained: count / sustained,
      floor: count / (await floor(folder, batches)),
      size: count / batches.length,
      bytes: bytes / count,
    }
  })
}

async function rowsOf(plan: Plan, store: StoreKind): Promise<Row[]> {
  const common = { readOnly: false, create: true }
  const series = await inRounds(plan.session.count(ROUNDS, 1), () =>
    store === 'JSONL'
      ? round(plan, (folder) => openJsonlStore(join(folder, 'ledger'), common), jsonlFloor)
      : round(plan, (folder) => openSqliteStore(join(folder, 'ledger.db'), common), sqliteFloor),
  )
  const { manner, workload } = plan
  const row = (ours: readonly number[], kind: string, target: Target | null, note: string): Row => ({
    topic: 'append',
    what: `${workload}, ${store}${kind}, ${manner.who}`,
    unit: 'records/s',
    ours,
    floor: series.floor,
    target,
    note,
  })
  const target = manner.hasTarget ? atLeast(store === 'JSONL' ? 0.45 : 0.6) : null
  const sizes = `${median(series.size).toFixed(0)} records a batch, ${median(series.bytes).toFixed(0)} bytes an entry`
  const acknowledged = row(series.ours, '', target, sizes)
  // Plain SQLite has nothing that comes behind.
  if (store === 'SQLite') return [acknowledged]
  return [acknowledged, row(series.sustained, ', sustained', null, 'until what comes behind has them too')]
}

export async function appendRows(session: Session): Promise<Result[]> {
  const rows: Row[] = []
  for (const workload of WORKLOADS) {
    for (const manner of MANNERS) {
      const count = session.count(manner.usual, manner.quick)
      const plan = { session, workload, manner, count, append: appending(workload, manner, count) }
      for (const store of STORES) rows.push(...(await rowsOf(plan, store)))
      session.say(`append, ${workload}, ${manner.who}`)
    }
  }
  for (const store of STORES) rows.push(await fullTextRow(session, store))
  return rows
}

/** With full text following in the background, beside the same without: it takes processor time, and no receipt waits for it. */
async function fullTextRow(session: Session, store: StoreKind): Promise<Row> {
  const count = session.count(6400, 320)
  const calls = sampleCalls(count)
  const rate = (fullText: 'background' | 'off'): Promise<number> =>
    session.inFolder(async (folder) => {
      const location = locationIn(folder, store)
      const ledger = await AuditLedger.open(location, { ...LEDGER_OPTIONS, fullText })
      try {
        return count / (await timed(() => byCallers(64, count, (i) => ledger.record(calls[i]!))))
      } finally {
        await ledger.close()
      }
    })
  const { ours, floor } = await inRounds(session.count(ROUNDS, 1), async () => ({
    ours: await rate('background'),
    floor: await rate('off'),
  }))
  session.say(`append, full text, ${store}`)
  return {
    topic: 'append',
    what: `calls, ${store}, 64 callers, full text in the background`,
    unit: 'records/s',
    ours,
    floor,
    target: null,
    note: 'beside it: full text off',
  }
}
