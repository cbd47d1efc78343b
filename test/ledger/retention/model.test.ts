/** Random histories of records, policies, holds, restores, erasures and crashes, compared with a plain model after each step. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Store } from '../../../src/ledger/store.ts'
import { openJsonlStore } from '../../../src/stores/jsonl/index.ts'
import { openMemoryStore } from '../../../src/stores/memory.ts'
import { openPostgresStore } from '../../../src/stores/postgres/index.ts'
import { openSqliteStore } from '../../../src/stores/sqlite/index.ts'
import { postgresMissing, useDatabases } from '../../helpers/postgres.ts'
import { History } from '../../helpers/retention-model.ts'
import { scale } from '../../helpers/scale.ts'
import { tempDir } from '../../helpers/temp.ts'

interface Subject {
  readonly open: () => Promise<Store>
  readonly reopen: (store: Store) => Promise<Store>
  readonly histories: number
  readonly steps: number
}

/** In the first seeds each operation dies now and then. */
async function compare({ open, reopen, histories, steps }: Subject): Promise<void> {
  let crashes = 0
  for (let seed = 1; seed <= histories; seed++) crashes += (await History.run({ seed, steps, open, reopen, crashes: 0.5 })).crashes
  expect(crashes).toBeGreaterThan(0)
}

const timeout = scale(120_000, 3_600_000)

test('memory: all is where policies, holds and erasures say, whatever happened before', { timeout }, () =>
  compare({ open: async () => openMemoryStore(), reopen: async (store) => store, histories: scale(4, 400), steps: scale(10, 16) }),
)

/** What came before has let go, as a process does that dies. */
async function again(store: Store, open: () => Promise<Store>): Promise<Store> {
  await store.close()
  return open()
}

test('SQLite: the same', { timeout }, () =>
  compare({
    open: async () => openSqliteStore(join(tempDir(), 'ledger.db')),
    reopen: (store) => again(store, () => openSqliteStore(store.location)),
    histories: scale(2, 40),
    steps: scale(9, 14),
  }),
)

test('JSONL: the same', { timeout }, () =>
  compare({
    open: async () => openJsonlStore(join(tempDir(), 'ledger')),
    reopen: (store) => again(store, () => openJsonlStore(store.location)),
    histories: scale(2, 40),
    steps: scale(9, 14),
  }),
)

describe.skipIf(postgresMissing !== null)('PostgreSQL', () => {
  const { newDatabase } = useDatabases()

  test('the same', { timeout }, async () => {
    const url = new URL(await newDatabase())
    const urls = new Map<string, string>()
    let ledgers = 0
    const open = async (at: string): Promise<Store> => {
      const store = await openPostgresStore(at, { databaseClock: false })
      urls.set(store.location, at)
      return store
    }
    await compare({
      open: () => {
        url.searchParams.set('ledger', `model-${++ledgers}`)
        return open(url.href)
      },
      reopen: (store) => again(store, () => open(urls.get(store.location)!)),
      histories: scale(2, 30),
      steps: scale(8, 12),
    })
  })
})
