/** What the watch over the disk costs an append, beside the same store without it. */
import { openStore } from '../src/open-store.ts'
import type { DiskOptions } from '../src/stores/disk/guarded-store.ts'
import { openJsonlStore } from '../src/stores/jsonl/index.ts'
import { openSqliteStore } from '../src/stores/sqlite/index.ts'
import { appendTo, appending } from './appending.ts'
import type { Manner } from './appending.ts'
import { inRounds } from './figures.ts'
import type { Result, Row } from './rows.ts'
import { locationIn, STORES } from './session.ts'
import type { Session, StoreKind } from './session.ts'

/** Looks at the disk every 256 KiB, the most often that it does: all of it is less than this. */
const NEARLY_FULL: DiskOptions = { warnBelowBytes: Number.MAX_SAFE_INTEGER }

interface Watch {
  readonly what: string
  readonly disk: DiskOptions
  readonly manner: Manner
}

const ONE: Manner = { who: '1 caller', callers: 1, usual: 400, quick: 20, hasTarget: false }
const MANY: Manner = { who: '64 callers', callers: 64, usual: 6400, quick: 64, hasTarget: false }

const WATCHES: readonly Watch[] = [
  { what: 'as it is', disk: {}, manner: ONE },
  { what: 'as it is', disk: {}, manner: MANY },
  { what: 'a disk that is nearly full', disk: NEARLY_FULL, manner: MANY },
]

async function watchRow(session: Session, store: StoreKind, { what, disk, manner }: Watch): Promise<Row> {
  const count = session.count(manner.usual, manner.quick)
  const append = appending('calls', manner, count)
  const rate = (isWatched: boolean): Promise<number> =>
    session.inFolder(async (folder) => {
      const location = locationIn(folder, store)
      const common = { readOnly: false, create: true }
      const open = (): ReturnType<typeof openStore> => {
        if (isWatched) return openStore(location, { disk, onWarning: () => {} })
        return store === 'JSONL' ? openJsonlStore(location, common) : openSqliteStore(location, common)
      }
      return count / (await appendTo(await open(), append)).seconds
    })
  const { ours, floor } = await inRounds(session.rounds, async () => ({ ours: await rate(true), floor: await rate(false) }))
  return {
    topic: 'disk',
    what: `calls, ${store}, ${manner.who}, ${what}`,
    unit: 'records/s',
    ours,
    floor,
    target: null,
    note: '',
  }
}

export async function diskRows(session: Session): Promise<Result[]> {
  const rows: Row[] = []
  for (const store of session.some(STORES)) {
    for (const watch of session.some(WATCHES)) rows.push(await watchRow(session, store, watch))
    session.say(`disk, ${store}`)
  }
  return rows
}
